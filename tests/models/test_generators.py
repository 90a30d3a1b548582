"""The same seed gives the same model, also where a user's file draws from torch, numpy and Python, or seeds them."""

import random

import numpy as np
import torch

from hwcls.models.generators import fixed_generators, seed_generators


def draw():
    return [torch.rand(()).item(), np.random.rand(), random.random()]


def test_one_seed_gives_the_same_numbers_of_all_generators():
    drawn = []
    for seed in (2**62 + 1, 2**62 + 1, 3):
        seed_generators(seed)
        drawn.append(draw())
    assert drawn[0] == drawn[1]
    assert all(one != other for one, other in zip(drawn[0], drawn[2], strict=True))


def test_a_block_draws_the_same_and_leaves_the_generators_as_they_were():
    seed_generators(1)
    expected = draw()
    seed_generators(1)
    with fixed_generators():
        inner = draw()
        seed_generators(8)
    assert draw() == expected
    with fixed_generators():
        assert draw() == inner
    with fixed_generators(1):
        assert draw() == expected


def test_a_block_leaves_the_generators_of_gpus_alone(monkeypatch):
    """Those that a program has seeded, and would seed later, as CUDA starts late."""
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: seeded.append(seed))
    seeded = []
    with fixed_generators(3):
        draw()
    assert seeded == []
    seed_generators(3)
    assert seeded == [3]
