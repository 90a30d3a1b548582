"""A crash between any two of study, records, weights and result, and the next start."""

import json
from dataclasses import replace

import numpy as np
import pytest
from optuna.trial import TrialState
from safetensors.numpy import save_file

from hwcls.errors import UserError
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.run.callback import build_result
from hwcls.sweep.run.reconcile import end_paused, read_unfinished, reconcile
from hwcls.sweep.search.messages import JOB, EpochReport
from hwcls.sweep.search.pruning import FairScheduler, build_scheduler
from hwcls.sweep.search.searcher import FairSearch
from hwcls.sweep.search.stopping.paused import PausedTrials
from hwcls.tracking.folders import SweepFolder

ASHA = {"type": "asha", "rule": "stopping", "min_iter": 1, "eta": 2}


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


PROMOTION = {"type": "asha", "rule": "promotion", "min_iter": 1}


def promoted(start):
    """The next start, whose search knows the paused trials."""
    scheduler, search = build_scheduler(start.sweep), start.search()
    search.paused = PausedTrials(start.sweep, scheduler)
    reconcile(start.sweep, start.folder, search, scheduler)
    return search


def test_trials_at_a_rung_are_paused(crashed):
    start = crashed(early_terminate=PROMOTION, compare=None)
    for value in (0.5, 0.6):
        start.trial([value], weights_of=1)
    between, _ = start.trial([0.1, 0.2], weights_of=2)
    search = promoted(start)
    assert set(search.paused) == {"trials/0", "trials/1"}
    assert [trial.number for trial in search.unfinished] == [2]
    assert start.folder.trial(0).paused().status == "stopped"
    assert between.paused() is None
    assert [search.suggest(str(n))[JOB].key for n in range(2)] == ["trials/2", "trials/1"]  # the best third of three


def test_short_trials_are_complete_at_their_own_end(crashed):
    """Where `epochs` is searched; one that has ended may have a damaged config."""
    short = [{"epochs": 2}] * 3
    start = crashed(early_terminate=PROMOTION, compare=None, first=short, parameters={"epochs": {"values": [2, 9]}})
    for value in (0.5, 0.6, 0.7):
        start.trial([value, value], weights_of=1)
    ended = start.folder.trial(2)
    ended.write_result(build_result(ended, start.sweep.config.metric, "complete", None, {}))
    (ended.path / "config.yaml").write_text("{")
    live, replayed = build_scheduler(start.sweep), build_scheduler(start.sweep)
    for number, value in enumerate((0.5, 0.6)):
        for epoch in (1, 2):
            live.stops(None, f"trials/{number}", EpochReport(epoch, 2, value, value))
    search = start.search()
    search.paused = PausedTrials(start.sweep, replayed)
    reconcile(start.sweep, start.folder, search, replayed)
    assert replayed.complete == live.complete
    assert [start.folder.trial(number).result().status for number in (0, 1)] == ["complete"] * 2


def test_what_paused_and_interrupted_trials_have_reached_is_known_at_the_next_start(crashed):
    start = crashed(early_terminate=PROMOTION, compare=None)
    for values, weights_of in (([0.5], 1), ([0.6], 1), ([0.3, 0.2], None), ([], None)):
        start.trial(values, weights_of=weights_of)
    found = read_unfinished(start.sweep, start.folder.trials(), promoted(start))
    assert start.folder.trial(0).paused()
    reached = {key: (result.best["epoch"], result.best["val/accuracy"]) for key, result in found.items()}
    assert reached == {"trials/0": (1, 0.5), "trials/1": (1, 0.6), "trials/2": (1, 0.3)}


def test_a_trial_that_paused_without_its_weights_resumes(crashed):
    start = crashed(early_terminate=PROMOTION, compare=None)
    start.trial([0.5])
    search = promoted(start)
    assert not search.paused
    assert [trial.number for trial in search.unfinished] == [0]


def test_paused_trials_end_with_what_they_had(crashed):
    start = crashed(early_terminate=PROMOTION, compare=None)
    folder, _ = start.trial([0.5], weights_of=1)
    known = replace(build_result(folder, start.sweep.config.metric, "stopped", None, {}), micro_batch=8)
    folder.pause(known)
    search = promoted(start)
    ((key, result),) = end_paused(start.sweep, start.folder, search, last=True)
    assert (key, result.status, result.micro_batch) == ("trials/0", "stopped", 8)
    assert folder.result() == result
    assert folder.paused() is None
    assert search.study.trials[0].state == TrialState.PRUNED
    assert not search.paused


def test_the_result_comes_last_where_the_driver_dies_as_trials_end(crashed):
    """Their results are written before the study has them."""
    start = crashed(early_terminate=PROMOTION, compare=None)
    folder, _ = start.trial([0.5], weights_of=1)
    folder.pause(build_result(folder, start.sweep.config.metric, "stopped", None, {}))
    folder.write_result(folder.paused())
    search = promoted(start)
    assert not search.paused
    assert search.study.trials[0].state == TrialState.PRUNED
