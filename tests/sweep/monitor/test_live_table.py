"""The live table, as the text of a terminal of a given size."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading

import pytest
from rich.cells import cell_len
from rich.console import Console

from hwcls.config.optim import MetricConfig
from hwcls.report.terminal.console import terminal_console
from hwcls.sweep.monitor.display import ProgressDisplay
from hwcls.sweep.monitor.eta import Ahead
from hwcls.sweep.monitor.live_table import AROUND, LiveTable
from hwcls.sweep.monitor.logs import log_to_console
from hwcls.sweep.monitor.progress import Lines
from hwcls.tracking.records import Result

METRIC = MetricConfig(name="val/accuracy")
LINE = {"val/accuracy": 0.98761, "train/loss": 0.0123, "lr": 9.983e-05, "seconds": 1.0, "images_per_second": 123456.7}
STRONG, LIGHT = "efficientnet_b0_strong_augmentation", "efficientnet_b0_light_augmentation"
WIDE = "日本語のモデル"


def open_table(width, height=25, total=4, left=None, done=0):
    console = Console(
        file=io.StringIO(), width=width, height=height, force_terminal=True, legacy_windows=False, color_system=None
    )
    return LiveTable(console, METRIC, total, done, left), console


def lines_of(table, console):
    with console.capture() as capture:
        console.print(table.render())
    return [line.rstrip() for line in capture.get().splitlines()]


def complete(value=0.5, label=None):
    return Result("complete", {"epoch": 2, "val/accuracy": value}, label, {}, 1.0)


@pytest.fixture
def show(clock):
    """Five trials of a sweep whose alternatives have long and wide names, at a width."""

    def show(width):
        table, console = open_table(width, total=120)
        parameters = {"model": "resnet", "optimizer": "sgd", "lr": 0.0125, "batch_size": 256, "head_dropout": 0.25}
        for number, label in enumerate(("resnet", STRONG, LIGHT, WIDE)):
            own = {**parameters, "model": label, "lr": 0.0125 * (number + 1)}
            table.started(f"trials/{number}", label, own, 0, 100)
            clock(1)
            table.epoch(f"trials/{number}", {**LINE, "epoch": 9, "lr": 0.0125 * (number + 1)})
        table.epoch("trials/0", {**LINE, "epoch": 10, "val/accuracy": 0.75})
        table.restarted("trials/1", "a rank died")
        table.started("trials/100", "resnet", parameters, 12, 100, 0.5)
        table.ended("trials/2", Result("complete", {"epoch": 9, "val/accuracy": 0.9}, LIGHT, {}, 1.0))
        return lines_of(table, console)

    return show


def test_at_80_columns(show):
    assert show(80) == [
        "trial      alternative                state         epoch  val/accuracy     best",
        "trial 0    resnet                     training     10/100        0.7500   0.9876",
        "trial 1    efficientnet_b0_strong_a…  restarting    9/100        0.9876   0.9876",
        "trial 3    日本語のモデル             training      9/100        0.9876   0.9876",
        "trial 100  resnet                     resuming     12/100                 0.5000",
        "1 of 120 done · best 0.9000 (efficientnet_b0_lig…, trial 2) · 15 min 29 s left",
    ]


def test_at_200_columns(show):
    head, first, *_, wide, resumed, below = show(200)
    columns = ["trial", "alternative", "state", "epoch", "val/accuracy", "best", "train/loss", "lr", "images/s"]
    assert head.split() == [*columns, "settings"]
    assert first.split()[:3] == ["trial", "0", "resnet"]
    assert first.split()[3:10] == ["training", "10/100", "0.7500", "0.9876", "0.0123", "9.983e-05", "123,457"]
    assert first.endswith("  lr 0.0125, optimizer sgd, batch_size 256, head_dropout 0.25")
    assert "lr 0.05, optimizer sgd" in wide
    assert resumed.split()[3:7] == ["resuming", "12/100", "0.5000", "lr"]
    assert LIGHT in below


def test_no_line_is_wider_than_the_terminal(show):
    for width in range(20, 240, 3):
        lines = show(width)
        assert max(map(cell_len, lines)) <= width
        assert [line.split()[:2] for line in lines[1:5]] == [["trial", number] for number in ("0", "1", "3", "100")]


ORDER = ("epoch", "val/accuracy", "alternative", "best", "state", "settings")  # the most important first


def test_a_wider_terminal_shows_more_and_the_important_first(show):
    found = [set(show(width)[0].split()) for width in range(20, 240, 3)]
    first = {name: next(place for place, names in enumerate(found) if name in names) for name in ORDER}
    assert sorted(first.values()) == [first[name] for name in ORDER]
    assert all({"alternative", "epoch", "val/accuracy", "best"} <= names for names in found[20:])
    assert all({"settings", "lr", "images/s"} <= names for names in found[60:])


def test_without_alternatives_their_room_is_for_the_settings():
    table, console = open_table(80)
    for number, rate in enumerate((0.001, 0.002)):
        table.started(f"trials/{number}", None, {"batch_size": 32, "head_dropout": 0.25, "lr": rate}, 0, 9)
    head, first, second, *_ = lines_of(table, console)
    assert head.split() == ["trial", "state", "epoch", "val/accuracy", "best", "settings"]
    assert first.endswith("lr 0.001, batch_size 32, …")
    assert second.endswith("lr 0.002, batch_size 32, …")
    table.ended("trials/0", Result("complete", None, None, {}, 1.0))
    assert lines_of(table, console)[1] == second  # as before: the order of the settings does not jump


def test_confirm_runs_are_named_by_alternative_and_seed():
    table, console = open_table(80)
    table.started("confirm/fully_connected/10007002", "fully_connected", {"lr": 0.1}, 0, 30)
    table.epoch("confirm/fully_connected/10007002", {"epoch": 1, **LINE})
    found = lines_of(table, console)[1]
    assert found.split()[:5] == ["seed", "10007002", "fully_connected", "confirming", "1/30"]


def test_the_states_of_a_trial():
    table, console = open_table(80)

    def state():
        return lines_of(table, console)[1].split()[2]

    table.started("trials/1", None, {}, 0, 9)
    assert state() == "starting"
    table.epoch("trials/1", {"epoch": 1, **LINE})
    assert state() == "training"
    table.restarted("trials/1", "the worker died")
    assert state() == "restarting"
    assert "0.9876" in lines_of(table, console)[1]  # what it had reached stays in sight
    table.started("trials/1", None, {}, 1, 9)
    assert state() == "restarting"
    table.epoch("trials/1", {"epoch": 2, **LINE})
    assert state() == "training"
    table.ended("trials/1", complete())
    table.started("trials/2", None, {}, 4, 9)
    assert (state(), "4/9" in lines_of(table, console)[1]) == ("resuming", True)


def test_the_best_epoch_of_a_loss_is_the_lowest():
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    table = LiveTable(console, MetricConfig(name="val/loss"), 2)
    table.started("trials/0", None, {}, 0, 9)
    for epoch, value in ((1, 0.5), (2, 0.25), (3, None), (4, 0.75)):
        table.epoch("trials/0", {"epoch": epoch, "val/loss": value})
    assert lines_of(table, console)[1].split()[4:] == ["0.7500", "0.2500"]


def test_of_many_trials_the_best_of_each_alternative_are_shown():
    """64 run on a terminal of 24 lines: restarted ones come first, then leaders; each stays in its order."""
    table, console = open_table(80, height=24, total=1000)
    for number in range(64):
        label = ("cnn", "mlp")[number % 2]
        table.started(f"trials/{number}", label, {"lr": 0.1}, 0, 9)
        table.epoch(f"trials/{number}", {"epoch": 1, "val/accuracy": number / 100 if label == "mlp" else 0.9})
    table.started("trials/64", "mlp", {}, 0, 9)
    table.restarted("trials/1", "a rank died")
    lines = lines_of(table, console)
    rows = [line.split() for line in lines if line.startswith("trial ")]
    assert len(lines) == 24 - AROUND + 1
    assert lines[-2] == f"+{65 - len(rows) + 1} more running"
    numbers = [int(row[1]) for row in rows[1:]]
    assert numbers == sorted(numbers)
    assert numbers[:3] == [0, 1, 2]
    assert numbers[-1] == 63
    labels = [row[2] for row in rows[1:]]
    assert abs(labels.count("cnn") - labels.count("mlp")) <= 1
    for number in range(60):
        table.ended(f"trials/{number}", Result("complete", None, "cnn", {}, 1.0))
    assert not any("more running" in line for line in lines_of(table, console))


def test_a_table_of_one_line_in_a_tiny_terminal():
    table, console = open_table(30, height=4)
    for number in range(9):
        table.started(f"trials/{number}", "cnn", {"lr": 0.1}, 0, 9)
    assert [line.split()[1] for line in lines_of(table, console) if line.startswith("trial ")][1:] == ["0", "1"]


def test_the_line_below_the_table_of_a_time_budget(clock):
    table, console = open_table(80, total=None, left=90)
    table.reached_before("trials/0", complete(0.5, "cnn"))
    assert lines_of(table, console)[-1] == (
        "0 done · best 0.5000 (cnn, trial 0) · 1 min 30 s left · starting the workers"
    )
    table.console.width = 50
    assert lines_of(table, console)[-2:] == [
        "0 done · best 0.5000 (cnn, trial 0)",
        "1 min 30 s left · starting the workers",
    ]


def test_the_line_below_the_table_while_no_trial_runs(clock):
    table, console = open_table(80, total=1)

    def last():
        return lines_of(table, console)[-1]

    table.pace.ahead = Ahead.of_search({})
    assert last() == "0 of 1 done · starting the workers"
    table.started("trials/0", None, {}, 0, 1)
    assert last() == "0 of 1 done"
    clock(30)
    table.epoch("trials/0", {"epoch": 1, **LINE})
    table.ended("trials/0", complete())
    assert last() == "1 of 1 done · best 0.5000 (trial 0) · writing the report"
    table.pace.ahead = Ahead.of_confirm()
    assert last().endswith(" · scoring on test, writing the report")
    table.pace.ahead = Ahead.of_search({None: 5})
    assert last().endswith(" · starting the confirm runs")


def test_event_lines_name_the_alternative_and_break_between_facts(clock):
    """How far the sweep is appears below the table, and not in each line as well."""
    table, console = open_table(80)
    with log_to_console(console), console.capture() as capture:
        table.started("trials/1", STRONG, {"lr": 0.1}, 0, 9)
        table.restarted("trials/1", "a rank died")
        table.paused("trials/1", Result("stopped", {"epoch": 3, "val/accuracy": 0.5}, STRONG, {}, 125.0))
        table.started("trials/1", STRONG, {"lr": 0.1}, 3, 9, 0.5)
        table.ended("trials/1", Result("stopped", {"epoch": 3, "val/accuracy": 0.5}, STRONG, {}, 125.0))
    lines = [line[11:].rstrip() for line in capture.get().splitlines()]
    assert lines == [
        f"trial 1 ({STRONG}) is restarted: a rank",
        "died",
        f"trial 1 ({STRONG}) paused",
        "val/accuracy 0.5000 in epoch 3 · new best · 2 min 5 s",
        f"trial 1 ({STRONG}) is promoted, resumes",
        "after epoch 3",
        f"trial 1 ({STRONG}) stopped after epoch 3",
        "val/accuracy 0.5000 in epoch 3 · 2 min 5 s",
    ]


def test_names_cannot_move_the_cursor():
    table, console = open_table(80)
    table.started("trials/0", "a\x1b[2Jb\nc", {"augment": "x\x1b[1A\ny"}, 0, 9)
    lines = lines_of(table, console)
    assert len(lines) == 3
    assert "\x1b" not in "".join(lines)
    assert max(map(cell_len, lines)) <= 80


def test_a_terminal_that_moves_no_cursor_gets_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    with ProgressDisplay(terminal_console(force_terminal=True), METRIC) as display:
        assert type(display.progress(2)) is Lines


@pytest.mark.parametrize("terminal", [True, False])
def test_colours_are_off_where_the_user_wants_none_and_in_pipes(monkeypatch, terminal):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    console = terminal_console(file=io.StringIO(), width=80, force_terminal=terminal)
    with log_to_console(console), ProgressDisplay(console, METRIC) as display:
        progress = display.progress(2)
        progress.started("trials/0", WIDE, {"lr": 0.1}, 0, 9)
        progress.ended("trials/0", complete(0.5, WIDE))
    text = console.file.getvalue()
    assert f"trial 0 ({WIDE}) complete" in text
    assert "\x1b[3" not in text  # the codes of colours
    assert ("\x1b" in text) == terminal


PLAY = """
from hwcls.config.optim import MetricConfig
from hwcls.report.terminal.console import terminal_console
from hwcls.sweep.monitor.display import ProgressDisplay

