"""What is seen of a sweep while it runs, under a clock of the test's own."""

import io

import pytest
from rich.console import Console

from hwcls.config.optim import MetricConfig
from hwcls.sweep.monitor.eta import AFTER, GROUP, SCORE, Ahead, Pace
from hwcls.sweep.monitor.logs import log_to_console
from hwcls.sweep.monitor.progress import AROUND, Lines, LiveTable
from hwcls.tracking.records import Result

METRIC = MetricConfig(name="val/accuracy")


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("hwcls.sweep.monitor.eta.time.monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


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
    lines.ended_before("confirm/cnn/6", confirmed(6, "report", 0.92))
    lines.ended_before("confirm/cnn/6", confirmed(6, "report", 0.92))  # the same run
    assert lines._overall()[1] == "best mean 0.9300 over 2 seeds (cnn, trial 6)"


def shown(width, total=4, left=None, done=0):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, legacy_windows=False, color_system=None)
    return LiveTable(console, METRIC, total, done, left), console


def text_of(table, console):
    with console.capture() as capture:
        console.print(table._table())
    return capture.get()


LINE = {"val/accuracy": 0.98761, "train/loss": 0.0123, "lr": 9.983e-05, "seconds": 1.0, "images_per_second": 123456.7}


NARROW = {80: ("train/loss", "lr", "images/s"), 100: ("train/loss",), 140: ()}  # columns that do not fit


@pytest.mark.parametrize(("width", "absent"), NARROW.items())
def test_the_table_fits_and_keeps_what_matters(width, absent):
    table, console = shown(width)
    table.started("trials/100", "cnn", {"lr": 0.0001, "width": 32}, 0, 200)
    table.epoch("trials/100", {"epoch": 120, **LINE})
    table.started("confirm/fully_connected/10007002", "fully_connected", {"lr": 0.1}, 0, 30)
    text = text_of(table, console)
    assert max(map(len, text.splitlines())) <= width
    head, first, second, *_ = text.splitlines()
    columns = ["trial", "state", "epoch", "val/accuracy", "train/loss", "lr", "images/s", "settings"]
    assert head.split() == [name for name in columns if name not in absent]
    assert first.split()[:5] == ["trial", "100", "training", "120/200", "0.9876"]
    assert ("9.983e-05" in first) == ("lr" not in absent)
    assert ("123,457" in first) == ("images/s" not in absent)
    assert "lr 0.0001, width 32" in first
    assert "starting" in second
    assert "0/30" in second
    assert "/10007002" in second


def test_the_states_of_a_trial():
    table, console = shown(80)

    def state():
        return text_of(table, console).splitlines()[1].split()[2]

    table.started("trials/1", None, {}, 0, 9)
    assert state() == "starting"
    table.epoch("trials/1", {"epoch": 1, **LINE})
    assert state() == "training"
    table.restarted("trials/1", "the worker died")
    assert state() == "restarting"
    assert "0.9876" in text_of(table, console)  # what it had reached stays in sight
    table.started("trials/1", None, {}, 1, 9)
    assert state() == "restarting"
    table.epoch("trials/1", {"epoch": 2, **LINE})
    assert state() == "training"
    table.ended("trials/1", Result("complete", {"epoch": 2, "val/accuracy": 0.5}, None, {}, 1.0))
    table.started("trials/2", None, {}, 4, 9)
    assert (state(), "4/9" in text_of(table, console)) == ("resuming", True)
    table.ended("trials/2", Result("failed", None, None, {}, 1.0, error="it broke"))
    table.started("confirm/a/7", "a", {}, 0, 9)
    table.epoch("confirm/a/7", {"epoch": 1, **LINE})
    assert text_of(table, console).splitlines()[1].split()[:3] == ["confirm", "a/7", "confirming"]


def test_the_caption_of_a_time_budget(clock):
    table, console = shown(80, total=None, left=90)
    table.ended_before("trials/0", Result("complete", {"epoch": 2, "val/accuracy": 0.5}, None, {}, 1.0))
    assert text_of(table, console).split("\n")[-2].strip() == (
        "0 done · best 0.5000 (trial 0) · 1 min 30 s left · starting the workers"
    )


