"""torch's private API is what models/dispatch_mode.py was written for."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import torch

from hwcls.models.dispatch_mode import (
    TESTED,
    LightDispatchMode,
    flatten_values,
    operation_name,
    storage_id,
    without_overload,
)


class Names(LightDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.found.append((operation_name(func), without_overload(func)))
        return func(*args, **(kwargs or {}))


def test_not_newer_than_what_was_tested() -> None:
    """A newer torch: run tests/models with it, then raise TESTED."""
    assert tuple(map(int, torch.__version__.split(".")[:2])) <= TESTED


def test_operations_are_seen_by_name() -> None:
    with Names() as names, torch.no_grad():
        torch.zeros(2, 3).add(1).relu()
    assert names.found[1:] == [("add", torch.ops.aten.add), ("relu", torch.ops.aten.relu)]


def test_values_and_storages() -> None:
    tensor = torch.zeros(4)
    assert [str(value) for value in flatten_values((1, [2]), {"a": 3}, None)] == ["1", "2", "3", "None"]
    assert storage_id(tensor.untyped_storage()) == storage_id(tensor[1:].untyped_storage())
    assert storage_id(tensor.untyped_storage()) != storage_id(tensor.clone().untyped_storage())


def test_the_compiler_is_not_loaded() -> None:
    code = (
        "import sys, torch; from torch import nn; from hwcls.models.summary import count_flops, compute_signature;"
        "model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)); count_flops(model, 1, 4);"
        "compute_signature(model, (1, 4)); print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
