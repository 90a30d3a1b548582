"""What ends a command from outside: a closed pipe, a file that may not be read or written, SystemExit."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hwcls.api.os_error import remedy_for
from hwcls.models.user import trust
from hwcls.models.user.code import call_function

FIXTURE = Path(__file__).parents[1] / "earlier" / "results_0.1.zip"
LEAVE = "import sys\ndef build():\n    return lambda *_: sys.exit(4)\n"

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run a command in a folder that has the results `finished`."""
    from hwcls.cli.main import app

    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(FIXTURE) as packed:
        packed.extractall(tmp_path)
    return lambda *words: CliRunner().invoke(app, list(words))


def test_a_closed_pipe_ends_a_table_silently(invoke: Invoke) -> None:
    read, write = os.pipe()
    os.close(read)
    words = [sys.executable, "-m", "hwcls", "compare", "finished"]
    done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, timeout=120)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_only_the_exit_of_a_users_code_is_the_models(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def library(*_: Any) -> None:
        raise SystemExit(3)

    monkeypatch.setattr("hwcls.data.fetch.fetch_data_set", library)
    done = invoke("data", "fetch", "mnist")
    assert (done.exit_code, done.output) == (3, "")
    (tmp_path / "net.py").write_text(LEAVE)
    monkeypatch.setattr(trust, "require", lambda *_: None)
    monkeypatch.setattr("hwcls.data.fetch.fetch_data_set", call_function(f"{tmp_path}/net.py:build", {}))
    done = invoke("data", "fetch", "mnist")
    assert done.exit_code == 2
    assert done.stderr == "hwcls: the model ends the process: sys.exit(4) (net.py, line 3)\n"


@pytest.mark.parametrize("words", ["sweep {} --dry-run", "train {}", "check {}"])
def test_a_file_that_may_not_be_read_is_one_line(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, *more: str(path) != "finished.yaml" and access(path, *more))
    done = invoke(*words.format("finished.yaml").split())
    assert done.exit_code == 2
    assert done.stderr == "hwcls: finished.yaml: permission denied — make it readable\n"


def test_a_file_of_results_that_may_not_be_read_is_not_damaged(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refuse(path: Any, *more: Any) -> int:
        if str(path).endswith("sweep.yaml"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *more)

    monkeypatch.setattr(os, "open", refuse)
    expected = "hwcls: finished/sweep.yaml: cannot be read (Permission denied) — make it readable\n"
    assert invoke("compare", "finished").stderr == expected


@pytest.mark.parametrize("words", ["predict empty x.png", "export empty", "evaluate empty", "inspect empty"])
def test_a_folder_of_neither_a_trial_nor_a_sweep(invoke: Invoke, tmp_path: Path, words: str) -> None:
    remedy = "name a sweep's folder, results/<sweep>, or a trial's, results/<sweep>/trials/<n>"
    assert invoke(*words.split()).stderr == f"hwcls: empty: there is no such folder — {remedy}\n"
    (tmp_path / "empty").mkdir()
    assert invoke(*words.split()).stderr == f"hwcls: empty: holds neither a trial nor a sweep — {remedy}\n"


FOLDER_COMMANDS = (
    "predict {} x.png",
    "explain {} finished",
    "compare {}",
    "confirm {}",
    "report {}",
    "figures {}",
    "runs {}",
    "serve {}",
    "trials exclude {} 0 --why x",
    "ensemble finished {}",
    "wandb sync {}",
    "mlflow sync {}",
    "evaluate {}",
    "inspect {}",
    "export {}",
    "train {}",
    "dashboard {}",
    "tables {}",
    "wandb workspace {}",
    "wandb report {}",
)


@pytest.mark.parametrize("words", FOLDER_COMMANDS)
def test_a_misspelt_results_folder_is_asked_for(invoke: Invoke, words: str) -> None:
    done = invoke(*words.format("finishd").split())
    assert done.exit_code == 2
    assert done.stderr.startswith("hwcls: finishd")
    assert "no such f" in done.stderr
    assert done.stderr.endswith(" — did you mean 'finished'?\n")


def test_a_report_in_a_folder_that_may_not_be_written(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Any, target: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(source))

    monkeypatch.setattr(os, "replace", refuse)
    done = invoke("report", "finished")
    assert done.exit_code == 2
    expected = "permission denied — make finished writable, or copy the results"
    assert done.stderr == f"hwcls: finished/leaderboard.csv: {expected}\n"


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        (errno.EISDIR, "choose another path, or move what exists there"),
        (errno.ENOSPC, "free some space"),
        (errno.EROFS, "copy {} to a disk that can be written, or choose another path"),
        (errno.EACCES, "make {} writable, or choose another path"),
        (errno.ENOENT, "check the path"),
        (errno.EIO, ""),
    ],
    ids=errno.errorcode.get,
)
def test_each_reason_has_its_remedy(tmp_path: Path, reason: int, remedy: str) -> None:
    assert remedy_for(OSError(reason, "", str(tmp_path / "file"))) == remedy.format(tmp_path)


def test_what_is_to_be_made_readable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "closed" / "deep" / "file"
    inside.parent.mkdir(parents=True)
    inside.touch()
    error = PermissionError(errno.EACCES, "", str(inside))
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != inside)
    assert remedy_for(error) == "make it readable"
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "closed")
    assert remedy_for(error) == f"make {tmp_path / 'closed'} readable, or choose another path"
