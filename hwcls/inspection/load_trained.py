"""Loads a trial's folder: the model with its best weights, its data set, its preprocessing."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from hwcls import files, models
from hwcls.config.data import AugmentConfig, DataConfig
from hwcls.config.sweep_file import load_trial
from hwcls.config.trial import TrialConfig, flatten
from hwcls.data.augment.apply import Normalise
from hwcls.data.augment.defaults import spell_out
from hwcls.data.cache.working_copies import refuse_working_copy
from hwcls.data.cuts.table import describe_changes
from hwcls.data.decoding.pixel_range import SIXTEEN_BITS
from hwcls.data.imageset import ImageSet, InputSpec, open_data
from hwcls.data.own.rows import first_of
from hwcls.errors import UserError, wrong_folder
from hwcls.escape import shell_word
from hwcls.inspection.views import PLAIN, Views, plan_views
from hwcls.models.generators import fixed_generators
from hwcls.models.memory_format import to_channels_last
from hwcls.tracking.folders import ABOUT, MEMBERS, TEST_READS, SweepFolder, TrialFolder
from hwcls.training.artifacts import read_weights_metadata
from hwcls.training.checkpoint import first_mismatch
from hwcls.training.distributed import default_device
from hwcls.training.step.precision import Precision, choose_precision

WEIGHTS = "best.safetensors"


class Classifier(Protocol):
    """What predictions need of a trained model, or of several that are averaged.

    Attributes:
        path: Its folder.
        classes: In the order of the probabilities.
        decodings: The distinct ways in which it takes an image: pixels are given in this order.
        data_sets: The data set decoded in each of these ways.
        views: How many views of an image are averaged, at most.
    """

    @property
    def path(self) -> Path: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def decodings(self) -> tuple[InputSpec, ...]: ...
    @property
    def data_sets(self) -> tuple[ImageSet, ...]: ...
    @property
    def views(self) -> int: ...

    def probabilities(self, *pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """(B, S, S, C) uint8, in each way of `decodings`, to (B, K) float32."""

    def changed_images(self, split: str) -> str | None:
        """How a split differs from that of the training, in a sentence; None: it does not, or that is not known."""


@dataclass(frozen=True)
class Trained:
    """A trained model in evaluation mode, with the meaning of its inputs and outputs."""

    path: Path  # the trial's folder
    config: TrialConfig
    inputs: InputSpec
    model: nn.Module  # (B, C, S, S) normalised floats to (B, K) logits
    device: torch.device
    shown: Views = PLAIN  # of each image, whose probabilities are averaged

    @property
    def classes(self) -> tuple[str, ...]:
        return self.inputs.classes

    @property
    def decodings(self) -> tuple[InputSpec, ...]:
        return (self.inputs,)

    @property
    def data_sets(self) -> tuple[ImageSet, ...]:
        return (self.data,)

    @property
    def views(self) -> int:
        return len(self.shown)

    @property
    def title(self) -> str:
        """What it is called in a picture."""
        return self.config.model.label or self.config.model.name

    @cached_property
    def data(self) -> ImageSet:
        """The data set as it was given to the model in training, which predictions do not need.

        Raises UserError where it is missing, has other classes, or is scaled otherwise now.
        """
        return _open_as_trained(self.config.data, self.inputs, str(self.path))

    def changed_images(self, split: str) -> str | None:
        """How a split differs from that of the training, in a sentence; None: it does not, or that is not known."""
        own = (self.path / "splits.csv").is_file()  # of `hwcls train`; a sweep has one for all of its runs
        folder = self.path if own else find_sweep_folder(self.path)
        return describe_changes(self.config.data, self.data, folder, split) if folder else None

    @torch.no_grad()
    def probabilities(self, *pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """One array of (B, S, S, C) uint8 to (B, K) float32."""
        (own,) = pixels
        normalise = pixel_normaliser(self.inputs, self.device)
        images = self.shown.images(torch.from_numpy(np.array(own)).to(self.device), normalise)
        with inference_precision(self.config, self.device).autocast():
            logits = [self.model(view) for view in images]  # (B, K) each
        found: Tensor = sum(one.float().softmax(1) for one in logits) / self.views  # (B, K)
        scores: np.ndarray[Any, Any] = found.cpu().numpy()
        return scores

    def with_views(self, count: int) -> Trained:
        """The same model, averaged over at most `count` views; raises UserError where there is but one."""
        augment = spell_out(self.config, earlier=True).data.augment
        assert augment is not None, "spell_out fills it"
        return replace(self, shown=plan_views(augment, self.inputs.image_size, count))


def pixel_normaliser(data: InputSpec, device: torch.device) -> Normalise:
    """Makes the floats that a model of this data set takes of its pixels."""
    return Normalise(data.mean, data.std, data.image_size, device, torch.float32)


def normalise_pixels(data: InputSpec, pixels: np.ndarray[Any, Any], device: torch.device) -> Tensor:
    """(B, S, S, C) uint8 as the (B, C, S, S) floats that a model of this data set takes."""
    normalise = pixel_normaliser(data, device)
    return normalise(torch.from_numpy(np.array(pixels)).to(device)).permute(0, 3, 1, 2)


def load_trained(path: Path, progress: Callable[[str], None] | None = None) -> Trained:
    """Open a trial's folder: results/<sweep>/trials/<n>, confirm/<label>/<seed>, best, or one written by `hwcls train`.

    Raises:
        UserError: It is no trial, or has no weights, or those of another model.
    """
    config = trial_config(path)
    path = path.parent if path.name == "config.yaml" else path
    weights = path / WEIGHTS
    if not weights.is_file():
        begun = TrialFolder(path).last_epoch()
        what = "no weights were kept" if begun else "no weights: the trial never finished an epoch"
        again = f"train it again: hwcls train {shell_word(path / 'config.yaml')}"
        raise UserError(what, where=str(weights), remedy=f"{again} (a sweep keeps them unless keep: none)")
    metadata = read_weights_metadata(weights)
    _check_origin(config, metadata.get("config"), weights)
    try:
        inputs = InputSpec.from_dict(metadata["inputs"])
    except (KeyError, TypeError, ValueError):  # truncated, or of another version
        inputs = open_data(config.data, progress)
    device, content = default_device(), weights.read_bytes()
    _check_complete(path, content)
    return Trained(path, config, inputs, restore_model(config, inputs, content, device, str(weights)), device)


def trial_config(path: Path) -> TrialConfig:
    """The config of a trial's folder, or of its config.yaml; raises UserError where there is none."""
    if path.name == "config.yaml":
        return load_trial(path)
    if (path / "trials").is_dir() and not (path / "config.yaml").is_file():
        some = sorted(found.parent for found in path.glob("trials/*/config.yaml"))
        remedy = f"name one of its trials: {some[0]}" if some else "it has no trials yet"
        raise UserError("is a sweep's folder, not a trial's", where=str(path), remedy=remedy)
    if os.path.lexists(path / MEMBERS):
        raise UserError("holds an ensemble", where=str(path), remedy=f"name one of its models, such as {path / '1'}")
    if not os.path.lexists(path / "config.yaml"):
        raise wrong_folder(path, "has no config.yaml", "name a trial's folder: results/<sweep>/trials/<n>")
    return load_trial(path / "config.yaml")


