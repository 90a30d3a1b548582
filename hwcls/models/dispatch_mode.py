"""Observe the operations of a forward pass: torch's private API that models/ uses, checked up to torch TESTED."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

TESTED = (2, 15)  # the torch release; tests/models/test_dispatch_mode.py compares it with the installed one


class LightDispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A TorchDispatchMode that does not load torch's compiler, which takes a second and is not needed here."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # with True torch imports the compiler to exclude this class from it


def flatten_values(*values: Any) -> list[Any]:
    """The values in nested lists, tuples and dicts, in order."""
    return list(tree_leaves(values))


def operation_name(operation: Any) -> str:
    """The name of an ATen operation without its overload: "convolution"."""
    return str(operation._schema.name).removeprefix("aten::")


def without_overload(operation: Any) -> Any:
    """The operation that all overloads share, such as torch.ops.aten.convolution."""
    return operation._overloadpacket


def storage_id(storage: torch.UntypedStorage) -> int:
    """A number that two storages share if they are the same memory."""
    return int(storage._cdata)
