"""How a training is made cheaper before half of the images are left out.

The order is that of a quick look: many images of few pixels rank models and settings as all images of many pixels do
(Chrabaszcz et al. 2017, arXiv 1707.08819, on ImageNet at 32 pixels), and teach more than few images of many pixels.
Then fewer epochs, as a search needs an order, not the last points; then a narrower network; then fewer images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SMALLER = (160, 128, 96, 64, 48, 32)  # pixels
SMALLEST = {False: 32, True: 64}  # pixels, with a pretrained backbone, whose features mean little below
EPOCHS = 5  # the fewest
NARROW = 0.5  # of the time of a network of twice the width; the quarter of its work is not all of its time
HALF = 0.5  # of the training images


@dataclass(frozen=True)
class Economy:
    """How trainings are made cheaper.

    Attributes:
        side: In pixels, of the images.
        epochs: The fewest of a training.
        narrow: Whether networks have half the width.
        cost: Of a training, against one without economies.
    """

    side: int
    epochs: int
    narrow: bool
    cost: float


def list_economies(side: int, epochs: int, *, pretrained: bool) -> list[Economy]:
    """From none to the cheapest: images of `side` pixels and smaller, fewer than `epochs`, narrower networks."""
    sides = [side, *(one for one in SMALLER if SMALLEST[pretrained] <= one < side)]
    fewer = min(epochs, EPOCHS)
    steps = [Economy(one, epochs, False, (one / side) ** 2) for one in sides]
    last, short = steps[-1], fewer / epochs
    steps.append(Economy(last.side, fewer, False, last.cost * short))
    steps.append(Economy(last.side, fewer, True, last.cost * short * NARROW))
    return list(dict.fromkeys(steps))


def next_economy(steps: Sequence[Economy], at: Economy, share: float, needed: float) -> Economy | None:
    """The first step after `at` with which enough images can be expected to fit, else the last; None where they do now.

    Args:
        share: Of the images, that fits into the time with `at`.
        needed: The share that is enough.
    """
    if share >= needed:
        return None
    further = steps[steps.index(at) + 1 :]
    enough = (step for step in further if share * at.cost / step.cost >= needed)
    return next(enough, further[-1] if further else None)
