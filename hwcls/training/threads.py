"""OpenMP's threads; loads nothing, since OpenMP reads the environment when torch is imported."""

from __future__ import annotations

import os


def configure_threads(count: int | None = None) -> None:
    """Let waiting threads sleep instead of spin, and start `count` of them; call it before torch is imported."""
    if count is not None:
        os.environ["OMP_NUM_THREADS"] = str(count)
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ["GOMP_SPINCOUNT"] = "0"
