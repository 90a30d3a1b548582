"""Ctrl-C at any moment and any number of times: one line, exit code 130, no traceback."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from hwcls.cli.interrupt import acknowledged
from hwcls.sweep.cluster.prompt_exit import exits_promptly

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, signal, sys
from hwcls.cli.interrupt import command_begins, handle_interrupts, leave_at_once

def press():
    os.kill(os.getpid(), signal.SIGINT)

class Interrupted:
    def __del__(self):
        press()

handle_interrupts()
"""
CASES = {
    "before a command begins": "try:\n    press()\nexcept KeyboardInterrupt:\n    os._exit(7)",
    "that nothing handles": "command_begins()\npress()",
    "in a handler of an interrupt": "command_begins()\ntry:\n    press()\nexcept KeyboardInterrupt:\n    press()",
    "a third time": "command_begins()\nwhile True:\n    try:\n        press()\n    except KeyboardInterrupt: pass",
    "at exit": "command_begins()\nimport atexit\natexit.register(press)\nleave_at_once()",
    "in a destructor": "command_begins()\none = Interrupted()\ndel one\npress()",
}


@pytest.mark.parametrize("case", CASES)
def test_an_interrupt_is_one_line(case):
    done = subprocess.run([sys.executable, "-c", SCRIPT + CASES[case]], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "hwcls: interrupted\n")


def test_an_interrupt_while_python_ends_keeps_the_exit_code():
    code = "import gc\ngc.disable()\none = Interrupted()\none.itself = one\nsys.exit(7)"
    done = subprocess.run([sys.executable, "-c", SCRIPT + code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (7, "")


def test_the_first_interrupt_is_acknowledged_while_something_else_handles_it():
    """Ray's start defers it, Tune has a handler of its own."""
    reported, handled = threading.Event(), []
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with acknowledged(lambda: (handled.append("reported"), reported.set())):
            with exits_promptly(30):
                signal.raise_signal(signal.SIGINT)
                assert reported.wait(10)
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert handled == ["reported"]
    assert signal.set_wakeup_fd(-1) == -1


def test_other_errors_keep_their_traceback():
    done = subprocess.run([sys.executable, "-c", SCRIPT + "1 / 0"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


def interrupted(command, delay, times, cwd):
    """Start hwcls, interrupt its process group so often after a delay, as a terminal does; its code and output.

    The delay begins once Python runs: until then an interrupt is its own affair.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); from hwcls.cli import main; main()", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(delay)
    for _ in range(times):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.1)
    output = process.communicate(timeout=90)[0]
    return process.returncode, output


@pytest.mark.slow
@pytest.mark.parametrize(("delay", "times"), [(0.3, 12), (2.0, 12), (5.0, 2), (9.0, 12)])
def test_a_sweep_that_is_interrupted_again_and_again(tmp_path, delay, times):
    parameters = {"data": {"name": "digits", "per_class": 20}, "model": {"name": "mlp", "width": 8}, "epochs": 200}
    parameters["optimizer"] = {"name": "adam", "lr": {"min": 1e-3, "max": 1e-2}}
    (tmp_path / "long.yaml").write_text(yaml.safe_dump({"run_cap": 50, "track": [], "parameters": parameters}))
    code, output = interrupted(["sweep", "long.yaml"], delay, times, tmp_path)
    assert code == 130, output
    assert "interrupted" in output.lower()
    for word in ("Traceback", "Exception ignored", "KeyboardInterrupt", "Aborted"):
        assert word not in output, output
