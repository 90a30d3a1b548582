"""Downloads from a server that misbehaves, and imports of what the user has."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from hwcls.config.data import DataConfig
from hwcls.data.catalog import DATA_SETS, Download, locate
from hwcls.data.fetch import BLOCK, fetch_data_set
from hwcls.data.imageset import open_data
from hwcls.errors import UserError


@dataclasses.dataclass
class Server:
    """What each path answers with, and what was asked: (path, Range)."""

    url: str
    data: bytes
    asked: list[tuple[str, str | None]]


@pytest.fixture
def server(make: SimpleNamespace, tmp_path: Path) -> Iterator[Server]:
    archive = tmp_path / "served.tar.gz"
    make.write_cifar(archive)
    state = Server("", archive.read_bytes(), [])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            ranged = self.headers.get("Range")
            state.asked.append((self.path, ranged))
            data, first = state.data, 0
            if self.path == "/forbidden":
                self.send_error(403)
                return
            if self.path == "/wrong":
                data = data[::-1]
            if ranged and self.path == "/complete":
                self.send_error(416)
                return
            if self.path == "/slow":
                time.sleep(0.3)
            if ranged and self.path != "/ignores":
                first = int(ranged.removeprefix("bytes=").rstrip("-"))
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(data) - first))
            self.end_headers()
            cut = self.path in ("/cuts", "/ignores") and len(state.asked) == 1
            if self.path == "/drips":  # a tenth of it, then the line is dead
                self.wfile.write(data[first : first + len(data) // 10 + 1])
            elif self.path != "/silent":
                self.wfile.write(data[first : len(data) // 2 if cut else None])

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}"
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def mirrors(server: Server, change_spec: Callable[..., None]) -> SimpleNamespace:
    """`set(path, ...)` makes these paths of the server the mirrors of cifar10."""

    def use(*paths: str) -> None:
        md5 = hashlib.md5(server.data).hexdigest()
        download = Download("cifar-10-binary.tar.gz", tuple(server.url + path for path in paths), md5)
        change_spec("cifar10", downloads=(download,))

    return SimpleNamespace(set=use)


def test_open_data_fetches_once(server: Server, mirrors: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwcls.data.progress.REPORT_EVERY", -1.0)
    mirrors.set("/good")
    lines: list[str] = []
    assert len(open_data(DataConfig(name="cifar10"), lines.append).train) == 90
    assert fetch_data_set("cifar10") is not None
    assert server.asked == [("/good", None)]
    assert any("MB" in line for line in lines)


def test_an_interrupted_download_is_resumed(server: Server, mirrors: SimpleNamespace) -> None:
    mirrors.set("/cuts")
    place = fetch_data_set("cifar10")
    assert place is not None
    assert place.read_bytes() == server.data
    assert server.asked == [("/cuts", None), ("/cuts", f"bytes={len(server.data) // 2}-")]


def test_a_server_that_ignores_ranges(server: Server, mirrors: SimpleNamespace) -> None:
    mirrors.set("/ignores")
    place = fetch_data_set("cifar10")
    assert place is not None
    assert place.read_bytes() == server.data
    assert len(server.asked) == 2


def test_the_next_mirror_is_tried(server: Server, mirrors: SimpleNamespace) -> None:
    mirrors.set("/forbidden", "/wrong", "/good")
    assert fetch_data_set("cifar10") is not None
    assert [path for path, _ in server.asked] == ["/forbidden", "/wrong", "/good"]


@pytest.mark.parametrize(("path", "message"), [("/forbidden", "403"), ("/wrong", "wrong checksum")])
def test_when_no_mirror_gives_it(
    server: Server, mirrors: SimpleNamespace, tmp_path: Path, path: str, message: str
) -> None:
    mirrors.set(path)
    with pytest.raises(UserError, match=message) as caught:
        open_data(DataConfig(name="cifar10"))
    assert "hwcls data import cifar10 PATH" in str(caught.value)
    assert str(tmp_path / "raw") in str(caught.value)
    assert [path.name for path in (tmp_path / "cache").rglob("*")] == ["raw", ".cifar10.lock"]  # no empty folder


def test_a_refused_connection(change_spec: Callable[..., None]) -> None:
    download = Download("cifar-10-binary.tar.gz", ("http://127.0.0.1:1/x",), "")
    change_spec("cifar10", downloads=(download,))
    with pytest.raises(UserError, match="refused"):
        fetch_data_set("cifar10")


def test_every_mirror_that_failed_is_named(server: Server, mirrors: SimpleNamespace) -> None:
    mirrors.set("/forbidden", "/wrong")
    with pytest.raises(UserError, match=r"/forbidden: HTTP Error 403: Forbidden; .*/wrong: wrong checksum"):
        fetch_data_set("cifar10")


def test_a_partial_download_is_never_taken_for_complete(
    server: Server, mirrors: SimpleNamespace, tmp_path: Path
) -> None:
    mirrors.set("/silent")
    folder = tmp_path / "cache" / "raw" / "cifar10"
    folder.mkdir(parents=True)
    part = folder / "cifar-10-binary.tar.gz.part"
    part.write_bytes(server.data[:1000])
    with pytest.raises(UserError, match="the connection ended after 1,000 of"):
        fetch_data_set("cifar10")
    assert locate("cifar10") is None
    assert part.read_bytes() == server.data[:1000]  # the next download resumes here
    mirrors.set("/good")
    assert fetch_data_set("cifar10") is not None
    assert server.asked[-1] == ("/good", "bytes=1000-")
    assert not part.exists()


@pytest.mark.parametrize("path", ["/good", "/complete"])
def test_a_wrong_part_is_thrown_away_and_got_again(
    server: Server, mirrors: SimpleNamespace, tmp_path: Path, path: str
) -> None:
    mirrors.set(path)
    part = tmp_path / "cache" / "raw" / "cifar10" / "cifar-10-binary.tar.gz.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"of another file" * 10)
    place = fetch_data_set("cifar10")
    assert place is not None
    assert place.read_bytes() == server.data
    assert server.asked == [(path, "bytes=150-"), (path, None)]


def test_a_mirror_that_keeps_disconnecting_is_retried_a_few_times(server: Server, mirrors: SimpleNamespace) -> None:
    mirrors.set("/drips", "/good")
    assert fetch_data_set("cifar10") is not None
    assert [path for path, _ in server.asked] == ["/drips"] * 5 + ["/good"]
    assert server.asked[-1][1] is not None  # what the first mirror gave is kept


def test_two_processes_fetch_once(server: Server, mirrors: SimpleNamespace, tmp_path: Path) -> None:
    mirrors.set("/slow")
    download = DATA_SETS["cifar10"].downloads[0]
    code = f"""
