"""What is told of a sweep while it runs, under a clock of the test's own."""

import io

import pytest
from rich.console import Console

from hwcls.config.optim import MetricConfig
from hwcls.sweep.monitor.eta import AFTER, GROUP, SCORE, Ahead, Pace
from hwcls.sweep.monitor.logs import log_to_console
from hwcls.sweep.monitor.progress import Lines
from hwcls.tracking.records import Result

METRIC = MetricConfig(name="val/accuracy")


def run_epochs(pace, wait, key, epochs, seconds=2.0):
    for epoch in epochs:
        wait(seconds)
        pace.epoch(key, epoch, seconds)


def test_nothing_is_known_before_the_first_epoch(clock):
    pace = Pace(4)
    pace.started("a", 0, 10)
    clock(60)  # Ray and the worker start
    assert pace.remaining() is None
    run_epochs(pace, clock, "a", [1])
    assert pace.remaining() == pytest.approx(2 * (9 + 3 * 10))


def test_trials_are_as_long_as_those_before_them(clock):
    pace = Pace(4)
    pace.started("a", 0, 10)
    run_epochs(pace, clock, "a", [1, 2, 3])
    pace.ended("a")  # stopped early
    pace.started("b", 0, 10)
    assert pace.remaining() == pytest.approx(2 * 3 * 3)
    run_epochs(pace, clock, "b", [1, 2, 3])
    assert pace.remaining() == pytest.approx(2 * (7 + 2 * 3))  # it was not stopped: it may come to its end
    clock(1.5)
    assert pace.remaining() == pytest.approx(2 * (7 + 2 * 3) - 1.5)
    clock(1000)
    assert pace.remaining() == 0


def test_two_at_once_take_half_as_long(clock):
    pace = Pace(2)
    for key in "ab":
        pace.started(key, 0, 10)
    clock(2)
    for key in "ab":
        pace.epoch(key, 1, 2.0)
    assert pace.remaining() == pytest.approx(18)


@pytest.mark.parametrize("own", [None, 20])
def test_at_the_first_report_other_trials_have_trained_as_well(clock, own):
    """Two at once, whose starts took 30 s: 20 epochs of 2 s take 20 s, and 4 confirm runs of 10 epochs 40 s."""
    pace = Pace(2, ahead=Ahead({None: 40}, own=own))
    for key in "ab":
        pace.started(key, 0, 10)
    clock(30)
    run_epochs(pace, clock, "a", [1])
    assert pace.remaining() == pytest.approx(18 + 40)
    pace.epoch("b", 1, 2.0)
    assert pace.remaining() == pytest.approx(18 + 40)
    clock(1)
    run_epochs(pace, clock, "a", [2], seconds=1.0)
    assert pace.remaining() == pytest.approx(16 + 40)


def test_where_trials_pause_the_first_estimate_counts_those_at_once(clock):
    pace = Pace(6, ahead=Ahead(own=6 + 3 * 8))
    for key in "ab":
        pace.started(key, 0, 9)
    clock(30)
    run_epochs(pace, clock, "a", [1])
    pace.paused("a")
    assert pace.remaining() == pytest.approx(28)


def test_a_restart_counts_what_it_runs_itself(clock):
    """18 of 20 trials are done, the next is resumed after 5 of its 10 epochs."""
    pace = Pace(20, done=18)
    pace.started("a", 5, 10)
    clock(30)
    run_epochs(pace, clock, "a", [6])
    assert pace.remaining() == pytest.approx(2 * (4 + 10))
    run_epochs(pace, clock, "a", [7, 8, 9, 10])
    pace.ended("a")
    assert pace.remaining() == pytest.approx(2 * 10)


def test_a_time_budget_is_what_is_left(clock):
    pace = Pace(None, left=100)
    assert pace.remaining() == 100
    pace.started("a", 0, 10)
    run_epochs(pace, clock, "a", [1, 2])
    assert pace.remaining() == 96
    clock(95)
    run_epochs(pace, clock, "a", [3], seconds=1.0)
    assert pace.remaining() == pytest.approx(7 * 100 / 3)  # it is over: the last one runs to its end
    pace.ended("a")
    assert pace.remaining() == 0


def test_trials_or_time_whichever_ends_first(clock):
    long = Pace(1000, left=50)
    short = Pace(2, left=5000)
    for pace in (long, short):
        pace.started("a", 0, 10)
        pace.epoch("a", 1, 2.0)
    assert (long.remaining(), short.remaining()) == (50, pytest.approx(2 * 19))


