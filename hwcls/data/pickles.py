"""Reading the pickles that CIFAR-10 comes in without trusting them: arrays, lists, dicts and bytes, nothing else.

A pickle may name any function of Python to be called; here only those that rebuild an array are found.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from hwcls.errors import UserError

# numpy's own ways to write an array, by pickle protocol; `numpy.core` became `numpy._core` in numpy 2
_RECONSTRUCT: Callable[..., Any] = np.empty(0).__reduce__()[0]  # type: ignore[assignment]
_FROMBUFFER: Callable[..., Any] = np.empty(0).__reduce_ex__(5)[0]  # type: ignore[assignment]


def _latin1(text: str, codec: str) -> bytes:
    if codec != "latin1":
        raise pickle.UnpicklingError(f"codec {codec}")
    return text.encode("latin1")


ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.numeric", "_frombuffer"): _FROMBUFFER,
    ("_codecs", "encode"): _latin1,  # how Python 3 writes bytes in protocol 2
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = ALLOWED.get((module.replace("numpy.core.", "numpy._core."), name))
        if found is None:
            raise pickle.UnpicklingError(f"it calls {module}.{name}, which no data file needs")
        return found


def read_pickle(data: bytes, where: str) -> dict[str, Any]:
    """The dict that `data` holds, its keys as str; strings of Python 2 stay bytes.

    Raises:
        UserError: The pickle is truncated, holds no dict, or asks for anything but arrays and plain values.
    """
    try:
        value = _Unpickler(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # a hostile pickle may raise anything
        what = f"not a whole pickle of arrays ({error or type(error).__name__})"
        raise UserError(what, where=where, remedy="get it again") from None
    if not isinstance(value, dict):
        raise UserError("the pickle holds no dict", where=where, remedy="get it again")
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): entry for key, entry in value.items()}
