import math
import random
from types import SimpleNamespace

import pytest
from ray.tune.schedulers import MedianStoppingRule, TrialScheduler

from hwcls.config.sweep import parse_early_stopping
from hwcls.sweep.search.messages import JOB, EpochReport
from hwcls.sweep.search.pruning import FairScheduler, FifoScheduler, build_scheduler, pick
from hwcls.sweep.search.rungs import plateau_epoch, rung_limits
from hwcls.sweep.search.stopping.median import MedianRule

STOP, CONTINUE = TrialScheduler.STOP, TrialScheduler.CONTINUE


def scheduler(settings, first=2, epochs=16, goal="maximize"):
    return FairScheduler(parse_early_stopping(settings), first, epochs, goal)


def asha(goal="maximize"):
    return scheduler({"type": "asha", "rule": "stopping", "eta": 2}, goal=goal)


def trial(number, label="a", session="x"):
    job = SimpleNamespace(key=f"trials/{number}", label=label)
    return SimpleNamespace(trial_id=f"{session}{number}", config={JOB: job})


class Named(SimpleNamespace):
    """Ray's rule keeps trials in a set."""

    def __hash__(self):
        return hash(self.trial_id)


def named(name):
    return Named(trial_id=name)


def report(epoch, value, **more):
    return EpochReport(epoch, 16, value, value, **more)


def result(epoch, value, **more):
    return report(epoch, value, **more).to_result()


def play(found, entrant, values):
    """Report best-so-far values from epoch 1 on; returns the epoch at which the trial is stopped, or None."""
    found.on_trial_add(None, entrant)
    for epoch, value in enumerate(values, start=1):
        if found.on_trial_result(None, entrant, result(epoch, value)) == STOP:
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
            "a", f"trials/{number}", [report(epoch, value) for epoch, value in enumerate(values[number], start=1)]
        )
    newcomers = [[0.55] * 8, [0.65] * 8, [0.75] * 8]
    assert [play(again, trial(i, session="y"), v) for i, v in enumerate(newcomers, 3)] == [
        play(live, trial(i), v) for i, v in enumerate(newcomers, 3)
    ]


@pytest.mark.parametrize("rule", [{"eta": 2}, {"type": "median", "min_trials": 1}])
def test_the_last_epoch_counts_as_it_does_after_a_restart(rule):
    """Tune passes the last result of a trial to on_trial_complete and not to on_trial_result."""
    live, again = (scheduler(rule, epochs=4) for _ in range(2))
    live.on_trial_add(None, trial(0))
    live.on_trial_result(None, trial(0), result(1, 0.9))
    live.on_trial_complete(None, trial(0), result(2, 0.9))
    again.replay("a", "trials/0", [report(1, 0.9), report(2, 0.9)])
    assert play(live, trial(1), [0.1] * 4) == play(again, trial(1), [0.1] * 4) == 2


def test_a_resumed_trial_is_not_entered_twice():
    found = asha()
    found.replay("a", "trials/0", [report(epoch, 0.5) for epoch in (1, 2, 3)])
    resumed = trial(0, session="later")
    found.on_trial_add(None, resumed)
    assert found.on_trial_result(None, resumed, result(3, 0.5)) == CONTINUE
    bracket = found.races["a", 0].scheduler._brackets[0]
    assert [len(recorded) for _, recorded in bracket._rungs if recorded] == [1]


def median(**settings):
    return scheduler({"type": "median", **settings})


def test_median_stops_what_is_worse_than_the_others_middle():
    found = median()
    for number, value in enumerate([0.3, 0.5, 0.7]):
        assert play(found, trial(number), [value] * 16) is None  # too few others
    assert play(found, trial(3), [0.4] * 16) == 2
    assert play(found, trial(4), [0.6] * 16) is None
    assert play(found, trial(5, "another"), [0.1] * 16) is None


def test_median_sees_the_records_of_an_earlier_start():
    live, again = median(min_trials=2), median(min_trials=2)
    for number, value in enumerate([0.3, 0.7]):
        play(live, trial(number), [value] * 16)
        again.replay("a", f"trials/{number}", [report(epoch, value) for epoch in range(1, 17)])
    for number, value in enumerate([0.4, 0.6], start=2):
        assert play(again, trial(number), [value] * 16) == play(live, trial(number), [value] * 16)


