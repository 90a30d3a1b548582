"""The command line itself: help, versions, exit codes, one line for every error."""

import csv
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
import typer
from typer.testing import CliRunner

from tests.results.conftest import full_sweep

ROOT = Path(__file__).parents[2]
COMMANDS = [
    words.split()
    for words in (
        "", "sweep", "train", "compare", "report", "data", "data list", "data fetch", "data import", "data show",
        "data verify", "wandb", "wandb sync", "confirm", "explain", "doctor", "models", "check", "profile", "evaluate",
        "predict", "ensemble", "inspect", "export", "wandb workspace", "wandb report", "dashboard", "submit", "mlflow",
        "mlflow sync", "schema", "explain-key",
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
    from hwcls.cli.main import app

    return lambda *words: CliRunner().invoke(app, list(map(str, words)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_is_documented(invoke, words):
    done = invoke(*words, "--help")
    assert done.exit_code == 0
    if words and words not in (["data"], ["wandb"], ["mlflow"]):
        assert "Example: hwcls" in done.output


def test_help_lists_every_command_once_in_a_section():
    from hwcls.cli.console import SECTIONS
    from hwcls.cli.main import app

    listed = [name for names in SECTIONS.values() for name in names]
    assert sorted(listed) == sorted(typer.main.get_command(app).commands)
    lines = hwcls("--help", env={**os.environ, "COLUMNS": "80"}).stdout.splitlines()
    assert [line for line in lines if line.endswith(":") and line[:-1] in SECTIONS] == [f"{name}:" for name in SECTIONS]
    rows = lines[lines.index("Before a sweep:") :]
    assert [line.split()[0] for line in rows if line and not line.endswith(":")] == listed  # one line for each


@pytest.mark.parametrize("words", [(), ("data",), ("trials",), ("wandb",), ("mlflow",)], ids=" ".join)
def test_the_first_sentence_of_a_help_fits_on_80_columns(invoke, words):
    lines = invoke(*words, "--help").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if line.endswith("...") and not line.startswith("Usage")]


def test_closed_streams(tmp_path):
    """As a daemon starts it: no file of the command takes the number of a standard stream."""
    code = f"""
import os, sys
from hwcls.cli import main
sys.argv = ["hwcls", "--version"]
try:
    main()
except SystemExit as ended:
    with open({str(tmp_path / "found")!r}, "w") as file:
        print(ended.code, file.fileno() > 2, sys.stdout.isatty(), file=file)
"""
    subprocess.run(["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, code], check=True)
    assert (tmp_path / "found").read_text() == "0 True False\n"


def test_plain_lines_in_a_notebook(invoke, tmp_path, monkeypatch):
    """IPython's kernel sets FORCE_COLOR for its commands, whose output is no terminal."""
    from hwcls.sweep import driver
    from hwcls.sweep.monitor.progress import Lines

    shown = []

    def run(sweep, options, progress_for):
        shown.append(progress_for(1))
        raise KeyboardInterrupt

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(driver, "run", run)
    done = invoke("sweep", ROOT / "sweeps" / "quickstart.yaml", "--results", tmp_path, "--wandb", "off")
    assert done.exit_code == 130
    assert [type(view) for view in shown] == [Lines]


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
        (["confirm", "none"], "there is no such folder"),
        (["explain", "none", "none"], "there is no such folder"),
        (["data", "fetch", "fashionmnist"], "did you mean 'fashion_mnist'"),
        (["data", "import", "cifar10", "none.zip"], "none.zip"),
        (["compare", "none", "--json", "--csv"], "exclude each other"),
        (["wandb", "sync", "none"], "none"),
        (["wandb", "workspace", "none"], "none"),
        (["wandb", "report", "none"], "none"),
        (["dashboard", "none"], "there is no such folder"),
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
    monkeypatch.setenv("HWCLS_DATA", str(tmp_path / "none"))  # the data is still to be fetched
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


def test_several_sweeps_are_compared(invoke, tmp_path):
    from tests.results.conftest import write_sweep, write_trial

    for name, value in (("one", 0.5), ("other", 0.75)):
        write_trial(write_sweep(tmp_path / name).trial(0), [value])
    both = [tmp_path / "one", tmp_path / "other"]
    rows = list(csv.DictReader(io.StringIO(invoke("compare", *both, "--csv").output)))
    assert [(row["rank"], row["sweep"], row["val/accuracy"]) for row in rows] == [
        ("1", "other", "0.75"),
        ("2", "one", "0.5"),
    ]
    assert [row["rank"] for row in json.loads(invoke("compare", *both, "--json").output)["leaderboard"]] == [1, 2]
    printed = invoke("compare", *both).output
    assert printed.index("other") < printed.index("one")
    alone = invoke("compare", both[0], "--csv").output
    assert alone.splitlines()[0].startswith("rank,trial")


def test_the_last_lines_of_a_sweep_hide_credentials(tmp_path, capsys, monkeypatch):
    from hwcls.cli.commands.sweep_confirm import _exit_interrupted, _print_outcome
    from hwcls.sweep.driver import Outcome
    from hwcls.sweep.preflight.validate import Options
    from hwcls.sweep.storage.mirror import SharedResults

    outcome = Outcome(full_sweep(tmp_path / "tiny"), interrupted=True, nothing_to_do=False, failed=())
    options = Options(tmp_path, shared=SharedResults("s3://key:secret@bucket/a", tmp_path))
    _print_outcome(outcome, options, as_json=True)
    _print_outcome(outcome, options, as_json=False)
    monkeypatch.setattr("sys.argv", ["hwcls", "sweep", "a.yaml", "--results", "s3://key:secret@bucket/a"])
    with pytest.raises(typer.Exit):
        _exit_interrupted("tiny", as_json=False)
    shown = capsys.readouterr().out
    assert '"shared": "s3://bucket/a/tiny"' in shown
    assert "in s3://bucket/a/tiny, with a local copy in" in shown
    assert shown.endswith("hwcls sweep a.yaml --results s3://bucket/a\n")
    assert "secret" not in shown


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_dashboard_listens_on_this_machine_alone(tmp_path):
    pytest.importorskip("optuna_dashboard", reason="pip install 'hwcls[dashboard]'")
    import optuna

    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "study.journal"))
    optuna.create_study(study_name="tiny", storage=optuna.storages.JournalStorage(backend))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = hwcls("dashboard", tmp_path, "--port", port)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert f"port {port}" in done.stderr
    command = [sys.executable, "-m", "hwcls", "dashboard", str(tmp_path), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies", timeout=5) as answer:
                    assert json.load(answer)["study_summaries"][0]["study_name"] == "tiny"
                break
            except OSError:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.2)
        addresses = {c.laddr.ip for c in psutil.Process(process.pid).net_connections() if c.status == "LISTEN"}
        assert addresses == {"127.0.0.1"}
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize(
    ("name", "of"), [("photos.zip", "photos.zip"), ("photos", "photos"), ("my photos/cat.jpg", "'my photos'")]
)
def test_photos_are_no_sweep_file(invoke, tmp_path, monkeypatch, name, of):
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"") if path.suffix else path.mkdir()
    done = invoke("sweep", name, "--dry-run")
    assert done.exit_code == 2
    assert done.stderr == f"hwcls: {name}: is no sweep file — hwcls init {of} writes one\n"
