"""OpenMP's threads, told to sleep while they wait; loads nothing: OpenMP reads the environment when torch loads."""

from __future__ import annotations

import os


def calm_threads(count: int | None = None) -> None:
    """Let waiting threads sleep instead of spinning, and start `count` of them; effective before torch is imported."""
    if count is not None:
        os.environ["OMP_NUM_THREADS"] = str(count)
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ["GOMP_SPINCOUNT"] = "0"
