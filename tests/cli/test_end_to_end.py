"""The product as its user meets it: real processes, a real Ray, a real kill -9."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
KEY = "d0n7printthis" * 3 + "0"
SWEEP = {
    "name": "small",
    "run_cap": 6,
    "compare": "model",
    "method": "random",
    "track": ["wandb"],
    "parameters": {
        "data": {"name": "digits", "batch_size": 16},
        "model": {"choice": {"mlp": {"width": 64}, "cnn": {"name": "simple_cnn", "width": 8}}},
        "optimizer": {"name": "adam", "lr": {"min": 1e-4, "max": 1e-2, "log": True}},
        "epochs": 12,
    },
}


def start(*words, **variables):
    command = [sys.executable, "-m", "hwcls", *map(str, words)]
    environment = {**os.environ, "HWCLS_CACHE": os.environ["HWCLS_CACHE"], **variables}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process, seconds=400):
    output, _ = process.communicate(timeout=seconds)
    return process.returncode, output


def wait_for(found, process, seconds=180):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found():
            return
        if process.poll() is not None:
            raise AssertionError(process.communicate()[0])
        time.sleep(0.1)
    raise AssertionError("it did not come so far")


def records(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def numbers(folder):
    times = ("seconds", "images_per_second")
    return {
        int(path.name): [{k: v for k, v in line.items() if k not in times} for line in records(path)]
        for path in (folder / "trials").iterdir()
    }


@pytest.fixture
def sweep_file(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SWEEP, sort_keys=False))
    return path


COMMAND_LINES: set[bytes] = set()  # of the processes of the undisturbed sweep


def _watch(process, folder):
    """Collect the command lines of all processes that name the sweep or Ray, while it runs."""
    while process.poll() is None:
        found = {_read(path) for path in Path("/proc").glob("[0-9]*/cmdline")}
        COMMAND_LINES.update(line for line in found if str(folder).encode() in line or b"ray" in line)
        time.sleep(0.5)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The sweep run without a fault."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "small.yaml").write_text(yaml.safe_dump(SWEEP, sort_keys=False))
    process = start("sweep", folder / "small.yaml", "--results", folder, WANDB_API_KEY=KEY, WANDB_MODE="offline")
    watch = threading.Thread(target=_watch, args=(process, folder), daemon=True)
    watch.start()
    code, output = finish(process)
    watch.join()
    assert code == 0, output
    return folder / "small", output


def test_wandb_has_what_the_records_have(undisturbed):
    """One offline run per trial, without a login: flat config, one row per epoch, read back by W&B's own tool."""
    folder, _ = undisturbed
    runs = sorted((folder / "wandb").glob("offline-run-*"))
    assert len(runs) == 6
    tool = Path(sys.executable).with_name("wandb")
    seen = set()
    for run in runs:
        done = subprocess.run([tool, "leet", "inspect", "--json", run], capture_output=True, text=True, check=True)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        update = next(record["run"] for record in found if record["type"] == "run")["config"]["update"]
        config = {name: value for name, value in update.items() if not name.startswith("_")}
        assert not any(isinstance(value, (dict, list)) for value in config.values())
        trial = folder / "trials" / str(config["trial"])
        values = yaml.safe_load((trial / "config.yaml").read_text())
        assert config["lr"] == pytest.approx(values["optimizer"]["lr"])
        assert config["model"] == values["model"]["label"]
        assert config["sweep"] == "small"
        rows = [record["history"]["item"] for record in found if record["type"] == "history"]
        expected = records(trial)
        assert [row["epoch"] for row in rows] == [line["epoch"] for line in expected]
        for row, line in zip(rows, expected, strict=True):
            assert {name: row[name] for name in line} == pytest.approx(line)
        seen.add(config["trial"])
    assert seen == set(range(6))


def test_the_key_is_nowhere(undisturbed):
    folder, output = undisturbed
    assert KEY not in output
    assert any(b"hwcls.sweep.monitor.tracking_process" in line for line in COMMAND_LINES)
    assert any(b"raylet" in line for line in COMMAND_LINES)
    assert not any(KEY.encode() in line for line in COMMAND_LINES)
    for path in folder.parent.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert KEY.encode() not in path.read_bytes(), path


def test_plain_lines_and_nothing_of_rays(undisturbed):
    _, output = undisturbed
    for number in range(6):
        assert re.search(rf"trial {number} \(\w+\) starts", output)
    assert "6 of 6" in output
    assert "report:" in output
    for noise in ("ray::", "INFO", "WARNING", "Traceback", "tune", "\x1b["):
        assert noise not in output, noise


def test_ended_three_ways_and_the_same_command_again(sweep_file, tmp_path, undisturbed):
    """SIGTERM, Ctrl-C and kill -9, each further on: random search without early stop, as if nothing had happened."""
    folder = tmp_path / "small"
    words = ("sweep", sweep_file, "--results", tmp_path, "--wandb", "offline")
    finished = {}
    for ended, sent in enumerate((signal.SIGTERM, signal.SIGINT, signal.SIGKILL), 1):
        process = start(*words)
        wait_for(lambda ended=ended: len(list(folder.glob("trials/*/result.json"))) >= ended, process)
        if sent == signal.SIGINT:
            os.killpg(process.pid, sent)  # a terminal sends Ctrl-C to the whole group
        else:
            process.send_signal(sent)
        code, output = finish(process, 120)
        if sent != signal.SIGKILL:
            assert code == 130, output
            assert "Resume with:" in output
            assert f"hwcls sweep {sweep_file}" in output
            assert "Traceback" not in output
        finished |= {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/result.json")}
    assert len(finished) < 6
    code, output = finish(start(*words))
    assert code == 0, output
    for path, time_ns in finished.items():
        assert path.stat().st_mtime_ns == time_ns
    found = numbers(folder)
    assert {n: [line["epoch"] for line in lines] for n, lines in found.items()} == {
        n: list(range(1, 13)) for n in range(6)
    }
    assert found == numbers(undisturbed[0])
    assert len(list((folder / "wandb").glob("offline-run-*"))) == 6
    _nothing_left(folder)


def _nothing_left(folder):
    """No process of the sweep lives on."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        left = [p for p in Path("/proc").glob("[0-9]*/cmdline") if str(folder).encode() in _read(p)]
        if not left:
            return
        time.sleep(0.5)
    raise AssertionError(left)


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_quickstart(tmp_path):
    """What the README promises: two families compared, trials stopped early, above 0.97, a page."""
    code, output = finish(start("sweep", "sweeps/quickstart.yaml", "--results", tmp_path, "--wandb", "offline"))
    assert code == 0, output
    folder = tmp_path / "quickstart"
    results = [json.loads(path.read_text()) for path in folder.glob("trials/*/result.json")]
    assert len(results) >= 12
    assert {result["label"] for result in results} == {"cnn", "mlp"}
    assert any(result["status"] == "stopped" for result in results)
    assert max(result["best"]["val/accuracy"] for result in results if result["best"]) > 0.97
    drawn = [result["parameters"] for result in results]
    assert {p["optimizer"] for p in drawn} == {"adam", "adamw", "sgd"}
    assert all(("momentum" in p) == (p["optimizer"] == "sgd") for p in drawn)
    page = (folder / "report.html").read_text()
    assert "quickstart" in page
    assert str(folder / "report.html") in output
