"""How a start of a sweep ended, as the driver reports it to the tracking process."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["ended", "failed", "interrupted", "killed"]


@dataclass(frozen=True)
class Ending:
    """How a start of a sweep ended; `killed` is one whose driver is gone without a word."""

    state: State
    reason: str = ""  # of a failure, one line

    @classmethod
    def of_error(cls, error: BaseException) -> Ending:
        """The ending of a start that raised."""
        if isinstance(error, KeyboardInterrupt):
            return cls("interrupted")
        return cls("failed", " ".join(str(error).split()) or type(error).__name__)

    @classmethod
    def parse(cls, text: bytes) -> Ending:
        """What `to_bytes` wrote; without that the driver was killed."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return cls("killed", "the driver was killed; the same command resumes the sweep")

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()
