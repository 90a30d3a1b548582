"""Errors at the start: one line, at once, nothing written."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from hwcls.errors import UserError
from hwcls.sweep.preflight.validate import Options, check_sweep
from hwcls.sweep.run.background import Background
from tests.results.conftest import write_sweep
from tests.sweep.conftest import open_sweep


def begin(folder):
    (folder.path / "trials" / "0").mkdir(parents=True)
    (folder.path / "trials" / "0" / "config.yaml").write_text("x: 1")


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"parameters": {"data": {"name": "imagefolder", "path": "/nowhere"}}}, {}, "data.path: /nowhere: no such"),
        (
            {"parameters": {"data": {"name": "digits", "path": "/nowhere"}}},
            {},
            "parameters.data.path: digits takes no path, only imagefolder does — remove it, or write name: imagefolder",
        ),
        ({"parameters": {"model": {"choice": {"a": {"name": "no.py:f"}, "b": {"name": "mlp"}}}}}, {}, "no model file"),
        ({"track": ["wandb"]}, {"wandb": "online"}, "no credentials"),
        ({}, {"warm_start": "/nowhere"}, "there is no such folder"),
        ({}, {"results": "/dev/null"}, "cannot be written"),
    ],
)
def test_what_cannot_start_writes_nothing(tiny, tmp_path, changes, options, message):
    asked = {"results": str(tmp_path / "results"), **options}
    with pytest.raises(UserError, match=message):
        check_sweep(tiny(**changes), Options(**{k: v if k == "wandb" else type(tmp_path)(v) for k, v in asked.items()}))
    assert not (tmp_path / "results").exists()


def test_another_metric_is_no_knowledge(tiny, tmp_path):
    write_sweep(tmp_path / "old", metric={"name": "val/loss", "goal": "minimize"})
    with pytest.raises(UserError, match="was ranked by val/loss"):
        check_sweep(tiny(), Options(results=tmp_path / "results", warm_start=tmp_path / "old"))


def test_a_changed_file_and_a_second_sweep(tiny, tmp_path):
    options = Options(results=tmp_path)
    with open_sweep(tiny(), tmp_path) as folder:
        begin(folder)
        with pytest.raises(UserError, match="another command works in this folder"):
            check_sweep(tiny(), options)
    check_sweep(tiny(), options)
    with pytest.raises(UserError, match="changed: seed"):
        check_sweep(tiny(seed=3), options)
    assert check_sweep(tiny(seed=3), Options(results=tmp_path, new=True)).config.name == "tiny-2"


def test_a_sweep_keeps_the_method_that_was_the_default_when_it_began(tiny, tmp_path):
    options, plain = Options(results=tmp_path), tiny(method=None)
    with open_sweep(plain, tmp_path) as folder:
        begin(folder)
    path = folder.path / "sweep.yaml"
    assert "method: auto\n" in path.read_text()
    assert check_sweep(plain, options).config.method == "auto"
    path.write_text(path.read_text().replace("method: auto\n", ""))  # as versions before wrote it
    assert check_sweep(plain, options).config.method == "tpe"
    assert check_sweep(plain, options).resolved()["method"] == "tpe"
    assert check_sweep(tiny(method="tpe"), options).config.method == "tpe"
    with pytest.raises(UserError, match="changed: method"):
        check_sweep(tiny(method="auto"), options)
    path.write_text(path.read_text() + "method: tpe\n")
    assert check_sweep(plain, options).config.method == "tpe"
    assert check_sweep(plain, Options(results=tmp_path, new=True)).config.method == "auto"


def test_nothing_heavy_is_loaded_for_it(sweep_file):
    code = f"""
import sys
from pathlib import Path
from hwcls.config.sweep_file import load_sweep
from hwcls.sweep.preflight import validate
from hwcls.sweep.run import confirm_plan
options = validate.Options(results=Path({str(sweep_file().parent)!r}))
validate.check_sweep(load_sweep(Path({str(sweep_file())!r})), options)
print(sorted({{"torch", "ray", "optuna", "pandas", "wandb"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture
def interruptible():
    """Interrupts are heard, also where the tests run in the background and ignore them."""
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, kept)


@pytest.mark.usefixtures("interruptible")
def test_a_failing_call_ends_what_runs_beside_it():
    failed = threading.Event()

    def call():
        failed.wait()
        raise UserError("no such data")

    background = Background(call)
    start = time.monotonic()
    with pytest.raises(UserError, match="no such data"), background.raises_here():  # noqa: PT012
        failed.set()
        while time.monotonic() < start + 60:  # Ray's start, for instance
            time.sleep(0.01)
    assert time.monotonic() < start + 30


def test_a_call_that_failed_before_lets_nothing_begin():
    background = Background(lambda: 1 / 0)
    while background.error is None:
        time.sleep(0.01)
    with pytest.raises(ZeroDivisionError), background.raises_here():
        raise AssertionError("it began")


def test_what_is_waited_for_interrupts_nobody():
    background = Background(lambda: 42)
    with background.raises_here():
        assert background.result() == 42
    slow = threading.Event()

    def call():
        slow.wait()
        raise UserError("too late")

    background = Background(call)
    with pytest.raises(UserError, match="too late"), background.raises_here():  # noqa: PT012
        slow.set()
        background.result()
    with pytest.raises(KeyboardInterrupt), Background(lambda: None).raises_here():
        raise KeyboardInterrupt  # the user's own


@pytest.mark.slow
def test_a_model_that_cannot_be_built_is_said_before_ray_has_started(sweep_file, tmp_path):
    """In a process of its own; nothing of Ray is left behind."""
    model = {"choice": {"fine": {"name": "mlp"}, "deep": {"name": "gated_cnn", "depth": 4}}}
    path = sweep_file(name="broken", parameters={"model": model})
    results = tmp_path / "results"
    words = [sys.executable, "-m", "hwcls", "sweep", str(path), "--results", str(results), "--wandb", "off"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "8x8 are too small" in done.stderr
    assert list(results.glob("*")) == []