def test_rows_of_a_narrow_table_differ_in_what_they_show():
    table, console = shown(80)
    for number, rate in enumerate((0.001, 0.002)):
        table.started(f"trials/{number}", "cnn", {"batch_size": 32, "head_dropout": 0.25, "lr": rate}, 0, 9)
    head, first, second, *_ = text_of(table, console).splitlines()
    assert head.split() == ["trial", "state", "epoch", "val/accuracy", "settings"]
    assert first.rstrip().endswith("lr 0.001, batch_size 32, head_…")
    assert second.rstrip().endswith("lr 0.002, batch_size 32, head_…")
    table.ended("trials/0", Result("complete", None, "cnn", {}, 1.0))
    assert text_of(table, console).splitlines()[1] == second  # as before: the order of columns does not jump
    table.started("trials/2", "mlp", {"batch_size": 64, "model": "mlp", "lr": 0.003}, 0, 9)
    assert text_of(table, console).splitlines()[2].rstrip().endswith("model mlp, lr 0.003, batch_siz…")
    for number in range(3, 60):  # more than the order is of
        table.started(f"trials/{number}", "cnn", {"lr": 0.1}, 0, 9)
        table.ended(f"trials/{number}", Result("complete", None, "cnn", {}, 1.0))
    assert "batch_siz…" in text_of(table, console)


def test_the_caption_says_what_is_done_where_no_trial_runs(clock):
    table, console = shown(80, total=1)

    def last():
        return text_of(table, console).split("\n")[-2].strip()

    table.pace.ahead = Ahead.of_search({})
    assert last() == "0 of 1 done · starting the workers"
    table.started("trials/0", None, {}, 0, 1)
    assert last() == "0 of 1 done"
    clock(30)
    table.epoch("trials/0", {"epoch": 1, **LINE})
    table.ended("trials/0", Result("complete", {"epoch": 1, "val/accuracy": 0.5}, None, {}, 1.0))
    assert last() == "1 of 1 done · best 0.5000 (trial 0) · writing the report"
    table.pace.ahead = Ahead.of_confirm()
    assert last().endswith(" · scoring on test, writing the report")
    table.pace.ahead = Ahead.of_search({None: 5})
    assert last().endswith(" · starting the confirm runs")


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
    assert begun == "trial 0 starts: lr 0.125"
    facts = ["trial 0 complete", "val/accuracy 0.5000 in epoch 2", "4.0 s", "1 of 3 done", "best 0.5000 (trial 0)"]
    assert ended.split(" · ")[:-1] == facts
    assert ended.endswith(" left")


def test_of_equal_trials_the_lower_number_is_the_best(clock):
    lines = Lines(METRIC, 12)
    for number, value in ((1, 0.2361), (10, 0.2361), (0, 0.2361), (2, 0.1)):
        lines.ended(f"trials/{number}", Result("complete", {"epoch": 1, "val/accuracy": value}, None, {}, 1.0))
    assert lines._overall()[1] == "best 0.2361 (trial 0)"


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


def test_a_paused_trial_is_named(clock):
    console = Console(record=True, width=200, file=io.StringIO())
    with log_to_console(console):
        lines = Lines(METRIC, 6)
        lines.started("trials/3", None, {}, 0, 9)
        lines.paused("trials/3", Result("stopped", {"epoch": 1, "val/accuracy": 0.5}, None, {}, 2.0))
    assert "trial 3 paused · val/accuracy 0.5000 in epoch 1" in console.export_text()
    assert lines.best == (0.5, "trials/3")
    assert not lines.pace.running


def test_a_table_of_hundreds_of_trials_fits_the_terminal():
    """What is drawn four times a second are the rows that a terminal shows."""
    table, console = shown(120, total=1000)
    for number in range(256):
        table.started(f"trials/{number}", "cnn", {"lr": 0.1}, 0, 9)
    lines = text_of(table, console).splitlines()
    assert len(lines) < console.height
    rows = [line for line in lines if "starting" in line]
    assert len(rows) == console.height - AROUND
    assert f"{256 - len(rows)} more run" in lines[-1]
    for number in range(240):
        table.ended(f"trials/{number}", Result("complete", None, "cnn", {}, 1.0))
    text = text_of(table, console)
    assert text.count("starting") == 16
    assert "more run" not in text
