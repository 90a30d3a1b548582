"""`hwcls models`: names, families, sweep files, trials; figures and errors."""

import io
import json
import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

from hwcls.report.terminal.console import terminal_console

SWEEP = {
    "run_cap": 4,
    "parameters": {
        "data": {"name": "digits", "classes": 6},
        "model": {
            "head": {"depth": {"min": 1, "max": 2}, "width": 8},
            "choice": {
                "narrow": {"name": "simple_cnn", "width": 4},
                "typo": {"name": "kernel_cnn", "width": 4},
                "full": {"name": "mlp", "width": {"values": [8, 16]}, "dropout": {"min": 0.1, "max": 0.2}},
            },
        },
        "optimizer": {"name": "adam"},
    },
}


@pytest.fixture
def invoke():
    from hwcls.cli.main import app

    return lambda *words: CliRunner().invoke(app, ["models", *map(str, words)])


def rows(done):
    assert done.exit_code == 0, done.output
    return {row["name"]: row for row in json.loads(done.stdout)}


def test_help(invoke):
    assert "Example: hwcls models" in invoke("--help").output


def test_all_families(invoke):
    from hwcls.config.model import MODELS

    found = rows(invoke("--json"))
    assert set(found) == set(MODELS.names()) - {"timm", "user"}
    cnn = found["simple_cnn"]
    assert (cnn["image"], cnn["output"], cnn["receptive_field"]) == ([3, 32, 32], [10], 10)
    assert sum(layer["parameters"] for layer in cnn["layers"]) == cnn["parameters"] == cnn["trainable"]
    done = invoke()
    assert f"{cnn['parameters']:,}" in done.stdout
    assert "note: simple_cnn and kernel_cnn are the same model" in done.stdout


def test_a_family_with_settings(invoke):
    words = ("--image-size", 28, "--channels", 1, "--set", "norm=none", "--set", "head={depth: 1}", "--json")
    (cnn,) = rows(invoke("simple_cnn", *words)).values()
    assert cnn["parameters"] == 50_186
    assert cnn["settings"]["norm"] == "none"


def test_layers(invoke):
    done = invoke("kernel_cnn", "--set", "kernel=7", "--layers")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["0", "Conv2d", "32x32x32", "4,704", "7"] in lines
    assert lines[-1][-2:] == ["whole", "image"]


def test_a_backbone_of_timm(invoke):
    found = rows(invoke("test_resnet", "test_vit", "--classes", 7, "--set", "frozen=true", "--json"))
    assert found["test_resnet"]["output"] == [7]
    assert found["test_resnet"]["trainable"] < found["test_resnet"]["parameters"]
    assert found["test_vit"]["receptive_field"] is None
    assert "trained" in invoke("test_resnet", "--set", "frozen=true").stdout


def test_where_the_weights_of_a_backbone_would_come_from(invoke, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    lines = invoke("test_resnet", "mlp").stdout.splitlines()
    (place,) = [line for line in lines if line.startswith("weights of")]
    assert place == "weights of test_resnet would be downloaded from https://huggingface.co/timm/test_resnet.r160_in1k"
    assert f"  cache: not in timm's cache ({tmp_path}/models--timm--test_resnet.r160_in1k)" in lines
    row = rows(invoke("test_resnet", "mlp", "--json"))
    assert [(one["source"], one["found"]) for one in row["test_resnet"]["weights"]] == [("cache", False), ("hub", None)]
    assert "weights" not in row["mlp"]
    found = tmp_path / "models--timm--test_resnet.r160_in1k" / "snapshots" / ("0" * 40) / "model.safetensors"
    found.parent.mkdir(parents=True)
    found.write_bytes(b"weights")
    (found.parents[2] / "refs").mkdir()
    (found.parents[2] / "refs/main").write_text("0" * 40)
    assert "weights of test_resnet come from timm's cache" in invoke("test_resnet").stdout.splitlines()
    (cache, _) = rows(invoke("test_resnet", "--json"))["test_resnet"]["weights"]
    assert (cache["found"], cache["place"], len(cache["sha256"])) == (True, str(found), 64)


def test_a_sweep_file(invoke, tmp_path):
    file = tmp_path / "three.yaml"
    file.write_text(yaml.safe_dump(SWEEP, sort_keys=False))
    found = rows(invoke(file, "--json"))
    names = ["narrow", "narrow head_depth=2", "typo", "typo head_depth=2", "full", "full width=16", "full head_depth=2"]
    assert list(found) == names, "the ends of dropout cost the same"
    assert all((row["image"], row["output"]) == ([1, 8, 8], [6]) for row in found.values()), "the data's"
    assert "narrow and typo are the same model" in invoke(file).stdout
    (single,) = rows(invoke(file, "--set", "parameters.model={name: mlp}", "--image-size", 16, "--json")).values()
    assert (single["name"], single["image"]) == ("three", [1, 16, 16])


def test_data_that_is_not_here(invoke, tmp_path, monkeypatch):
    monkeypatch.setenv("HWCLS_DATA", str(tmp_path))
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path))
    parameters = {**SWEEP["parameters"], "data": {"name": "cifar10"}, "model": {"name": "mlp", "width": 8}}
    (tmp_path / "later.yaml").write_text(yaml.safe_dump({"run_cap": 1, "parameters": parameters}))
    done = invoke(tmp_path / "later.yaml")
    assert "cifar10 is not downloaded yet; assuming 10 classes" in done.output
    assert "3x32x32" in done.stdout
    assert "not downloaded" not in invoke(tmp_path / "later.yaml", "--classes", 4).output


