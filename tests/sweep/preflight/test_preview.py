"""A dry run refuses what the start refuses: the same line, the same exit code."""

import json
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from hwcls.config.sweep_file import load_sweep
from hwcls.tracking.folders import SweepFolder
from hwcls.training import gpu
from tests.sweep.changing import begin
from tests.sweep.conftest import SWEEP

HEAD = "import os, sys\nfrom torch import nn\n\ndef build(classes, channels, image_size, **more):\n"
FLAT = "    return nn.Sequential(nn.Flatten(), nn.Linear({features}, {classes}))\n"
RIGHT = FLAT.format(features="channels * image_size**2", classes="classes")
OWN = "    class N(nn.Linear):\n        def forward(self, x):\n            {body}\n"
OWN += "    return N(channels * image_size**2, classes)\n"
MODELS = {
    "wrong output shape": FLAT.format(features="channels * image_size**2", classes="classes + 1"),
    "wrong input channels": FLAT.format(features="3 * image_size**2", classes="classes"),
    "a fixed image size": FLAT.format(features="channels * 28 * 28", classes="classes"),
    "a tuple": OWN.format(body="return super().forward(x.flatten(1)), x"),
    "whole numbers": OWN.format(body="return super().forward(x.flatten(1)).long()"),
    "no module": "    return 5\n",
    "no weight": "    return nn.Flatten()\n",
    "an unknown key": RIGHT.replace("channels *", "more['depth'] *"),
    "raises": "    raise ZeroDivisionError('oh no')\n",
    "sys.exit in build": "    sys.exit(0)\n",
    "os._exit in build": "    os._exit(0)\n",
    "sys.exit in forward": OWN.format(body="sys.exit()"),
    "os._exit in forward": OWN.format(body="os._exit(0)"),
}
FILES = {
    "missing": None,
    "no Python": "def build(:\n",
    "sys.exit at import": "import sys\nsys.exit(0)\n",
    "os._exit at import": "from os import _exit\n_exit(0)\n",
    "a missing package": "import no_such_package\n",
    "no such function": "def biuld(**settings): pass\n",
    "a folder beside it": "import helpers.layers\n" + HEAD + RIGHT,  # only files are copied
}


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """Checks that start and dry run refuse a sweep alike; returns the line."""
    from hwcls.cli.main import app
    from hwcls.sweep import driver
    from hwcls.sweep.cluster.resources import this_machine

    @contextmanager
    def connected(address):
        yield this_machine()

    monkeypatch.setattr(driver, "connected", connected)  # Ray need not run
    monkeypatch.chdir(tmp_path)

    def check(parameters=None, *words, **changes):
        values = {**SWEEP, "compare": None, "track": [], **changes}
        values["parameters"] = {**SWEEP["parameters"], "model": {"name": "mlp"}, **(parameters or {})}
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
        found = []
        for mode in (["--dry-run"], ["--dry-run", "--no-probe"], ["--dry-run", "--no-probe", "--json"], ["--quiet"]):
            done = CliRunner().invoke(app, ["sweep", "s.yaml", "--results", "results", *words, *mode])
            lines = [line for line in done.stderr.splitlines() if line.startswith("hwcls: ")]
            assert (done.exit_code, len(lines)) == (2, 1), (mode, done.output, done.exception)
            assert done.stdout == ""
            found.append(lines[0])
        assert set(found) == {found[0]}
        return found[0]

    return check


@pytest.mark.parametrize("resources", [{}, {"workers": 2}])
def test_a_gpu_that_torch_cannot_use(refused, monkeypatch, tmp_path, resources):
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr(gpu, "NVIDIA_DRIVER", str(tmp_path / "nvidiactl"))
    monkeypatch.setattr(gpu, "cuda_problem", lambda: "torch 2 cannot use it")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    what = "hwcls: an NVIDIA driver is installed, but torch 2 cannot use it"
    remedy = "run `hwcls doctor`, or set gpus_per_worker: 0 to train on CPUs"
    assert refused(resources=resources) == f"{what} — {remedy}"


def images(folder, side=8, count=4, splits=("train", "test"), sides=None, classes="ab"):
    """Class folders of random pictures."""
    random = np.random.default_rng(0)
    for split in splits:
        for name in classes:
            for i in range(count):
                (folder / split / name).mkdir(parents=True, exist_ok=True)
                size = side if sides is None else sides[i % len(sides)]
                pixels = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{i}.png")


@pytest.mark.parametrize("fault", MODELS)
def test_an_own_model_that_cannot_be_trained(refused, tmp_path, fault):
    (tmp_path / "net.py").write_text(HEAD + MODELS[fault])
    line = refused({"model": {"name": "net.py:build"}})
    assert "s.yaml:" in line
    assert "parameters.model" in line
    if "exit" in fault:
        assert "exit(" in line


@pytest.mark.parametrize("fault", FILES)
def test_a_model_file_that_cannot_be_used(refused, tmp_path, fault):
    (tmp_path / "helpers").mkdir()
    (tmp_path / "helpers/layers.py").write_text("")
    if FILES[fault] is not None:
        (tmp_path / "net.py").write_text(FILES[fault])
    assert "parameters.model" in refused({"model": {"name": "net.py:build"}})


