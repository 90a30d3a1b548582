"""A trained model as a file for other programs, compared with the model itself on real images."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from hwcls import files
from hwcls.data.imageset import InputSpec
from hwcls.errors import UserError, install_extra
from hwcls.format import join_words
from hwcls.inspection.ensemble.averaged import merge_models
from hwcls.inspection.ensemble.model import Ensemble
from hwcls.inspection.load_trained import WEIGHTS, Trained, normalise_pixels
from hwcls.inspection.preprocessing import describe_preprocessing
from hwcls.temporary import temporary_folder
from hwcls.training.artifacts import read_weights_epoch

Format = Literal["onnx", "torch"]
SUFFIX = {"onnx": ".onnx", "torch": ".pt2"}
IMAGES = 64  # of val, on which the outputs are compared
TOLERANCE = 1e-4  # of the largest logit
RESIZE = {
    "crop": "the short side to {side}, {filter} with antialiasing, then the centre{centre}",
    "squash": "both sides to {side}, {filter} with antialiasing{centre}",
    "pad": "the long side to {side}, {filter} with antialiasing{centre}, then grey beside it",
}


def export(trained: Trained | Ensemble, path: Path, kind: Format) -> dict[str, Any]:
    """Write the model to `path` and a description of its inputs and outputs to a .json next to it; returns the latter.

    The file maps `images` (B, C, S, S) float32, normalised, any B, to `logits` (B, K). `max_difference` is the largest
    difference between its logits and the model's over val images (noise where the data set is not available), in
    batches of several sizes.

    Raises:
        UserError: A package is missing, the model cannot be exported, or the outputs differ.
    """
    model = merge_models(trained).eval()
    pixels, what = _comparison_images(trained)
    images = normalise_pixels(trained.decodings[0], pixels, torch.device("cpu")).contiguous()  # (B, C, S, S)
    with temporary_folder() as folder:
        temporary = Path(folder, f"model{SUFFIX[kind]}")
        run = (_to_onnx if kind == "onnx" else _to_torch)(model, images[:2], temporary)
        difference, scale = _difference(model, run, images)
        content = temporary.read_bytes()
    if not difference <= TOLERANCE * max(scale, 1.0):
        raise UserError(f"the exported model's outputs differ by up to {difference:.2g}: nothing was written")
    files.write_with(path, lambda file: file.write(content))
    found = {"file": path.name, "format": kind, **describe(trained)}
    found |= {"max_difference": difference, "compared_on": f"{len(images)} {what}"}
    files.write_json(description_path(path), found)
    return found


def _comparison_images(trained: Trained | Ensemble) -> tuple[np.ndarray[Any, Any], str]:
    """Pixels on which the outputs are compared, (B, S, S, C) uint8, and their origin."""
    try:
        split = trained.data_sets[0].val
    except UserError:
        inputs = trained.decodings[0]
        shape = (IMAGES, inputs.image_size, inputs.image_size, inputs.channels)
        return np.random.default_rng(0).integers(0, 256, shape, np.uint8), "images of noise"
    return split.images[split.rows[:IMAGES]], "images of val"


def description_path(path: Path) -> Path:
    """The file next to an exported model that describes its inputs and outputs."""
    return path.with_name(f"{path.name}.json")


def describe(trained: Trained | Ensemble) -> dict[str, Any]:
    """What another program needs: the classes, and how an image file becomes the input.

    `preprocessing` has every step; resize and normalise of `input` are the part of it for plain RGB or grey pixels.
    """
    data = trained.decodings[0]
    return {
        "classes": list(data.classes),
        "input": {
            "name": "images",
            "shape": ["batch", data.channels, data.image_size, data.image_size],
            "type": "float32",
            "channels": "RGB" if data.channels == 3 else "grey (ITU-R 601 luma)",
            "resize": _describe_resize(data),
            "normalise": "(pixel / 255 - mean) / std",
            "mean": list(data.mean),
            "std": list(data.std),
        },
        "preprocessing": describe_preprocessing(data),
        "output": {"name": "logits", "shape": ["batch", len(data.classes)], "probabilities": "softmax over classes"},
        "trained_on": _describe_data(trained),
        **_describe_models(trained),
    }


def _describe_data(trained: Trained | Ensemble) -> str:
    """The data set, a user's own by the name of its folder."""
    members = (trained,) if isinstance(trained, Trained) else trained.members
    return join_words(list(dict.fromkeys(one.config.data.title for one in members)))


def _describe_resize(data: InputSpec) -> str:
    side = data.resizing.scaled_side(data.image_size)
    larger = side > data.image_size
    centre = "" if not larger else f" {data.image_size} x {data.image_size}"
    centre = f", then the centre{centre}" if larger and data.resize != "crop" else centre
    return RESIZE[data.resize].format(side=side, filter=data.interpolation, centre=centre)


def _describe_models(trained: Trained | Ensemble) -> dict[str, Any]:
    """The training of a model, or of each of those that are averaged."""
    views = {"views": trained.views} if trained.views > 1 else {}
    if isinstance(trained, Trained):
        return {"epoch": read_weights_epoch(trained.path / WEIGHTS), "config": trained.config.to_dict(), **views}
    pairs = zip(trained.members, trained.shares, strict=True)
    return {"members": [{"share": share, **_describe_models(one)} for one, share in pairs], **views}


def _to_torch(model: nn.Module, example: Tensor, path: Path) -> Callable[[Tensor], Tensor]:
    """With torch.export: a .pt2 that torch.export.load reads."""
    batch = torch.export.Dim("batch", min=1)
    with (
        _silenced(),
        _export_errors(),
        torch.no_grad(),
    ):  # otherwise a frozen backbone's no_grad becomes a node of the graph
        program = torch.export.export(model, (example,), dynamic_shapes=({0: batch},))
        torch.export.save(program, path)
        loaded = torch.export.load(path).module()

    def run(images: Tensor) -> Tensor:
        logits: Tensor = loaded(images)
        return logits

    return run


def _to_onnx(model: nn.Module, example: Tensor, path: Path) -> Callable[[Tensor], Tensor]:
    """ONNX, in one file, run by onnxruntime."""
    try:
        onnxruntime = importlib.import_module("onnxruntime")
        importlib.import_module("onnxscript")  # torch's exporter needs it
    except ImportError as error:
        raise UserError(f"ONNX needs {error.name}", remedy=f"{install_extra('export')}, or --format torch") from None
    with _silenced(), _export_errors(), torch.no_grad():
        torch.onnx.export(
            model,
            (example,),
            path,
            dynamo=True,
            external_data=False,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            verbose=False,
        )
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


@torch.no_grad()
def _difference(model: nn.Module, run: Callable[[Tensor], Tensor], images: Tensor) -> tuple[float, float]:
    """The largest difference of the logits and the largest logit, over batches of one, three and the rest."""
    parts = [part for part in (images[:1], images[1:4], images[4:]) if len(part)]
    expected, found = (torch.cat([call(part) for part in parts]).numpy() for call in (model, run))  # (N, K)
    return float(np.abs(expected - found).max()), float(np.abs(expected).max())


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Silences the exporters' own messages."""
    level = logging.getLogger().level
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
            logging.getLogger().setLevel(level)


@contextlib.contextmanager
def _export_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        why = str(error).strip().splitlines() or [type(error).__name__]
        remedy = "control flow that depends on values cannot be exported"
        raise UserError(f"the model cannot be exported: {why[0][:200]}", remedy=remedy) from error
