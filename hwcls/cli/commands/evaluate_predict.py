"""`hwcls evaluate`, `predict`, `inspect`, `export`: what a trained model is good for, and how it was trained."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwcls.cli.commands.compare_explain import table_console
from hwcls.cli.console import app, command
from hwcls.training.threads import calm_threads

if TYPE_CHECKING:
    from hwcls.inspection.recorded import Flow

Trial = Annotated[Path, typer.Argument(help="A trial's folder: results/SWEEP/trials/N.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
SMALL = 12  # classes up to which a confusion matrix fits a terminal


class Split(StrEnum):
    """What can be evaluated."""

    val = "val"
    test = "test"
    train = "train"


class Format(StrEnum):
    """What can be exported to."""

    onnx = "onnx"
    torch = "torch"


@app.command()
@command
def evaluate(
    trial: Trial,
    split: Annotated[Split, typer.Option(help="Which images; reads of test are counted.")] = Split.val,
    grid: Annotated[
        Path | None, typer.Option(help="Write a picture of predictions, right and wrong: a PNG.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score a trial's best weights: accuracy, each class, top-5, AUC, calibration, confusion matrix.

    Example: hwcls evaluate results/quickstart/trials/0
    """
    calm_threads()
    from hwcls.inspection.evaluate import evaluate_trained, summary
    from hwcls.inspection.load_trained import load_trained, note_test_read

    trained = load_trained(trial, _say)
    data = trained.data
    if split is Split.test:
        times = note_test_read(trained)
        _say(f"test is read, {times} {'time' if times == 1 else 'times'} now beside confirm: do not choose by it")
    scored = evaluate_trained(trained, split.value)
    found = {"trial": str(trained.path), "split": split.value, **summary(scored, data.classes)}
    if grid is not None:
        from hwcls.inspection.pictures import prediction_grid, write_png

        title = trained.config.model.label or trained.config.model.name
        picture = prediction_grid(data, getattr(data, split.value), scored.labels, scored.scores, title)
        write_png(picture, grid)
        found["grid"] = str(grid)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        _print_scores(found)


