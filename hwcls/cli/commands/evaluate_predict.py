"""`hwcls evaluate` and `hwcls predict`: a trained model's scores on a split, and its predictions for image files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwcls.cli.console import app, echo, print_to_stderr, table_console
from hwcls.cli.options import AsJson, Overwrite, TrialFolder, TrustCode, Views, check_outside_data, check_overwrite
from hwcls.cli.progress_bar import progress_reporter
from hwcls.errors import UserError
from hwcls.escape import printable
from hwcls.files import check_writable_folder
from hwcls.training.threads import configure_threads

if TYPE_CHECKING:
    from hwcls.inspection.ensemble.model import Ensemble
    from hwcls.inspection.image_sources import ImageSource
    from hwcls.inspection.load_trained import Trained
    from hwcls.inspection.prediction_output import OutputFormat
    from hwcls.inspection.predictions import Prediction

MAX_NAME = 60  # characters of a name that classes are aligned after
MAX_MATRIX = 12  # classes of a confusion matrix that fits a terminal

ROLES = {  # of the splits: what their scores are worth
    "val": " (which chose the model; --split test reads test)",
    "test": "",
    "train": " (which trained the model)",
}


class Split(StrEnum):
    """The splits that can be evaluated."""

    val = "val"
    test = "test"
    train = "train"


class Sort(StrEnum):
    """The orders of predictions."""

    uncertainty = "uncertainty"


@app.command()
def evaluate(
    trial: TrialFolder,
    split: Annotated[Split, typer.Option(help="The images to score; uses of test are counted.")] = Split.val,
    grid: Annotated[
        Path | None, typer.Option(help="Also write a picture of right and wrong predictions (PNG).", show_default=False)
    ] = None,
    views: Views = None,
    overwrite: Overwrite = False,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Score a trial's best weights, overall and by class. With top-5, AUC, calibration and confusion matrix.

    Without --split they are of val, which also chose the model, so they are too high on average; --split test reads
    the images that chose nothing. A class without an image in the split has no scores, and averages leave it out.

    Example: hwcls evaluate results/quickstart
    """
    check_overwrite([grid] if grid else [], overwrite)
    configure_threads()
    from hwcls.inspection.ensemble.model import load_classifier
    from hwcls.inspection.evaluate import evaluate_trial, summarise_scores
    from hwcls.inspection.load_trained import count_test_read

    trained = load_classifier(trial, print_to_stderr, views)
    data = trained.data_sets[0]
    if changed := trained.changed_images(split.value):
        print_to_stderr(changed)
    if split is Split.test:
        times = count_test_read(trained.path)
        count = "once" if times == 1 else f"{times} times"
        print_to_stderr(f"test has now been read {count} outside confirm: do not choose a model by it")
    with progress_reporter() as report:
        scored = evaluate_trial(trained, split.value, report)
    found = {"trial": str(trained.path), "split": split.value, **summarise_scores(scored, data.classes)}
    if trained.views > 1:
        found["views"] = trained.views
    if grid is not None:
        from hwcls.inspection.pictures import draw_predictions, write_png

        picture = draw_predictions(data, getattr(data, split.value), scored.labels, scored.scores, trained.title)
        write_png(picture, grid)
        found["grid"] = str(grid)
    if as_json:
        echo(json.dumps(found, indent=2))
    else:
        _print_scores(found)


Images = Annotated[
    list[str],
    typer.Argument(
        help="Image files, folders, archives, quoted patterns ('photos/**/*.jpg'), URLs; - for names on stdin.",
        show_default=False,
        is_eager=True,  # that they are missing is said before which run was chosen
    ),
]
SortBy = Annotated[
    Sort | None,
    typer.Option(help="The least certain first: those whose two best classes are closest.", show_default=False),
]
OutFile = Annotated[Path | None, typer.Option(help="Write a file: .csv, .jsonl or .json.", show_default=False)]
ExplainFolder = Annotated[
    Path | None,
    typer.Option(help="Draw which part of each image speaks for its class, into this folder.", show_default=False),
]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV; =1+1 gets an apostrophe.")]
AsJsonLines = Annotated[bool, typer.Option("--jsonl", help="Print a line of JSON for each image.")]


@app.command()
def predict(
    trial: TrialFolder,
    images: Images,
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="How many classes for each image.")] = 3,
    sort: SortBy = None,
    out: OutFile = None,
    explain: ExplainFolder = None,
    views: Views = None,
    overwrite: Overwrite = False,
    trust_code: TrustCode = False,
    as_csv: AsCsv = False,
    as_jsonl: AsJsonLines = False,
    as_json: AsJson = False,
) -> None:
    """Classify images: the most probable classes of each.

    Images are decoded, cropped and normalised like those that the model was trained on. Files have for each image the
    classes with their probabilities, the margin between the first two, the entropy of all (in nats), and the error
    where it cannot be read. --explain draws Grad-CAM, or occlusion where a model ends with no feature map; it needs
    pip install 'hwcls[explain]'.

    Example: hwcls predict results/fashion_mnist photos/ --out predictions.csv
    """
    kind = _choose_format(out, {"csv": as_csv, "jsonl": as_jsonl, "json": as_json})
    check_overwrite([out] if out else [], overwrite)
    if explain is not None:
        check_writable_folder(explain)
    sources = _find_images(images)
    configure_threads()
    if explain is not None:
        from hwcls.inspection.heat_maps import require_captum

        require_captum()
    from hwcls.inspection.ensemble.model import load_classifier
    from hwcls.inspection.prediction_output import format_predictions
    from hwcls.inspection.prediction_summary import PredictionSummary
    from hwcls.inspection.predictions import by_uncertainty
    from hwcls.inspection.predictions import predict as run

    trained = load_classifier(trial, print_to_stderr, views)
    k = min(top, len(trained.classes))
    found = _explain(trained, sources, k, explain, overwrite) if explain is not None else run(trained, sources, k)
    if sort or out:
        found = _with_progress(found, len(sources))
    summary = PredictionSummary(trained.classes)
    found = summary.count(by_uncertainty(found) if sort else found)
    if kind is None:
        _print_predictions(found, sources)
    else:
        _write_pieces(format_predictions(found, kind, k, explain is not None), out, len(sources))
    for line in (*summary.notes(explain), *summary.errors()):
        print_to_stderr(line)
    if summary.unread:
        raise typer.Exit(1 if summary.read else 2)


