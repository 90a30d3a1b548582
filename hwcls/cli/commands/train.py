"""`hwcls train`: one trial without Ray."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwcls.cli.choose_run import choose_config
from hwcls.cli.console import app, echo, print_to_stderr
from hwcls.cli.options import ResultOnly, TrustCode

if TYPE_CHECKING:
    from hwcls.config.trial import TrialConfig


@app.command()
def train(
    config: Annotated[
        Path,
        typer.Argument(
            help="A trial's config.yaml or its folder; or a sweep's results folder, for its best model.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The folder to train into; by default results/train/<hash>.", show_default=False),
    ] = None,
    trust_code: TrustCode = False,
    as_json: ResultOnly = False,
) -> None:
    """Train one trial on this machine, without Ray: repeats a trial of a sweep, or resumes where it stopped.

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
    if config.is_dir():
        print_to_stderr(f"training it into {folder}")
    trial = spell_out(trial, earlier="label" in trial.data.model_fields_set)  # as every config.yaml of hwcls has it
    result = run(trial, folder, _ignore if as_json else _print_epoch, create_recorder)
    if as_json:
        echo(json.dumps({**result.to_dict(), "folder": str(folder)}, indent=2))
    else:
        best = "".join(f", {name} {value:.4f}" for name, value in (result.best or {}).items() if name != "epoch")
        echo(f"{result.status}{best}; results in {folder}" + (f"; {result.error}" if result.error else ""))
    if result.status == "failed":
        raise typer.Exit(1)


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