def test_what_follows_is_part_of_the_time_that_is_left(clock):
    """Four confirm runs of 10 epochs at the pace of their alternatives, a new group, scores on test, the page."""
    pace = Pace(2, ahead=Ahead.of_search({"cnn": 20, "mlp": 20}))
    pace.started("a", 0, 2, "cnn")
    assert pace.remaining() is None
    clock(31)  # a group starts
    run_epochs(pace, clock, "a", [1, 2], seconds=3.0)
    pace.ended("a")
    pace.started("b", 0, 2, "mlp")
    run_epochs(pace, clock, "b", [1, 2], seconds=1.0)
    pace.ended("b")
    idle = 31 * (GROUP + SCORE + AFTER) / GROUP
    assert pace.remaining() == pytest.approx(20 * 3 + 20 * 1 + idle)
    assert Ahead.of_search({}).starts * GROUP == pytest.approx(AFTER)
    after = Pace(1, ahead=Ahead.of_confirm())
    after.started("c", 0, 1, "cnn")
    clock(31)
    run_epochs(after, clock, "c", [1])
    after.ended("c")
    assert after.remaining() == pytest.approx(31 * (SCORE + AFTER) / GROUP)


def test_what_follows_runs_side_by_side_too(clock):
    pace = Pace(2, ahead=Ahead({None: 30}))
    for key in "ab":
        pace.started(key, 0, 1)
    clock(2)
    for key in "ab":
        pace.epoch(key, 1, 2.0)
        pace.ended(key)
    assert pace.remaining() == pytest.approx(30 * 2 / 2)


def test_a_time_budget_is_not_the_end_where_confirm_follows(clock):
    pace = Pace(None, left=100, ahead=Ahead({None: 10}))
    assert pace.remaining() is None  # nobody knows yet how long an epoch takes
    pace.started("a", 0, 10)
    run_epochs(pace, clock, "a", [1])
    assert pace.remaining() == pytest.approx(98 + 10 * 2)


def confirmed(trial, role, value, label="cnn"):
    best = {"epoch": 1, "val/accuracy": value} if value else None
    return Result("complete", best, label, {}, 1.0, extra={"trial": trial, "role": role})


def test_the_best_of_confirm_is_a_mean_and_no_lucky_seed(clock):
    lines = Lines(METRIC, 9)
    lines.ended("confirm/cnn/0", confirmed(6, "pick", 0.99))
    assert lines._overall() == ["1 of 9 done"]
    lines.ended("confirm/cnn/1", confirmed(6, "pick", 0.95))
    lines.ended("confirm/cnn/2", confirmed(7, "pick", 0.96))
    lines.ended("confirm/cnn/3", confirmed(7, "pick", 0.94))
    assert lines._overall()[1] == "best mean 0.9700 over 2 picks (cnn, trial 6)"
    lines.ended("confirm/cnn/4", confirmed(6, "report", 0.94))
    lines.ended("confirm/cnn/5", confirmed(6, "report", None))
    assert "0.9700 over 2 picks" in lines._overall()[1]
    lines.reached_before("confirm/cnn/6", confirmed(6, "report", 0.92))
    lines.reached_before("confirm/cnn/6", confirmed(6, "report", 0.92))  # the same run
    assert lines._overall()[1] == "best mean 0.9300 over 2 seeds (cnn, trial 6)"


def test_a_late_trial_uses_up_the_time_of_what_follows(clock):
    pace = Pace(1, ahead=Ahead.of_search({}))
    pace.started("a", 0, 2)
    clock(31)
    run_epochs(pace, clock, "a", [1])
    after = 31 * AFTER / GROUP
    assert pace.remaining() == pytest.approx(2 + after)
    clock(4)
    assert pace.remaining() == pytest.approx(after - 2)
    clock(60)
    assert pace.remaining() == 0


def test_lines_say_how_far_it_is(clock):
    console = Console(file=io.StringIO(), width=200)
    lines = Lines(METRIC, 3)
    with log_to_console(console):
        lines.started("trials/0", "a", {"lr": 0.125}, 0, 2)
        run_epochs(lines.pace, clock, "trials/0", [1, 2])
        lines.ended("trials/0", Result("complete", {"epoch": 2, "val/accuracy": 0.5}, "a", {}, 4.0))
    begun, ended = console.file.getvalue().splitlines()
    assert begun == "trial 0 (a) starts: lr 0.125"
    facts = ["trial 0 (a) complete", "val/accuracy 0.5000 in epoch 2", "new best", "4.0 s", "1 of 3 done"]
    assert ended.split(" · ")[:-1] == [*facts, "best 0.5000 (a, trial 0)"]
    assert ended.endswith(" left")


