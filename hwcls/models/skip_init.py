"""Models without values: built to be looked at, with no weight drawn or fetched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

DRAWS = {"normal_", "uniform_", "kaiming_normal_", "kaiming_uniform_"}  # all of torch.nn.init's go through these


@contextmanager
def skip_init() -> Iterator[None]:
    """A model that is built in the block has whatever stood in memory as its weights; the generator is left as it was.

    The memory of large weights is not taken before they are written. The meta device would do the same, but torch
    loads its compiler for a forward pass there, which takes seconds.
    """
    with torch.random.fork_rng(devices=[]), _SkipInit():
        yield


class _SkipInit(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
