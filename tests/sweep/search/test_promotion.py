"""Successive halving by promotion: the race, the scheduler, and the search that resumes what pauses."""

import heapq
import random
from collections import Counter
from types import SimpleNamespace

import pytest
from optuna.trial import Trial, TrialState
from ray.tune.search import Searcher

from hwcls.config.sweep import parse_early_stopping
from hwcls.config.sweep_file import load_sweep
from hwcls.errors import UserError
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.run.callback import build_result
from hwcls.sweep.run.reconcile import end_paused, reconcile
from hwcls.sweep.search.messages import JOB, EpochReport
from hwcls.sweep.search.optuna_private import shown_to_sampler
from hwcls.sweep.search.pruning import build_scheduler
from hwcls.sweep.search.searcher import FairSearch
from hwcls.sweep.search.stopping.paused import LOOKS, PausedTrials
from hwcls.sweep.search.stopping.promotion import LEAST, Promotion, expected_epochs, going_on
from hwcls.tracking.folders import SweepFolder, TrialFolder

module = "hwcls.sweep.search.stopping.promotion"
PROMOTION = {"type": "asha", "rule": "promotion", "eta": 2}
FIRST, EPOCHS = 1, 8
RUNGS = [1, 2, 4]


@pytest.fixture
def least(monkeypatch):
    """Fewer go on, so that fewer trials show what happens."""
    monkeypatch.setattr(f"{module}.LEAST", 3)


def race(values, rungs=(1, 3, 9), eta=3, trials=None, complete=0):
    """A race in which trials 0, 1, ... have come to the first rung with these values, and others to their end."""
    found = Promotion(rungs, "max", eta)
    if trials is not None:
        found.expect(trials)
    for number in range(complete):
        found.end(f"complete {number}")
    for number, value in enumerate(values):
        found.stops(str(number), rungs[0], value, value)
    return found


def test_a_trial_waits_until_it_is_among_the_best_third():
    found = race([0.5, 0.7, 0.4])
    assert found.waiting == {"0": 1, "1": 1, "2": 1}  # of the first two none continues, and the third is the worst
    assert found.promotable(last=False, lowest=0) == "1"
    found.leave("1")
    assert found.promotable(last=False, lowest=0) is None
    assert not found.stops("3", 1, 0.9, 0.9)  # the best one continues at once
    assert [found.stops(str(number), 1, 0.1, 0.1) for number in (4, 5)] == [True, True]
    assert found.promotable(last=False, lowest=0) is None  # 1 and 3 are the best third of six
    for number in (6, 7, 8):
        found.stops(str(number), 1, 0.1, 0.1)
    assert found.promotable(last=False, lowest=0) == "0"


def test_between_rungs_no_trial_pauses():
    found = race([0.5])
    assert [found.stops("0", epoch, 0.5, 0.5) for epoch in (2, 3, 4)] == [False, True, False]


def test_a_lower_loss_goes_on():
    found = Promotion([1], "min", 2)
    assert [found.stops(str(number), 1, value, value) for number, value in enumerate([0.4, 0.9, 0.2])] == [1, 1, 0]


def test_the_highest_rung_goes_first():
    found = race([1 - 0.05 * number for number in range(12)])
    for key in ("0", "1", "2"):
        found.leave(key)
        found.stops(key, 3, 0.5, 0.5)
    assert found.promotable(last=False, lowest=0) == "0"  # the first of equal ones
    found.leave("0")
    assert found.promotable(last=False, lowest=0) == "3"


def test_at_the_end_at_least_three_go_on_once_nothing_comes_to_their_rung(least):
    found = race([0.4, 0.3, 0.2, 0.1])
    found.leave("0")
    assert found.promotable(last=False, lowest=0) is None
    assert found.promotable(last=True, lowest=0) is None  # one that runs may come to the first rung
    assert found.promotable(last=True, lowest=1) == "1"
    found.leave("1")
    assert found.promotable(last=True, lowest=1) == "2"
    found.leave("2")
    assert found.promotable(last=True, lowest=1) is None
    found.stops("0", 3, 0.4, 0.4)
    assert found.promotable(last=True, lowest=1) is None  # 1 and 2 come to the second
    for key in ("1", "2"):
        found.stops(key, 3, 0.2, 0.2)
    assert found.promotable(last=True, lowest=3) == "0"


