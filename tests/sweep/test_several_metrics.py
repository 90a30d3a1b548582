"""A search for two metrics on a real Ray, whose driver is killed and which then continues with more trials."""

import json
import signal

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from hwcls.results.confirm.plan import FIRST_SEED
from hwcls.results.front.find import choose_points, find_front
from hwcls.results.load import load_results
from tests.sweep.faults import Disturbed, kill
from tests.sweep.test_promotion import command

pytestmark = pytest.mark.slow


def test_the_front_outlives_the_driver(tmp_path):
    changes = {
        "metric": ["val/accuracy", "cost/latency"],
        "method": "auto",
        "early_terminate": {"type": "asha", "rule": "promotion"},
        "confirm": {"top": 2, "seeds": 2},
    }
    sweep = Disturbed(tmp_path, trials=6, epochs=9, pause=0.05, changes=changes)
    first = command(sweep)
    sweep.wait_until(lambda: len(list(sweep.path.glob("trials/*/result.json"))) >= 1 or first.poll() is not None)
    kill(first.pid)
    output, _ = first.communicate(timeout=60)
    assert first.returncode == -signal.SIGKILL, output
    again = command(sweep)
    output, _ = again.communicate(timeout=300)
    assert again.returncode == 0, output
    loaded = load_results(sweep.path)
    assert len(loaded.trials) == 6
    assert all(trial.cost["latency_ms"] > 0 for trial in loaded.trials)
    storage = JournalStorage(JournalFileBackend(str(sweep.path / "study.journal")))
    study = optuna.load_study(study_name=None, storage=storage)
    for trial, known in zip(loaded.trials, study.trials, strict=True):
        assert known.state.name == {"complete": "COMPLETE", "stopped": "PRUNED"}[trial.status]
        assert known.values in (None, [trial.value, trial.cost["latency_ms"]])
        assert known.user_attrs["costs"] == [trial.cost["latency_ms"]]
    points = [point.trial.number for point in choose_points(loaded, 2)]
    seeds = {FIRST_SEED + 1000 * number + place for number in points for place in range(2)}
    assert {run.seed for run in loaded.confirm} == seeds
    assert all(run.complete and run.test and run.run.cost["latency_ms"] > 0 for run in loaded.confirm)
    on_front = json.loads((sweep.path / "front.json").read_text())
    assert on_front == [point.trial.number for point in find_front(loaded)]
    assert not list(sweep.path.glob("trials/*/cost.json"))
    page = (sweep.path / "report.html").read_text("utf-8")
    assert ">Pareto front</h2>" in page
    assert "confirmed, on test" in page
