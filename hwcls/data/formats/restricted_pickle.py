"""Safe reading of the pickles of CIFAR-10: arrays of bytes, lists, dicts and plain values.

A pickle may call any Python function. Here it finds only stand-ins for the functions that rebuild an array, never
numpy's: a real dtype could be changed under an existing array, into one that interprets bytes as addresses.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from hwcls.errors import UserError


class _Kind:
    """Stands for a dtype: its code alone."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = code.decode("latin1") if isinstance(code, bytes) else code

    def __setstate__(self, state: Any) -> None:
        """Byte order and the like, which bytes do not have."""


class _Array:
    """Stands for an array; `values` stays None for any but one of uint8."""

    values: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        if isinstance(kind, _Kind) and kind.code == "u1":
            self.values = np.frombuffer(data, np.uint8).reshape(shape, order="F" if fortran else "C")


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _frombuffer(data: Any, kind: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, kind, order == "F", data))
    return array


def _latin1(text: str, codec: str) -> bytes:
    if codec != "latin1":
        raise pickle.UnpicklingError(f"codec {codec}")
    return text.encode("latin1")


# how numpy pickles an array, by pickle protocol; `numpy.core` became `numpy._core` in numpy 2
ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): None,  # only ever handed to _reconstruct
    ("numpy", "dtype"): _Kind,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
    ("_codecs", "encode"): _latin1,  # how Python 3 writes bytes in protocol 2
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        key = module.replace("numpy.core.", "numpy._core."), name
        if key not in ALLOWED:
            raise pickle.UnpicklingError(f"it calls {module}.{name}, which no data file needs")
        return ALLOWED[key]


def read_pickle(data: bytes, where: str) -> dict[str, Any]:
    """The dict that `data` holds, its keys as str; strings of Python 2 stay bytes, arrays are of uint8 or else None.

    Raises:
        UserError: The pickle is truncated, holds no dict, or asks for anything but arrays and plain values.
    """
    try:
        value = _Unpickler(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # a hostile pickle may raise anything
        what = f"not a readable pickle of arrays ({str(error) or type(error).__name__})"
        raise UserError(what, where=where, remedy="get it again") from None
    if not isinstance(value, dict):
        raise UserError("the pickle holds no dict", where=where, remedy="get it again")
    names = [key.decode("latin1") if isinstance(key, bytes) else str(key) for key in value]
    entries = [entry.values if isinstance(entry, _Array) else entry for entry in value.values()]
    return dict(zip(names, entries, strict=True))