console = terminal_console()
with ProgressDisplay(console, MetricConfig(name="val/accuracy")) as display:
    progress = display.progress(99)
    for number in range(40):
        progress.started(f"trials/{number}", "a_long_name_of_a_network", {"lr": 0.1, "batch_size": 64}, 0, 9)
    for columns in (100, 60):
        print(f"<{columns}>", flush=True)
        input()
        progress.live.refresh()
print("<end>")
"""


def test_in_a_terminal_whose_width_changes():
    """A real one: the table has as many columns as there is room for, and no line is wrapped or too low."""
    terminal, end = pty.openpty()
    _resize(terminal, 100)
    environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environ |= {"TERM": "xterm-256color", "NO_COLOR": "1"}
    with subprocess.Popen([sys.executable, "-c", PLAY], stdin=end, stdout=end, stderr=end, env=environ) as process:
        os.close(end)
        before = _read_until(terminal, "<100>")
        os.write(terminal, b"\n")
        wide = before + _read_until(terminal, "<60>")
        _resize(terminal, 60)
        os.write(terminal, b"\n")
        narrow = _read_until(terminal, "<end>")
    os.close(terminal)
    assert process.returncode == 0
    for picture, width, shown in ((wide, 100, True), (narrow, 60, False)):
        table = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", picture).split("alternative")[-1].splitlines()
        rows = [line.rstrip() for line in table if line.startswith("trial")]
        assert 10 <= len(rows) < 20
        assert max(map(len, rows)) <= width
        assert all(("starting" in row) == shown for row in rows)


def _resize(terminal, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 20, columns, 0, 0))


def _read_until(terminal, mark):
    text = ""
    while mark not in text:
        text += os.read(terminal, 65536).decode("utf-8", "replace")
    return text


@pytest.fixture
def often():
    """Threads take turns much more often than they usually do."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.parametrize("kind", ["trials", "confirm/cnn"])
def test_it_is_drawn_while_another_thread_changes_it(often, kind):
    table, _ = open_table(80, total=3000)
    for number in range(100):
        table.started(f"trials/{number}", f"model {number}", {}, 0, 9)
        table.running.pop(f"trials/{number}")

    def change():
        for number in range(100, 3000):
            label = f"model {number}"
            table.started(f"{kind}/{number}", label, {}, 0, 9)
            table.epoch(f"{kind}/{number}", {**LINE, "epoch": 2})
            table.running.pop(f"{kind}/{number}")
            Lines.ended(table, f"{kind}/{number}", complete(label=label))

    thread = threading.Thread(target=change)
    thread.start()
    while thread.is_alive():
        table.render()
    assert table.pace.done == 2900