def medians(first, least, mode):
    """The rule, and Ray's."""
    settings = {"time_attr": "epoch", "metric": "value", "mode": mode, "min_time_slice": math.inf}
    ray = MedianStoppingRule(grace_period=first, min_samples_required=least, **settings)
    return MedianRule(first, least, mode), ray


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
        value = chance.gauss(each[1], 0.1)
        ours = rules[0].stops(name, each[0], value, value)
        rays = rules[1].on_trial_result(nobody, named(name), {"epoch": each[0], "value": value})
        assert ours == (rays == STOP), (name, each[0], value)
        stopped += ours
        if ours or each[0] == 9:
            del running[name]
    assert stopped


def test_median_keeps_one_sum_of_each_trial_and_one_mean_of_each_epoch():
    """In order: Ray's rule goes through all epochs of all trials at every epoch of each."""
    rule, _ = medians(1, 1, "max")
    for number in random.Random(0).sample(range(40), 40):
        for epoch in range(1, 11):
            rule.stops(f"trials/{number}", epoch, number / 40, number / 40)
    assert all(count == 10 for _, count in rule.sums.values())
    assert {epoch: len(means) for epoch, means in rule.means.items()} == dict.fromkeys(range(1, 11), 40)
    assert all(means == sorted(means) for means in rule.means.values())


def test_no_trial_that_has_ended_is_looked_at():
    """Ray's own choice goes through every trial at each of Tune's events; Tune starts those that wait by itself."""
    for found in (FifoScheduler(), asha()):
        assert found.choose_trial_to_run(SimpleNamespace()) is None  # without get_trials


def test_hyperband_gives_some_trials_a_later_first_rung():
    found = scheduler({"type": "hyperband", "eta": 2})
    brackets = [pick(f"trials/{number}", found.shares) for number in range(400)]
    shares = [brackets.count(bracket) / 400 for bracket in range(len(found.shares))]
    assert shares == pytest.approx(found.shares, abs=0.08)
    for bracket, first in enumerate([2, 4, 8, None]):
        good, bad = [number for number in range(400) if brackets[number] == bracket][:2]
        assert play(found, trial(good), [0.9] * 15) is None
        assert play(found, trial(bad), [0.1] * 15) == first


def test_brackets_follow_hyperband():
    found = parse_early_stopping({"type": "hyperband", "eta": 3})
    rungs, shares = zip(*found.brackets(1, 81), strict=True)
    assert rungs == (1, 3, 9, 27, 81)
    assert shares == pytest.approx([n / 142.25 for n in (81, 33.75, 15, 7.5, 5)])
    assert found.brackets(10, 10) == [(10, 1.0)]  # no room for a rung


def test_a_failure_stops():
    found = asha()
    found.on_trial_add(None, trial(0))
    assert found.on_trial_result(None, trial(0), result(1, 0.5, failure="NaN")) == STOP


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
def test_the_first_rung(tiny, epochs, patience, warmup, min_iter, first):
    """Of trials that are stopped; those that pause do so after a 27th of the epochs already."""
    plateau = {"name": "plateau", "patience": patience, "warmup": warmup}
    sweep = tiny(parameters={"epochs": epochs, "scheduler": plateau})
    trials = sweep.corners
    assert plateau_epoch(trials[0]) == warmup + patience + 2
    stopping, promotion = (parse_early_stopping({"min_iter": min_iter, "rule": rule}) for rule in ("stopping", None))
    assert rung_limits(stopping, trials) == (first, epochs)
    early = first if min_iter else max(-(-epochs // 27), warmup if 2 * warmup <= epochs else 0)
    assert rung_limits(promotion, trials) == (early, epochs)


def test_trials_pause_from_a_27th_of_the_epochs_on_rounded_up_each_time_three_times_later():
    """The examples of docs/explanation/early_stopping.md."""
    rule = parse_early_stopping({"rule": "promotion"})
    assert {epochs: rule.rungs(rule.first_rung(epochs), epochs) for epochs in (10, 27, 30)} == {
        10: [1, 3, 9],
        27: [1, 3, 9],
        30: [2, 6, 18],
    }


def test_a_sweep_without_early_terminate_stops_no_trial(tiny):
    assert build_scheduler(tiny()) is None
    found = build_scheduler(tiny(early_terminate={"type": "asha", "eta": 4}))
    assert found.config.eta == 4