def test_of_equal_trials_the_lower_number_is_the_best(clock):
    lines = Lines(METRIC, 12)
    for number, value in ((1, 0.2361), (10, 0.2361), (0, 0.2361), (2, 0.1)):
        lines.ended(f"trials/{number}", Result("complete", {"epoch": 1, "val/accuracy": value}, None, {}, 1.0))
    assert lines._overall()[1] == "best 0.2361 (trial 0)"


def test_a_new_best_is_strictly_better(clock):
    def end(lines, number, value, status="complete"):
        result = Result(status, {"epoch": 1, "val/accuracy": value}, None, {}, 1.0)
        lines.ended(f"trials/{number}", result)

    def act(lines):
        lines.reached_before("trials/6", Result("stopped", {"epoch": 1, "val/accuracy": 0.8}, None, {}, 1.0))
        for number, value in ((12, 0.7), (8, 0.8), (5, 0.8), (9, 0.9), (4, 0.9)):
            end(lines, number, value)
        end(lines, 3, 0.95, "failed")

    found = logged(act)
    assert [line.split()[1] for line in found if "new best" in line] == ["9"]
    bests = [line.partition("best 0.")[2][:1] for line in [one.replace("new best", "") for one in found]]
    assert bests == ["8", "8", "8", "9", "9", "9"]
    assert found[-1].split(" · ")[-2].startswith("best 0.9000 (trial 4)")


def test_where_trials_pause_the_rule_says_how_many_epochs_are_left(clock):
    """Six trials: one epoch of each, and eight more of the best three."""
    pace = Pace(6, ahead=Ahead(own=6 + 3 * 8))
    for key in "ab":
        pace.started(key, 0, 9)
        run_epochs(pace, clock, key, [1])
        pace.paused(key)
    assert pace.remaining() == pytest.approx(2 * 28)
    assert pace.done == 0
    pace.started("a", 1, 9)
    run_epochs(pace, clock, "a", range(2, 10))
    pace.ended("a")
    assert pace.remaining() == pytest.approx(2 * 20)


def logged(act):
    """The lines of a pipe."""
    console, lines = Console(width=200, file=io.StringIO()), Lines(METRIC, 6)
    with log_to_console(console):
        act(lines)
    assert "\x1b" not in console.file.getvalue()
    return console.file.getvalue().splitlines()


def test_every_event_names_the_alternative(clock):
    def result(status, value, error=None):
        return Result(status, {"epoch": 1, "val/accuracy": value}, "cnn", {}, 2.0, error=error)

    def act(lines):
        lines.started("trials/3", "cnn", {"lr": 0.5}, 0, 9)
        lines.restarted("trials/3", "a rank died")
        lines.epoch("trials/3", {"epoch": 1})
        lines.epoch("trials/3", {"epoch": 2})
        lines.paused("trials/3", result("stopped", 0.5))
        assert lines.best == (0.5, "trials/3", "cnn")
        assert not lines.pace.running
        lines.started("trials/3", "cnn", {"lr": 0.5}, 2, 9, 0.5)
        lines.epoch("trials/3", {"epoch": 4})
        lines.ended("trials/3", result("stopped", 0.5))
        lines.ended("trials/4", result("stopped_by_user", 0.75))
        lines.ended("trials/5", result("failed", 0.25, "loss is NaN"))
        lines.ended("confirm/cnn/3000", result("complete", 0.75))

    found = [line.partition(" · 2.0 s")[0] for line in logged(act)]
    assert found == [
        "trial 3 (cnn) starts: lr 0.5",
        "trial 3 (cnn) is restarted: a rank died",
        "trial 3 (cnn) paused after epoch 2 · val/accuracy 0.5000 in epoch 1 · new best",
        "trial 3 (cnn) is promoted, resumes after epoch 2",
        "trial 3 (cnn) stopped after epoch 4 · val/accuracy 0.5000 in epoch 1",
        "trial 4 (cnn) stopped by user · val/accuracy 0.7500 in epoch 1 · new best",
        "trial 5 (cnn) failed · val/accuracy 0.2500 in epoch 1 · loss is NaN",
        "confirm run cnn/3000 complete · val/accuracy 0.7500 in epoch 1",
    ]


def test_without_alternatives_a_trial_has_its_number(clock):
    def act(lines):
        lines.started("trials/3", None, {}, 4, 9)
        lines.ended("trials/3", Result("complete", {"epoch": 9, "val/accuracy": 0.5}, None, {}, 2.0))

    begun, ended = logged(act)
    assert begun == "trial 3 resumes after epoch 4: the file's settings"
    assert ended.startswith("trial 3 complete · ")
    assert ended.endswith("best 0.5000 (trial 3)")
