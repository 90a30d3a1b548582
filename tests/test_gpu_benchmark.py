"""The parts of benchmarks/gpu.py in small on a CPU, and how it counts, keeps rows and stops."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.autograd import DeviceType

from benchmarks import gpu
from benchmarks.loops import Images, Task, lightning_loop
from benchmarks.on_gpu import run, window
from benchmarks.on_gpu.inputs import MODELS, Setting, random_images
from benchmarks.on_gpu.kernels import Kernels, count_kernels
from benchmarks.on_gpu.part import LeftOutError, Part
from benchmarks.on_gpu.parts import PARTS, checks, loops, steps
from benchmarks.on_gpu.peaks import peak_of
from benchmarks.on_gpu.results import Results, describe_machine
from benchmarks.on_gpu.table import GOALS, header, line
from benchmarks.on_gpu.window import Window
from hwcls.errors import UserError

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
SMALL = Setting(CPU, batch=32, images=80, seconds=0.0, loaders=0)


@pytest.mark.parametrize(
    "item", ["steps/simple_cnn/eager", "loops/simple_cnn/hwcls", "epochs/simple_cnn", "turnaround/simple_cnn"]
)
def test_what_needs_no_process_of_its_own(item):
    name, item = item.split("/", 1)
    part = PARTS[name]
    row = part.measure(item, SMALL)
    assert row.keys() >= part.columns.keys()
    assert row.get("images_per_second", 1) > 0
    assert all(value is None or value >= 0 for key, value in row.items() if key in part.columns)
    assert len(line(item, row, part)) == len(header(name, part))
    json.dumps(row)


@pytest.mark.parametrize("mode", steps.MODES)
def test_the_modes_of_a_step(mode, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model, dynamic: ("compiled", model))
    monkeypatch.setattr(torch.compiler, "reset", lambda: None)
    trainer = SimpleNamespace(accumulator=SimpleNamespace(ddp="model"), step=SimpleNamespace(graph="graph"))
    steps.set_mode(trainer, mode)
    assert trainer.accumulator.ddp == (("compiled", "model") if "compiled" in mode else "model")
    assert trainer.step.graph == ("graph" if "graph" in mode else None)


def test_a_training_repeats_and_resumes_to_the_bit(monkeypatch):
    monkeypatch.setattr(checks, "MODEL", "simple_cnn")
    assert checks.check_repeat(SMALL) == {"again": 0.0, "resumed": 0.0}


def test_a_repetition_that_differs_is_seen(monkeypatch):
    monkeypatch.setattr(checks, "MODEL", "simple_cnn")
    seeds = iter(range(9))
    build = checks.build_trainer
    monkeypatch.setattr(
        checks, "build_trainer", lambda config, *rest: build(config.model_copy(update={"seed": next(seeds)}), *rest)
    )
    assert min(checks.check_repeat(SMALL).values()) > 0


def test_the_size_and_time_of_a_checkpoint(monkeypatch):
    monkeypatch.setattr(checks, "MODEL", "simple_cnn")
    row = checks.check_checkpoint(SMALL)
    assert min(row["seconds"], row["seconds_again"]) > 0
    assert row["megabytes"] > 0.1


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_a_split_in_a_file_without_content(monkeypatch):
    monkeypatch.setattr(checks, "MODEL", "simple_cnn")
    row = checks.check_large_split(SMALL)
    assert row["images"] == 80
    assert row["split_gb"] == pytest.approx(80 * 32 * 32 * 3 / 1e9)
    assert row["images_per_second"] > 0


def test_classes_that_differ_without_bfloat16_are_none(monkeypatch):
    monkeypatch.setattr(checks, "MODEL", "simple_cnn")
    row = checks.check_bf16(SMALL)
    assert row["bf16"] is False
    assert {row[f"differ_{classes}"] for classes in (10, 200, 1000)} == {0.0}


class TooLarge(torch.nn.Module):
    """A model for which there is too little memory."""

    def forward(self, images):
        raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {len(images)} GiB\nmore lines")


def test_memory_that_runs_out(monkeypatch):
    built = [SimpleNamespace(micro_batch=size, train_epoch=lambda epoch: 0) for size in (32, 16, 16)]
    shares = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, device: shares.append(share))
    monkeypatch.setattr(checks.models, "build", lambda *args, **kwargs: TooLarge())
    monkeypatch.setattr(checks, "LARGE_BATCH", 64)
    monkeypatch.setattr(checks, "build_trainer", lambda *args: built.pop(0))
    row = checks.check_memory(SMALL)
    assert row["error_text"] == "OutOfMemoryError: CUDA out of memory. Tried to allocate 64 GiB"
    assert row["is_out_of_memory"]
    assert (row["micro_batch_before_upload"], row["micro_batch_after_upload"]) == (32, 16)
    assert shares == [checks.FRACTION, 1.0]


def test_two_workers_on_one_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("HWCLS_CACHE", "")  # is restored afterwards
    row = checks.check_workers(SMALL)
    assert row["one_line"]
    assert "each of the 2 workers needs a GPU of its own" in row["text"]


@pytest.mark.parametrize("name", ["tutorial", "timm", "torchvision"])
def test_loops_of_others(name):
    make, _ = loops.LOOPS[name]
    shape, model = MODELS["simple_cnn"]
    data, seen = random_images(shape, 60), list[tuple[int, ...]]()

    def follow(batches):
        for batch in batches:
            seen.append(tuple(batch[0].shape))
            yield batch
            if len(seen) == 2:
                return

    images, build = Images(data, 4), loops._Build(data, model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.loops.DataLoader", _in_this_process)
        assert make(Task(images, build, CPU, 16, 0, follow))() == 32
    assert seen == [(16, 1, 28, 28)] * 2


def _in_this_process(*args, num_workers, **kwargs):
    return torch.utils.data.DataLoader(*args, **kwargs)


def test_a_loop_whose_package_is_missing_is_left_out(monkeypatch):
    monkeypatch.setitem(loops.LOOPS, "lightning", (lightning_loop, ("no_such_package",)))
    with pytest.raises(LeftOutError, match="no_such_package is not installed"):
        loops.measure("simple_cnn/lightning", SMALL)


class Clock:
    """Time that passes by a second at each look."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        self.now += 1
        return self.now