def test_after_a_restart_each_that_stands_at_a_rung_waits():
    """Entered in another order than it came, it may have gone on at once."""
    found = race([0.1, 0.2, 0.9])
    assert found.waiting == {"0": 1, "1": 1}
    assert [found.hold("2", 1), found.hold("0", 1), found.hold("3", 2)] == [True, True, False]
    assert found.promotable(last=False, lowest=0) == "2"


def test_one_that_cannot_go_on_any_more_is_out(least):
    found = race([0.9, 0.8, 0.7, 0.6], trials=9, complete=3)  # 3 of 9 go on from the first rung, and LEAST from each
    assert found.out() == ["3"]
    found.stops("4", 1, 0.1, 0.1)
    assert found.out() == ["4", "3"]
    assert race([0.9, 0.8, 0.7, 0.6], complete=3).out() == []  # nobody knows how many come
    early = race([0.9, 0.8, 0.7, 0.6], trials=9, complete=2)
    assert (early.out(), early.is_out("3")) == ([], False)  # those ahead of it may fail
    early.end("0")
    assert (early.out(), early.is_out("3")) == (["3"], True)


def test_one_that_fails_gives_its_place_to_the_next(least):
    found = race([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], trials=9)
    gone = []
    while (key := found.promotable(last=True, lowest=1)) is not None:
        found.leave(key)
        gone.append(key)
    assert gone == ["0", "1", "2"]
    found.stops("0", 3, 0.9, 0.9)
    found.fail("0")
    found.fail("3")  # one that waits
    found.fail("9")  # one that never came
    assert [found.promotable(last=True, lowest=1) for _ in range(2)] == ["4", "4"]
    assert not found.waits("0")
    found.leave("4")
    assert found.promotable(last=True, lowest=1) is None


@pytest.mark.parametrize("failed", [["0", "1"], ["6", "7"]])
def test_failed_ones_do_not_lower_how_many_are_trained_to_their_end(failed):
    """Of eight, two fail: after the first rung or before it."""
    found = race([1 - 0.1 * number for number in range(8 if "0" in failed else 6)], trials=8)
    for key in failed:
        found.fail(key)
    gone = 0
    while (key := found.promotable(last=True, lowest=1)) is not None:
        found.leave(key)
        gone += 1
    assert gone == LEAST == 6


def test_trials_too_short_for_the_first_rung_do_not_raise_how_many_go_on():
    """Where `epochs` is searched: of four that come to it three are trained to their end."""
    found = race([0.9, 0.8, 0.7, 0.6], rungs=(3, 9), trials=8)
    for key in ("short 0", "short 1", "short 2", "short 3"):
        assert not found.stops(key, 2, 0.5, 0.5)
        found.end(key)
    gone = 0
    while (key := found.promotable(last=True, lowest=3)) is not None:
        found.leave(key)
        gone += 1
    assert gone == 3


@pytest.mark.parametrize("seed", range(5))
def test_no_one_that_is_out_would_go_on(seed):
    chance = random.Random(seed)
    values = [chance.random() for _ in range(30)]
    bounded, free = race([], trials=30, complete=LEAST), race([])
    out = set()
    for number, value in enumerate(values):
        for found in (bounded, free):
            found.stops(str(number), 1, value, value)
        out |= set(bounded.out())
    best = sorted(range(30), key=lambda number: -values[number])
    assert out == {str(number) for number in best[10:]} & set(bounded.waiting)
    while (key := free.promotable(last=True, lowest=1)) is not None:
        assert key not in out
        free.leave(key)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_records_does_not_matter(seed):
    chance = random.Random(seed)
    curves = {str(number): [chance.random() for _ in range(chance.choice([1, 2, 3, 5]))] for number in range(20)}
    found = []
    for order in (list(curves), sorted(curves)):
        one = Promotion([1, 3], "max", 3)
        for key in order:
            for epoch, value in enumerate(curves[key], 1):
                one.stops(key, epoch, value, max(curves[key][:epoch]))
        found.append(([rung.order for rung in one.rungs.values()], one.promotable(last=True, lowest=9)))
    assert found[0][0] == found[1][0]


