"""Servers of our own on the loopback: S3, with a switch that makes it fail, and an instance's metadata."""

import json
import logging
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def s3(_isolated):
    """`url` of a prefix in a bucket; `fails` makes every request end in 503 while it is set."""
    pytest.importorskip("moto", reason="moto is not installed: pip install -e '.[test]'")
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2]))
    server.start()
    state = SimpleNamespace(fails=False, url="s3://results/sweeps", asked=[])
    inner = server._server.app

    def app(environ, start_response):
        state.asked.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if state.fails:
            start_response("503 Service Unavailable", [("Content-Length", "0")])
            return [b""]
        return inner(environ, start_response)

    server._server.app = app
    boto3.client("s3").create_bucket(Bucket="results")
    yield state
    server.stop()


@pytest.fixture
def metadata(monkeypatch):
    """An instance's metadata server on the loopback; `server.notice` is what it tells, `server.url` where it is."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self):
            assert self.path == "/latest/api/token"
            assert int(self.headers["X-aws-ec2-metadata-token-ttl-seconds"]) > 0
            self.answer(200, b"a token")

        def do_GET(self):
            if self.headers["X-aws-ec2-metadata-token"] != "a token":
                self.answer(401, b"")
            elif self.path == "/latest/meta-data/spot/instance-action" and server.notice is not None:
                self.answer(200, json.dumps(server.notice).encode())
            else:
                self.answer(404, b"")

        def answer(self, status, content):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.notice = None
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