class FakeProfiler:
    def __init__(self):
        self.calls = []

    def start(self):
        self.calls.append("start")

    def stop(self, steps):
        self.calls.append(steps)
        return Kernels(launches=3, kernels=250, busy=0.5)


def test_a_window_warms_up_counts_and_profiles(monkeypatch):
    monkeypatch.setattr(window, "time", Clock())
    profiler = FakeProfiler()
    seen = Window(CPU, warm=3, seconds=6, profiler=profiler)
    batches = [(None, [0] * 10) for _ in range(100)]
    taken = list(seen.follow(batches))
    # the start ends at 2 s; the fifth of the steps that count looks at the clock first, at 3 s, the eleventh at 9 s
    assert seen.over
    assert (seen.steps, seen.images) == (11, 110)
    assert len(taken) == 3 + 11 + window.PROFILED
    assert profiler.calls == ["start", window.PROFILED]
    row = seen.row()
    assert seen.elapsed == 8  # it looks once more after it has waited for the device
    assert row["images_per_second"] == 110 / 8
    assert (row["launches"], row["kernels"]) == (3, 250)
    assert row["busy_share"] == pytest.approx(0.5 / (8 / 11))


def test_kernels_are_counted_and_overlap():
    def event(name, start, end, device=DeviceType.CUDA, note=False):
        times = SimpleNamespace(start=start, end=end)
        return SimpleNamespace(name=name, time_range=times, device_type=device, is_user_annotation=note)

    events = [
        event("gemm", 0, 100),
        event("add", 50, 150),  # on another stream
        event("Memcpy HtoD", 200, 250),
        event("ProfilerStep#1", 0, 1000, note=True),
        event("cudaLaunchKernelExC", 0, 5, DeviceType.CPU),
        event("cudaGraphLaunch", 5, 9, DeviceType.CPU),
        event("cudaStreamSynchronize", 9, 90, DeviceType.CPU),
    ]
    assert count_kernels(events, steps=2) == Kernels(launches=1, kernels=1, busy=pytest.approx(100e-6))


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("Tesla T4", 65e12),
        ("NVIDIA GeForce RTX 3090", 71e12),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("NVIDIA GeForce RTX 5090", 209e12),
        ("NVIDIA GeForce RTX 3090 Ti", None),
        ("NVIDIA L40", None),
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", None),
    ],
)
def test_peaks(name, peak):
    assert peak_of(name) == peak


def test_rows_are_kept_and_not_measured_again(tmp_path):
    machine = describe_machine(SMALL)
    results = Results(tmp_path / "rows.json", machine)
    results.add("steps/a", {"images_per_second": 1.0})
    results.add("steps/b", {"error": "RuntimeError: no"})
    results.add("steps/c", {"stopped": "not done within 300 s"})
    again = Results(tmp_path / "rows.json", machine)
    assert again.missing(["steps/a", "steps/b", "steps/c", "steps/d"]) == ["steps/b", "steps/d"]
    with pytest.raises(UserError, match=r"has rows of batch 32, not 64 — name another file with --json"):
        Results(tmp_path / "rows.json", {**machine, "batch": 64})
    (tmp_path / "rows.json").write_text("[]")
    with pytest.raises(UserError, match="holds no rows"):
        Results(tmp_path / "rows.json", machine)


