"""Images from a server that misbehaves."""

import base64
import contextlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hwcls.inspection import url_image
from hwcls.inspection.url_image import hide_secrets, read_url

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def server():
    """A server's address and the headers it was asked with, by path."""
    asked = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked[self.path] = self.headers
            place = self.path.partition("?")[0]
            if place.startswith(("/to/", "/loop")):
                self.send_response(302)
                self.send_header("Location", self.path.removeprefix("/to/").replace("LOCAL", f"localhost:{port}"))
                self.end_headers()
            elif place in ("/a.jpg", "/a%20b%C3%A9.jpg"):
                self.send_response(200)
                self.send_header("Content-Length", str(len(CONTENT)))
                self.end_headers()
                self.wfile.write(CONTENT)
            elif place == "/short":
                self.send_response(200)
                self.send_header("Content-Length", str(2 * len(CONTENT)))
                self.end_headers()
                self.wfile.write(CONTENT)
            elif place == "/endless":
                self.send_response(200)
                self.end_headers()
                with_suppressed(lambda: [self.wfile.write(CONTENT) for _ in range(100)])
            elif place == "/drip":
                self.send_response(200)
                self.end_headers()
                with_suppressed(lambda: [(self.wfile.write(CONTENT * 30), time.sleep(0.1)) for _ in range(20)])
            elif place == "/silent":
                time.sleep(0.6)
            else:
                self.send_error(404)

        def log_message(self, *words):
            pass

    def with_suppressed(call):
        with contextlib.suppress(OSError):
            call()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        port = running.server_address[1]
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{port}", asked
        running.shutdown()


def problem(url):
    with pytest.raises(OSError) as caught:
        read_url(url)
    return str(caught.value)


def test_an_image_is_read_also_after_a_redirect(server):
    url, asked = server
    assert read_url(f"{url}/a.jpg") == CONTENT
    assert read_url(f"{url}/a bé.jpg") == CONTENT
    assert read_url(f"{url}/to//a.jpg") == CONTENT
    assert asked["/a.jpg"]["User-Agent"] == "hwcls"


def test_a_password_is_sent_to_its_own_host_alone(server):
    url, asked = server
    place = url.removeprefix("http://")
    assert read_url(f"http://me:p%40ss@{place}/a.jpg?1") == CONTENT
    assert asked["/a.jpg?1"]["Authorization"] == f"Basic {base64.b64encode(b'me:p@ss').decode()}"
    assert read_url(f"http://me:pass@{place}/to/http://LOCAL/a.jpg") == CONTENT
    assert asked["/a.jpg"]["Authorization"] is None


def test_what_cannot_be_read_says_why_without_the_url(server, monkeypatch):
    url, _ = server
    assert problem(f"{url}/none?key=s3cret") == "HTTP 404, not found"
    for scheme in ("file:///etc/passwd", "ftp://host/a.jpg"):
        assert "neither http nor https" in problem(f"{url}/to/{scheme}")
    assert "in a circle" in problem(f"{url}/loop")
    assert problem(f"{url}/short") == "the connection ended after 10,240 of 20,480 bytes"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert problem(f"http://me:s3cret@127.0.0.1:{closed.getsockname()[1]}/a.jpg") == "connection refused"
    assert "s3cret" not in problem("http://host:s3cret/a.jpg")
    assert "s3cret" not in problem("http://me:s3cret@host:x/a.jpg")
    assert "name or service" in problem("http://no-such-host.invalid/a.jpg").lower()


def test_size_and_time_are_bounded(server, monkeypatch):
    url, _ = server
    monkeypatch.setattr(url_image, "TIMEOUT", 0.2)
    assert problem(f"{url}/silent") == "no answer within 0 s"
    monkeypatch.setattr(url_image, "MAX_BYTES", 100)
    assert problem(f"{url}/a.jpg") == "has more than 0 MB"
    assert problem(f"{url}/endless") == "has more than 0 MB"
    monkeypatch.setattr(url_image, "MAX_BYTES", 1 << 30)
    monkeypatch.setattr(url_image, "DEADLINE", 0.05)
    assert problem(f"{url}/drip") == "took more than 0 s"


def test_keys_are_hidden():
    assert hide_secrets("http://a/b?X-Amz-Signature=1&id=2&flag") == "http://a/b?X-Amz-Signature=***&id=2&flag"
    assert hide_secrets("https://me@host:8/a?token=") == "https://host:8/a?token=***"
    assert hide_secrets("http://a/b#access_token=1&page=2") == "http://a/b#access_token=***&page=2"
    assert hide_secrets("http://me:pw@[x/a.jpg?key=1") == "http://[x/a.jpg"
