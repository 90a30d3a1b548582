"""How a training can end before its time; needs no torch."""

from __future__ import annotations


class NotFiniteError(Exception):
    """The loss became NaN or infinite: training again would give the same."""


class LostRankError(Exception):
    """A rank died or hung; its trial can go on from its checkpoint on new ranks. The last line says what is known."""


class MemoryRanOutError(Exception):
    """Device memory ran out in mid-training: the trial can go on from its checkpoint with `smaller` micro-batches."""

    def __init__(self, smaller: int) -> None:
        super().__init__(smaller)  # what unpickling calls it with
        self.smaller = smaller

    def __str__(self) -> str:
        return f"out of memory; micro-batches of {self.smaller} images per worker may fit"
