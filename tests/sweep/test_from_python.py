"""hwcls.sweep: errors as exceptions, an interrupt that resumes, and progress where it belongs."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import hwcls
from hwcls.sweep import from_python

QUICKSTART = Path(__file__).parents[2] / "sweeps" / "quickstart.yaml"
SMALL = {"run_cap": 24, "method": "random", "parameters.epochs": 2, "parameters.data.per_class": 30}


def test_the_package_is_the_function():
    assert hwcls.sweep.__name__ == "hwcls.sweep"
    assert callable(hwcls.sweep)
    assert inspect.signature(hwcls.sweep) == inspect.signature(from_python.sweep)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"file": "none.yaml"}, "none.yaml: no such file"),
        ({"set": {"run_cpa": 3}}, "unknown key 'run_cpa' — did you mean 'run_cap'?"),
        ({"set": {"run_cap": "many"}}, "run_cap"),
        ({"set": {"run_cap": object()}}, "set: run_cap: a sweep file holds no value of type object"),
        ({"set": ["run_cap=3"]}, 'set: expected a dict, not list — give {"run_cap": 20}'),
        ({"preset": "quik"}, "no preset 'quik'"),
        ({"wandb": "of"}, "wandb: unknown mode 'of' — did you mean 'off'?"),
        ({"budget": "soon"}, "soon"),
        ({"warm_start": "nowhere"}, "nowhere"),
        ({"results": "taken"}, "taken"),
    ],
)
def test_what_is_wrong_is_a_user_error(options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(hwcls.UserError) as caught:
        hwcls.sweep(**{"file": QUICKSTART, **options})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "results").exists()


def test_a_notebook_shows_one_line():
    error = hwcls.UserError("is damaged", where="sweep.yaml", remedy="restore it")
    assert error._render_traceback_() == ["UserError: sweep.yaml: is damaged — restore it"]


def test_an_unknown_option_is_a_type_error():
    with pytest.raises(TypeError, match="budgt"):
        hwcls.sweep(QUICKSTART, budgt="2h")


def test_entries_are_those_of_the_command_line(tmp_path, monkeypatch):
    entries = {"run_cap": np.int64(5), "confirm": None, "parameters.optimizer.weight_decay": {"min": 1e-6, "max": 0.1}}
    entries |= {"parameters.data.path": tmp_path, "track": ["tensorboard"]}
    found = [f"{name}={from_python._as_yaml(name, value)}" for name, value in entries.items()]
    assert found == [
        "run_cap=5",
        "confirm=null",
        'parameters.optimizer.weight_decay={"min": 1e-06, "max": 0.1}',
        f'parameters.data.path="{tmp_path}"',
        'track=["tensorboard"]',
    ]


SCRIPT = f"""
import os, signal, sys, threading, time
from pathlib import Path
import hwcls

def press():
    while not list(Path("results").glob("*/trials/*/result.json")):
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=press, daemon=True).start()
try:
    hwcls.sweep({str(QUICKSTART)!r}, set={SMALL!r}, wandb="off")
except KeyboardInterrupt as error:
    print("interrupted:", error)
print(hwcls.load_results("results/quickstart").trials.status.isin(["complete", "stopped"]).sum() < 24)
found = hwcls.sweep({str(QUICKSTART)!r}, set={SMALL!r}, wandb="off")
print(len(found.trials), found.running)
print(len(hwcls.sweep({str(QUICKSTART)!r}, set={SMALL!r}, wandb="off", quiet=True).trials))
"""


@pytest.mark.slow
def test_an_interrupted_sweep_of_a_script_resumes(tmp_path):
    """No __main__ guard: nothing runs the script again. Ray starts twice in one process."""
    env = os.environ | {"PYTHONPATH": str(QUICKSTART.parents[1])}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "interrupted: everything finished is saved; the same call resumes",
        "True",
        "24 False",
        "24",
    ]
    assert "of 24 done" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["/data/\U0001f600/x", "a\u2028b", "a\x85b", "a\x7fb", "\ufeffa", "yes", "1e-5"])
def test_texts_are_taken_as_they_are(text):
    assert yaml.safe_load(from_python._as_yaml("data.path", text)) == text
