"""The live table in a notebook, with a display in the place of IPython's."""

import sys
from types import SimpleNamespace

import pytest

from hwcls.config.optim import MetricConfig
from hwcls.report.terminal.console import terminal_console
from hwcls.sweep.monitor import notebook
from hwcls.sweep.monitor.display import ProgressDisplay
from hwcls.sweep.monitor.progress import Lines
from hwcls.tracking.records import Result

METRIC = MetricConfig(name="val/accuracy", goal="maximize")


@pytest.fixture
def shown(monkeypatch):
    """What a cell's output was, one text after the other."""
    texts = []
    handle = SimpleNamespace(update=lambda content, raw: texts.append(content["text/plain"]))

    def display(content, raw, display_id):
        assert raw
        assert display_id
        texts.append(content["text/plain"])
        return handle

    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    monkeypatch.setattr(notebook, "INTERVAL", 0.0)
    return texts


def test_a_kernel_is_a_notebook(shown, monkeypatch):
    assert notebook.in_notebook()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace()))
    assert not notebook.in_notebook()  # IPython on a terminal
    monkeypatch.delitem(sys.modules, "IPython")
    assert not notebook.in_notebook()


def test_one_output_follows_the_trials_and_is_empty_at_the_end(shown):
    with ProgressDisplay(terminal_console(width=120, force_terminal=False, force_jupyter=False), METRIC) as display:
        progress = display.progress(2)
        progress.started("trials/0", "cnn", {"lr": 0.1}, 0, 5)
        progress.epoch("trials/0", {"epoch": 3, "val/accuracy": 0.75, "seconds": 0.1})
        assert "0.75" in shown[-1]
        assert "3/5" in shown[-1]
        progress.ended("trials/0", Result("complete", {"epoch": 3, "val/accuracy": 0.75}, "cnn", {"lr": 0.1}, 1.0))
        assert "1 of 2 done" in shown[-1]
        assert "\x1b" not in "".join(shown)
    assert shown[-1] == ""


def test_pictures_of_the_table_are_rare(shown, monkeypatch):
    monkeypatch.setattr(notebook, "INTERVAL", 60.0)
    with ProgressDisplay(terminal_console(width=120, force_terminal=False), METRIC) as display:
        progress = display.progress(None)
        for epoch in range(100):
            progress.epoch("trials/0", {"epoch": epoch, "seconds": 0.1})
        assert len(shown) == 1


def test_a_quiet_one_and_a_plain_process_have_no_table(shown, monkeypatch):
    with ProgressDisplay(terminal_console(quiet=True), METRIC) as display:
        assert type(display.progress(2)) is Lines
    monkeypatch.delitem(sys.modules, "IPython")
    with ProgressDisplay(terminal_console(force_terminal=False), METRIC) as display:
        assert type(display.progress(2)) is Lines
    assert shown == []
