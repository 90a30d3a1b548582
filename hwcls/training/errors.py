"""The errors that end a training early; needs no torch."""

from __future__ import annotations

from hwcls.errors import UserError
from hwcls.format import format_count

COLLECTIVES = ("/gloo/", "DistBackendError", "DistNetworkError", "DistStoreError")  # in the errors of torch.distributed


class NotFiniteError(Exception):
    """The loss became NaN or infinite; a retry would give the same."""


class LostRankError(Exception):
    """A rank died or hung; its trial can resume on new ranks. The last line of the message is the summary."""


class MemoryRanOutError(Exception):
    """Device memory ran out during training: the trial can resume with `smaller` micro-batches."""

    def __init__(self, smaller: int) -> None:
        super().__init__(smaller)  # the arguments of unpickling
        self.smaller = smaller

    def __str__(self) -> str:
        return f"out of memory; micro-batches of {format_count(self.smaller, 'image')} per worker may fit"


def is_lost_peer(error: Exception) -> bool:
    """Whether a rank's collective failed, which is mostly the consequence of what ended another rank."""
    text = f"{type(error).__name__}: {error}"
    return not isinstance(error, UserError) and any(name in text for name in COLLECTIVES)