@app.command()
@command
def predict(
    trial: Trial,
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.", show_default=False)],
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="Classes for each image.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Say what is on images: the most probable classes of each file.

    Images are decoded, cut and normalised as those that the model was trained on.

    Example: hwcls predict results/fashion_mnist/trials/7 photos/
    """
    calm_threads()
    from hwcls.inspection.load_trained import load_trained
    from hwcls.inspection.predictions import image_files
    from hwcls.inspection.predictions import predict as run

    files = image_files(images)
    found = list(run(load_trained(trial, _say), files, top))
    if as_json:
        typer.echo(json.dumps([prediction.plain() for prediction in found], indent=2))
    else:
        width = max(len(str(prediction.file)) for prediction in found)
        for prediction in found:
            words = "  ".join(f"{name} {probability:.1%}" for name, probability in prediction.top)
            if prediction.error is None:
                typer.echo(f"{prediction.file!s:{width}}  {words}")
    unread = [prediction for prediction in found if prediction.error is not None]
    for prediction in unread:
        typer.echo(f"hwcls: {prediction.file}: not a whole image ({prediction.error}) — replace or remove it", err=True)
    if unread:
        raise typer.Exit(1 if len(unread) < len(found) else 2)


@app.command()
@command
def inspect(
    trial: Trial,
    out: Annotated[Path, typer.Option(help="The folder for the pictures.")] = Path("inspect"),
    as_json: AsJson = False,
) -> None:
    """Show how a trial was trained: gradients of each layer, first-layer activations, an autoencoder's pictures.

    Gradients are those of an epoch's last step, before clipping. Pictures are activations.png and, where an autoencoder
    was pretrained, reconstructions.png.

    Example: hwcls inspect results/quickstart/trials/0
    """
    from hwcls.inspection.pictures import activation_sheet, reconstruction_sheet, write_png
    from hwcls.inspection.recorded import gradient_flow, recorded

    found = recorded(trial)
    flow, pictures = gradient_flow(found), {}
    if "activations" in found:
        pictures["activations"] = out / "activations.png"
        write_png(activation_sheet(found["activation_image"], found["activations"]), pictures["activations"])
    if "reconstructions/input" in found:
        pictures["reconstructions"] = out / "reconstructions.png"
        inputs, outputs = found["reconstructions/input"], found["reconstructions/output"]
        write_png(reconstruction_sheet(inputs, outputs), pictures["reconstructions"])
    if as_json:
        layers = {name: {"first": vars(first), "last": vars(last)} for name, (first, last) in flow.items()}
        paths = {name: str(path) for name, path in pictures.items()}
        typer.echo(json.dumps({"trial": str(trial), "gradients": layers, "pictures": paths}, indent=2))
        return
    _print_flow(flow)
    for name, path in pictures.items():
        typer.echo(f"{name}: {path}")


@app.command()
@command
def export(
    trial: Trial,
    kind: Annotated[Format, typer.Option("--format", help="onnx, or torch: torch.export's .pt2.")] = Format.onnx,
    out: Annotated[
        Path | None, typer.Option(help="The file to write; by default model.onnx or model.pt2.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a trial's model for other programs, with its classes and preprocessing in a .json beside it.

    Its outputs are held against the model's own on images of val before anything is written.

    Example: hwcls export results/quickstart/trials/0 --out digits.onnx
    """
    calm_threads()
    from hwcls.inspection.export import SUFFIX, described_in
    from hwcls.inspection.export import export as run
    from hwcls.inspection.load_trained import load_trained

    path = out or Path(f"model{SUFFIX[kind.value]}")
    found = run(load_trained(trial, _say), path, kind.value)
    if as_json:
        typer.echo(json.dumps({**found, "file": str(path)}, indent=2))
    else:
        typer.echo(f"{path}, {described_in(path)}: {path.stat().st_size / 2**20:.2f} MB")
        difference, compared = found["max_difference"], found["compared_on"]
        typer.echo(f"largest difference of a logit from the model's on {compared}: {difference:.2g}")


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _print_flow(flow: dict[str, tuple[Flow, Flow]]) -> None:
    from rich.table import Table

    if not flow:
        typer.echo("no gradients were recorded")
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
    for name, (begun, ended) in flow.items():
        table.add_row(name, *(f"{value:.2e}" for value in (begun.mean, ended.mean, begun.max, ended.max)))
    typer.echo("|gradient| of each layer's weights")
    table_console().print(table)


def _print_scores(found: dict[str, Any]) -> None:
    from rich.table import Table

    from hwcls.inspection.evaluate import confusions

    console = table_console()
    parts = {"accuracy": found["accuracy"], "top-5": found["top5"], "mean AUC": found["auc"], "ECE": found["ece"]}
    words = "  ".join(f"{name} {value:.4f}" for name, value in parts.items() if value is not None)
    typer.echo(f"{found['split']}, {found['images']:,} images: {words}  loss {found['loss']:.4f}")
    table = Table("class", box=None, pad_edge=False)
    for name in ("precision", "recall", "f1", "auc", "images"):
        table.add_column(name, justify="right")
    rows = [(row["class"], row) for row in found["classes"]]
    rows += [(f"{kind} average", {**found[kind], "auc": None, "images": None}) for kind in ("macro", "weighted")]
    for name, row in rows:
        numbers = ["" if row[key] is None else f"{row[key]:.3f}" for key in ("precision", "recall", "f1", "auc")]
        table.add_row(name, *numbers, "" if row["images"] is None else f"{row['images']:,}")
    console.print(table)
    if len(found["classes"]) <= SMALL:
        matrix = Table("true \\ predicted", box=None, pad_edge=False, title="", show_header=True)
        for place in range(len(found["classes"])):
            matrix.add_column(str(place), justify="right")
        for place, row in enumerate(found["classes"]):
            matrix.add_row(f"{place} {row['class']}", *map(str, found["confusion"][place]))
        console.print(matrix)
    else:
        for true, guess, count in confusions(found):
            typer.echo(f"{true} taken for {guess}: {count}")
    if "grid" in found:
        typer.echo(f"picture: {found['grid']}")
