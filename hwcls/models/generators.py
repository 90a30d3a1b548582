"""The global generators of random numbers: torch's, numpy's and Python's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager


def seed_generators(seed: int) -> None:
    """Seed all three, torch's on every device; hwcls itself draws from torch's alone, a user's model from any."""
    import torch

    torch.manual_seed(seed)
    _seed_others(seed)


def _seed_others(seed: int) -> None:
    import numpy as np

    np.random.seed(seed % 2**32)
    random.seed(seed)


@contextmanager
def fixed_generators(seed: int = 0) -> Iterator[None]:
    """The random numbers of a seed in the block, on the CPU; all generators are left as they were."""
    import numpy as np
    import torch

    numpys, pythons = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            _seed_others(seed)
            yield
    finally:
        np.random.set_state(numpys)
        random.setstate(pythons)
