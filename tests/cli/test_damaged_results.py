"""Every file of a results folder, damaged in every way, under every command that reads results."""

from __future__ import annotations

import contextlib
import difflib
import io
import json
import logging
import os
import re
import shutil
import sys
import traceback
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import yaml
from PIL import Image
from typer.testing import CliRunner

import hwcls.cli.main  # noqa: F401  (registers the commands)
from hwcls.cli.console import app
from hwcls.data.imageset import open_data
from hwcls.files import write_json
from hwcls.results.best.folder import update_best
from hwcls.results.ensemble.build import Request, build_ensemble
from hwcls.results.load import load_results
from hwcls.sweep.cluster.resources import this_machine
from hwcls.tracking.folders import TrialFolder

FIXTURE = Path(__file__).parents[1] / "earlier" / "results_0.1.zip"
RESULTS, TRIAL, OTHER = "finished", "finished/trials/1", "finished/trials/3"
# of each kind one file; a confirm run's are those of a trial and test_predictions.npz
FILES = [
    *("sweep.yaml", "data.json", "environment.json", "models.json", "tracking.json", "splits.npz", "study.journal"),
    *("leaderboard.csv", "report.html", "sweep.log", "tracking.log", "test_reads.jsonl"),
    *("wandb/cursor.jsonl", "wandb/workspace.json", "wandb/report.json"),
    *("trials/1/config.yaml", "trials/1/metrics.jsonl", "trials/1/result.json", "trials/1/best.safetensors"),
    *("trials/1/predictions.npz", "trials/1/inspection.npz", "trials/1/confusion/3.npz", "trials/1/checkpoint.json"),
    *("trials/3/error.txt", "confirm/cnn/10001000/config.yaml", "confirm/cnn/10001000/metrics.jsonl"),
    *("confirm/cnn/10001000/confirm.json", "confirm/cnn/10001000/result.json"),
    "confirm/cnn/10001000/test_predictions.npz",
    *("best/best.json", "best/config.yaml", "best/preprocessing.json", "best/best.safetensors"),
    *("ensemble/ensemble.json", "ensemble/1/config.yaml", "ensemble/1/best.safetensors"),
]
DAMAGES = (
    *("empty", "truncated", "not UTF-8", "wrong type", "null values", "wrong values"),
    *("a folder", "dangling link", "random bytes"),
)
# what no reader can notice: error.txt is any text, and a file of one line for each read may have none
NOT_NOTICED = {("trials/3/error.txt", how) for how in DAMAGES}
NOT_NOTICED |= {("test_reads.jsonl", "empty"), ("test_reads.jsonl", "random bytes")}
# every command of hwcls: how it reads the results, or None if it reads none
COMMANDS: dict[str, list[list[str]] | None] = {
    "compare": [[RESULTS], [RESULTS, "--json"], [RESULTS, "--csv"], [RESULTS, "copy"]],
    "report": [[RESULTS]],
    "runs": [[RESULTS], [".", "--json"]],
    "serve": [[RESULTS, "--port", "0"]],
    "figures": [[RESULTS, "--out", "figures", "--format", "svg"]],
    "tables": [[RESULTS], [RESULTS, "--json"]],
    "explain": [[TRIAL, OTHER]],
    "evaluate": [[TRIAL], [TRIAL, "--split", "test"]],
    "predict": [
        *([TRIAL, "image.png"], [RESULTS, "image.png"], [f"{RESULTS}/best", "image.png"]),
        [f"{RESULTS}/ensemble", "image.png"],
    ],
    "ensemble": [[RESULTS, "--overwrite"]],
    "inspect": [[TRIAL], [RESULTS], [f"{RESULTS}/best"]],
    "export": [[TRIAL, "--format", "torch"]],
    "check": [[TRIAL, "--steps", "2"]],
    "profile": [[TRIAL, "--steps", "1"]],
    "train": [[f"{TRIAL}/config.yaml", "--out", "again"]],
    "confirm": [[RESULTS, "--wandb", "off"]],
    "sweep": [
        ["finished.yaml", "--results", ".", "--wandb", "off"],
        ["other.yaml", "--results", "new", "--wandb", "off", "--from", RESULTS],
    ],
    "dashboard": [[RESULTS]],
    "trials exclude": [[RESULTS, "0", "--why", "faulty"]],
    "wandb sync": [[RESULTS]],
    "mlflow sync": [[RESULTS]],
    "wandb workspace": [[RESULTS]],
    "wandb report": [[RESULTS]],
    **dict.fromkeys(
        (
            *("data list", "data clean", "data fetch", "data import", "data show", "data verify"),
            *("doctor", "explain-key", "init", "models", "schema", "slurm", "submit"),
            "trials include",  # reads what `trials exclude` reads
        )
    ),
}
SLOW = ("export", "profile", "check", "train")