def inference_precision(config: TrialConfig, device: torch.device) -> Precision:
    """That in which a trial's model is trained and validated on such a device, for all that is done with it later."""
    return choose_precision(device, torch.float32, on_features=config.cached_views(AugmentConfig()) is not None)


def restore_model(
    config: TrialConfig, data: InputSpec, weights: bytes, device: torch.device, where: str = "weights"
) -> nn.Module:
    """The model that `config` describes with these weights (a safetensors file's content), in evaluation mode.

    Raises:
        UserError: The weights are no safetensors file or those of another model.
    """
    described = config.model.without_pretrained()  # the weights are given: none need to be downloaded
    with fixed_generators(config.seed):  # as in training: what the model draws may be in no file of weights
        model = models.build(described, classes=len(data.classes), channels=data.channels, image_size=data.image_size)
    try:
        tensors = load(weights)
    except SafetensorError as error:
        remedy = "the file is damaged: copy or train it again"
        raise UserError(f"cannot be read as weights ({error})", where=where, remedy=remedy) from None
    if difference := first_mismatch(tensors, model.state_dict()):
        remedy = "config.yaml was changed after training, or the file is another trial's"
        raise UserError(f"the weights are of another model: {difference}", where=where, remedy=remedy)
    model.load_state_dict(tensors)
    inference_precision(config, device).adapt(model, len(data.classes))
    return to_channels_last(model, device).eval()