def _find_images(arguments: list[str]) -> list[ImageSource]:
    """The images that the arguments name; what is left out is said."""
    from hwcls.data.formats.image_types import summarise
    from hwcls.inspection.image_sources import find_images

    found = find_images(arguments, sys.stdin.buffer)
    for line in summarise(found.left_out):
        print_to_stderr(line)
    return found.images


def _choose_format(out: Path | None, wanted: dict[str, bool]) -> OutputFormat | None:
    """The format of the results, None for a table; raises UserError where options exclude each other."""
    from hwcls.inspection.prediction_output import OutputFormat, format_of

    named = [f"--{name}" for name, is_wanted in wanted.items() if is_wanted] + (["--out"] if out else [])
    if len(named) > 1:
        raise UserError(f"{' and '.join(named)} exclude each other", remedy="leave one of them out")
    if out is None:
        return OutputFormat(named[0].removeprefix("--")) if named else None
    if out.is_dir():
        raise UserError("is a folder", where=str(out), remedy=f"name a file, such as {out / 'predictions.csv'}")
    return format_of(out)


def _explain(
    trained: Trained | Ensemble, images: Sequence[ImageSource], k: int, folder: Path, overwrite: bool
) -> Iterator[Prediction]:
    from hwcls.inspection.explanations import OVERVIEW, choose_paths, explain_batches
    from hwcls.inspection.heat_maps import BATCH, choose_method
    from hwcls.inspection.load_trained import Trained
    from hwcls.inspection.predictions import predict_batches

    if not isinstance(trained, Trained):
        remedy = f"name one of its models, such as {trained.members[0].path}"
        raise UserError("--explain is for a single model", where=str(trained.path), remedy=remedy)
    check_outside_data(folder, trained.config.data)
    paths = choose_paths([image.name for image in images], folder)
    check_overwrite([*paths, folder / OVERVIEW], overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    heat_maps = choose_method(trained)
    if heat_maps.reason:
        print_to_stderr(f"note: {heat_maps.reason}, so {heat_maps.method} explains it instead of Grad-CAM")
    return explain_batches(predict_batches(trained, images, k, BATCH), heat_maps, paths)


def _with_progress(predictions: Iterable[Prediction], total: int) -> Iterator[Prediction]:
    from hwcls.data.progress import ProgressMeter

    with progress_reporter() as report:
        meter = ProgressMeter(report, "predict", total, "images")
        for done, prediction in enumerate(predictions, 1):
            yield prediction
            meter.update(done)


def _print_predictions(predictions: Iterable[Prediction], images: Sequence[ImageSource]) -> None:
    """Print a line for each image that could be read, as soon as it is classified."""
    width = min(max(len(printable(image.name)) for image in images), MAX_NAME)
    for prediction in predictions:
        words = "  ".join(f"{name} {probability:.1%}" for name, probability in prediction.top)
        if prediction.error is None:
            echo(f"{printable(prediction.file):{width}}  {printable(words)}")


def _write_pieces(pieces: Iterable[str], out: Path | None, images: int) -> None:
    """Print text piece by piece, or write it to `out`, complete or not at all."""
    if out is None:
        for piece in pieces:
            echo(piece, nl=False)
        return
    from hwcls.files import open_atomic
    from hwcls.format import format_count

    with open_atomic(out, "w") as file:
        file.writelines(pieces)
    echo(f"{out}: {format_count(images, 'image')}")


def _print_scores(found: dict[str, Any]) -> None:
    from rich.table import Table

    from hwcls.format import format_count
    from hwcls.inspection.evaluate import most_confused

    console = table_console()
    parts = {"accuracy": found["accuracy"], "top-5": found["top5"], "mean AUC": found["auc"], "ECE": found["ece"]}
    words = "  ".join(f"{name} {value:.4f}" for name, value in parts.items() if value is not None)
    views = f", {found['views']} views of each" if "views" in found else ""
    images = format_count(found["images"], "image")
    echo(f"{found['split']}, {images}{views}{ROLES[found['split']]}: {words}  loss {found['loss']:.4f}")
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
        names = [printable(row["class"]) for row in found["classes"]]
        numbered = all(name.isdecimal() and len(name) <= 3 for name in names)  # names as short as their places
        for place, name in enumerate(names):
            matrix.add_column(name if numbered else str(place), justify="right")
        for place, name in enumerate(names):
            matrix.add_row(name if numbered else f"{place} {name}", *map(str, found["confusion"][place]))
        console.print(matrix)
    else:
        for true, guess, count in most_confused(found):
            echo(f"{true} predicted as {guess}: {count}")
    if "grid" in found:
        echo(f"picture: {found['grid']}")
