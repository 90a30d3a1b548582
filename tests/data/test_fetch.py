"""Downloads from a server that misbehaves, and imports of what the user has."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from hwcls.config.data import DataConfig
from hwcls.data.catalog import SOURCES, Download
from hwcls.data.fetch import fetch
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
            if ranged and self.path != "/ignores":
                first = int(ranged.removeprefix("bytes=").rstrip("-"))
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(data) - first))
            self.end_headers()
            cut = self.path in ("/cuts", "/ignores") and len(state.asked) == 1
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
def mirrors(server: Server, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """`set(path, ...)` makes these paths of the server the mirrors of cifar10."""

    def use(*paths: str) -> None:
        md5 = hashlib.md5(server.data).hexdigest()
        download = Download("cifar-10-binary.tar.gz", tuple(server.url + path for path in paths), md5)
        monkeypatch.setitem(SOURCES, "cifar10", dataclasses.replace(SOURCES["cifar10"], downloads=(download,)))

    return SimpleNamespace(set=use)


def test_open_data_fetches_once(server: Server, mirrors: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwcls.data.progress.SAY_EVERY", -1.0)
    mirrors.set("/good")
    lines: list[str] = []
    assert len(open_data(DataConfig(name="cifar10"), lines.append).train) == 90
    assert fetch("cifar10") is not None
    assert server.asked == [("/good", None)]
    assert any("MB" in line for line in lines)


def test_a_cut_connection_goes_on_where_it_was(server: Server, mirrors: SimpleNamespace) -> None:
    mirrors.set("/cuts")
    place = fetch("cifar10")
    assert place is not None
    assert place.read_bytes() == server.data
    assert server.asked == [("/cuts", None), ("/cuts", f"bytes={len(server.data) // 2}-")]


def test_a_server_that_ignores_ranges(server: Server, mirrors: SimpleNamespace) -> None:
    mirrors.set("/ignores")
    place = fetch("cifar10")
    assert place is not None
    assert place.read_bytes() == server.data
    assert len(server.asked) == 2


def test_the_next_mirror_is_tried(server: Server, mirrors: SimpleNamespace) -> None:
    mirrors.set("/forbidden", "/wrong", "/good")
    assert fetch("cifar10") is not None
    assert [path for path, _ in server.asked] == ["/forbidden", "/wrong", "/good"]


@pytest.mark.parametrize(("path", "says"), [("/forbidden", "403"), ("/wrong", "wrong checksum")])
def test_when_no_mirror_gives_it(
    server: Server, mirrors: SimpleNamespace, tmp_path: Path, path: str, says: str
) -> None:
    mirrors.set(path)
    with pytest.raises(UserError, match=says) as caught:
        open_data(DataConfig(name="cifar10"))
    assert "hwcls data import cifar10 PATH" in str(caught.value)
    assert str(tmp_path / "raw") in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*.tar.gz"))


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    download = Download("cifar-10-binary.tar.gz", ("http://127.0.0.1:1/x",), "")
    monkeypatch.setitem(SOURCES, "cifar10", dataclasses.replace(SOURCES["cifar10"], downloads=(download,)))
    with pytest.raises(UserError, match="refused"):
        fetch("cifar10")
