"""The sums of an epoch's losses."""

import math

import pytest
import torch

from hwcls.training.totals import TrainingLoss


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("losses", "first"),
    [
        ([1.0, 2.0, 0.0], 0),
        ([math.nan, 1.0], 1),
        ([1.0, math.inf, 2.0], 2),
        ([1.0, 3e38, 3e38, -math.inf, math.inf], 4),
        ([0.0, 1.0, math.nan], 3),
    ],
)
def test_the_first_step_that_is_not_finite(losses, first, dtype):
    total = TrainingLoss(torch.device("cpu"))
    for _ in range(2):  # epochs
        total.reset()
        for loss in losses:
            total.add(torch.tensor(loss, dtype=dtype))
        assert total.first_bad_step.item() == first
        assert total.steps.item() == len(losses)
        if not first:
            assert total.sum.item() == 3.0
