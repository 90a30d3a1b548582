"""CIFAR-10's Python version: read as Python 2 wrote it, and refused where a pickle wants more than arrays."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hwcls.config.data import DataConfig
from hwcls.data.formats.restricted_pickle import read_pickle
from hwcls.data.imageset import open_data
from hwcls.data.importer import import_data_set
from hwcls.errors import UserError


def python2(planes: np.ndarray, labels: list[int]) -> bytes:
    """A batch as the real archive has it: protocol 2 of Python 2, str keys and an array of numpy.core."""

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<I", len(value)) + value  # BINSTRING, a str of Python 2

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    dtype = b"cnumpy\ndtype\n" + text(b"u1") + number(0) + number(1) + b"\x87R"
    dtype += b"(" + number(3) + text(b"|") + b"NNN" + number(-1) * 2 + number(0) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + text(b"b") + b"\x87R"
    array += b"(" + number(1) + number(planes.shape[0]) + number(planes.shape[1]) + b"\x86" + dtype
    array += b"\x89" + text(planes.tobytes()) + b"tb"
    listed = b"](" + b"".join(map(number, labels)) + b"e"
    entries = [(b"batch_label", text(b"training batch 1 of 5")), (b"labels", listed), (b"data", array)]
    return b"\x80\x02}(" + b"".join(text(key) + value for key, value in entries) + b"u."


def python3(protocol: int, module: str = "numpy._core") -> Callable[[np.ndarray, list[int]], bytes]:
    def write(planes: np.ndarray, labels: list[int]) -> bytes:
        data = pickle.dumps({b"data": planes, b"labels": labels, b"batch_label": b"x"}, protocol)
        return data.replace(b"numpy._core.multiarray\n", module.encode() + b".multiarray\n")

    return write


def write_python(folder: Path, make: Any, write: Callable[[np.ndarray, list[int]], bytes]) -> np.ndarray:
    images = make.noise(7, 60, 32, 32, 3)
    folder.mkdir(parents=True)
    for k, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        planes = images[10 * k : 10 * k + 10].transpose(0, 3, 1, 2).reshape(10, -1)
        (folder / name).write_bytes(write(np.ascontiguousarray(planes), list(range(10))))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": []}, 2))
    return images


@pytest.mark.parametrize(
    "write", [python2, python3(2), python3(2, "numpy.core"), python3(4), python3(5)], ids=["py2", "2", "2c", "4", "5"]
)
def test_every_protocol(make: SimpleNamespace, raw: Path, write: Callable[[np.ndarray, list[int]], bytes]) -> None:
    images = write_python(raw / "cifar-10-batches-py", make, write)
    data = open_data(DataConfig(name="cifar10"))
    assert np.array_equal(data.train.images, images[:50])
    assert np.array_equal(data.test.images, images[50:])
    assert data.test.labels.tolist() == list(range(10))
    assert data.classes[3] == "cat"


def test_the_archive_is_imported_and_opened(make: SimpleNamespace, tmp_path: Path) -> None:
    images = write_python(tmp_path / "cifar-10-batches-py", make, python2)
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "cifar-10-batches-py", "cifar-10-batches-py")
    import_data_set("cifar10", tmp_path / "cifar-10-python.tar.gz")
    shutil.rmtree(tmp_path / "cifar-10-batches-py")
    assert np.array_equal(open_data(DataConfig(name="cifar10")).train.images, images[:50])


class Call:
    """Pickled as a call of any function."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("call", [Call(os.system, "touch hacked"), Call(eval, "1"), Call(getattr, "", "join")])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_calls_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call, protocol: int) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"it calls .*, which no data file needs"):
        read_pickle(pickle.dumps({"data": call}, protocol), "data_batch_1")
    assert not list(tmp_path.glob("hacked"))


