"""Which models an ensemble averages, and how often it counts each (Caruana et al., ICML 2004).

Greedy, with replacement: it starts with the best model and adds, again and again, the one with which the average is
best on val, until that no longer gets better.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwcls.metrics import metric_per_image

Key = tuple[float, float]
LEAST = 1e-9  # by which a step must improve val: less is rounding
MOST = 100  # steps, for a loss that gets ever so little better


def choose_members(
    scores: Sequence[NDArray[Any]], labels: NDArray[Any], metric: str, goal: str, top: int
) -> dict[int, int]:
    """How often each model counts, by its place in `scores`, the first choice first.

    Of equally good ones that with the lower loss of the average is taken, then the earlier one.

    Args:
        scores: Of each model the probabilities of the same N images, (N, K) each.
        labels: (N,) true classes.
        metric: accuracy, macro_f1 or loss.
        goal: maximize or minimize.
        top: The most models that are averaged.
    """
    best, chosen, total = None, Counter[int](), np.zeros(scores[0].shape)
    while sum(chosen.values()) < MOST:
        allowed = range(len(scores)) if len(chosen) < top else chosen
        keys = {place: _judge(total + scores[place], labels, metric, goal) for place in allowed}
        place = max(keys, key=lambda one: (keys[one], -one))
        if best is not None and keys[place][0] <= best + LEAST:
            break
        best = keys[place][0]
        chosen[place] += 1
        total = total + scores[place]
    return dict(chosen)


def _judge(total: NDArray[Any], labels: NDArray[Any], metric: str, goal: str) -> Key:
    """The metric of the average and its loss, both so that more is better."""
    mean = total / total.sum(1, keepdims=True)
    value = float(metric_per_image(metric, labels, mean).mean())
    loss = float(metric_per_image("loss", labels, mean).mean())
    return (value if goal == "maximize" else -value), -loss