def test_every_alternative_and_both_ends_are_built(refused, tmp_path):
    (tmp_path / "net.py").write_text(HEAD + "    assert more['depth'] < 4\n" + RIGHT)
    own = {"name": "net.py:build", "depth": {"min": 1, "max": 4}}
    line = refused({"model": {"choice": {"mlp": {"name": "mlp"}, "own": own}}}, compare="model")
    assert "parameters.model.choice.own: the model failed: AssertionError" in line


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"splits": ("val", "test")}, "train"),
        ({"count": 1}, ""),
        ({"classes": "a"}, ""),
    ],
)
def test_images_that_cannot_be_trained_on(refused, tmp_path, settings, said):
    images(tmp_path / "mine", **settings)
    assert said in refused({"data": {"name": "imagefolder", "path": "mine"}})


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"name": "simple_cnn", "depth": 4}, "8x8 are too small"),
        ({"name": "timm", "backbone": "vit_tiny_patch16_224"}, "image_size"),
        ({"name": "timm", "backbone": "resnet_18"}, "did you mean"),
        ({"name": "timm", "backbone": "test_resnet", "pretrained": "none.safetensors"}, "no such weights file"),
        ({"name": "timm", "backbone": "test_resnet", "pretrained": "broken.safetensors"}, "unreadable as weights"),
    ],
)
def test_a_built_in_model_that_cannot_be_trained(refused, tmp_path, model, said):
    (tmp_path / "broken.safetensors").write_bytes(b"broken")
    assert said in refused({"model": model})


def test_what_the_machine_and_the_folders_do_not_permit(refused, tmp_path):
    assert "999" in refused(None, resources={"workers": 999})
    (tmp_path / "results/tiny").mkdir(parents=True)
    (tmp_path / "results/tiny/thesis.txt").write_text("mine")
    assert "is not an hwcls results folder" in refused()
    assert "none" in refused(None, "--from", "none")
    assert "no such folder" in refused({"data": {"name": "imagefolder", "path": "none"}}, "--new")


def test_a_dry_run_leaves_nothing_behind(tmp_path, monkeypatch):
    from hwcls.cli.main import app

    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(HEAD + RIGHT)
    values = {**SWEEP, "compare": None, "parameters": {**SWEEP["parameters"], "model": {"name": "net.py:build"}}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(values))
    done = CliRunner().invoke(app, ["sweep", "s.yaml", "--dry-run", "--no-probe"])
    assert done.exit_code == 0, done.output
    assert {path.name for path in tmp_path.iterdir()} == {"net.py", "s.yaml"}


def test_a_model_file_is_looked_for_beside_the_sweep_file_first(tmp_path, monkeypatch):
    from hwcls.config.sweep_file import load_sweep
    from hwcls.sweep.storage.user_code import copy_sources

    (tmp_path / "sweeps").mkdir()
    (tmp_path / "net.py").write_text("here = 'the working folder'")
    (tmp_path / "sweeps/net.py").write_text("here = 'beside'")
    values = {**SWEEP, "compare": None, "parameters": {**SWEEP["parameters"], "model": {"name": "net.py:build"}}}
    (tmp_path / "sweeps/s.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir(tmp_path)
    sweep = load_sweep(tmp_path / "sweeps/s.yaml")
    (copied,) = copy_sources(sweep, tmp_path / "results").values()
    assert "beside" in Path(copied.rpartition(":")[0]).read_text()
    assert "net.py:build" in str(sweep.resolved()), "sweep.yaml has the path as it was written"
    (tmp_path / "sweeps/net.py").unlink()
    (other,) = copy_sources(load_sweep(tmp_path / "sweeps/s.yaml"), tmp_path / "other").values()
    assert "the working folder" in Path(other.rpartition(":")[0]).read_text()
    assert copied.split("/")[-2] == other.split("/")[-2], "the copy's folder does not depend on where it was found"


def test_a_sweep_that_will_be_resumed(tmp_path, monkeypatch, sweep_file):
    from hwcls.cli.main import app

    monkeypatch.chdir(tmp_path)
    file, folder = sweep_file(), SweepFolder(tmp_path / "results" / "tiny")

    def notes():
        done = CliRunner().invoke(app, ["sweep", str(file), "--dry-run", "--no-probe", "--json"])
        assert done.exit_code == 0, done.output
        return [line for line in json.loads(done.stdout)["warnings"] if "already" in line]

    assert notes() == []
    begin(load_sweep(file), tmp_path / "results", 2)
    said = "already; they are not run again, but the plan and the time count them"
    assert notes() == [f"results/tiny has 2 trials {said}"]
    run = folder.confirm_run("mlp", 10_000_000)
    run.path.mkdir(parents=True)
    run.write_config(folder.trial(0).config())
    assert notes() == [f"results/tiny has 2 trials {said}"]  # it has not ended
    run.write_result(folder.trial(0).result())
    assert notes() == [f"results/tiny has 2 trials and 1 confirm run {said}"]
