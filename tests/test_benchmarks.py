"""Benchmarks run from end to end in small, and what they count is right."""

import importlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPT = FOLDER / "gpu.py"


def test_gpu_in_small_on_a_cpu(tmp_path):
    arguments = ["--device", "cpu", "--images", "256", "--batch", "32", "--seconds", "0", "--only", "steps/simple_cnn"]
    command = [sys.executable, str(SCRIPT), *arguments, "--json", str(tmp_path / "rows.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "simple_cnn/eager" in done.stdout
    row = json.loads((tmp_path / "rows.json").read_text())["rows"]["steps/simple_cnn/eager"]
    assert row["images_per_second"] > 0
    assert row["gflop_per_image"] == pytest.approx(0.025, rel=0.2)


def test_launches_of_a_step(benchmark_module):
    """A step has few launches beside its layers', and none for which the host waits; those of BatchNorm are one."""
    launches = benchmark_module("launches")
    row = launches.measure("simple_cnn")
    found = dict(row["operators"])
    assert row["eager"] == sum(found.values()) == row["batch"] + row["training"] <= 80
    assert row["captured"] == 1 + 4, "the positions, two learning rates, and by how much the averages move"
    assert row["syncs"] == 0
    assert found["convolution"] == found["native_batch_norm"] == 2
    with launches.Launches() as counted:
        torch.zeros(4).view(2, 2).add(1).sum().item()
    assert dict(counted.found) == {"zeros": 1, "add": 1, "sum": 1, "_local_scalar_dense": 1}
    assert counted.syncs == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_is_said_in_one_line():
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("no GPU here")
    assert done.stderr.count("\n") == 1


def test_seconds_of_a_command_in_two_checkouts():
    command = [sys.executable, str(FOLDER / "commands.py"), "--only", "tables", "--rounds", "1"]
    done = subprocess.run([*command, "--against", str(FOLDER.parent)], capture_output=True, text=True, check=True)
    head, row = done.stdout.splitlines()
    assert head.split() == ["command", "seconds", "CPU", "against", "CPU", "ratio"]
    name, *numbers = row.split()
    _, here, _, there, ratio = map(float, numbers)
    assert name == "tables"
    assert ratio == pytest.approx(here / there, abs=0.1)
    assert 0.05 < here < 20


@pytest.mark.slow
def test_checkpoints_in_small():
    command = [sys.executable, str(FOLDER / "checkpoints.py"), "--repeats", "1", "--images", "100"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = dict(line.rsplit("  ", 1) for line in done.stdout.splitlines() if line.startswith(("waited", "in a thread")))
    assert len(rows) == 2
    assert "times shorter" in done.stdout


HEAVY = [pytest.param(name, marks=pytest.mark.heavy) for name in ("optuna", "tune")]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hwcls", *HEAVY])
def test_orchestration_in_small(tmp_path, name):
    arguments = ["--trials", "4", "--only", name, "--json", str(tmp_path / "rows.json")]
    command = [sys.executable, str(FOLDER / "orchestration.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert (row["name"], row["trials"]) == (name, 4)
    assert 0 < row["- ask"] <= row["driver"]
    assert row["ask"] > 0
    own = ("consumer", "again", "epochs/s", "page", "write")
    assert all(row[column] > 0 for column in own) if name == "hwcls" else not {*own} & row.keys()


@pytest.fixture
def benchmark_module(monkeypatch):
    """Imports a module of benchmarks/ as its scripts do."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module


ORPHAN = """
import os, time
if os.fork():
    os._exit(0)
os.setsid()
until = time.process_time() + 1.0
while time.process_time() < until:
    pass
"""


def test_the_cpu_time_of_an_orphan_counts(tmp_path, benchmark_module):
    """As Ray's processes are: not waited for by who started them, in a session of their own."""
    code = f"""
import os, sys
sys.path.insert(0, {str(FOLDER)!r})
import processes
from pathlib import Path
done = processes.run([sys.executable, "-c", {ORPHAN!r}], os.environ, Path({str(tmp_path / "log")!r}), lambda _: None)
print(done.code, done.cpu)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    code, cpu = done.stdout.split()
    assert code == "0"
    assert 0.9 < float(cpu) < 2.5


def test_the_break_even(benchmark_module):
    """12 trials: 12, 72 and 4.8 s against 0.5, 0.9 and 1.2 s per second of training."""

    def row(start, factor, length):
        return {"trials": 12, "epochs": 108, "wall": start + 12 * factor * length, "start": start, "end": 0.0}

    sizes = {
        length: {"hwcls": row(12, 0.5, length), "tune": row(72, 0.9, length), "optuna": row(4.8, 1.2, length)}
        for length in (10.0, 300.0)
    }
    found = benchmark_module("sweep").break_even(sizes)
    assert "hwcls gains 2x on Ray Tune + TorchTrainer at trials of up to 40 s" in found
    assert "hwcls gains 2x on Optuna, one process at trials of 8 s and more" in found
    assert (
        found[0]
        == "hwcls: 1.0 s a trial plus 0.50 s per second of training; it is 5% of the wall time at trials of 38 s"
    )


def test_the_break_even_is_of_the_epochs_that_were_trained(benchmark_module):
    """Of 12 short trials early stopping trains a third, of 3 long ones all; and a slot stays empty at the end."""
    short = {"trials": 12, "epochs": 36, "wall": 12 + 12 * 0.5 * 3, "start": 12.0, "end": 0.0}
    long = {"trials": 3, "epochs": 27, "wall": 12 + 3 * 0.5 * 303, "start": 12.0, "end": 0.0}
    found = benchmark_module("sweep").break_even({9.0: {"hwcls": short}, 300.0: {"hwcls": long}})
    assert found == [
        "hwcls: 1.0 s a trial plus 0.51 s per second of training; it is 5% of the wall time at trials of 38 s"
    ]


@pytest.mark.heavy
def test_the_same_sweep_in_small(real_data, tmp_path):
    arguments = ["--images", "180", "--trials", "3", "--loaders", "0", "--only", "hwcls", "--only", "optuna"]
    command = [sys.executable, str(FOLDER / "sweep.py"), *arguments, "--json", str(tmp_path / "rows.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "rows.json").read_text())["10"]
    assert set(rows) == {"hwcls", "optuna"}
    for row in rows.values():
        assert row["trials"] == 3
        assert 9 + 2 * 3 <= row["epochs"] <= 27  # the first runs to its end, the others to the first rung at least
        assert 0.2 < row["mean_best"] <= row["best"] <= 1
        assert 0 < row["start"] < row["wall"]
        assert row["cpu_seconds"] > 1


def test_a_winner_is_reported_on_other_seeds_than_it_was_chosen_on(benchmark_module):
    """The winner's curse of three equal candidates whose seeds differ by two points, and that it is gone."""
    verdicts = benchmark_module("verdicts")
    spread, excess = 2 * verdicts.POINT, {}
    for same in (True, False):
        found = [verdicts.report_winner(np.random.default_rng(run), spread, same, images=400) for run in range(120)]
        assert {hits.shape for hits in found} == {(5, 400)}
        excess[same] = 100 * (np.mean([hits.mean() for hits in found]) - verdicts.true_accuracy(spread))
    assert excess[True] > 0.5
    assert abs(excess[False]) < 0.5


def test_transfer_in_small(benchmark_module, tmp_path, monkeypatch):
    """Every part on made-up images and random weights; what is measured in part costs more in all."""
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    transfer = benchmark_module("transfer")
    monkeypatch.setattr(transfer, "LOADERS", 0)
    task = transfer.Task(
        str(tmp_path), backbone="test_resnet", side=32, trials=2, epochs=4, measured=2, pretrained=False
    )
    transfer.prepare(task, None, 8)
    costs = {name: part(task) for name, part in transfer.PARTS.items()}
    assert costs["scikit-learn"].accuracy == 1
    assert 0 < costs["hwcls"].accuracy <= 1
    assert all((cost.seconds > cost.measured) == (name in ("hwcls, live", "timm loop")) for name, cost in costs.items())
    assert all((cost.speed is None) == (name in ("hwcls, live", "timm loop")) for name, cost in costs.items())


def test_transfer_extrapolates_and_compares(benchmark_module):
    """39 trials of 15 epochs at 2 s and 1 s beside them, and 13 epochs of the measured one."""
    transfer = benchmark_module("transfer")
    task = transfer.Task("", "", side=32, trials=40, epochs=15, measured=2, pretrained=False)
    live = transfer.of_all(10.0, epoch=2.0, trial=1.0, task=task)
    assert (live.seconds, live.measured) == (10 + 39 * 31 + 13 * 2, 10)
    rows = transfer.table({"hwcls": [transfer.Cost(4, 4, 9.0, 0.5), transfer.Cost(6, 6, 8.0, 0.5)], "live": [live]})
    assert [(row["cpu_seconds"], row["hwcls_is_faster"]) for row in rows] == [(5, 1), (1245, 249)]
    assert [row["features_per_cpu_second"] for row in rows] == [8.5, None]


def test_transfer_links_other_images_into_each_split(benchmark_module, tmp_path):
    transfer = benchmark_module("transfer")
    for label in "ab":
        (tmp_path / "photos" / label / "deep").mkdir(parents=True)
        for number in range(30):
            (tmp_path / "photos" / label / "deep" / f"{number}.png").write_text(f"{label}{number}")
    transfer.link_images(tmp_path / "photos", 10, tmp_path)
    found = {split: sorted(path.read_text() for path in tmp_path.glob(f"{split}/*/*")) for split in transfer.SPLITS}
    assert {split: len(texts) for split, texts in found.items()} == {"train": 20, "val": 4, "test": 4}
    assert len({text for texts in found.values() for text in texts}) == 28
    assert all(path.read_text()[0] == path.parent.name for path in tmp_path.glob("val/*/*"))


def test_the_progress_of_a_peer_is_read_while_it_runs(benchmark_module, tmp_path):
    """Each better value on val with the CPU time at which it was there; what comes after the limit does not count."""
    peers = benchmark_module("peers")
    progress = peers.Progress(tmp_path, limit=120)

    def epoch(trial, value):
        (tmp_path / trial).mkdir(exist_ok=True)
        with open(tmp_path / trial / "metrics.jsonl", "a") as file:
            file.write(json.dumps({"val/accuracy": value}) + "\n")

    for spent, trial, value in [(10, "0", 0.5), (30, "1", 0.4), (60, "1", 0.8), (90, "0", 0.7)]:
        epoch(trial, value)
        progress.look(spent)
    with open(tmp_path / "1" / "metrics.jsonl", "a") as file:
        file.write('{"val/acc')  # it is being written
    progress.look(110)
    epoch("0", 0.9)
    progress.look(121)
    assert progress.best == [(10, 0.5), (60, 0.8)]
    assert progress.best_trial == "1"
    assert progress.epochs == {"0": 2, "1": 2}
    row = {"best": progress.best}
    assert [peers.minutes_to(target, row) for target in (0.5, 0.6, 0.8, 0.81)] == [10 / 60, 1, 1, None]


def test_the_table_of_peers(benchmark_module, monkeypatch):
    """Minutes to the best of each, and until hwcls is as good; a peer whose packages are missing is named with them."""
    peers = benchmark_module("peers")
    absent = peers.Peer("Keras Tuner", ("peer_keras.py", "search"), ("no_such_one",))
    monkeypatch.setattr(peers, "PEERS", {**{name: peers.PEERS[name] for name in ("hwcls", "optuna")}, "keras": absent})
    rest = {"trials": 2, "epochs": {"0": 9, "1": 3}, "cpu": 600.0, "wall": 300.0}
    rows = {
        "hwcls": {"best": [(60.0, 0.9), (300.0, 0.93)], "test": 0.925, **rest},
        "optuna": {"best": [(540.0, 0.91)], "test": 0.905, **rest},
    }
    assert peers.table(rows).splitlines() == [
        "| | test accuracy | best on val | after CPU min | hwcls there at | trials | epochs | CPU min | wall min |",
        "|---|---|---|---|---|---|---|---|---|",
        "| hwcls | 0.9250 | 0.9300 | 5.0 | 5.0 | 2 | 12 | 10.0 | 5.0 |",
        "| Optuna, one process | 0.9050 | 0.9100 | 9.0 | 5.0 | 2 | 12 | 10.0 | 5.0 |",
        "| Keras Tuner | not installed: no_such_one | | | | | | | |",
    ]
    del rows["hwcls"]
    assert "| 9.0 | – | 2 |" in peers.table(rows)
    assert peers.table({}).splitlines()[2:] == ["| Keras Tuner | not installed: no_such_one | | | | | | | |"]


def test_a_command_ends_at_its_limit_of_cpu_time(tmp_path):
    """It and what it has started, which would not end by themselves."""
    forked = "import os\nos.fork()\nwhile True:\n    pass\n"
    code = f"""
import os, sys
sys.path.insert(0, {str(FOLDER)!r})
import processes
from pathlib import Path
seen = []
command = [sys.executable, "-c", {forked!r}]
done = processes.run(command, os.environ, Path({str(tmp_path / "log")!r}), seen.append, limit=1.0)
print(done.code, done.cpu, seen == sorted(seen), processes.Family().look())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    code, cpu, grows, left = done.stdout.split(maxsplit=3)
    assert (code, grows, left.strip()) == ("-9", "True", "[]")
    assert 1.0 < float(cpu) < 3.0


def test_a_look_that_fails_ends_the_command(tmp_path):
    """Else nothing would hold it to its limit."""
    code = f"""
import os, sys
sys.path.insert(0, {str(FOLDER)!r})
import processes
from pathlib import Path
command = [sys.executable, "-c", "while True: pass"]
try:
    processes.run(command, os.environ, Path({str(tmp_path / "log")!r}), lambda _: 1 / 0)
except ZeroDivisionError:
    print(processes.Family().look())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_what_an_installation_costs_is_measured_by_modules_that_exist(benchmark_module):
    install = benchmark_module("install")
    extras = install.PROJECT["optional-dependencies"]
    lines = [*install.PROJECT["dependencies"], *(line for name in extras if name != "test" for line in extras[name])]
    modules = [
        install.module_of(name) for name in install.required(lines) if name != "hwcls" and install.installed(name)
    ]
    assert len(modules) > 30
    assert [name for name in modules if name and importlib.util.find_spec(name.partition(".")[0]) is None] == []
