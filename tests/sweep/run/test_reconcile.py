"""A crash between any two of study, records, weights and result, and the next start."""

import json

import numpy as np
import pytest
from optuna.trial import TrialState
from safetensors.numpy import save_file

from hwcls.errors import UserError
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.run.reconcile import reconcile
from hwcls.sweep.search.messages import JOB, EpochReport
from hwcls.sweep.search.pruning import FairScheduler, build_scheduler
from hwcls.sweep.search.searcher import FairSearch
from hwcls.tracking.folders import SweepFolder

ASHA = {"type": "asha", "min_iter": 1, "eta": 2}


class Crashed:
    """A sweep that was cut off, and its next start."""

    def __init__(self, sweep, path):
        self.sweep, self.folder = sweep, SweepFolder(path)
        self.before = self.search()
        self.asked = 0

    def search(self):
        return FairSearch(self.sweep, self.folder, Resources(1, 1, 0.0, 1), {})

    def trial(self, values, *, weights_of=None):
        """Ask for a trial and record `values`, one per epoch; weights of an epoch arrive."""
        job = self.before.suggest(str(self.asked))[JOB]
        folder = self.folder.trial(self.asked)
        for epoch, value in enumerate(values, start=1):
            folder.append({"epoch": epoch, "val/accuracy": value, "seconds": 1.0})
        if weights_of is not None:
            metadata = {"hwcls": json.dumps({"epoch": weights_of})}
            save_file({"w": np.zeros(1, np.float32)}, folder.path / "best.safetensors", metadata)
        self.asked += 1
        return folder, job

    def reconcile(self, asha=None):
        search = self.search()
        reconcile(self.sweep, self.folder, search, asha)
        return search


@pytest.fixture
def crashed(tiny, tmp_path):
    return lambda **changes: Crashed(tiny(run_cap=9, **changes), tmp_path / "out")


def test_complete_in_the_records_is_complete(crashed):
    start = crashed()
    folder, job = start.trial([0.5, 0.9, 0.8], weights_of=2)
    search = start.reconcile()
    result = folder.result()
    assert (result.status, result.best, result.label) == ("complete", {"epoch": 2, "val/accuracy": 0.9}, job.label)
    assert result.parameters == job.parameters
    assert search.study.trials[0].state == TrialState.COMPLETE
    assert search.study.trials[0].value == 0.9
    assert search.unfinished == []


@pytest.mark.parametrize("weights_of", [None, 1], ids=["none", "of an earlier epoch"])
def test_complete_but_without_its_weights_goes_on(crashed, weights_of):
    start = crashed()
    folder, _ = start.trial([0.5, 0.9, 0.8], weights_of=weights_of)
    search = start.reconcile()
    assert folder.result() is None
    assert search.suggest("x")[JOB].key == "trials/0"


def test_in_the_middle_goes_on(crashed):
    start = crashed()
    folder, _ = start.trial([0.5, 0.9], weights_of=2)
    assert [trial.number for trial in start.reconcile().unfinished] == [0]
    assert folder.result() is None


@pytest.mark.parametrize(
    ("epoch", "error", "status"), [(3, False, "complete"), (2, False, "stopped"), (2, True, "failed")]
)
def test_a_trial_that_has_ended_in_the_study_gets_its_result(crashed, epoch, error, status):
    start = crashed()
    folder, _ = start.trial([0.5, 0.9, 0.8][:epoch], weights_of=2)
    report = EpochReport(epoch, 3, 0.8, 0.9)
    start.before.on_trial_complete("0", report.to_result(), error=error)
    start.reconcile()
    assert folder.result().status == status
    assert (folder.path / "error.txt").exists() == (status == "failed")


def test_a_stop_that_was_decided_stays_decided(crashed):
    start = crashed(early_terminate=ASHA, compare=None)
    better, _ = start.trial([0.9], weights_of=1)
    worse, _ = start.trial([0.1], weights_of=1)
    asha = build_scheduler(start.sweep)
    assert isinstance(asha, FairScheduler)
    search = start.reconcile(asha)
    assert worse.result().status == "stopped"
    assert better.result() is None
    assert [trial.number for trial in search.unfinished] == [0]
    assert search.study.trials[1].state == TrialState.PRUNED


def test_trials_that_are_missing_from_the_study(crashed):
    start = crashed()
    start.trial([0.5])
    (start.folder.path / "study.journal").unlink()
    with pytest.raises(UserError, match=r"trial 0 is missing from study\.journal"):
        start.reconcile()
