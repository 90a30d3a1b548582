"""The base of what looks on at a model's operations."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class LightDispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode that leaves torch's compiler out of memory, which takes seconds to load and has no part in it."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would load it to keep it out of here
