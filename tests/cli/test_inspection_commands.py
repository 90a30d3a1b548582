"""The commands around a model: exit codes, JSON, files."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from hwcls.config.trial import TrialConfig

TRIAL = {
    "data": {"name": "digits", "per_class": 40, "batch_size": 64},
    "model": {"name": "mlp", "width": 16, "depth": 1},
    "optimizer": {"name": "adam", "lr": 0.01},
    "epochs": 2,
}
SWEEP = """
run_cap: 4
compare: model
parameters:
  data: {name: digits, per_class: 40}
  model: {choice: {small: {name: mlp, width: 16, depth: 1}, cnn: {name: simple_cnn, width: 4}}}
  optimizer: {name: adam}
presets: {broken: {parameters.model.choice.cnn.depth: 4}}
"""


@pytest.fixture
def invoke():
    from hwcls.cli.main import app

    return lambda *words: CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import torch

    from hwcls.inspection import create_recorder
    from hwcls.training.local import train

    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("sweep")
    (path / "sweep.yaml").write_text("name: made\n")
    train(TrialConfig.from_dict(TRIAL), path / "trials" / "0", lambda line: None, create_recorder)
    return path / "trials" / "0"


@pytest.mark.parametrize("words", ["check", "profile", "evaluate", "predict", "inspect", "export"])
def test_documented(invoke, words):
    done = invoke(words, "--help")
    assert done.exit_code == 0
    assert "Example: hwcls" in done.output


def test_a_sweep_stands_for_its_best_trial(invoke, folder):
    named = json.loads(invoke("evaluate", folder, "--json").stdout)
    done = invoke("evaluate", folder.parents[1], "--json")
    assert json.loads(done.stdout) == named
    assert f"{folder}: the best trial on val/accuracy, not confirmed on test" in done.stderr


def test_check_a_sweep_file(invoke, tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(SWEEP)
    done = invoke("check", path)
    assert done.exit_code == 0, done.output
    assert "2 of 2 models" in done.output
    assert "small: passed" in done.output
    broken = invoke("check", path, "--preset", "broken", "--json")
    assert broken.exit_code == 1
    found = json.loads(broken.stdout)
    assert found["failed"] == ["cnn"]
    assert "too small" in found["checks"]["cnn"]["reason"]
    assert found["checks"]["small"]["passed"]
    assert invoke("check", path, "--preset", "broken", "--only", "small", "--set", "seed=1").exit_code == 1
    assert "did you mean 'small'" in invoke("check", path, "--only", "smal").stderr


def test_check_a_trial(invoke, folder):
    assert invoke("check", folder).exit_code == 0
    refused = invoke("check", folder, "--set", "run_cap=1")
    assert refused.exit_code == 2
    assert "this is a trial" in refused.stderr


def test_profile(invoke, folder, tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(SWEEP)
    words = ("profile", path, folder, "--only", "cnn", "--steps", 2, "--out", tmp_path / "traces")
    assert invoke(*words).exit_code == 2  # a trial has no alternative of that name
    done = invoke("profile", path, "--only", "cnn", "--steps", 2, "--out", tmp_path / "traces", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert list(found) == ["cnn"]
    assert (tmp_path / "traces" / "cnn.trace.json").is_file()
    table = invoke("profile", folder, "--steps", 2, "--out", tmp_path / "traces")
    assert "step ms" in table.output
    assert "memory: tensors" in table.output


def test_evaluate(invoke, folder, tmp_path):
    done = invoke("evaluate", folder, "--grid", tmp_path / "grid.png", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["split"] == "val"
    assert np.array(found["confusion"]).sum() == found["images"]
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.width > 500
    table = invoke("evaluate", folder)
    assert "weighted average" in table.output
    assert "true \\ predicted" in table.output


def test_evaluate_on_test_is_noted_and_counted(invoke, folder, monkeypatch):
    reads = folder.parent.parent / "test_reads.jsonl"
    assert not reads.exists()
    monkeypatch.chdir(folder.parent)
    done = invoke("evaluate", "0", "--split", "test")
    assert done.exit_code == 0
    assert "test has now been read once outside confirm" in done.stderr
    (line,) = reads.read_text().splitlines()
    assert json.loads(line)["trial"] == "trials/0"


def test_predict(invoke, folder, tmp_path):
    for place in range(3):
        Image.new("L", (20, 20), 80 * place).save(tmp_path / f"{place}.png")
    found = json.loads(invoke("predict", folder, tmp_path, "--top", 2, "--json").stdout)
    assert [len(prediction["top"]) for prediction in found] == [2, 2, 2]
    (tmp_path / "bad.png").write_bytes(b"nothing")
    some = invoke("predict", folder, tmp_path)
    assert some.exit_code == 1
    assert "bad.png: cannot be read (" in some.stderr
    assert "2.png" in some.stdout
    assert invoke("predict", folder, tmp_path / "bad.png").exit_code == 2
    assert invoke("predict", folder, tmp_path / "none.png").exit_code == 2


def test_export(invoke, folder, tmp_path):
    done = invoke("export", folder, "--format", "torch", "--out", tmp_path / "m.pt2")
    assert done.exit_code == 0, done.output
    assert "largest difference" in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.pt2", "m.pt2.json"]


def test_errors_are_one_line(invoke, tmp_path):
    for words in (["evaluate", tmp_path], ["export", tmp_path / "x"], ["check", tmp_path / "none.yaml"]):
        done = invoke(*words)
        assert done.exit_code == 2, done.output
        assert done.stderr.startswith("hwcls: ")
        assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        ("export TRIAL --format torch --out OUT/m.pt2", "m.pt2"),
        ("export TRIAL --format torch --out OUT/m.pt2", "m.pt2.json"),
        ("evaluate TRIAL --grid OUT/grid.png", "grid.png"),
        ("inspect TRIAL --out OUT", "activations.png"),
        ("profile TRIAL --steps 1 --out OUT", "0.trace.json"),
        ("data show digits --out OUT/digits.png", "digits.png"),
    ],
)
def test_a_file_of_the_user_is_replaced_only_where_it_is_asked_for(invoke, folder, tmp_path, monkeypatch, words, taken):
    path = tmp_path / taken
    path.write_text("mine")
    command = words.replace("TRIAL", str(folder)).replace("OUT", str(tmp_path)).split()
    refused = invoke(*command)
    assert refused.exit_code == 2, refused.output
    assert f"hwcls: {path}: exists already — pass --overwrite to replace it" in refused.stderr
    asked = []
    monkeypatch.setattr("hwcls.cli.options.can_ask", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda text, err: asked.append(text) or False)
    assert invoke(*command).exit_code == 2
    assert asked == [f"Replace what exists: {path}?"]
    assert path.read_text() == "mine"
    assert [found.name for found in tmp_path.iterdir()] == [taken]
    assert invoke(*command, "--overwrite").exit_code == 0
    assert path.read_bytes() != b"mine"


def test_where_nothing_can_be_written(invoke, folder, tmp_path):
    (tmp_path / "taken").write_text("a file")
    for words in (
        ["export", folder, "--format", "torch", "--out", tmp_path],
        ["evaluate", folder, "--grid", tmp_path],
        ["profile", folder, "--steps", 1, "--out", tmp_path / "taken"],
        ["evaluate", folder, "--grid", tmp_path / "taken" / "grid.png"],
    ):
        done = invoke(*words)
        assert done.exit_code == 2, (words, done.exception)
        assert len(done.stderr.strip().splitlines()) == 1
        assert done.stderr.startswith(f"hwcls: {tmp_path}")
    assert (tmp_path / "taken").read_text() == "a file"
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_inspect(invoke, folder, tmp_path):
    done = invoke("inspect", folder, "--out", tmp_path / "seen", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    arrays = np.load(folder / "inspection.npz")
    assert list(found["gradients"]) == arrays["layers"].tolist()
    for place, layer in enumerate(found["gradients"].values()):
        assert [layer[when]["epoch"] for when in ("first", "last")] == [1, 2]
        assert [layer[when]["mean"] for when in ("first", "last")] == arrays["gradient_mean"][:, place].tolist()
        assert [layer[when]["max"] for when in ("first", "last")] == arrays["gradient_max"][:, place].tolist()
    assert found["pictures"] == {"activations": str(tmp_path / "seen" / "activations.png")}
    table = invoke("inspect", folder / "config.yaml", "--out", tmp_path / "seen", "--overwrite")
    assert "mean, epoch 1" in table.output
    assert "activations: " in table.output


def test_inspect_where_nothing_was_recorded(invoke, tmp_path):
    import yaml

    (tmp_path / "config.yaml").write_text(yaml.safe_dump(TrialConfig.from_dict(TRIAL).to_dict()))
    for content, message in ((None, "nothing was recorded"), (b"no archive", "damaged")):
        if content:
            (tmp_path / "inspection.npz").write_bytes(content)
        done = invoke("inspect", tmp_path)
        assert done.exit_code == 2
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
