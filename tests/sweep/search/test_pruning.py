import math
import random
from types import SimpleNamespace

import pytest
from ray.tune.schedulers import MedianStoppingRule, TrialScheduler

from hwcls.config.sweep import EarlyStopConfig
from hwcls.sweep.search.median import MedianStop
from hwcls.sweep.search.pruning import FairStop, InOrder, bracket_weights, pick, scheduler
from hwcls.sweep.search.rungs import plateau_fires, rungs

STOP, CONTINUE = TrialScheduler.STOP, TrialScheduler.CONTINUE


def asha(goal="maximize"):
    return FairStop(EarlyStopConfig(eta=2), first=2, epochs=16, goal=goal)


def trial(number, label="a", session="x"):
    config = {"key": f"trials/{number}", "label": label}
    return SimpleNamespace(trial_id=f"{session}{number}", config=config)


class Named(SimpleNamespace):
    """Ray's rule keeps trials in a set."""

    def __hash__(self):
        return hash(self.trial_id)


def named(name):
    return Named(trial_id=name)


def told(epoch, value):
    return {"epoch": epoch, "value": value, "best": value}


def play(scheduler, entrant, values):
    """Report best-so-far values from epoch 1 on; returns the epoch at which the trial is stopped, or None."""
    scheduler.on_trial_add(None, entrant)
    for epoch, value in enumerate(values, start=1):
        if scheduler.on_trial_result(None, entrant, told(epoch, value)) == STOP:
            return epoch
    return None


def test_the_worse_half_ends_at_the_first_rung():
    found = asha()
    assert play(found, trial(0), [0.9] * 8) is None
    assert play(found, trial(1), [0.1] * 8) == 2
    assert play(found, trial(2), [0.95] * 8) is None


def test_a_lower_loss_is_better():
    found = asha("minimize")
    assert play(found, trial(0), [0.1] * 8) is None
    assert play(found, trial(1), [0.9] * 8) == 2


def test_alternatives_do_not_compete():
    found = asha()
    play(found, trial(0, "strong"), [0.9] * 8)
    assert play(found, trial(1, "weak"), [0.1] * 8) is None
    assert play(found, trial(2, "weak"), [0.05] * 8) == 2


def test_rungs_survive_a_restart():
    values = {0: [0.5] * 8, 1: [0.7] * 8, 2: [0.6] * 8}
    live = asha()
    for number in (0, 1, 2):
        play(live, trial(number), values[number])
    again = asha()
    for number in (0, 1, 2):
        again.replay(
            "a", f"trials/{number}", [told(epoch, value) for epoch, value in enumerate(values[number], start=1)]
        )
    newcomers = [[0.55] * 8, [0.65] * 8, [0.75] * 8]
    assert [play(again, trial(i, session="y"), v) for i, v in enumerate(newcomers, 3)] == [
        play(live, trial(i), v) for i, v in enumerate(newcomers, 3)
    ]


@pytest.mark.parametrize("rule", [{"eta": 2}, {"type": "median", "min_trials": 1}])
def test_the_last_epoch_counts_as_it_does_after_a_restart(rule):
    """Tune brings the last result of a trial to on_trial_complete and not to on_trial_result."""
    config = EarlyStopConfig.model_validate(rule)
    live, again = (FairStop(config, first=2, epochs=4, goal="maximize") for _ in range(2))
    live.on_trial_add(None, trial(0))
    live.on_trial_result(None, trial(0), told(1, 0.9))
    live.on_trial_complete(None, trial(0), told(2, 0.9))
    again.replay("a", "trials/0", [told(1, 0.9), told(2, 0.9)])
    assert play(live, trial(1), [0.1] * 4) == play(again, trial(1), [0.1] * 4) == 2


def test_a_resumed_trial_is_not_entered_twice():
    found = asha()
    found.replay("a", "trials/0", [told(epoch, 0.5) for epoch in (1, 2, 3)])
    resumed = trial(0, session="later")
    found.on_trial_add(None, resumed)
    assert found.on_trial_result(None, resumed, {"epoch": 3, "best": 0.5}) == CONTINUE
    bracket = found.races["a", 0]._brackets[0]
    assert [len(recorded) for _, recorded in bracket._rungs if recorded] == [1]


def median(**settings):
    return FairStop(EarlyStopConfig(type="median", **settings), first=2, epochs=16, goal="maximize")


def test_median_stops_what_is_worse_than_the_others_middle():
    found = median()
    for number, value in enumerate([0.3, 0.5, 0.7]):
        assert play(found, trial(number), [value] * 16) is None  # too few others to tell
    assert play(found, trial(3), [0.4] * 16) == 2
    assert play(found, trial(4), [0.6] * 16) is None
    assert play(found, trial(5, "another"), [0.1] * 16) is None


