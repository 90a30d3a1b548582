"""What Ray starts as a worker on a single machine; it is run as a file."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[3])  # where hwcls is, and not the folder of this file
    from hwcls.sweep.cluster.ray_private import run_worker

    run_worker()
