"""What stands in for Ray's agents on a single machine: a process that waits until the raylet, its parent, has ended.

It runs as a file, without hwcls and site-packages: starting it takes 10 ms, and Ray's own agents take seconds.
"""

import os
import time

if __name__ == "__main__":
    raylet = int(os.environ["RAY_RAYLET_PID"])
    while os.getppid() == raylet:
        time.sleep(0.5)