@pytest.mark.parametrize(("trials", "least"), [(1, 1), (2, 2), (3, 2), (4, 3), (6, 4), (7, 5), (8, 6), (64, 6)])
def test_of_few_trials_two_thirds_go_on(trials, least):
    assert going_on(trials, 3, 9) == least
    found = race([1 - 0.01 * number for number in range(trials)], trials=trials)
    gone = []
    while (key := found.promotable(last=True, lowest=1)) is not None:
        found.leave(key)
        gone.append(key)
    assert gone == [str(number) for number in range(max(least, trials // 3))]


@pytest.mark.parametrize(("trials", "epochs"), [(64, 64 + 21 * 2 + 7 * 6 + 3 * 18), (2, 2 * 27), (9, 9 + 3 * 26)])
def test_the_epochs_that_it_takes(least, trials, epochs):
    assert expected_epochs([1, 3, 9], 27, 3, trials) == epochs
    assert [going_on(trials, 3, place) for place in (1, 2, 3)][-1] == min(trials, 3)


# --- the search ---


class Driver:
    """A sweep without Tune: virtual workers, records on disk; it can be killed after any event.

    `failing`: the trials that fail in their second epoch; `stopped`: those that a user stops after it.
    """

    def __init__(self, sweep, path, workers=3, failing=(), stopped=()):
        self.failing, self.stopped = failing, stopped
        self.sweep, self.folder, self.workers = sweep, SweepFolder(path), workers
        self.search = FairSearch(sweep, self.folder, Resources(1, 1, 0.0, workers), {})
        self.scheduler = build_scheduler(sweep)
        self.search.paused = PausedTrials(sweep, self.scheduler)
        reconcile(sweep, self.folder, self.search, self.scheduler)
        self.running = []  # (time, order, Tune's id, job, epoch)
        self.asked, self.now = 0, 0.0
        self.resumed = Counter()

    def run(self, events=10**6):
        for _ in range(events):
            while len(self.running) < self.workers and self._begin():
                pass
            if not self.running:
                end_paused(self.sweep, self.folder, self.search, last=True)
                return self
            self._epoch()
        return self

    def _begin(self):
        config = self.search.suggest(str(self.asked))
        if config is None or config == Searcher.FINISHED:
            assert config is None or not self.running or not self.scheduler.config.pauses
            return False
        job, folder = config[JOB], self.folder.trial(int(config[JOB].key.rpartition("/")[2]))
        if folder.last_epoch():
            self.resumed[job.key] += 1
        folder.resume()
        heapq.heappush(self.running, (self.now + 1 + self.asked % 3, self.asked, job, folder.last_epoch()))
        self.asked += 1
        return True

    def _epoch(self):
        self.now, number, job, epoch = heapq.heappop(self.running)
        folder = self.folder.trial(int(job.key.rpartition("/")[2]))
        epoch += 1
        if job.key in self.failing and epoch == 2:
            self.search.on_trial_complete(str(number), error=True)
            folder.write_result(build_result(folder, self.sweep.config.metric, "failed", job.label, {}))
            end_paused(self.sweep, self.folder, self.search)
            return
        folder.append({"epoch": epoch, "val/accuracy": value(job.key, epoch), "seconds": 1.0})
        report = EpochReport(epoch, EPOCHS, value(job.key, epoch), value(job.key, epoch), seconds=1.0)
        stopped = self.scheduler.stops(job.label, job.key, report)
        if job.key in self.stopped and epoch == 2:
            folder.request_stop()
            self.search.on_trial_complete(str(number), report.to_result())
            folder.write_result(build_result(folder, self.sweep.config.metric, "stopped_by_user", job.label, {}))
            end_paused(self.sweep, self.folder, self.search)
            return
        if not stopped and not report.done:
            self.search.on_trial_result(str(number), report.to_result())
            heapq.heappush(self.running, (self.now + 1, number, job, epoch))
            return
        if stopped:
            self.scheduler.pause(job.label, job.key)
        self.search.on_trial_complete(str(number), report.to_result())
        known = self.search.known_trials()[int(job.key.rpartition("/")[2])].params
        status = "complete" if report.done else "stopped"
        result = build_result(
            folder, self.sweep.config.metric, status, job.label, self.sweep.space.flat_settings(known)
        )
        if job.key in self.search.paused:
            folder.pause(result)
        else:
            folder.write_result(result)
        end_paused(self.sweep, self.folder, self.search)

    def epochs(self):
        return {number: trial.last_epoch() for number, trial in self.folder.trials().items()}

    def status(self):
        return {number: trial.result() and trial.result().status for number, trial in self.folder.trials().items()}


def value(key, epoch):
    """Of a trial at an epoch: the trials differ from the first epoch on, and all rise."""
    number = int(key.rpartition("/")[2])
    return round(random.Random(number).random() + 0.001 * epoch, 6)


@pytest.fixture
def driver(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("hwcls.sweep.run.reconcile._has_weights", lambda *arguments: True)

    def build(failing=(), stopped=(), **changes):
        settings = {"run_cap": 16, "early_terminate": PROMOTION, "compare": None, "method": "random"}
        settings |= {"keep": "best", "parameters": {"epochs": EPOCHS}, **changes}
        return Driver(tiny(**settings), tmp_path / "out", failing=failing, stopped=stopped)

    return build


def test_every_trial_ends_and_the_best_are_trained_to_their_end(driver):
    found = driver().run()
    assert found.search.finished
    best = sorted(range(16), key=lambda number: -value(f"trials/{number}", 1))
    epochs = found.epochs()
    assert set(epochs.values()) <= {*RUNGS, EPOCHS}
    assert epochs[best[0]] == EPOCHS
    assert sum(epoch == EPOCHS for epoch in epochs.values()) >= LEAST
    assert Counter(found.status().values()) == {
        "complete": sum(epoch == EPOCHS for epoch in epochs.values()),
        "stopped": sum(epoch < EPOCHS for epoch in epochs.values()),
    }
    states = [trial.state for trial in found.search.known_trials()]
    assert Counter(states) == {
        TrialState.COMPLETE: Counter(found.status().values())["complete"],
        TrialState.PRUNED: Counter(found.status().values())["stopped"],
    }
    assert found.resumed
    assert sum(epochs.values()) < 16 * EPOCHS / 2
    assert not list(found.folder.path.glob("trials/*/paused.json"))


@pytest.mark.parametrize("events", [1, 5, 9, 14, 20, 28, 35])
def test_a_killed_driver_resumes_with_what_is_paused(driver, events):
    before = driver().run(events)
    waiting, epochs = set(before.search.paused) - set(before.search.paused.out()), before.epochs()
    again = driver()
    at_a_rung = {job.key for _, _, job, epoch in before.running if epoch in RUNGS}  # as good as paused there
    assert waiting <= set(again.search.paused) <= waiting | at_a_rung
    resumed = {f"trials/{frozen.number}" for frozen in again.search.unfinished}
    assert resumed == {job.key for _, _, job, _ in before.running} - set(again.search.paused)
    again.run()
    assert all(again.epochs()[number] >= epoch for number, epoch in epochs.items())
    assert again.epochs()[max(range(16), key=lambda number: value(f"trials/{number}", 1))] == EPOCHS
    assert set(again.status().values()) == {"complete", "stopped"}
    for trial in again.folder.trials().values():  # nothing twice
        lines = [line["epoch"] for line in trial.records()]
        assert lines == list(range(1, len(lines) + 1))


@pytest.mark.parametrize(("end", "status"), [("failing", "failed"), ("stopped", "stopped_by_user")])
@pytest.mark.parametrize("events", [10**6, 8, 20, 30, 45, 60])
def test_where_the_best_end_early_as_many_others_are_trained_to_their_end(driver, end, status, events):
    best = sorted(range(24), key=lambda number: -value(f"trials/{number}", 1))
    changes = {"run_cap": 24, end: {f"trials/{number}" for number in best[:8]}}
    before = driver(**changes).run(events)
    again = driver(**changes)
    races = [next(iter(one.scheduler.races.values())) for one in (before, again)]
    orders = [{epoch: rung.order for epoch, rung in one.rungs.items()} for one in races]
    assert orders[0] == orders[1]
    assert races[0].complete == races[1].complete
    found = Counter(again.run().status().values())
    assert found[status] == 8
    assert found["complete"] >= LEAST
    assert found.total() == 24


def test_without_its_weights_a_paused_trial_resumes_at_once(driver, monkeypatch):
    before = driver().run(9)
    assert before.search.paused
    monkeypatch.setattr("hwcls.sweep.run.reconcile._has_weights", lambda *arguments: False)
    again = driver()
    assert not again.search.paused
    number = int(min(before.search.paused).rpartition("/")[2])
    assert number in {frozen.number for frozen in again.search.unfinished}
    report = EpochReport(before.epochs()[number], EPOCHS, 0.0, 0.0)  # its epoch is trained again
    assert again.scheduler.stops(None, f"trials/{number}", report)
    assert again.scheduler.pause(None, f"trials/{number}")


def test_a_trial_is_paused_once_tune_has_saved_and_released_it(driver):
    """Until then it may neither go on nor end, whatever the others do."""
    scheduler = driver().scheduler
    trials = [SimpleNamespace(config={JOB: SimpleNamespace(key=f"trials/{n}", label=None)}) for n in range(9)]
    reports = [EpochReport(1, EPOCHS, 0.1 * n, 0.1 * n).to_result() for n in range(9)]
    assert scheduler.on_trial_result(None, trials[0], reports[0]) == "STOP"
    assert not scheduler.paused
    for trial, report in zip(trials[1:], reports[1:], strict=True):  # better ones: trial 0 is out
        scheduler.on_trial_result(None, trial, report)
    for number in range(3, 9):
        scheduler.stops(None, f"trials/{number}", EpochReport(EPOCHS, EPOCHS, 0.9, 0.9))
    assert (scheduler.out(), scheduler.promotable({}, last=True)) == ([], {})
    scheduler.on_trial_complete(None, trials[0], reports[0])
    assert not scheduler.paused
    again = driver().scheduler
    again.on_trial_result(None, trials[0], reports[0])
    again.on_trial_complete(None, trials[0], reports[0])
    assert set(again.paused) == {"trials/0"}


def test_alternatives_have_races_of_their_own(driver):
    found = driver(compare="model").run()
    full = Counter(
        trial.result().label for number, trial in found.folder.trials().items() if found.epochs()[number] == EPOCHS
    )
    assert set(full) == {"mlp", "cnn"}
    assert min(full.values()) >= LEAST


@pytest.mark.parametrize("share", ["epochs", "seconds"])
def test_shares_of_epochs_hold(driver, share):
    found = driver(compare="model", share=share, run_cap=24)
    for _ in range(60):
        found.run(1)
        had = found.search.spending.epochs
        if not found.search._is_ending:
            assert abs(had["mlp"] - had["cnn"]) <= EPOCHS
    found.run()


def test_the_sampler_learns_from_paused_trials(driver):
    found = driver(run_cap=40, method="tpe").run(25)
    assert found.search.paused
    shown = shown_to_sampler(found.search.study, 1, {}).get_trials(deepcopy=False)
    states = Counter(trial.state for trial in shown if trial.number in range(20))
    real = Counter(trial.state for trial in found.search.known_trials() if trial.number in range(20))
    assert states[TrialState.PRUNED] >= real[TrialState.PRUNED] + len(found.search.paused)
    waiting = int(next(iter(found.search.paused)).rpartition("/")[2])
    assert shown[waiting].value == value(f"trials/{waiting}", 1)
    assert found.search.known_trials()[waiting].state == TrialState.RUNNING


def test_a_trial_that_a_crash_cut_off_is_drawn_with_what_is_known_of_paused_ones(driver, monkeypatch):
    before = driver(run_cap=40, method="tpe").run(25)
    before.search.study.ask()  # the crash came before its settings
    again, seen = driver(run_cap=40, method="tpe"), []
    sampler = again.search.study.sampler
    infer = sampler.infer_relative_search_space
    look = lambda study, trial: seen.append(study.get_trials(deepcopy=False)) or infer(study, trial)  # noqa: E731
    monkeypatch.setattr(sampler, "infer_relative_search_space", look)
    for number in range(len(again.search.unfinished)):
        again.search.suggest(str(number))
    waiting = [int(key.rpartition("/")[2]) for key in again.search.paused]
    assert len(seen) == 1
    assert {seen[0][number].state for number in waiting} == {TrialState.PRUNED}


def test_of_trials_that_have_ended_nothing_is_kept_for_the_sampler(driver):
    found = driver(run_cap=40, method="tpe").run(25)
    assert found.search.paused.shown
    assert found.run().search.paused.shown == {}


def test_a_time_budget_leaves_time_for_what_is_paused(driver, monkeypatch):
    found = driver(run_cap=None, budget=30)
    monkeypatch.setattr(type(found.search.spending), "spent", property(lambda self: found.now))
    begun = {}  # when each trial was
    while found.now < 30 and not found.search.finished:
        found.run(1)
        begun |= {job.key: found.now for _, _, job, epoch in found.running if epoch == 0 and job.key not in begun}
    found.run()
    assert EPOCHS in found.epochs().values()
    assert None not in found.status().values()
    assert 30 <= found.now <= 30 + EPOCHS
    late = sorted(when for when in begun.values() if when > 30 - EPOCHS)
    assert len(late) < len(begun) / 4  # the others fill the time that is left when none of them can go on


@pytest.mark.parametrize("compare", [None, "model"])
def test_after_a_time_budget_only_what_has_no_complete_trial_goes_on(driver, monkeypatch, compare):
    found = driver(run_cap=None, budget=100, compare=compare)
    monkeypatch.setattr(type(found.search.spending), "spent", property(lambda self: 0.0))
    found.run(9)
    assert EPOCHS not in found.epochs().values()
    begun = len(found.epochs())
    monkeypatch.setattr(type(found.search.spending), "spent", property(lambda self: 101.0))
    found.run()
    assert len(found.epochs()) == begun
    complete = [trial.result().label for trial in found.folder.trials().values() if trial.last_epoch() == EPOCHS]
    assert Counter(complete).keys() == ({"mlp", "cnn"} if compare else {None})
    assert len(complete) <= 3 + len(set(complete))  # those that ran, and one for each alternative
    assert found.search.finished
    assert None not in found.status().values()


def test_a_user_stops_a_paused_trial(driver):
    found = driver().run(12)
    key = next(iter(found.search.paused))
    trial = found.folder.trial(int(key.rpartition("/")[2]))
    trial.request_stop()
    assert [name for name, _ in end_paused(found.sweep, found.folder, found.search)] == [key]
    assert trial.result().status == "stopped_by_user"
    assert found.search.known_trials()[int(key.rpartition("/")[2])].state == TrialState.PRUNED
    for one in (found, driver()):  # also after a restart it takes no place of a rung
        assert all(key not in rung.places for race in one.scheduler.races.values() for rung in race.rungs.values())


# --- the sweep file ---


def test_promotion_needs_the_weights(sweep_file):
    with pytest.raises(UserError, match="keep: none leaves nothing of a trial that pauses") as found:
        load_sweep(sweep_file(keep="none", early_terminate=PROMOTION))
    assert "\n" not in str(found.value)
    assert "write keep: best, or rule: stopping" in str(found.value)
    assert not load_sweep(sweep_file(keep="none", early_terminate="asha")).early_stopping.pauses


@pytest.mark.parametrize(("method", "rule"), [("auto", "promotion"), ("random", "promotion"), ("tpe", "stopping")])
def test_the_rule_that_a_file_leaves_open(sweep_file, method, rule):
    assert load_sweep(sweep_file(method=method, early_terminate="asha")).early_stopping.rule == rule
    assert load_sweep(sweep_file(method=method, early_terminate=PROMOTION)).early_stopping.rule == "promotion"


def test_only_asha_has_the_rule(sweep_file):
    with pytest.raises(UserError, match="'rule' is not a setting of median"):
        load_sweep(sweep_file(early_terminate={"type": "median", "rule": "promotion"}))
    with pytest.raises(UserError, match="'promotion'"):
        load_sweep(sweep_file(early_terminate={"type": "hyperband", "rule": "promotion"}))


def test_a_sweep_keeps_the_rule_that_it_began_with():
    asha = parse_early_stopping({"type": "asha"})
    assert asha.spell_out(before="stopping", may_pause=True).rule == "stopping"
    assert asha.spell_out(before="promotion", may_pause=True).rule == "promotion"
    assert asha.spell_out(before=None, may_pause=True).rule == "promotion"  # the default of a new one
    assert asha.spell_out(before=None, may_pause=False).rule == "stopping"
    own = parse_early_stopping({"type": "asha", "rule": "promotion"})
    assert own.spell_out(before="stopping", may_pause=True).rule == "promotion"


def test_of_many_paused_trials_some_are_looked_at_each_time(driver, monkeypatch):
    """Whether a user stops one: a look at thousands whenever a trial ends would take longer with each trial."""
    found = driver(run_cap=200).run(130)
    waiting = list(found.search.paused)
    assert len(waiting) > 2 * LOOKS
    looks = []
    monkeypatch.setattr(TrialFolder, "stop_requested", lambda folder: looks.append(folder.path.name))
    for _ in range(-(-len(waiting) // LOOKS)):
        before = len(looks)
        assert not end_paused(found.sweep, found.folder, found.search)
        assert len(looks) == before + LOOKS
    assert {f"trials/{name}" for name in looks} == set(waiting)


def test_one_that_a_user_stops_among_many_ends_in_its_turn(driver):
    found = driver(run_cap=200).run(130)
    waiting = list(found.search.paused)
    found.folder.trial(int(waiting[-1].rpartition("/")[2])).request_stop()
    ended = []
    for _ in range(-(-len(waiting) // LOOKS)):
        ended += end_paused(found.sweep, found.folder, found.search)
    assert [(key, result.status) for key, result in ended] == [(waiting[-1], "stopped_by_user")]


def test_whether_one_is_out_needs_no_list_of_them(least):
    found = race([0.9, 0.8, 0.7, 0.6, 0.5, 0.95], trials=9, complete=3)
    assert {key for key in found.waiting if found.is_out(key)} == set(found.out()) == {"2", "3", "4"}


def test_an_epoch_asks_optuna_for_no_settings(driver, monkeypatch):
    """It copies them each time, and with hundreds of running trials for each of them."""
    found = driver(run_cap=12, compare="model").run(10)
    asked, params = [], Trial.params.fget
    monkeypatch.setattr(Trial, "params", property(lambda trial: asked.append(1) or params(trial)))
    number, _, epoch = found.running[0][1:]
    found.search.on_trial_result(str(number), EpochReport(epoch + 1, EPOCHS, 0.5, 0.5).to_result())
    found.search._next_paused()
    assert asked == []


def test_a_restart_makes_no_list_for_each_paused_trial(driver, monkeypatch):
    """Of those that are out, nor of those that run: with thousands of both it would never end."""
    before = driver(run_cap=60, method="random").run(60)
    waiting = set(before.search.paused)
    listed = []
    monkeypatch.setattr(Promotion, "out", lambda race: listed.append("out"))
    monkeypatch.setattr(FairSearch, "unfinished", property(lambda search: listed.append("unfinished")))
    again = driver(run_cap=60, method="random")
    assert len(again.search.paused) >= len(waiting) > 10
    assert listed == []


def test_a_restart_reads_no_config_of_a_paused_trial(driver, monkeypatch):
    waiting = set(driver(run_cap=60).run(60).search.paused)
    read, config = [], TrialFolder.config
    monkeypatch.setattr(
        TrialFolder, "config", lambda folder: read.append(f"trials/{folder.path.name}") or config(folder)
    )
    again = driver(run_cap=60)
    assert waiting <= set(again.search.paused)
    assert len(waiting) > 10
    assert not waiting & set(read)