def test_every_command_is_here():
    group: Any = typer.main.get_command(app)
    found = set()
    for name, command in group.commands.items():
        found |= {f"{name} {inner}" for inner in command.commands} if hasattr(command, "commands") else {name}
    assert found == set(COMMANDS)


@dataclass(frozen=True)
class Output:
    """What a command did."""

    code: int
    stdout: str  # with the page, where it wrote one; without times, sizes and paths that change
    lines: list[str]  # of stderr and the log: notes and the error
    trace: str  # of an exception that left the command


@dataclass
class Bench:
    """A working folder with intact results, and what each command says of them."""

    path: Path
    intact: Path
    outputs: dict[tuple[str, ...], Output]

    def restore(self) -> None:
        """Put everything back as it was before a command."""
        restore(self.intact, self.path)
        os.chdir(self.path)

    def problem(self, command: str, arguments: list[str], file: str, how: str, caplog: Any) -> str | None:
        """Why a command does not do what it should with a file that is damaged in this way."""
        key = (command, *arguments)
        if key not in self.outputs:
            self.restore()
            self.outputs[key] = before = run(command, arguments, caplog)
            assert before.code in (0, 1), (key, before)  # 1: trial 3 failed
        self.restore()
        damage(self.path / RESULTS / file, how)
        after = run(command, arguments, caplog)
        before = after if (file, how) in NOT_NOTICED else self.outputs[key]
        why = describe_problem(before, after, file)
        return f"{' '.join(key)}, {file} {how}: {why}" if why else None


def restore(intact: Path, path: Path) -> None:
    """Make a folder what another is; a file of the same size and time is the same."""
    path.mkdir(exist_ok=True)
    wanted = {entry.name: entry for entry in os.scandir(intact)}
    for entry in os.scandir(path):
        if entry.is_dir(follow_symlinks=False):
            if not (entry.name in wanted and wanted[entry.name].is_dir()):
                shutil.rmtree(entry.path)
        elif entry.name not in wanted or _identity(entry) != _identity(wanted[entry.name]):
            os.unlink(entry.path)
    for name, entry in wanted.items():
        if entry.is_dir():
            restore(Path(entry.path), path / name)
        elif not (path / name).exists():
            shutil.copy2(entry.path, path / name)


