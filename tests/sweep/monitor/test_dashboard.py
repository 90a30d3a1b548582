"""optuna-dashboard reads a sweep's study.journal by its own code: states and all intermediate values."""

import io
import json

import optuna
import pytest

from tests.sweep.search.test_searcher import result, search  # noqa: F401  (a fixture)


def get(app, path):
    """The JSON that a WSGI application answers with."""
    status = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SERVER_NAME": "x", "SERVER_PORT": "80", "QUERY_STRING": ""}
    environ |= {"wsgi.input": io.BytesIO(), "wsgi.errors": io.StringIO(), "wsgi.url_scheme": "http"}
    body = b"".join(app(environ, lambda code, headers, error=None: status.append(code)))
    assert status == ["200 OK"], body
    return json.loads(body)


@pytest.mark.filterwarnings("ignore")
def test_the_dashboard_shows_how_trials_ended(search, tmp_path):  # noqa: F811
    dashboard = pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    found = search(run_cap=4)
    for i in range(3):
        found.suggest(str(i))
        found.on_trial_result(str(i), result(1, 0.1))
    found.on_trial_complete("0", result(3, 0.3))
    found.on_trial_complete("1", result(2, 0.2))  # stopped early
    found.on_trial_complete("2", error=True)
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "out" / "study.journal"))
    app = dashboard.wsgi(optuna.storages.JournalStorage(backend))
    (study,) = get(app, "/api/studies")["study_summaries"]
    assert study["study_name"] == "tiny"
    trials = get(app, f"/api/studies/{study['study_id']}")["trials"]
    assert [trial["state"] for trial in trials] == ["Complete", "Pruned", "Fail"]
    values = [{v["step"]: float(v["value"]) for v in trial["intermediate_values"]} for trial in trials]
    assert values == [{1: 0.1, 3: 0.3}, {1: 0.1, 2: 0.2}, {1: 0.1}]