HOSTILE = """
from hwcls.data.formats.restricted_pickle import read_pickle

def text(value):
    return b"X" + len(value).to_bytes(4, "little") + value

dtype = b"cnumpy\\ndtype\\n"
data = b"\\x80\\x04" + dtype + text(b"V8") + b"\\x89\\x88\\x87Rq\\x000"  # a dtype of 8 opaque bytes
data += b"cnumpy.core.multiarray\\n_reconstruct\\n(cnumpy\\nndarray\\nK\\x00\\x85C\\x01btRq\\x01"
data += b"(K\\x01K\\x01\\x85h\\x00\\x89C\\x08" + b"A" * 8 + b"tb0"  # an array of it
state = b"(K\\x03" + text(b"|") + b"N" + text(b"f") + b"\\x85}" + text(b"f") + dtype + text(b"O8")
data += b"h\\x00" + state + b"\\x89\\x88\\x87RK\\x00\\x86sK\\x08K\\x01K\\x3ftb0"  # the dtype becomes one of addresses
entries = read_pickle(data + b"}" + text(b"data") + b"h\\x01s.", "x")
print(entries)
del entries
"""


def test_a_dtype_cannot_be_changed_below_its_array() -> None:
    """In a process of its own: where it can, freeing the array is a segmentation fault."""
    done = subprocess.run([sys.executable, "-c", HOSTILE], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "{'data': None}\n")


def test_an_array_in_columns(make: SimpleNamespace) -> None:
    planes = np.asfortranarray(make.noise(0, 3, 5))
    for protocol in (2, 5):
        assert np.array_equal(read_pickle(pickle.dumps({"data": planes}, protocol), "x")["data"], planes)


def test_codecs_are_latin1_alone() -> None:
    assert read_pickle(
        b"\x80\x02}X\x01\x00\x00\x00ac_codecs\nencode\nX\x01\x00\x00\x00\xc3X\x06\x00\x00\x00latin1\x86Rs.".replace(
            b"X\x01\x00\x00\x00\xc3", b"X\x02\x00\x00\x00\xc3\xa9"
        ),
        "x",
    ) == {"a": b"\xe9"}
    with pytest.raises(UserError, match="codec zlib"):
        read_pickle(b"\x80\x02}X\x01\x00\x00\x00ac_codecs\nencode\nX\x01\x00\x00\x00bX\x04\x00\x00\x00zlib\x86Rs.", "x")


def test_what_is_not_a_batch(make: SimpleNamespace, raw: Path) -> None:
    folder = raw / "cifar-10-batches-py"
    write_python(folder, make, python2)
    good = (folder / "data_batch_2").read_bytes()
    bad: list[tuple[bytes, str]] = [
        (good[:-100], "not a readable pickle"),
        (b"", "not a readable pickle"),
        (pickle.dumps([1]), "holds no dict"),
        (pickle.dumps({"labels": [1]}), "no array 'data'"),
        (pickle.dumps({"data": np.zeros((3, 3072))}), "no array 'data' of uint8"),
        (pickle.dumps({"data": np.zeros((3, 3072), np.uint8), "labels": [1, 2]}), "2 labels of 3 images"),
        (pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [10]}), "not in 0..9"),
        (pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": ["x"]}), "no list 'labels'"),
    ]
    for data, message in bad:
        (folder / "data_batch_2").write_bytes(data)
        with pytest.raises(UserError, match=message) as caught:
            open_data(DataConfig(name="cifar10"))
        assert str(folder / "data_batch_2") in str(caught.value)
    (folder / "data_batch_2").unlink()
    with pytest.raises(UserError, match="data_batch_2 is missing"):
        open_data(DataConfig(name="cifar10"))


def test_a_huge_array_is_refused() -> None:
    file = io.BytesIO(python2(np.zeros((1, 3072), np.uint8), [0]))
    huge = file.getvalue().replace(b"J\x01\x00\x00\x00J\x00\x0c\x00\x00\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86")
    with pytest.raises(UserError, match="not a readable pickle of arrays"):
        read_pickle(huge, "x")
