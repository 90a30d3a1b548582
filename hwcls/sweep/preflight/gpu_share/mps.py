"""NVIDIA's MPS, which lets kernels of several processes run at the same time: used where its daemon runs."""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT = "/tmp/nvidia-mps"  # of the daemon and of CUDA
VARIABLE = "CUDA_MPS_PIPE_DIRECTORY"


def mps_pipe() -> Path | None:
    """The folder through which CUDA reaches an MPS daemon of this machine; None where none runs.

    Every process that uses CUDA finds the daemon in the same way, by the same environment variable.
    """
    folder = Path(os.environ.get(VARIABLE) or DEFAULT)
    try:
        os.close(os.open(folder / "control", os.O_WRONLY | os.O_NONBLOCK))  # fails where nobody reads
    except OSError:
        return None
    return folder
