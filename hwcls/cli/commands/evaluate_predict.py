"""`hwcls evaluate` and `hwcls predict`: a trained model's scores on a split, and its predictions for image files."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from hwcls.cli.console import app, echo, print_to_stderr, table_console
from hwcls.cli.options import AsJson, Overwrite, TrialFolder, TrustCode, check_overwrite
from hwcls.escape import printable
from hwcls.training.threads import configure_threads

MAX_MATRIX = 12  # classes of a confusion matrix that fits a terminal


class Split(StrEnum):
    """The splits that can be evaluated."""

    val = "val"
    test = "test"
    train = "train"


@app.command()
def evaluate(
    trial: TrialFolder,
    split: Annotated[Split, typer.Option(help="The images to score; uses of test are counted.")] = Split.val,
    grid: Annotated[
        Path | None, typer.Option(help="Also write a picture of right and wrong predictions (PNG).", show_default=False)
    ] = None,
    overwrite: Overwrite = False,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Score a trial's best weights: accuracy, each class, top-5, AUC, calibration, confusion matrix.

    A class without an image in the split has no scores, and averages leave it out.

    Example: hwcls evaluate results/quickstart/trials/0
    """
    check_overwrite([grid] if grid else [], overwrite)
    configure_threads()
    from hwcls.inspection.evaluate import evaluate_trial, summarise_scores
    from hwcls.inspection.load_trained import count_test_read, load_trained

    trained = load_trained(trial, print_to_stderr)
    data = trained.data
    if split is Split.test:
        times = count_test_read(trained)
        count = "once" if times == 1 else f"{times} times"
        print_to_stderr(f"test has now been read {count} outside confirm: do not choose a model by it")
    scored = evaluate_trial(trained, split.value)
    found = {"trial": str(trained.path), "split": split.value, **summarise_scores(scored, data.classes)}
    if grid is not None:
        from hwcls.inspection.pictures import draw_predictions, write_png

        title = trained.config.model.label or trained.config.model.name
        picture = draw_predictions(data, getattr(data, split.value), scored.labels, scored.scores, title)
        write_png(picture, grid)
        found["grid"] = str(grid)
    if as_json:
        echo(json.dumps(found, indent=2))
    else:
        _print_scores(found)


@app.command()
def predict(
    trial: TrialFolder,
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.", show_default=False)],
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="How many classes for each image.")] = 3,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Classify image files: the most probable classes of each.

    Images are decoded, cropped and normalised like those that the model was trained on.

    Example: hwcls predict results/fashion_mnist/trials/7 photos/
    """
    configure_threads()
    from hwcls.data.decoding.codecs import remedy_for
    from hwcls.data.formats.image_types import summarise
    from hwcls.inspection.load_trained import load_trained
    from hwcls.inspection.predictions import find_image_files
    from hwcls.inspection.predictions import predict as run

    files, left_out = find_image_files(images)
    for line in summarise(left_out):
        print_to_stderr(line)
    found = list(run(load_trained(trial, print_to_stderr), files, top))
    if as_json:
        echo(json.dumps([prediction.to_dict() for prediction in found], indent=2))
    else:
        width = max(len(printable(str(prediction.file))) for prediction in found)
        for prediction in found:
            words = "  ".join(f"{name} {probability:.1%}" for name, probability in prediction.top)
            if prediction.error is None:
                echo(f"{printable(str(prediction.file)):{width}}  {printable(words)}")
    if full := [prediction for prediction in found if prediction.full_range]:
        what = f"note: more than 8 bits, such as {full[0].file}: {len(full):,}; the training images had 8"
        print_to_stderr(f"{what}, so 0 to 65535 became 0 to 255: save them with 8 bits, scaled as you see fit")
    unread = [prediction for prediction in found if prediction.error is not None]
    for prediction in unread:
        remedy = remedy_for(str(prediction.error)) or "replace or remove it"
        print_to_stderr(f"hwcls: {printable(str(prediction.file))}: cannot be read ({prediction.error}) — {remedy}")
    if unread:
        raise typer.Exit(1 if len(unread) < len(found) else 2)


def _print_scores(found: dict[str, Any]) -> None:
    from rich.table import Table

    from hwcls.inspection.evaluate import most_confused

    console = table_console()
    parts = {"accuracy": found["accuracy"], "top-5": found["top5"], "mean AUC": found["auc"], "ECE": found["ece"]}
    words = "  ".join(f"{name} {value:.4f}" for name, value in parts.items() if value is not None)
    echo(f"{found['split']}, {found['images']:,} images: {words}  loss {found['loss']:.4f}")
    table = Table("class", box=None, pad_edge=False)
    for name in ("precision", "recall", "f1", "auc", "images"):
        table.add_column(name, justify="right")
    rows = [(printable(row["class"]), row) for row in found["classes"]]
    judged = sum(row["images"] > 0 for row in found["classes"])
    of = f" of {judged} of {len(rows)} classes" if judged < len(rows) else ""
    rows += [(f"{kind} average{of}", {**found[kind], "auc": None, "images": None}) for kind in ("macro", "weighted")]
    for name, row in rows:
        numbers = ["" if row[key] is None else f"{row[key]:.3f}" for key in ("precision", "recall", "f1", "auc")]
        table.add_row(name, *numbers, "" if row["images"] is None else f"{row['images']:,}")
    console.print(table)
    if len(found["classes"]) <= MAX_MATRIX:
        matrix = Table("true \\ predicted", box=None, pad_edge=False, title="", show_header=True)
        for place in range(len(found["classes"])):
            matrix.add_column(str(place), justify="right")
        for place, row in enumerate(found["classes"]):
            matrix.add_row(f"{place} {printable(row['class'])}", *map(str, found["confusion"][place]))
        console.print(matrix)
    else:
        for true, guess, count in most_confused(found):
            echo(f"{true} predicted as {guess}: {count}")
    if "grid" in found:
        echo(f"picture: {found['grid']}")
