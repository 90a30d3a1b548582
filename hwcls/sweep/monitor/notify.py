"""Notifies people that a sweep has ended or failed: by a command of theirs, and through trackers that send alerts."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hwcls.config.sweep import NotifyConfig
from hwcls.config.sweep_file import Sweep
from hwcls.errors import UserError
from hwcls.escape import printable
from hwcls.format import format_count, format_duration
from hwcls.models.user.code import is_of_results
from hwcls.models.user.trust import accepts_all
from hwcls.results.answer import describe_answer
from hwcls.results.load import SweepResults, load_results
from hwcls.sweep.monitor.ending import Ending, State
from hwcls.tracking.tracker import Alert

EVENTS: dict[State, str] = {"ended": "end", "failed": "failure", "killed": "failure", "interrupted": "interrupt"}
WORDS: dict[State, str] = {"ended": "has ended", "failed": "has failed"}
WORDS |= {"interrupted": "was interrupted", "killed": "was killed"}
LEVELS: dict[str, Literal["INFO", "WARN", "ERROR"]] = {"end": "INFO", "interrupt": "WARN", "failure": "ERROR"}
FAILED_SHARE = 0.5  # of the trials: with as many that failed the sweep has failed
KILL_SECONDS = 1.0  # for a killed command to be gone
ERROR_BYTES = 4_096  # of what a command wrote to its standard error that are read

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Message:
    """A notification about a sweep."""

    ending: Ending
    title: str
    text: str
    facts: Mapping[str, str]  # the command's environment variables, without their prefix HWCLS_

    @property
    def event(self) -> str:
        """One of `notify.on`."""
        return EVENTS[self.ending.state]

    def alert(self) -> Alert:
        return Alert(self.title, self.text, LEVELS[self.event])


def build_message(path: Path, ending: Ending) -> Message:
    """The message on a results folder; a sweep that ended without a result, or with many failed trials, has failed."""
    found = load_results(path)
    ending = _judge(found, ending)
    failed = sum(trial.failed for trial in found.trials)
    facts = {"SWEEP": found.name, "STATE": ending.state, "ANSWER": describe_answer(found), "ERROR": ending.reason}
    facts |= {"RESULTS": str(path.resolve()), "REPORT": str(path.resolve() / "report.html")}
    facts |= {"TRIALS": str(len(found.trials)), "FAILED_TRIALS": str(failed), "METRIC": found.metric}
    facts = {name: printable(value) for name, value in facts.items()}
    title = f"hwcls: {facts['SWEEP']} {WORDS[ending.state]}"
    lines = [title, facts["ERROR"], facts["ANSWER"], f"report: {facts['REPORT']}"]
    return Message(ending, title, "\n".join(filter(None, lines)), facts)


def _judge(found: SweepResults, ending: Ending) -> Ending:
    """The ending, by what there is of results too."""
    failed, total = sum(trial.failed for trial in found.trials), len(found.trials)
    if ending.state != "ended":
        return ending
    if not any(trial.value is not None and not trial.failed for trial in found.trials):
        return Ending("failed", f"no answer: {failed} of {format_count(total, 'trial')} failed, none has a result")
    if failed >= FAILED_SHARE * total:
        return Ending("failed", f"{failed} of {format_count(total, 'trial')} failed")
    return ending


def notify_config(sweep: Sweep) -> NotifyConfig | None:
    """Whom a sweep notifies; the sweep.yaml of a results folder, which may come from elsewhere, runs no command."""
    config = sweep.config.notify
    if config is None or config.command is None or accepts_all() or not is_of_results(Path(sweep.source.path)):
        return config
    return config.model_copy(update={"command": None}) if config.wandb else None


def run_command(config: NotifyConfig, path: Path, ending: Ending) -> None:
    """Run the user's command at the end of a start, if `notify.on` has that event; a failure is logged in one line."""
    if config.command is None:
        return
    try:
        message = build_message(path, ending)
    except Exception as error:  # of a damaged folder: the sweep ends as it would
        log.warning("notify.command was not run: %s", " ".join(str(error).split()))
        return
    if message.event in config.on:
        _run_command(config.command, message, config.timeout)


def check_command(command: str, where: str) -> None:
    """Raise UserError where there is no such program."""
    program = shlex.split(command)[0]
    if shutil.which(program) is None:
        remedy = "name a program on PATH, or a file that can be executed: chmod +x FILE"
        raise UserError(f"no program '{program}'", where=where, remedy=remedy)


def _run_command(command: str, message: Message, seconds: float) -> None:
    """Run a command, without a shell: the message on its standard input, the facts in HWCLS_... variables."""
    environment = {**os.environ, **{f"HWCLS_{name}": value for name, value in message.facts.items()}}
    try:
        problem = _run(shlex.split(command), message.text, environment, seconds)
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or str(error)
    if problem:
        log.warning("notify.command: %s", problem)


def _run(command: list[str], text: str, environment: dict[str, str], seconds: float) -> str:
    """Run a command, and kill it and its children after so many seconds; returns what is wrong, "" if nothing."""
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "start_new_session": True}
    with tempfile.TemporaryFile() as errors:
        run = subprocess.Popen(command, stderr=errors, env=environment, **options)
        try:
            run.communicate(f"{text}\n".encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            ended = f"{command[0]} was ended after {format_duration(seconds)}"
            return ended if _kill(run) else f"{command[0]} still runs after {format_duration(seconds)}, as another user"
        except BaseException:
            _kill(run)
            raise
        if run.returncode == 0:
            return ""
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - ERROR_BYTES))
        last = errors.read().decode(errors="replace").strip().rpartition("\n")[2]
        return f"{command[0]} exited with {run.returncode}{f' ({printable(last)})' if last else ''}"


def _kill(run: subprocess.Popen[bytes]) -> bool:
    """Kill a command and its children; False where that is not permitted, as it runs as another user."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(run.pid, signal.SIGKILL)
    if run.stdin is not None:
        with suppress(OSError):
            run.stdin.close()
    try:
        run.wait(timeout=KILL_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True
