"""Images of the page as data URIs: predictions, possible label errors, activations, reconstructions."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hwcls.data.cuts.table import read_names, read_test_names
from hwcls.data.imageset import Split
from hwcls.inspection.pictures import choose_images, colour_maps, open_images
from hwcls.results.confirm.out_of_fold import find_out_of_fold, rank_wrong
from hwcls.results.diagnostics import Diagnostics
from hwcls.results.load import SweepResults
from hwcls.results.test_scores import find_common_errors
from hwcls.training.artifacts import load_arrays

SIDE = 96  # pixels: larger images are scaled down
MAX_PREDICTIONS = 12  # of a kind
MAX_MISLABELLED = 24
MAX_MAPS = 32  # of a first layer


@dataclass(frozen=True)
class Picture:
    """One image with its caption."""

    uri: str
    title: str
    note: str = ""
    right: bool | None = None  # whether the prediction is right


@dataclass(frozen=True)
class Mislabelled:
    """Test images that may carry a wrong label."""

    shown: list[Picture]  # MAX_MISLABELLED of them; none if this machine lacks the images
    count: int
    runs: int  # confirm runs that agree


def draw_predictions(one: Diagnostics, classes: Sequence[str]) -> tuple[list[Picture], list[Picture], int]:
    """Random validation images, the same for every model; the most confident errors; and the number of errors."""
    random, confident, errors = choose_images(one.labels, one.scores, MAX_PREDICTIONS)
    opened = open_images(one.trial.folder)
    if opened is None or len(opened.val) != len(one.labels):
        return [], [], errors

    def picture(index: int) -> Picture:
        guess, true = int(one.predicted[index]), int(one.labels[index])
        known = np.isfinite(one.scores[index, guess])
        title = f"{classes[guess]} {one.scores[index, guess]:.0%}" if known else "no prediction (NaN)"
        note = "" if guess == true else f"is {classes[true]}"
        return Picture(_encode_row(opened.val, index), title, note, guess == true)

    return [picture(int(index)) for index in random], [picture(int(index)) for index in confident], errors


def draw_mislabelled(sweep: SweepResults, classes: Sequence[str]) -> Mislabelled:
    """The test images that every confirm run of every winner gets wrong, the most confident errors first."""
    found = find_common_errors(sweep, len(classes))
    if found is None:
        return Mislabelled([], 0, 0)
    opened, shown = open_images(found.folder), []
    names = read_test_names(sweep.folder, [classes[label] for label in found.labels.tolist()])
    if opened is not None and len(opened.test) == len(found.labels):
        for index in map(int, found.images[:MAX_MISLABELLED]):
            guess = int(found.scores[index].argmax())
            title = f"{classes[guess]} {found.scores[index, guess]:.0%}"
            note = f"labelled {classes[int(found.labels[index])]}; {names[index] if names else f'test image {index}'}"
            shown.append(Picture(_encode_row(opened.test, index), title, note))
    return Mislabelled(shown, len(found.images), found.runs)


def draw_often_wrong(sweep: SweepResults, classes: Sequence[str]) -> list[Picture]:
    """The images of train and val that runs which were not trained on them most often get wrong; none without folds."""
    found = rank_wrong(find_out_of_fold(sweep))
    opened = open_images(found.folder) if found is not None and len(found.rows) else None
    if found is None or opened is None:
        return []
    stored = load_arrays(sweep.folder / "splits.npz")
    rows = [stored[name].tolist() if name in stored else [] for name in ("train", "val")]
    names, shown = read_names(sweep.folder, *rows), []
    for place, row in enumerate(found.rows[:MAX_MISLABELLED].tolist()):
        if row >= len(opened.train.images):
            return []  # the images have changed
        pair = (int(found.guesses[place]), int(found.labels[place]))
        guess, true = (classes[k] if k < len(classes) else str(k) for k in pair)  # data.json may be missing
        title = f"{guess} {found.confidence[place]:.0%}"
        name = names.get(row, f"train image {row}")
        note = f"labelled {true}; wrong in {found.wrong[place]} of {found.runs[place]}; {name}"
        shown.append(Picture(encode_uri(np.asarray(opened.train.images[row])), title, note))
    return shown


def draw_activations(one: Diagnostics) -> tuple[Picture, list[str], float] | None:
    """The first validation image, its activation maps in the first layer, and the value drawn in full colour."""
    if not {"activation_image", "activations"} <= one.inspection.keys():
        return None
    maps, most = colour_maps(one.inspection["activations"][:MAX_MAPS])
    return Picture(encode_uri(one.inspection["activation_image"]), "input"), [encode_uri(one) for one in maps], most


def draw_reconstructions(one: Diagnostics) -> list[tuple[str, str]]:
    """Inputs of a pretrained autoencoder and its reconstructions."""
    if not {"reconstructions/input", "reconstructions/output"} <= one.inspection.keys():
        return []
    pairs = zip(one.inspection["reconstructions/input"], one.inspection["reconstructions/output"], strict=False)
    return [(encode_uri(given), encode_uri(made)) for given, made in pairs][:MAX_PREDICTIONS]


def encode_uri(pixels: NDArray[Any]) -> str:
    """(H, W, C) uint8 with one or three channels as a data URI."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    buffer = io.BytesIO()
    if max(image.size) > SIDE:
        image.thumbnail((SIDE, SIDE))
    kind = "png" if max(image.size) <= SIDE // 2 or pixels.shape[2] == 1 else "jpeg"
    image.save(buffer, kind, **({"optimize": True} if kind == "png" else {"quality": 85}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _encode_row(split: Split, index: int) -> str:
    return encode_uri(np.asarray(split.images[split.rows[index]]))