def _identity(entry: os.DirEntry[str]) -> tuple[int, int, int]:
    found = entry.stat(follow_symlinks=False)
    return found.st_mode, found.st_size, found.st_mtime_ns


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The results of version 0.1, with files that they do not have."""
    root = tmp_path_factory.mktemp("damaged")
    intact = root / "intact"
    with zipfile.ZipFile(FIXTURE) as archive:
        archive.extractall(intact, [name for name in archive.namelist() if name.startswith("finished")])
    results = intact / RESULTS
    for name, text in {
        "report.html": "<html></html>",
        "sweep.log": "started\n",
        "test_reads.jsonl": '{"trial": "trials/1", "time": "2026-01-01T00:00:00+00:00"}\n',
        "wandb/cursor.jsonl": '{"identity": "0123"}\n{"run": "trials/1", "entry": {"id": "a", "mode": "offline"}}\n',
        "wandb/workspace.json": '{"url": "https://wandb.ai/a/hwcls?nw=b"}\n',
        "wandb/report.json": '{"url": "https://wandb.ai/a/hwcls/reports/b--c"}\n',
        "trials/3/error.txt": "Traceback\nValueError: no\n",
        "trials/1/checkpoint.json": '["../../tune/trials-1/checkpoint_000001"]\n',
        "confirm/cnn/10001000/confirm.json": '{"trial": 1, "role": "pick"}\n',
    }.items():
        (results / name).parent.mkdir(exist_ok=True)
        (results / name).write_text(text)
    failed = json.loads((results / "trials/3/result.json").read_text())
    write_json(results / "trials/3/result.json", failed | {"status": "failed", "error": "ValueError: no"})
    update_best(results)
    assert build_ensemble(load_results(results), Request(), lambda line: None), "an average is better than the best"
    (results / "test_reads.jsonl").write_text('{"trial": "trials/1", "time": "2026-01-01T00:00:00+00:00"}\n')
    shutil.copytree(results, intact / "copy")
    (intact / "other.yaml").write_text((intact / "finished.yaml").read_text().replace("run_cap: 4", "run_cap: 6"))
    Image.new("L", (8, 8), 100).save(intact / "image.png")
    open_data(TrialFolder(results / "trials/1").config().data)  # decoded now, or reports differ by its pictures
    kept = os.getcwd()
    yield Bench(root / "here", intact, {})
    os.chdir(kept)


@pytest.fixture(autouse=True)
def _without_ray_and_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep reads all it reads and trains nothing; W&B takes every run; no dashboard is served, of pages the list."""
    from hwcls.cli.console import echo
    from hwcls.report.serve import index, server
    from hwcls.sweep import driver
    from hwcls.sweep.cluster import nodes  # noqa: F401
    from hwcls.sweep.monitor import tracking_process
    from hwcls.tracking.wandb import report, sync, tracker, workspace

    monkeypatch.setattr(driver, "connected", lambda address: contextlib.nullcontext(this_machine()))
    monkeypatch.setattr(driver._Start, "_train", lambda *arguments: False)
    monkeypatch.setattr(tracking_process.TrackingProcess, "start", lambda self: None)
    monkeypatch.setattr(
        server.Server, "serve_forever", lambda self: echo(index.render_list(self.library.list_sweeps()))
    )
    monkeypatch.setattr(sync, "require_login", lambda: None)
    monkeypatch.setattr(workspace, "require_login", lambda: None)
    monkeypatch.setattr(report, "require_login", lambda: None)
    monkeypatch.setattr(workspace.wandb, "Api", type("Api", (), {"settings": {"entity": "a"}}))
    monkeypatch.setattr(tracker, "WandbRun", _Run)
    for name in ("wandb_workspaces", "wandb_workspaces.reports", "wandb_workspaces.reports.v2", "optuna_dashboard"):
        monkeypatch.setitem(sys.modules, name, _Anything())


class _Run:
    """A W&B run that takes everything."""

    shown = None
    handle = type("Handle", (), {"id": "a", "url": "https://wandb.ai/a/hwcls/runs/a"})

    def __init__(self, info: Any, *arguments: Any) -> None:
        self.lines = 0

    def log(self, line: dict[str, Any], *, last: bool) -> None:
        self.lines += 1

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **options: None


class _Anything:
    """Any module, class or object of a library: every attribute and call gives another one."""

    project, entity = "hwcls", "a"
    url = "https://wandb.ai/a/hwcls?nw=b"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything()

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return _Anything()


