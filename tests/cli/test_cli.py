"""The command line itself: help, versions, exit codes, one line for every error."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).parents[2]
COMMANDS = [
    words.split()
    for words in (
        "", "sweep", "train", "compare", "report", "data", "data list", "data fetch", "data import", "data show",
        "data verify", "wandb", "wandb sync", "confirm", "explain", "doctor", "models", "check", "profile", "evaluate",
        "predict", "inspect", "export",
    )
]  # fmt: skip
TRIAL = {
    "data": {"name": "digits", "per_class": 20},
    "model": {"name": "mlp"},
    "optimizer": {"name": "adam"},
    "epochs": 2,
}


def hwcls(*words, **options):
    return subprocess.run([sys.executable, "-m", "hwcls", *map(str, words)], capture_output=True, text=True, **options)


@pytest.fixture
def invoke():
    from hwcls.cli import app, data, doctor, inspect, models, results, sweep, train, trained, wandb  # noqa: F401

    return lambda *words: CliRunner().invoke(app.app, list(map(str, words)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_is_documented(invoke, words):
    done = invoke(*words, "--help")
    assert done.exit_code == 0
    if words and words not in (["data"], ["wandb"]):
        assert "Example: hwcls" in done.output


def test_version(invoke):
    assert invoke("--version").output.startswith("hwcls 0.")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sweep", "none.yaml"], "none.yaml: no such file"),
        (["sweep", "sweeps/quickstart.yaml", "--preset", "x"], "no preset 'x'"),
        (["sweep", "sweeps/quickstart.yaml", "--set", "run_cap"], "no '=' in it"),
        (["sweep", "sweeps/quickstart.yaml", "--wandb", "onlin"], "did you mean 'online'"),
        (["sweep", "sweeps/quickstart.yaml", "--set", "parameters.data.name=digts"], "did you mean 'digits'"),
        (
            ["sweep", "sweeps/quickstart.yaml", "--dry-run", "--set", "parameters.data.name=digts"],
            "did you mean 'digits'",
        ),
        (["sweep", "sweeps/quickstart.yaml", "--set", "resources.workers=999"], "a trial needs 999"),
        (["sweep", "sweeps/quickstart.yaml", "--set", "metric.name=test/accuracy"], "test is read once"),
        (["train", "none.yaml"], "none.yaml: no such file"),
        (["compare", "none"], "none"),
        (["report", "none"], "none"),
        (["confirm", "none"], "no sweep here"),
        (["explain", "none", "none"], "is no trial"),
        (["data", "fetch", "fashionmnist"], "did you mean 'fashion_mnist'"),
        (["data", "import", "cifar10", "none.zip"], "none.zip"),
        (["wandb", "sync", "none"], "none"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_users_error_is_one_line_and_exit_2(invoke, words, message, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    done = invoke(*words, *(["--results", tmp_path] if words[0] == "sweep" else []))
    assert done.exit_code == 2, done.output
    text = done.stderr.strip()
    assert message in text
    assert text.startswith("hwcls: ")
    assert "\n" not in text
    assert list(tmp_path.iterdir()) == []


def test_unknown_options_exit_with_2(invoke):
    assert invoke("sweep", "x.yaml", "--foo").exit_code == 2


def test_dry_run_shows_the_space_and_starts_nothing(invoke, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = invoke("sweep", "sweeps/tinyimagenet.yaml", "--dry-run", "--no-probe", "--results", tmp_path)
    assert done.exit_code == 0
    assert "120 trials" in done.output
    assert "resnet: 40" in done.output
    found = json.loads(invoke("sweep", "sweeps/tinyimagenet.yaml", "--dry-run", "--no-probe", "--json").output)
    assert found["per_alternative"] == {"resnet": 40, "wideresnet": 40, "efficientnet": 40}
    assert list(tmp_path.iterdir()) == []


def test_data_list_names_every_set(invoke):
    names = {entry["name"] for entry in json.loads(invoke("data", "list", "--json").output)}
    assert {"tinyimagenet", "cifar10", "fashion_mnist", "mnist", "digits", "imagefolder"} <= names


def test_data_show_and_verify(invoke, tmp_path):
    from PIL import Image

    done = invoke("data", "show", "digits", "--out", tmp_path / "digits.png")
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "digits.png") as picture:
        assert picture.size[0] > 500
        assert len(set(picture.convert("L").getdata())) > 10
    assert json.loads(invoke("data", "verify", "digits", "--json").output)["wrong"] == []


def test_data_that_cannot_be_had_says_where_to_put_it(tmp_path, monkeypatch):
    """No network in a namespace of its own would be better; a proxy that refuses is as closed."""
    environment = {"PATH": "", "HOME": str(tmp_path), "HWCLS_CACHE": str(tmp_path), "https_proxy": "http://127.0.0.1:9",
                   "http_proxy": "http://127.0.0.1:9", "PYTHONPATH": str(ROOT)}  # fmt: skip
    done = hwcls("data", "fetch", "cifar10", env=environment)
    assert done.returncode == 2
    assert "hwcls data import cifar10" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_train_goes_on_and_refuses_another_trial(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(TRIAL))  # JSON is YAML
    done = hwcls("train", path, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "complete, val/accuracy" in done.stdout
    again = json.loads(hwcls("train", path, "--out", tmp_path / "out", "--json").stdout)
    assert again["status"] == "complete"
    assert len((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()) == 2
    path.write_text(json.dumps({**TRIAL, "seed": 3}))
    refused = hwcls("train", path, "--out", tmp_path / "out")
    assert refused.returncode == 2
    assert "holds another trial" in refused.stderr


@pytest.mark.slow
def test_train_with_two_workers(tmp_path):
    (tmp_path / "config.yaml").write_text(json.dumps({**TRIAL, "workers": 2}))
    done = hwcls("train", tmp_path / "config.yaml", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["epoch"] for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()] == [
        1,
        2,
    ]
