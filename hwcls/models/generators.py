"""The global generators of random numbers: torch's, numpy's and Python's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager


def seed_generators(seed: int) -> None:
    """Seed all three; hwcls itself draws from torch's alone, a user's model may draw from any."""
    import numpy as np
    import torch

    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


@contextmanager
def fixed_generators(seed: int = 0) -> Iterator[None]:
    """The random numbers of a seed in the block; all three generators are left as they were."""
    import numpy as np
    import torch

    numpys, pythons = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            seed_generators(seed)
            yield
    finally:
        np.random.set_state(numpys)
        random.setstate(pythons)