def damage(path: Path, how: str) -> None:
    """Damage a file in one of DAMAGES."""
    content = path.read_bytes()
    path.unlink()
    if how == "a folder":
        path.mkdir()
    elif how == "dangling link":
        path.symlink_to(path.with_name("nowhere"))
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 2 + 3])
    elif how == "not UTF-8":
        path.write_bytes(content[: len(content) // 2] + b"\xff\xfe\xe4" + content[len(content) // 2 :])
    elif how == "random bytes":
        path.write_bytes(np.random.default_rng(0).bytes(max(len(content), 64)))
    else:
        path.write_bytes(_changed(path.suffix, content, how))


def _changed(suffix: str, content: bytes, how: str) -> bytes:
    """The content with the same format, but another top-level type or other values."""
    if suffix == ".npz":
        arrays = {
            name: np.array(np.nan) if how == "null values" else np.array(["x"]) for name in np.load(io.BytesIO(content))
        }
        file = io.BytesIO()
        np.save(file, np.arange(3)) if how == "wrong type" else np.savez(file, **arrays)
        return file.getvalue()
    if suffix == ".safetensors":
        header = (
            b"[]" if how == "wrong type" else b'{"__metadata__": {"hwcls": "{}"}}' if how == "null values" else b"{}"
        )
        return len(header).to_bytes(8, "little") + header
    change: Callable[[Any], Any] = _other_type
    if how != "wrong type":
        change = partial(_with_leaves, leaf=None if how == "null values" else {"a": [1]})
    if suffix == ".yaml":
        return yaml.safe_dump(change(yaml.safe_load(content))).encode()
    if suffix == ".json":
        return json.dumps(change(json.loads(content))).encode()
    if suffix in (".jsonl", ".journal"):
        return b"".join(json.dumps(change(json.loads(line))).encode() + b"\n" for line in content.splitlines())
    return b"null\n"


def _other_type(value: Any) -> Any:
    return [1, 2] if isinstance(value, dict) else {"a": 1}


def _with_leaves(value: Any, leaf: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_leaves(child, leaf) for key, child in value.items()}
    return [_with_leaves(child, leaf) for child in value] if isinstance(value, list) else leaf


def run(command: str, arguments: list[str], caplog: Any) -> Output:
    """Run a command as the script does."""
    caplog.clear()
    found = CliRunner().invoke(app, [*command.split(), *arguments])
    error, trace = found.exception, ""
    if error is not None and not isinstance(error, SystemExit):
        trace = "".join(traceback.format_exception(error))
    out = _steady(found.stdout)
    for page in [Path(RESULTS, "report.html")] if command == "report" else []:
        out += page.read_text("utf-8") if page.is_file() else ""
    notes = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    notes += [line for line in found.stderr.splitlines() if not line.startswith("serving")]
    notes += [
        line.removeprefix("note: ") for line in out.splitlines() if "is damaged" in line
    ]  # a list of sweeps has a row for the error
    return Output(found.exit_code, out, notes, trace)


def _steady(text: str) -> str:
    """Without what differs between two runs of one command; of a profile nothing is left."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:+]+|just now|\d+ (s|min) ago|\d\d:\d\d:\d\d", "", text)
    return "" if "slowest" in text else re.sub(r"\d[\d.,]* ?(KB|MB|GB|bytes|ms|s\b|images/s)", "", text)


def describe_problem(before: Output, after: Output, file: str) -> str | None:
    """Why a command on damaged results did not do what it should."""
    if after.trace:
        return after.trace[-1500:]
    if after.code not in (before.code, 2):
        return f"exit code {after.code}: {after.lines}"
    named = [line for line in after.lines if file in line]
    if after.code == 2 and not named:
        return f"exit code 2 without the file: {after.lines}"
    if not named and (after.code, after.stdout) != (before.code, before.stdout):
        return f"another output without a word about the file: {after.lines} {_difference(before.stdout, after.stdout)}"
    if len(set(named)) > 2:
        return f"more than one line: {named}"
    return None


def _difference(before: str, after: str) -> str:
    return "\n".join(
        line[:300] for line in difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    )[:1500]


def every_call() -> list[tuple[str, list[str]]]:
    """Every command with each of its arguments."""
    return [(command, arguments) for command, calls in COMMANDS.items() for arguments in calls or ()]


@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_named_and_the_rest_is_read(bench, file, caplog):
    """Each damage under one of the commands that take no time, in turn."""
    calls = [call for call in every_call() if call[0] not in SLOW]
    place = FILES.index(file)
    found = [bench.problem(*calls[(place + turn) % len(calls)], file, how, caplog) for turn, how in enumerate(DAMAGES)]
    assert not any(found), "\n\n".join(filter(None, found))


@pytest.mark.heavy
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("call", every_call(), ids=lambda call: " ".join([call[0], *call[1]]))
def test_every_command_on_every_damaged_file(bench, call, file, caplog):
    found = [bench.problem(*call, file, how, caplog) for how in DAMAGES]
    assert not any(found), "\n\n".join(filter(None, found))
