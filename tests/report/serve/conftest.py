"""A folder of sweeps, and a server of it in a thread."""

from __future__ import annotations

import http.client
import threading
from types import SimpleNamespace

import pytest

from hwcls.report.serve.listen import HOST, listen
from hwcls.report.serve.server import serve
from tests.results.conftest import results  # noqa: F401  (a fixture)


@pytest.fixture
def folder(results, tmp_path):  # noqa: F811
    """The sweep `tiny`, interrupted, without a page."""
    results.full(tmp_path / "results" / "tiny")
    return tmp_path / "results"


@pytest.fixture
def server(folder):
    """`ask(path)` returns the response, with its text as `body`."""
    listening = listen(0)
    port = listening.getsockname()[1]

    def ask(path, method="GET", **headers):
        connection = http.client.HTTPConnection(HOST, port, timeout=60)
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        response.body = response.read().decode()
        connection.close()
        return response

    with serve(folder, listening) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield SimpleNamespace(ask=ask, port=port, library=serving.library, close=serving.server_close)
        serving.shutdown()
        thread.join()