def count_test_read(path: Path) -> int:
    """Count a read of test by the model in `path`, in its sweep's folder; returns the number of reads, with this one.

    Raises UserError where the folder cannot be written, or is a working copy: an uncounted read is not allowed.
    """
    refuse_working_copy(path)
    path = path.absolute()
    folder = find_sweep_folder(path) or path
    line = {"trial": str(path.relative_to(folder)), "time": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        files.append_line(folder / TEST_READS, json.dumps(line).encode())
    except OSError as error:
        what = f"cannot be written ({error.strerror}), and a read of test must be counted"
        raise UserError(what, where=str(folder / TEST_READS), remedy="use --split val, or make it writable") from None
    return SweepFolder(folder).count_test_reads()


def find_sweep_folder(path: Path) -> Path | None:
    """The folder of a trial's sweep, if it belongs to one."""
    return next((folder for folder in path.absolute().parents[:3] if (folder / "sweep.yaml").is_file()), None)


def _open_as_trained(config: DataConfig, inputs: InputSpec, where: str) -> ImageSet:
    """The data set, decoded and normalised as `inputs` was; raises UserError where that does not give its images."""
    data = open_data(config)
    if data.classes != inputs.classes:
        what = f"trained on other classes than {data.title} has now ({_describe_classes(inputs.classes, data.classes)})"
        raise UserError(what, where=where, remedy="restore the images or train again")
    shape = {"image_size": inputs.image_size, "channels": inputs.channels}
    if (data.image_size, data.channels) != (inputs.image_size, inputs.channels):  # which new images may have changed
        data = open_data(config.model_copy(update=shape))
    old, new = (found.pixel_range or SIXTEEN_BITS for found in (inputs, data))
    if old != new:
        what = f"trained on images whose pixels {old.low:g} to {old.high:g} became 0 to 255"
        what += f"; in {data.title} it is now {new.low:g} to {new.high:g}"
        raise UserError(what, where=where, remedy="train it again; hwcls predict scales as it was trained")
    return replace(data, mean=inputs.mean, std=inputs.std)


def _describe_classes(old: tuple[str, ...], new: tuple[str, ...]) -> str:
    """How the classes differ, in words."""
    changes = {"new": [name for name in new if name not in old], "missing": [name for name in old if name not in new]}
    return "; ".join(f"{word}: {first_of(names)}" for word, names in changes.items() if names) or "in another order"


def _check_complete(path: Path, weights: bytes) -> None:
    """Raise UserError where a sweep's best/ was copied in part, so that its files are of two runs."""
    origin = TrialFolder(path).origin()
    if origin is not None and hashlib.sha256(weights).hexdigest() != origin["weights"]["sha256"]:
        remedy = "copy the whole folder again, or name its sweep's folder"
        raise UserError(f"is not the file that {ABOUT} describes", where=str(path / WEIGHTS), remedy=remedy)


def _check_origin(config: TrialConfig, trained: Any, weights: Path) -> None:
    """Compare the config that the weights were trained with to config.yaml: equal shapes do not suffice."""
    try:
        origin = TrialConfig.from_recorded(trained)
    except ValueError:
        return  # of another version: the shapes decide
    if config.model.source_file is not None:
        return  # the path of its file may have changed
    old, new = (flatten({"model": c.model.model_dump(mode="json", exclude={"label"})}) for c in (origin, config))
    changed = [f"{key} {old.get(key)} became {new.get(key)}" for key in {**old, **new} if old.get(key) != new.get(key)]
    if changed:
        remedy = "undo the change of config.yaml, or train again"
        raise UserError(f"the weights are of another model: {', '.join(changed)}", where=str(weights), remedy=remedy)
