"""An S3 server of our own on the loopback, with a switch that makes it fail."""

import logging
import os
from types import SimpleNamespace

import pytest

from tests.sweep.conftest import run, sweep_file, tiny  # noqa: F401  (fixtures)


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
