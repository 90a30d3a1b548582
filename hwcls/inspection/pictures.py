"""Pictures: predictions, first-layer activations, reconstructions of an autoencoder, confusion matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from hwcls import files
from hwcls.data.imageset import ImageSet, Split, is_prepared, open_data
from hwcls.data.splits import random_permutation
from hwcls.errors import UserError
from hwcls.fonts import draw_text, shorten_text
from hwcls.metrics import predicted_classes
from hwcls.reading import report_damage
from hwcls.tracking.folders import TrialFolder

KEPT = 4  # data sets kept open
COLUMNS, ROWS = 8, 3  # of each part
SIDE, LABEL, GAP, TITLE = 112, 34, 10, 34  # pixels
NAMED, LABELS = 40, 124  # most classes of a matrix with names, and the pixels of the names
RIGHT, WRONG, INK = "#1a7f37", "#cf222e", "#1f2328"


def draw_predictions(
    data: ImageSet, split: Split, labels: np.ndarray[Any, Any], scores: np.ndarray[Any, Any], title: str
) -> Image.Image:
    """A picture: images drawn at random, the same for every model, and below the most confident mistakes.

    An image has a green frame where the prediction is right and a red one where it is wrong, and below it the predicted
    class with its probability and, where it differs, the true one. `labels` (N,) are the true classes of the
    split's images, `scores` (N, K) the probabilities.
    """
    predicted = predicted_classes(scores, labels)  # (N,)
    some, confident, wrong = choose_images(labels, scores, COLUMNS * ROWS)
    accuracy = float((predicted == labels).mean())
    parts = [(f"{title}: {accuracy:.1%} right of {len(split):,} images; some at random", some)]
    if len(confident):
        parts.append((f"the most confident of its {wrong:,} mistakes", confident))
    lines = [-(-len(chosen) // COLUMNS) for _, chosen in parts]
    cell = SIDE + LABEL + GAP
    sheet = Image.new("RGB", (COLUMNS * (SIDE + GAP) + GAP, len(parts) * TITLE + sum(lines) * cell + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    top = 0
    for (words, chosen), count in zip(parts, lines, strict=True):
        draw_text(draw, (GAP, top + 9), words, INK, 15)
        top += TITLE
        for place, index in enumerate(chosen):
            left, above = GAP + place % COLUMNS * (SIDE + GAP), top + place // COLUMNS * cell
            guess, true = int(predicted[index]), int(labels[index])
            colour = RIGHT if guess == true else WRONG
            draw.rectangle((left - 3, above - 3, left + SIDE + 2, above + SIDE + 2), fill=colour)
            sheet.paste(_tile(split.images[split.rows[index]]), (left, above))
            _line(draw, (left, above + SIDE + 4), data.classes[guess], colour, f" {scores[index, guess]:.0%}")
            if guess != true:
                _line(draw, (left, above + SIDE + 18), f"is {data.classes[true]}", INK)
        top += count * cell
    return sheet


def write_png(picture: Image.Image, path: Path) -> None:
    """Write a picture, complete or not at all."""
    files.write_with(path, lambda file: picture.save(file, "PNG"))


def open_images(folder: Path) -> ImageSet | None:
    """A trial's data set, if this machine has it in the form that was trained on: nothing is downloaded or decoded."""
    try:
        config = TrialFolder(folder).config().data.pixels()
    except UserError as error:
        report_damage(folder / "config.yaml", error.what)
        return None
    try:
        key = config.model_dump_json()
        if key not in _opened and is_prepared(config):  # which lists all files of a folder of images
            if len(_opened) == KEPT:
                _opened.clear()
            _opened[key] = open_data(config)
        return _opened.get(key)
    except UserError:
        return None


_opened: dict[str, ImageSet] = {}


def choose_images(
    labels: np.ndarray[Any, Any], scores: np.ndarray[Any, Any], most: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]:
    """Of N images with true classes (N,) and probabilities (N, K): some at random, the same for every model; the most
    confident mistakes; and the number of mistakes."""
    predicted = predicted_classes(scores, labels)  # (N,)
    wrong = np.flatnonzero(predicted != labels)
    confident = wrong[np.argsort(-scores[wrong, predicted[wrong]], kind="stable")]
    return random_permutation(len(labels), 0, 0)[:most], confident[:most], len(wrong)


def draw_activations(image: np.ndarray[Any, Any], maps: np.ndarray[Any, Any]) -> Image.Image:
    """A picture: an image (S, S, C) uint8 and its activation maps (K, h, w), red above and blue below 0.

    All maps share one scale, given in the title; those of a linear layer, (K, 1, 1), form one square.
    """
    colours, most = colour_maps(maps)
    tiles = [_tile(image), *map(_tile, colours)]
    rows = [tiles[place : place + COLUMNS] for place in range(0, len(tiles), COLUMNS)]
    return _sheet(
        f"the first image of val and the first layer's activations: red to {most:.3g}, blue to -{most:.3g}", rows
    )


