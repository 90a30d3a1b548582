"""`hwcls.sweep(...)`: a sweep from a script or a notebook."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, get_args

from hwcls.api.results import Results, load_results
from hwcls.api.user_errors import as_python_errors
from hwcls.config.sweep_file import Sweep, load_sweep
from hwcls.errors import UserError, did_you_mean
from hwcls.models.user.trust import all_accepted
from hwcls.reading import forget_reports
from hwcls.report.terminal.console import terminal_console

if TYPE_CHECKING:
    from rich.console import Console

    from hwcls.sweep.driver import Outcome
    from hwcls.sweep.preflight.validate import Options

WandbMode = Literal["online", "offline", "off", "auto"]
NOTEBOOK_WIDTH = 120  # characters


class SweepOptions(TypedDict, total=False):
    """The further options of `sweep`, each that of `hwcls sweep`.

    Attributes:
        new: Start in a new folder instead of resuming.
        wandb: online, offline, off, or auto, the default: online where you are logged in.
        address: A running Ray cluster; by default this machine alone.
        budget: A time budget instead of run_cap, such as "2h"; on the command line --for.
        warm_start: Results of another sweep; on the command line --from.
        quiet: Show no progress.
        trust_code: Run model code that no sweep on this machine has run.
    """

    new: bool
    wandb: WandbMode
    address: str | None
    budget: str | None
    warm_start: str | os.PathLike[str] | None
    quiet: bool
    trust_code: bool


@dataclass(frozen=True)
class _Chosen:
    """The options with their defaults."""

    new: bool = False
    wandb: str = "auto"
    address: str | None = None
    budget: str | None = None
    warm_start: str | os.PathLike[str] | None = None
    quiet: bool = False
    trust_code: bool = False


def sweep(
    file: str | os.PathLike[str],
    *,
    set: Mapping[str, Any] | None = None,
    preset: str | None = None,
    results: str | os.PathLike[str] = "results",
    **options: Unpack[SweepOptions],
) -> Results:
    """Run a sweep, or resume it: the same call again never loses or repeats a finished trial.

    Progress is shown in the cell of a notebook, as a live table on a terminal, and as lines on stderr elsewhere.

    Args:
        file: The sweep file (YAML).
        set: Entries of the file by their dotted names: {"run_cap": 20, "parameters.epochs": 5}.
        preset: One of the file's presets.
        results: The folder for the folders of all sweeps, or s3://bucket/prefix.
        options: new, wandb, address, budget, warm_start, quiet, trust_code: see SweepOptions.

    Returns:
        The results; trials that failed are in `trials` with their error.

    Raises:
        UserError: The file, the data, a model, the folder or the machine does not permit it.
        KeyboardInterrupt: It was interrupted. What has finished is saved, and the same call resumes.
    """
    from hwcls.sweep.monitor.notebook import in_notebook

    chosen = _Chosen(**options)
    if not isinstance(set or {}, Mapping):
        raise UserError(f"expected a dict, not {type(set).__name__}", where="set", remedy='give {"run_cap": 20}')
    forget_reports()
    with as_python_errors(), all_accepted(chosen.trust_code):
        checked, run_options = _check(Path(file).expanduser(), set or {}, preset, os.fspath(results), chosen)
        # a notebook shows stderr in red; its table is no terminal's
        width = {"width": NOTEBOOK_WIDTH, "force_terminal": False, "force_jupyter": False} if in_notebook() else {}
        outcome = _run(checked, run_options, terminal_console(stderr=not width, quiet=chosen.quiet, **width))
    if outcome.interrupted:
        raise KeyboardInterrupt("everything finished is saved; the same call resumes")
    return load_results(outcome.folder.path, trust_code=chosen.trust_code)


def _check(
    file: Path, entries: Mapping[str, Any], preset: str | None, results: str, chosen: _Chosen
) -> tuple[Sweep, Options]:
    """The checked sweep, and how to run it; nothing is written."""
    from hwcls.sweep.preflight.validate import Options
    from hwcls.sweep.storage.mirror import locate_results

    if chosen.wandb not in (modes := get_args(WandbMode)):
        raise UserError(f"unknown mode '{chosen.wandb}'", where="wandb", remedy=did_you_mean(chosen.wandb, modes))
    checked = load_sweep(
        file, preset, [f"{name}={_as_yaml(name, value)}" for name, value in entries.items()], chosen.budget
    )
    local, shared = locate_results(results)
    source = None if chosen.warm_start is None else Path(chosen.warm_start).expanduser()
    return checked, Options(local, chosen.new, chosen.wandb, chosen.address, source, shared)


def _run(checked: Sweep, options: Options, console: Console) -> Outcome:
    """Run it with its progress on a console."""
    from hwcls.sweep.monitor.display import ProgressDisplay
    from hwcls.sweep.monitor.logs import log_to_console
    from hwcls.sweep.preflight.validate import check_sweep

    checked, options = check_sweep(checked, options), replace(options, new=False)
    from hwcls.sweep.driver import run

    with log_to_console(console), ProgressDisplay(console, checked.config.metric) as display:
        return run(checked, options, display.progress)


def _as_yaml(name: str, value: object) -> str:
    """A value as `--set` takes it; raises UserError for what a sweep file cannot hold."""
    try:
        text = json.dumps(value, default=_plain, ensure_ascii=False)
        return re.sub(
            "[\x7f-\x9f\u2028\u2029\ufeff]", lambda found: f"\\u{ord(found[0]):04x}", text
        )  # no lines, to YAML
    except (TypeError, ValueError):
        what = f"{name}: a sweep file holds no value of type {type(value).__name__}"
        raise UserError(what, where="set", remedy="use numbers, texts, lists and dicts") from None


def _plain(value: Any) -> Any:
    """A path as text, and a number of numpy as Python's; raises TypeError."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError
