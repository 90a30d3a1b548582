"""What is seen of a sweep while it runs, under a clock of the test's own."""

import io

import pytest
from rich.console import Console

from hwcls.config.optim import MetricConfig
from hwcls.sweep.monitor.eta import Pace
from hwcls.sweep.monitor.logs import log_to_console
from hwcls.sweep.monitor.progress import Lines, LiveTable
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


def shown(width, total=4, left=None, done=0):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, legacy_windows=False, color_system=None)
    return LiveTable(console, METRIC, total, done, left), console


def text_of(table, console):
    with console.capture() as capture:
        console.print(table._table())
    return capture.get()


LINE = {"val/accuracy": 0.98761, "train/loss": 0.0123, "lr": 9.983e-05, "seconds": 1.0, "images_per_second": 123456.7}


@pytest.mark.parametrize(("width", "absent"), [(80, ("train/loss", "settings")), (100, ("settings",)), (140, ())])
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
    assert "9.983e-05" in first
    assert "123,457" in first
    assert ("width 32" in first) == ("settings" not in absent)
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
    assert text_of(table, console).split("\n")[-2].strip() == "0 done · best 0.5000 (trial 0) · 1 min 30 s left"


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