def test_a_trial(invoke, tmp_path):
    from hwcls.config.trial import TrialConfig

    values = {"data": {"name": "digits"}, "model": {"name": "gated_cnn", "width": 4}, "optimizer": {"name": "adam"}}
    config = TrialConfig.from_dict(values)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.to_dict()))
    for place in (tmp_path, tmp_path / "config.yaml"):
        (row,) = rows(invoke(place, "--json")).values()
        assert row["settings"]["name"] == "gated_cnn"


def test_the_users_own(invoke, tmp_path):
    file = tmp_path / "own.py"
    file.write_text(
        "from torch import nn\n"
        "def build(classes, channels, image_size, width=2):\n"
        "    return nn.Sequential(nn.Conv2d(channels, width, 5), nn.Flatten(), nn.LazyLinear(classes))\n"
    )
    done = invoke(f"{file}:build", "--set", "width=3", "--json")
    (row,) = rows(done).values()
    assert row["receptive_field"] == 5


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["simple_cn"], ["unknown model 'simple_cn'", "did you mean 'simple_cnn'?"]),
        (["resnet_18"], ["timm has no backbone 'resnet_18'", "'resnet18'"]),
        (["nosuch.yaml"], ["nosuch.yaml", "no such file"]),
        (["mlp", "--set", "widht=8"], ["mlp (--set widht): widht", "did you mean 'width'?"]),
        (["mlp", "--set", "head.depth=0"], ["mlp (--set head.depth): head.depth", "greater than or equal to 1"]),
        (["mlp", "--set", "width"], ["--set width", "no '='"]),
        (["mlp", "--set", "width.deep=3"], ["(--set width.deep): width", "{deep: 3} is not a whole number"]),
        (["mlp", "--set", "width=3", "--set", "width.deep=3"], ["'width' holds no entries"]),
        (["simple_cnn", "--image-size", "3"], ["3x3 are too small for simple_cnn with depth 2"]),
        (["kernel_cnn", "--set", "params=100"], ["no widths give 100 parameters within 2%", "nearest"]),
        (
            ["mlp", "--set", "widths=[8, 8]", "--set", "width=3"],
            ["widths cannot be combined with width", "remove one of them"],
        ),
        (["nosuch.py:build"], ["no model file"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_errors_are_one_line(invoke, words, parts):
    done = invoke(*words)
    assert done.exit_code == 2
    assert done.exception is None or isinstance(done.exception, SystemExit)
    text = done.output.strip()
    assert len(text.splitlines()) == 1
    assert all(part in text for part in parts), text


def test_a_trial_is_not_changed(invoke, tmp_path):
    from hwcls.config.trial import TrialConfig

    trial = {"data": {"name": "digits"}, "model": {"name": "mlp"}, "optimizer": {"name": "adam"}, "epochs": 2}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(TrialConfig.from_dict(trial).to_dict()))
    assert invoke(tmp_path, "--json").exit_code == 0
    refused = invoke(tmp_path, "--set", "width=8")
    assert refused.exit_code == 2
    assert "not a trial" in refused.stderr


def test_nothing_is_said_beside_the_table():
    """Libraries that are loaded on the way may complain when the process ends."""
    words = [sys.executable, "-m", "hwcls", "models", "--image-size", "8"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "simple_cnn" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("width", [80, 120])
def test_a_narrow_table_cuts_no_name_and_breaks_no_number(invoke, tmp_path, monkeypatch, width):
    console = terminal_console(file=io.StringIO(), width=width)
    monkeypatch.setattr("hwcls.cli.commands.models.table_console", lambda: console)
    choice = {"a_fully_connected_net": {"name": "mlp", "width": {"values": [8, 16]}}, "mlp": {}}
    long = {**SWEEP["parameters"]["model"], "choice": choice}
    path = tmp_path / "models.yaml"
    path.write_text(yaml.safe_dump({**SWEEP, "parameters": {**SWEEP["parameters"], "model": long}}))
    done = invoke(path)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(console.file.getvalue().split())
    assert text.count("a_fully_connected_net") >= 3
    assert "parameters" in text
    assert ("each on images of 1x8x8" in done.output) == (width < 120)
    assert ("1x8x8" in text) == (width == 120)
