"""The log of a sweep, on a console and in its file."""

import io
import logging
import re

import pytest
from rich.console import Console

from hwcls.config.optim import MetricConfig
from hwcls.sweep.monitor.live_table import LiveTable
from hwcls.sweep.monitor.logs import log_to_console, log_to_file

log = logging.getLogger("hwcls.sweep.anything")


def printed(**console):
    console = Console(file=io.StringIO(), width=200, color_system=None, **console)
    with log_to_console(console):
        log.debug("versions")
        log.info("trial %d [red] starts, 100 %%", 3)
        log.warning("no GPU")
    log.info("after the end")
    return console.file.getvalue()


def test_a_pipe_gets_a_plain_line_for_each_event():
    assert printed() == "trial 3 [red] starts, 100 %\nnote: no GPU\n"
    assert printed(quiet=True) == ""


@pytest.mark.parametrize("console", [{}, {"force_terminal": True, "legacy_windows": False}])
def test_a_console_gets_no_credentials(console):
    shown = Console(file=io.StringIO(), width=200, color_system=None, **console)
    with log_to_console(shown):
        log.info("tiny: 4 trials; results in s3://key:secret@bucket/tiny")
    assert "results in s3://bucket/tiny" in shown.file.getvalue()


def test_a_terminal_gets_the_time_as_well():
    first, second = printed(force_terminal=True, legacy_windows=False).splitlines()
    assert re.fullmatch(r"\[\d\d:\d\d:\d\d\] trial 3 \[red\] starts, 100 % *", first)
    assert re.fullmatch(r"(\[\d\d:\d\d:\d\d\]| {10}) note: no GPU *", second)


def test_each_start_appends_with_times_and_without_credentials(tmp_path):
    for start in range(2):
        with log_to_file(tmp_path / "sweep.log"):
            log.debug("start %d", start)
            log.warning("s3://key:secret@bucket/sweeps does not answer")
    lines = (tmp_path / "sweep.log").read_text().splitlines()
    assert [line.partition("hwcls.sweep.anything: ")[2] for line in lines] == [
        "start 0",
        "s3://bucket/sweeps does not answer",
        "start 1",
        "s3://bucket/sweeps does not answer",
    ]
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} (DEBUG|WARNING) ", line) for line in lines)
    assert not logging.getLogger("hwcls").handlers


def test_the_file_keeps_what_the_live_table_shows(tmp_path):
    console = Console(file=io.StringIO(), width=100, force_terminal=True, legacy_windows=False, color_system=None)
    table = LiveTable(console, MetricConfig(name="val/accuracy"), 4)
    with log_to_file(tmp_path / "sweep.log"), log_to_console(console):
        table.started("trials/1", None, {"lr": 0.1}, 0, 9)
        table.restarted("trials/1", "the worker died")
        table.started("trials/1", None, {"lr": 0.1}, 3, 9)
    assert "trial 1 is restarted: the worker died" in console.file.getvalue()
    assert "resumes" not in console.file.getvalue()
    lines = (tmp_path / "sweep.log").read_text().splitlines()
    messages = [line.partition("progress: ")[2] for line in lines]
    restarted = "trial 1 is restarted: the worker died"
    assert messages == ["trial 1 starts: lr 0.1", restarted, "trial 1 resumes after epoch 3: lr 0.1"]


@pytest.mark.filterwarnings("error")
def test_a_file_that_cannot_be_written_stops_nothing(tmp_path, capsys):
    with log_to_file(tmp_path / "missing" / "sweep.log"):
        log.info("anything")
    assert capsys.readouterr().err == ""