def colour_maps(maps: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], float]:
    """Maps (K, h, w), or the values of a linear layer (K, 1, 1), as pictures (P, h, w, 3) uint8, red above and blue
    below 0, and the largest absolute value, which has full colour."""
    values = maps.astype(np.float32)
    if values.shape[1:] == (1, 1):
        side = math.isqrt(len(values) - 1) + 1
        values = np.pad(values.ravel(), (0, side * side - len(values))).reshape(1, side, side)
    most = float(np.nanmax(np.abs(values), initial=0)) or 1.0
    shares = np.nan_to_num(values / most).clip(-1, 1)[..., None]  # (K, h, w, 1)
    strength = 1 - np.abs(shares)
    red, blue = np.where(shares < 0, strength, 1), np.where(shares > 0, strength, 1)
    return np.rint(255 * np.concatenate((red, strength, blue), -1)).astype(np.uint8), most


def draw_reconstructions(inputs: np.ndarray[Any, Any], outputs: np.ndarray[Any, Any]) -> Image.Image:
    """A picture: images (P, S, S, C) uint8 and below each its reconstruction."""
    rows = []
    for place in range(0, len(inputs), COLUMNS):
        rows += [[_tile(pixels) for pixels in part[place : place + COLUMNS]] for part in (inputs, outputs)]
    return _sheet("images of val and below each its reconstruction", rows)


def draw_confusion(matrix: np.ndarray[Any, Any], classes: Sequence[str]) -> Image.Image:
    """A picture of (K, K) counts: rows true, columns predicted; darker for a larger share of the row.

    Up to NAMED classes have their names next to it.
    """
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)  # (K, K)
    cell, margin = max(3, 640 // len(matrix)), LABELS if len(matrix) <= NAMED else 0
    shades = 1 - shares[..., None] * (1 - np.array([0.12, 0.3, 0.62]))  # (K, K, 3)
    blocks = np.rint(255 * shades).astype(np.uint8).repeat(cell, 0).repeat(cell, 1)
    title = "rows: true classes, columns: predicted classes; darker: a larger share of the true class"
    sheet = Image.new("RGB", (max(len(blocks) + margin, 660) + 2 * GAP, len(blocks) + margin + TITLE + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    draw_text(draw, (GAP, 9), title, INK, 13)
    left, top = GAP + margin, TITLE + margin
    sheet.paste(Image.fromarray(blocks), (left, top))
    draw.rectangle((left - 1, top - 1, left + len(blocks), top + len(blocks)), outline="#d0d7de")
    if margin:
        across = Image.new("RGB", (margin, len(blocks)), "white")  # rotated below, for the columns
        for place, name in enumerate(classes):
            middle = place * cell + cell // 2 - 8
            _line(draw, (GAP, top + middle), name, INK)
            _line(ImageDraw.Draw(across), (0, middle), name, INK)
        sheet.paste(across.transpose(Image.Transpose.ROTATE_90), (left, TITLE))
    return sheet


def _sheet(title: str, rows: list[list[Image.Image]]) -> Image.Image:
    """Tiles in rows below a title."""
    cell = SIDE + GAP
    sheet = Image.new("RGB", (COLUMNS * cell + GAP, TITLE + len(rows) * cell), "white")
    draw = ImageDraw.Draw(sheet)
    draw_text(draw, (GAP, 9), title, INK, 15)
    for line, row in enumerate(rows):
        for place, tile in enumerate(row):
            left, top = GAP + place * cell, TITLE + line * cell
            draw.rectangle((left - 1, top - 1, left + SIDE, top + SIDE), outline="#d0d7de")
            sheet.paste(tile, (left, top))
    return sheet


def _tile(pixels: np.ndarray[Any, Any]) -> Image.Image:
    """(S, S, C) uint8 as a square of SIDE pixels; small images are not blurred."""
    image = Image.fromarray(np.repeat(pixels, 3, 2) if pixels.shape[2] == 1 else pixels)
    how = Image.Resampling.NEAREST if len(pixels) <= SIDE else Image.Resampling.LANCZOS
    return image.resize((SIDE, SIDE), how)


def _line(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, colour: str, end: str = "") -> None:
    """One line of text, shortened to the width of an image; `end` is always shown."""
    draw_text(draw, place, shorten_text(text, 12, SIDE + GAP - 4, end), colour, 12)
