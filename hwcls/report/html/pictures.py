"""Pictures of the page, as data URIs: predictions, suspect labels, activations, reconstructions."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hwcls.data.imageset import Split
from hwcls.inspection.pictures import choose_images, colour_maps, open_images
from hwcls.results.diagnostics import Diagnostics
from hwcls.results.load import SweepResults
from hwcls.results.test_comparison import confirm_winners
from hwcls.training.artifacts import load_arrays

SIDE = 96  # pixels at most: larger images are made smaller
SHOWN = 12  # predictions of a kind
SUSPECTS = 24
MAPS = 32  # of a first layer


@dataclass(frozen=True)
class Picture:
    """One image with what is said of it."""

    uri: str
    title: str
    note: str = ""
    right: bool | None = None  # whether the prediction is


def predictions(one: Diagnostics, classes: Sequence[str]) -> tuple[list[Picture], list[Picture], int]:
    """Some validation images drawn at random, the same for every model, the surest mistakes, and how many there are."""
    some, surest, wrong = choose_images(one.labels, one.scores, SHOWN)
    opened = open_images(one.trial.folder)
    if opened is None or len(opened.val) != len(one.labels):
        return [], [], wrong

    def picture(index: int) -> Picture:
        guess, true = int(one.scores[index].argmax()), int(one.labels[index])
        title = f"{classes[guess]} {one.scores[index, guess]:.0%}"
        return Picture(_of(opened.val, index), title, "" if guess == true else f"is {classes[true]}", guess == true)

    return [picture(int(index)) for index in some], [picture(int(index)) for index in surest], wrong


def suspects(sweep: SweepResults, classes: Sequence[str]) -> tuple[list[Picture], int, int]:
    """The test images that every confirm run of every winner gets wrong, those of which they are surest first.

    Returns the first SUSPECTS of them, none where the images are not at hand, how many there are, and of how many runs.
    """
    won, labels, scores, folder = confirm_winners(sweep), None, [], None
    for run in sweep.confirm:
        stored = load_arrays(run.run.folder / "test_predictions.npz") if run.run.number == won.get(run.label) else {}
        if "labels" in stored and "scores" in stored and (labels is None or np.array_equal(labels, stored["labels"])):
            labels, folder = stored["labels"], run.run.folder
            scores.append(stored["scores"].astype(np.float32))
    if labels is None or folder is None or len(scores) < 2:
        return [], 0, len(scores)
    missed = np.flatnonzero(np.all([table.argmax(1) != labels for table in scores], 0))
    mean = np.mean(scores, 0)  # (N, K)
    order = missed[np.argsort(-mean[missed].max(1), kind="stable")]
    opened = open_images(folder)
    if opened is None or len(opened.test) != len(labels):
        return [], len(missed), len(scores)
    shown = []
    for index in map(int, order[:SUSPECTS]):
        guess = int(mean[index].argmax())
        title, note = f"{classes[guess]} {mean[index, guess]:.0%}", f"labelled {classes[int(labels[index])]}"
        shown.append(Picture(_of(opened.test, index), title, f"{note}; test image {index}"))
    return shown, len(missed), len(scores)


def activations(one: Diagnostics) -> tuple[Picture, list[str], float] | None:
    """The first validation image, what the first layer makes of it, and the value at which colours are full."""
    if not {"activation_image", "activations"} <= one.inspection.keys():
        return None
    maps, most = colour_maps(one.inspection["activations"][:MAPS])
    return Picture(uri(one.inspection["activation_image"]), "the image"), [uri(pixels) for pixels in maps], most


def reconstructions(one: Diagnostics) -> list[tuple[str, str]]:
    """What a pretrained autoencoder was given, and what it made of it."""
    if not {"reconstructions/input", "reconstructions/output"} <= one.inspection.keys():
        return []
    pairs = zip(one.inspection["reconstructions/input"], one.inspection["reconstructions/output"], strict=False)
    return [(uri(given), uri(made)) for given, made in pairs][:SHOWN]


def uri(pixels: NDArray[Any]) -> str:
    """(H, W, C) uint8 with one or three channels as an image that a page can hold."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    buffer = io.BytesIO()
    if max(image.size) > SIDE:
        image.thumbnail((SIDE, SIDE))
    kind = "png" if max(image.size) <= SIDE // 2 or pixels.shape[2] == 1 else "jpeg"
    image.save(buffer, kind, **({"optimize": True} if kind == "png" else {"quality": 85}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _of(split: Split, index: int) -> str:
    return uri(np.asarray(split.images[split.rows[index]]))