import dataclasses
from hwcls.data.catalog import DATA_SETS, Download
from hwcls.data.fetch import fetch_data_set
DATA_SETS.register("cifar10")(dataclasses.replace(DATA_SETS["cifar10"], downloads=({download!r},)))
print(fetch_data_set("cifar10"))
"""
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    places = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert places == [str(tmp_path / "cache" / "raw" / "cifar10" / "cifar-10-binary.tar.gz")] * 2
    assert server.asked == [("/slow", None)]


def test_full_disk(server: Server, mirrors: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirrors.set("/good", "/good")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        with pytest.raises(UserError, match=f"disk is full: {len(server.data):,} bytes are needed"):
            fetch_data_set("cifar10")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(UserError, match="the disk is full"):
            fetch_data_set("cifar10")
    assert len(server.asked) == 2  # another mirror would not help
    assert locate("cifar10") is None


def test_a_bar_gets_every_step(server: Server, mirrors: SimpleNamespace) -> None:
    mirrors.set("/good")

    class Bar:
        steps: ClassVar[list[tuple[str, int, int]]] = []

        def __call__(self, line: str) -> None:
            raise AssertionError(line)

        def step(self, task: str, done: int, total: int) -> None:
            self.steps.append((task, done, total))

    fetch_data_set("cifar10", Bar())
    size = len(server.data)
    assert Bar.steps[-1] == ("cifar-10-binary.tar.gz", size, size)
    assert len(Bar.steps) == -(-size // BLOCK)


@pytest.mark.parametrize(
    ("name", "message"), [("nosuch", "unknown data set"), ("imagefolder", "data import NAME PATH")]
)
def test_what_cannot_be_fetched(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        fetch_data_set(name)
    assert "data.name" not in str(caught.value)
