"""`hwcls train` and `hwcls ensemble`: one trial without Ray, and a sweep's best models averaged."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwcls.cli.choose_run import choose_config
from hwcls.cli.completion import folders
from hwcls.cli.console import app, echo, print_to_stderr
from hwcls.cli.options import AsJson, Overwrite, ResultOnly, ResultsFolder, TrustCode, Views, check_overwrite
from hwcls.cli.progress_bar import progress_reporter
from hwcls.errors import UserError
from hwcls.escape import shell_word
from hwcls.files import check_writable_folder

if TYPE_CHECKING:
    from hwcls.config.trial import TrialConfig


@app.command()
def train(
    config: Annotated[
        Path,
        typer.Argument(
            help="A trial's config.yaml or its folder; or a sweep's results folder, for its best model.",
            show_default=False,
            autocompletion=folders.sweeps_or_trials,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The folder to train into; by default results/train/<hash>.", show_default=False),
    ] = None,
    trust_code: TrustCode = False,
    as_json: ResultOnly = False,
) -> None:
    """Train one trial on this machine, without Ray. It repeats a trial of a sweep, or resumes where it stopped.

    A sweep's folder stands for its confirmed winner, or else best trial, with its seed.

    Example: hwcls train results/quickstart
    """
    from hwcls.config.sweep_file import load_trial

    trial = load_trial(choose_config(config))
    from hwcls.data.augment.defaults import spell_out
    from hwcls.training.threads import configure_threads

    configure_threads(trial.threads)
    from hwcls.inspection import create_recorder
    from hwcls.training.local import train as run

    folder = out or Path("results", "train", _digest(trial))
    check_writable_folder(folder)
    if config.is_dir():
        print_to_stderr(f"training it into {folder}")
    trial = spell_out(trial, earlier="label" in trial.data.model_fields_set)  # as every config.yaml of hwcls has it
    result = run(trial, folder, _ignore if as_json else _print_epoch, create_recorder, print_to_stderr)
    if as_json:
        echo(json.dumps({**result.to_dict(), "folder": str(folder)}, indent=2))
    else:
        best = "".join(f", {name} {value:.4f}" for name, value in (result.best or {}).items() if name != "epoch")
        echo(f"{result.status}{best}; results in {folder}" + (f"; {result.error}" if result.error else ""))
    if result.status == "failed":
        raise typer.Exit(1)


@app.command()
def ensemble(
    folder: ResultsFolder,
    more: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Further sweeps or trials whose models may be averaged.",
            show_default=False,
            autocompletion=folders.sweeps_or_trials,
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=2, help="The most models that are averaged.")] = 5,
    soup: Annotated[
        bool, typer.Option("--soup", help="Average weights, where models began with the same ones.")
    ] = False,
    views: Views = None,
    overwrite: Overwrite = False,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Average the models of a finished sweep. Those that are best together on val are scored once on test.

    Greedy, with replacement: from the best model on, each step adds the one with which the average of the probabilities
    is best on val, until that no longer gets better. Test is read once, which is counted. The result is the folder
    ensemble/ in that of the sweep, which predict, evaluate and export take; it can be moved.

    Example: hwcls ensemble results/quickstart
    """
    from hwcls.results.load import load_results
    from hwcls.tracking.folders import ENSEMBLE, MEMBERS, is_in_use

    running = is_in_use(folder)
    sweep = load_results(folder)
    if running:
        remedy = "wait until it ends: its models and its winner may still change"
        raise UserError("this sweep is running", where=str(folder), remedy=remedy)
    check_overwrite([folder / ENSEMBLE / MEMBERS], overwrite)
    from hwcls.training.threads import configure_threads

    configure_threads()
    from hwcls.report.html.page import write_page
    from hwcls.results.ensemble.build import Request, build_ensemble
    from hwcls.results.ensemble.describe import describe_members

    request = Request(top, views or 1, soup, tuple(more or ()))
    with progress_reporter() as report:
        found = build_ensemble(sweep, request, report)
    if found is not None:
        write_page(folder)
    if as_json:
        echo(json.dumps(found, indent=2))
    elif found is not None:
        echo(describe_members(found))
        echo(f"  hwcls predict {shell_word(folder / ENSEMBLE)} NEW_PHOTOS")


def _digest(trial: TrialConfig) -> str:
    """A name for the trial's folder; the same as in version 0.1 for a trial of it."""
    from hwcls.config.trial import ADDED, EARLIER_LAYOUT

    values = trial.to_dict()
    data = values["data"]
    if trial.data.layout == EARLIER_LAYOUT:
        data["layout"] = None
    as_earlier = {key for key, value in ADDED.items() if data[key] in (value, None)}
    values["data"] = {key: value for key, value in data.items() if key not in as_earlier}
    earlier = trial.model.earlier
    values["model"] = {key: one for key, one in values["model"].items() if key not in earlier or one != earlier[key]}
    return hashlib.blake2b(json.dumps(values).encode(), digest_size=4).hexdigest()


def _print_epoch(line: dict[str, Any]) -> None:
    words = [f"epoch {line['epoch']}"]
    words += [
        f"{name} {line[name]:.4f}" for name in ("train/loss", "val/loss", "val/accuracy") if line.get(name) is not None
    ]
    echo("  ".join([*words, f"lr {line['lr']:.3g}", f"{line['images_per_second']:,.0f} images/s"]))


def _ignore(line: dict[str, Any]) -> None:
    pass
