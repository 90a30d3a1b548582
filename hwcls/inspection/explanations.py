"""Pictures that explain predictions: the image as the model saw it beside the heat map of the predicted class."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from hwcls.escape import printable
from hwcls.fonts import draw_text, shorten_text
from hwcls.inspection.heat_maps import HeatMaps
from hwcls.inspection.pictures import INK, write_png
from hwcls.inspection.predictions import PredictedBatch, Prediction

SIDE, GAP, TITLE, NOTE = 224, 8, 26, 20  # pixels: of an image, between, and of the lines of text
SHOWN, COLUMNS = 24, 3  # of the overview
GREY = "#57606a"
RAMP = np.array([[255, 221, 0], [255, 140, 0], [207, 10, 10]], np.float32)  # from little to much
OVERVIEW = "explain.png"


def choose_paths(names: Sequence[str], folder: Path) -> list[Path]:
    """A PNG in `folder` for each image, named after its file; of equal names the second gets -2."""
    taken, numbers = {OVERVIEW.casefold()}, dict[str, int]()
    paths = []
    for name in names:
        stem = re.sub(r"[^\w .()+-]", "_", Path(_last_part(name)).stem).strip(". ")[:50] or "image"
        place = f"{stem}.png"
        while place.casefold() in taken:
            numbers[stem] = numbers.get(stem, 1) + 1
            place = f"{stem}-{numbers[stem]}.png"
        taken.add(place.casefold())
        paths.append(folder / place)
    return paths


def explain_batches(
    batches: Iterable[PredictedBatch], heat_maps: HeatMaps, paths: Sequence[Path]
) -> Iterator[Prediction]:
    """The predictions of `batches`, each with the picture that was drawn for it; `paths` has one for each image."""
    remaining = iter(paths)
    for batch in batches:
        heats = iter(heat_maps.compute(batch.pixels, batch.classes) if len(batch.pixels) else ())
        images = iter(batch.pixels)
        for prediction in batch.predictions:
            path = next(remaining)
            if prediction.error is not None:
                yield prediction
                continue
            write_png(draw_explanation(next(images), next(heats), prediction, heat_maps.method), path)
            yield replace(prediction, explanation=str(path))


def draw_explanation(
    pixels: np.ndarray[Any, Any], heat: np.ndarray[Any, Any], prediction: Prediction, method: str
) -> Image.Image:
    """The image (S, S, C) uint8, beside it the heat (S, S), 0 to 1, on its grey copy; below, the prediction."""
    width = 2 * SIDE + 3 * GAP
    sheet = Image.new("RGB", (width, SIDE + GAP + TITLE + NOTE + GAP), "white")
    colours = np.repeat(pixels, 4 - pixels.shape[2], 2)[..., :3]  # grey three times
    sheet.paste(_enlarge(colours), (GAP, GAP))
    sheet.paste(_enlarge(paint_heat(colours, heat)), (SIDE + 2 * GAP, GAP))
    name, probability = prediction.top[0]
    draw = ImageDraw.Draw(sheet)
    room, top = width - 2 * GAP, SIDE + 2 * GAP
    draw_text(draw, (GAP, top), shorten_text(printable(name), 16, room, f" {probability:.1%}"), INK, 16)
    what = f" · {method}" if heat.any() else f" · {method}: no part speaks for it"
    file = shorten_text(printable(_last_part(prediction.file)), 12, room, what)
    draw_text(draw, (GAP, top + TITLE - 4), file, GREY, 12)
    return sheet


def paint_heat(colours: np.ndarray[Any, Any], heat: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The grey copy of an image (S, S, 3) uint8, with yellow to red where `heat` (S, S) is; the same shape and type."""
    grey = np.repeat(np.asarray(Image.fromarray(colours).convert("L"), np.float32)[..., None], 3, 2)
    place = heat * (len(RAMP) - 1)
    below = np.minimum(place.astype(int), len(RAMP) - 2)
    share = (place - below)[..., None]
    paint = (1 - share) * RAMP[below] + share * RAMP[below + 1]
    strength = 0.8 * heat[..., None]
    painted: np.ndarray[Any, Any] = np.rint((1 - strength) * grey + strength * paint).astype(np.uint8)
    return painted


def draw_overview(paths: Sequence[Path], folder: Path) -> Path:
    """Write the first SHOWN pictures on one sheet in `folder`; returns its path."""
    pictures = [Image.open(path).convert("RGB") for path in paths[:SHOWN]]
    width, height = pictures[0].size
    columns = min(COLUMNS, len(pictures))
    sheet = Image.new("RGB", (columns * width, -(-len(pictures) // columns) * height), "white")
    for place, picture in enumerate(pictures):
        sheet.paste(picture, (place % columns * width, place // columns * height))
    write_png(sheet, folder / OVERVIEW)
    return folder / OVERVIEW


def _enlarge(colours: np.ndarray[Any, Any]) -> Image.Image:
    """As a square of SIDE pixels; small images are not blurred."""
    how = Image.Resampling.NEAREST if len(colours) <= SIDE // 2 else Image.Resampling.LANCZOS
    return Image.fromarray(colours).resize((SIDE, SIDE), how)


def _last_part(name: str) -> str:
    """The file's own name in a path or a URL."""
    return (re.split(r"[?#]", name)[0] if "://" in name else name).rstrip("/").rpartition("/")[2]
