"""Build models without initialising their weights, to inspect their structure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

DRAWS = {"normal_", "uniform_", "kaiming_normal_", "kaiming_uniform_"}  # every function of torch.nn.init uses these


@contextmanager
def skip_init() -> Iterator[None]:
    """A model built in the block has uninitialised memory as its weights; torch's generator is restored.

    Large weights take no memory before they are written. The meta device would do the same, but there torch loads its
    compiler for a forward pass, which takes seconds.
    """
    with torch.random.fork_rng(devices=[]), _SkipInit():
        yield


class _SkipInit(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
