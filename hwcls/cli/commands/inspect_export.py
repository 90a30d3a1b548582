"""`hwcls inspect` and `hwcls export`: how a trial's layers were trained, and its model for other programs."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwcls.cli.choose_run import SWEEP
from hwcls.cli.console import app, echo, print_to_stderr, table_console
from hwcls.cli.options import (
    AsJson,
    Overwrite,
    RecordedTrial,
    TrialFolder,
    TrustCode,
    Views,
    check_outside_data,
    check_overwrite,
)
from hwcls.training.threads import configure_threads

if TYPE_CHECKING:
    from hwcls.inspection.recorded import LayerGradient


class Format(StrEnum):
    """The formats of an exported model."""

    onnx = "onnx"
    torch = "torch"


@app.command()
def inspect(
    trial: RecordedTrial,
    out: Annotated[Path, typer.Option(help="The folder for the pictures.")] = Path("inspect"),
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Show how a trial was trained: gradients and activations.

    It shows gradients of each layer and activations of the first one. An autoencoder has pictures as well.

    Gradients are those of an epoch's last step, before clipping. Pictures are activations.png and, where an autoencoder
    was pretrained, reconstructions.png.

    Example: hwcls inspect results/quickstart
    """
    from hwcls.inspection.load_trained import trial_config
    from hwcls.inspection.pictures import draw_activations, draw_reconstructions, write_png
    from hwcls.inspection.recorded import first_and_last_gradients, load_recorded

    found = load_recorded(trial)
    flow, pictures = first_and_last_gradients(found), {}
    if "activations" in found:
        pictures["activations"] = out / "activations.png"
    if "reconstructions/input" in found:
        pictures["reconstructions"] = out / "reconstructions.png"
    if pictures:
        check_outside_data(out, trial_config(trial).data)
    check_overwrite(pictures.values(), overwrite)
    if "activations" in pictures:
        write_png(draw_activations(found["activation_image"], found["activations"]), pictures["activations"])
    if "reconstructions" in pictures:
        inputs, outputs = found["reconstructions/input"], found["reconstructions/output"]
        write_png(draw_reconstructions(inputs, outputs), pictures["reconstructions"])
    if as_json:
        layers = {name: {"first": vars(first), "last": vars(last)} for name, (first, last) in flow.items()}
        paths = {name: str(path) for name, path in pictures.items()}
        echo(json.dumps({"trial": str(trial), "gradients": layers, "pictures": paths}, indent=2))
        return
    _print_flow(flow)
    for name, path in pictures.items():
        echo(f"{name}: {path}")


@app.command()
def export(
    ctx: typer.Context,
    trial: TrialFolder,
    kind: Annotated[Format, typer.Option("--format", help="onnx, or torch: torch.export's .pt2.")] = Format.onnx,
    out: Annotated[
        Path | None,
        typer.Option(help="The file to write; by default NAME.onnx; of a trial, model.onnx.", show_default=False),
    ] = None,
    views: Views = None,
    overwrite: Overwrite = False,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Write a trial's model for other programs. A .json has its classes and every step from a file to its input.

    The exported model's outputs are first compared with the original's on images of val.

    Example: hwcls export results/quickstart --out digits.onnx
    """
    configure_threads()
    from hwcls.format import format_bytes
    from hwcls.inspection.ensemble.model import load_classifier
    from hwcls.inspection.export import SUFFIX, description_path
    from hwcls.inspection.export import export as run

    path = out or Path(f"{ctx.meta.get(SWEEP, 'model')}{SUFFIX[kind.value]}")
    check_overwrite((path, description_path(path)), overwrite)
    found = run(load_classifier(trial, print_to_stderr, views), path, kind.value)
    if as_json:
        echo(json.dumps({**found, "file": str(path)}, indent=2))
    else:
        echo(f"{path}, {description_path(path)}: {format_bytes(path.stat().st_size)}")
        difference, compared = found["max_difference"], found["compared_on"]
        echo(f"largest difference of a logit from the original model's on {compared}: {difference:.2g}")


def _print_flow(flow: dict[str, tuple[LayerGradient, LayerGradient]]) -> None:
    from rich.table import Table

    if not flow:
        echo("no gradients were recorded")
        return
    first, last = next(iter(flow.values()))
    table = Table("layer", box=None, pad_edge=False)
    for name in (
        f"mean, epoch {first.epoch}",
        f"epoch {last.epoch}",
        f"max, epoch {first.epoch}",
        f"epoch {last.epoch}",
    ):
        table.add_column(name, justify="right")
    for name, (start, end) in flow.items():
        table.add_row(name, *(f"{value:.2e}" for value in (start.mean, end.mean, start.max, end.max)))
    echo("|gradient| of each layer's weights")
    table_console().print(table)