def test_items_are_chosen_by_their_beginning():
    assert gpu.choose_items(["steps/simple_cnn/graph"]) == ["steps/simple_cnn/graph"]
    assert gpu.choose_items(["turnaround", "processes/1"]) == [
        "processes/1",
        "turnaround/simple_cnn",
        "turnaround/resnet18",
    ]
    assert not [item for item in gpu.choose_items(["steps/resnet18"]) if "small" in item]
    assert len(gpu.choose_items([])) == sum(len(part.items) for part in PARTS.values())
    with pytest.raises(UserError, match="there is no step"):
        gpu.choose_items(["step"])


def test_what_needs_a_gpu_is_left_out_in_a_line(capsys):
    assert gpu.without_gpu(["checks/memory", "checks/repeat"]) == ["checks/repeat"]
    assert capsys.readouterr().out == "left out, as it needs a GPU: checks/memory\n\n"
    with pytest.raises(SystemExit, match="2"):
        gpu.main(["--device", "cpu", "--only", "checks/memory", "checks/workers"])
    assert capsys.readouterr() == ("", "needs a GPU: checks/memory, checks/workers\n")


def test_goals():
    rows = {
        "steps/resnet18/eager": {"images_per_second": 90_000.0, "step_ms": 2.8},
        "steps/resnet18/graph": {"images_per_second": 160_000.0, "step_ms": 1.6},
        "steps/resnet18/compiled": {"stopped": "not done within 300 s"},
        "turnaround/simple_cnn": {"seconds": 0.5},
        "processes/8": {"error": "RuntimeError"},
    }
    lines = [text for goal in GOALS if (text := goal.line(rows))]
    assert lines == [
        "reached ResNet-18, 64 px, standard stem, images/s: 160,000, at least 150,000",
        "missed  seconds between two SimpleCNN trials: 0.5, at most 0.3",
    ]


def quick(item, setting):
    """A part that a test runs in a process of its own."""
    if item == "dies":
        os._exit(3)
    if item == "fails":
        raise RuntimeError("no\nluck")
    if item == "hangs":
        Path(os.environ["CHILD"]).write_text(str(subprocess.Popen(["sleep", "300"]).pid))
        time.sleep(300)
    return {"pid": os.getpid()}


@pytest.mark.slow
def test_a_part_outlives_its_items_and_ends_at_its_limit(monkeypatch, tmp_path):
    monkeypatch.setenv("CHILD", str(tmp_path / "child"))
    monkeypatch.setitem(PARTS, "quick", Part((), quick))
    monkeypatch.setattr(run, "get_context", lambda kind: torch.multiprocessing.get_context("fork"))
    rows = dict(run.run_part("quick", ["a", "fails", "dies", "b"], SMALL, 60))
    assert rows["fails"] == {"error": "RuntimeError: no"}
    assert rows["dies"] == {"error": "its process died"}
    assert rows["a"]["pid"] != rows["b"]["pid"]
    began = time.monotonic()
    assert dict(run.run_part("quick", ["hangs", "a"], SMALL, 2)) == {"hangs": {"stopped": "not done within 2 s"}}
    assert dict(run.run_part("quick", ["a", "hangs"], SMALL, 2)).keys() == {"a"}
    assert time.monotonic() - began < 15
    status = Path("/proc", (tmp_path / "child").read_text(), "status")
    assert not status.exists() or "zombie" in status.read_text()


HIDING = """
import sys

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, *rest):
        return None if name.partition(".")[0] in {hidden!r} else self.finder.find_spec(name, *rest)

sys.meta_path[:] = map(Hiding, sys.meta_path)
"""
HIDDEN = ("ray", "optuna", "wandb", "typer", "rich", "scipy", "pandas", "pyarrow", "jinja2", "platformdirs", "sklearn")


@pytest.mark.slow
def test_it_runs_where_only_the_training_is_installed(tmp_path):
    """Twice; the second time nothing is left to measure."""
    (tmp_path / "sitecustomize.py").write_text(HIDING.format(hidden=HIDDEN))
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    items = ["steps/simple_cnn", "processes/1", "epochs/simple_cnn", "loops/simple_cnn/hwcls"]
    options = ["--device", "cpu", "--images", "80", "--batch", "32", "--seconds", "0", "--only", *items]
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *options, "--json", str(tmp_path / "rows.json")]
    measured = []
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
        assert done.returncode == 0, done.stderr
        rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
        assert rows.keys() == {"steps/simple_cnn/eager", *items[1:]}
        assert all(row["images_per_second"] > 0 for row in rows.values())
        measured.append(rows)
    assert measured[0] == measured[1]
    missing = subprocess.run(
        [sys.executable, "-c", "import ray"], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert "No module named 'ray'" in missing.stderr
