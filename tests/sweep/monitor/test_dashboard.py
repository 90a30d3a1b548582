"""optuna-dashboard shows how the trials of a sweep ended, with all intermediate values, and writes nothing."""

import io
import json

import optuna
import pytest

from hwcls.sweep.monitor.dashboard import ReadOnlyJournal
from tests.sweep.search.test_searcher import result, search  # noqa: F401  (a fixture)


def request(app, path, method="GET", sent=None):
    """The status and the JSON that a WSGI application answers with."""
    status, content = [], json.dumps(sent).encode()
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "SERVER_NAME": "x", "SERVER_PORT": "80", "QUERY_STRING": ""}
    environ |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(content))}
    environ |= {"wsgi.input": io.BytesIO(content), "wsgi.errors": io.StringIO(), "wsgi.url_scheme": "http"}
    body = b"".join(app(environ, lambda code, headers, error=None: status.append(code)))
    return status[0], json.loads(body)


def get(app, path):
    status, found = request(app, path)
    assert status == "200 OK", found
    return found


@pytest.mark.filterwarnings("ignore")
def test_the_dashboard_shows_how_trials_ended_and_changes_nothing(search, tmp_path):  # noqa: F811
    dashboard = pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    found = search(run_cap=4)
    for i in range(3):
        found.suggest(str(i))
        found.on_trial_result(str(i), result(1, 0.1))
    found.on_trial_complete("0", result(3, 0.3))
    found.on_trial_complete("1", result(2, 0.2))  # stopped early
    found.on_trial_complete("2", error=True)
    journal = tmp_path / "out" / "study.journal"
    app = dashboard.wsgi(optuna.storages.JournalStorage(ReadOnlyJournal(str(journal))))
    (study,) = get(app, "/api/studies")["study_summaries"]
    assert study["study_name"] == "tiny"
    trials = get(app, f"/api/studies/{study['study_id']}")["trials"]
    assert [trial["state"] for trial in trials] == ["Complete", "Pruned", "Fail"]
    values = [{v["step"]: float(v["value"]) for v in trial["intermediate_values"]} for trial in trials]
    assert values == [{1: 0.1, 3: 0.3}, {1: 0.1, 2: 0.2}, {1: 0.1}]
    before = journal.read_bytes()
    note = {"body": "x", "version": 1}
    refused = request(app, f"/api/studies/{study['study_id']}/note", "PUT", note)
    assert refused == ("403 Forbidden", {"reason": "hwcls dashboard shows a sweep's study and does not change it"})
    assert request(app, f"/api/studies/{study['study_id']}", "DELETE")[0] == "403 Forbidden"
    renamed = request(app, f"/api/studies/{study['study_id']}/rename", "POST", {"study_name": "renamed"})
    assert renamed[0] == "500 Internal Server Error"  # optuna-dashboard's own error handler fails
    assert journal.read_bytes() == before
    assert get(app, "/api/studies")["study_summaries"] == [study]