def test_median_sees_what_an_earlier_start_told():
    live, again = median(min_trials=2), median(min_trials=2)
    for number, value in enumerate([0.3, 0.7]):
        play(live, trial(number), [value] * 16)
        again.replay("a", f"trials/{number}", [told(epoch, value) for epoch in range(1, 17)])
    for number, value in enumerate([0.4, 0.6], start=2):
        assert play(again, trial(number), [value] * 16) == play(live, trial(number), [value] * 16)


def medians(first, least, mode):
    """The rule, and Ray's."""
    settings = {"time_attr": "epoch", "metric": "value", "mode": mode, "min_time_slice": math.inf}
    ray = MedianStoppingRule(grace_period=first, min_samples_required=least, **settings)
    return MedianStop(first, least, mode), ray


@pytest.mark.parametrize("seed", range(30))
def test_median_decides_as_rays_rule(seed):
    chance = random.Random(seed)
    rules = medians(chance.randint(1, 4), chance.randint(1, 4), chance.choice(["max", "min"]))
    nobody = SimpleNamespace(get_live_trials=list)  # that waits for its turn
    running, asked, stopped = {}, 0, 0
    for _ in range(200):
        while len(running) < 3:
            running[f"trial {asked}"] = [0, chance.random()]
            asked += 1
        name = chance.choice(list(running))
        each = running[name]
        each[0] += 1
        result = {"epoch": each[0], "value": chance.gauss(each[1], 0.1)}
        ours, rays = (rule.on_trial_result(nobody, named(name), result) for rule in rules)
        assert ours == rays, (name, result)
        stopped += ours == STOP
        if ours == STOP or each[0] == 9:
            del running[name]
    assert stopped


def test_median_looks_at_each_value_once():
    """Ray's rule goes through all epochs of all trials at every epoch of each."""
    looks = []

    class Counted(dict):
        def get(self, name, default=None):
            looks.append(name)
            return super().get(name, default)

        def __getitem__(self, name):
            looks.append(name)
            return super().__getitem__(name)

    rule, _ = medians(1, 1, "max")
    for number in range(40):
        for epoch in range(1, 11):
            rule.on_trial_result(None, trial(number), Counted(epoch=epoch, value=number / 40))
    assert len(looks) == 2 * 40 * 10


def test_no_trial_that_has_ended_is_looked_at():
    """Ray's own choice goes through every trial at each of Tune's events; Tune starts those that wait by itself."""
    for found in (InOrder(), asha()):
        assert found.choose_trial_to_run(SimpleNamespace()) is None  # without get_trials


def test_hyperband_gives_some_trials_a_later_first_rung():
    found = FairStop(EarlyStopConfig(type="hyperband", eta=2), first=2, epochs=16, goal="maximize")
    brackets = [pick(f"trials/{number}", found.weights) for number in range(400)]
    shares = [brackets.count(bracket) / 400 for bracket in range(len(found.weights))]
    assert shares == pytest.approx(found.weights, abs=0.08)
    for bracket, first in enumerate([2, 4, 8, None]):
        good, bad = [number for number in range(400) if brackets[number] == bracket][:2]
        assert play(found, trial(good), [0.9] * 15) is None
        assert play(found, trial(bad), [0.1] * 15) == first


def test_brackets_follow_hyperband():
    assert bracket_weights(3, 1, 81) == pytest.approx([n / 142.25 for n in (81, 33.75, 15, 7.5, 5)])
    assert bracket_weights(3, 10, 10) == [1.0]  # no room for a rung


def test_a_failure_stops():
    found = asha()
    found.on_trial_add(None, trial(0))
    assert found.on_trial_result(None, trial(0), {"epoch": 1, "best": 0.5, "failure": "NaN"}) == STOP


@pytest.mark.parametrize(
    ("epochs", "patience", "warmup", "min_iter", "first"),
    [
        (100, 3, 0, None, 12),  # a ninth
        (27, 4, 1, None, 3),  # before the plateau can have acted
        (27, 4, 5, None, 5),  # after the warm-up
        (27, 4, 20, None, 3),  # where that is long: a ninth
        (100, 3, 0, 8, 8),  # as asked
        (5, 1, 0, 8, 5),  # clamped to the epochs
        (1, 1, 0, None, 1),
    ],
)
def test_where_the_first_rung_lies(tiny, epochs, patience, warmup, min_iter, first):

    plateau = {"name": "plateau", "patience": patience, "warmup": warmup}
    sweep = tiny(parameters={"epochs": epochs, "scheduler": plateau})
    trials = sweep.corners
    assert plateau_fires(trials[0]) == warmup + patience + 2
    assert rungs(EarlyStopConfig(min_iter=min_iter), trials) == (first, epochs)


def test_the_sweep_file_says_whether_trials_are_stopped(tiny):
    assert scheduler(tiny()) is None
    found = scheduler(tiny(early_terminate={"type": "asha", "eta": 4}))
    assert found.config.eta == 4
