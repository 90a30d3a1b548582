"""Sanity check of a model: without regularisation it must overfit two small batches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hwcls import models
from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import ImageSet
from hwcls.errors import UserError
from hwcls.format import format_count
from hwcls.inspection.load_trained import normalise_pixels
from hwcls.models.generators import seed_generators
from hwcls.models.memory_format import to_channels_last
from hwcls.training.distributed import default_device

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
BATCHES, BATCH = 2, 16  # fixed ones
RATES = (1e-3, 1e-2, 1e-4)  # of Adam, tried in turn: a model must not fail because of its learning rate
LOSS_SHARE = 0.1  # of the loss of guessing, ln(classes), below which the batches are overfitted


class TrainingBroken(Exception):
    """A training step cannot work; the message is the reason."""


@dataclass(frozen=True)
class Verdict:
    """Whether the model overfits the batches, and its loss curve."""

    passed: bool
    reason: str  # the steps it took, or what is wrong and where to look
    lr: float | None  # of the attempt with these losses
    losses: list[float]  # mean over the batches, pass by pass
    accuracy: float  # on the batches at the end, in [0, 1]

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON-ready values."""
        return {**vars(self), "losses": [round(loss, 6) for loss in self.losses]}


def overfit(config: TrialConfig, data: ImageSet, steps: int = 200) -> Verdict:
    """Train the model of a trial on 32 fixed training images with Adam, at most `steps` steps for each learning rate.

    It passes when every image is classified correctly and the loss is below a tenth of ln(classes), or when both still
    improve after the last step. A frozen encoder is trained too, since its weights are random here.
    """
    images, labels = _fixed_images(data)
    chance, best = math.log(len(data.classes)), Verdict(False, "", None, [], 0.0)
    for lr in RATES:
        losses: list[float] = []
        accuracies: list[float] = []
        try:
            model = to_channels_last(_unregularised(_build(config, data)), images.device)
            for loss, accuracy in _passes(model, images, labels, lr, steps):
                losses.append(loss)
                accuracies.append(accuracy)
                if accuracy == 1 and loss < LOSS_SHARE * chance:
                    done = format_count(len(losses) * BATCHES, "step")
                    return Verdict(True, f"overfitted in {done} at a learning rate of {lr:g}", lr, losses, accuracy)
        except UserError as error:
            return Verdict(False, str(error), None, [], 0.0)
        except TrainingBroken as why:
            return Verdict(False, str(why), lr, losses, 0.0)
        except Exception as error:  # a user's model may raise anything
            return Verdict(False, f"the training step failed: {_one_line(error)}", lr, losses, 0.0)
        if not best.losses or _last(losses) < _last(best.losses):
            passed, reason = _diagnosis(model, images, losses, accuracies, chance, steps)
            best = Verdict(passed, reason, lr, losses, accuracy)
    return best


def _build(config: TrialConfig, data: ImageSet) -> nn.Module:
    seed_generators(config.seed)
    size = data.image_size
    return models.build(config.model.unfrozen(), classes=len(data.classes), channels=data.channels, image_size=size)


def _fixed_images(data: ImageSet) -> tuple[Tensor, Tensor]:
    """Normalised training images of as many classes as possible: (N, C, S, S) and (N,), for BATCHES batches."""
    labels = data.train.labels
    nth = np.empty(len(labels), np.int64)  # how many images of its class precede it
    for label in range(len(data.classes)):
        of_class = np.flatnonzero(labels == label)
        nth[of_class] = np.arange(len(of_class))
    chosen = np.lexsort((labels, nth))[: BATCHES * BATCH]
    device = default_device()
    return normalise_pixels(data, data.train.images[data.train.rows[chosen]], device), torch.from_numpy(
        labels[chosen]
    ).to(device)


def _unregularised(model: nn.Module) -> nn.Module:
    """The model with every dropout and stochastic depth turned off."""
    for module in model.modules():
        if isinstance(module, DROPOUTS):
            module.p = 0.0
        if hasattr(module, "drop_prob"):  # timm's DropPath
            module.drop_prob = 0.0  # type: ignore[assignment]
    return model


def _passes(model: nn.Module, images: Tensor, labels: Tensor, lr: float, steps: int) -> Iterator[tuple[float, float]]:
    """Train on all batches again and again: the mean loss and accuracy of each pass.

    Raises:
        TrainingBroken: No gradient reaches a trained weight, or the loss is not finite.
    """
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    if not trained:
        raise TrainingBroken("the model has no trainable weight")
    optimizer = torch.optim.Adam(trained.values(), lr=lr)
    parts = list(zip(images.chunk(BATCHES), labels.chunk(BATCHES), strict=True))
    model.train()
    for _ in range(max(1, steps // BATCHES)):
        losses, hits = 0.0, 0
        for batch, truth in parts:
            logits = model(batch)  # (B, K)
            loss = F.cross_entropy(logits, truth)
            if not torch.isfinite(loss):
                raise TrainingBroken(
                    f"the loss is not finite at a learning rate of {lr:g}: look for a log or a division"
                )
            if not loss.requires_grad:
                raise TrainingBroken("the output has no gradient: look for .detach(), torch.no_grad() or argmax")
            optimizer.zero_grad()
            torch.autograd.backward([loss])
            lost = [name for name, weight in trained.items() if weight.grad is None]
            if lost:
                more = f" and {len(lost) - 1} more" if lost[1:] else ""
                raise TrainingBroken(
                    f"no gradient reaches {lost[0]}{more}: look for .detach(), no_grad or unused layers"
                )
            optimizer.step()
            losses += loss.item()
            hits += int((logits.argmax(1) == truth).sum())
        yield losses / len(parts), hits / len(labels)


def _diagnosis(
    model: nn.Module, images: Tensor, losses: list[float], accuracies: list[float], chance: float, steps: int
) -> tuple[bool, str]:
    """Whether it still improves, and a possible cause where the loss did not fall far enough."""
    taken = format_count(steps, "step")
    curve = f"loss from {losses[0]:.3g} to {losses[-1]:.3g} in {taken}, accuracy {accuracies[-1]:.0%}"
    silent = [n for n, w in model.named_parameters() if w.requires_grad and w.grad is not None and not w.grad.any()]
    with torch.no_grad():
        outputs = model(images)
    if torch.allclose(outputs, outputs[:1].expand_as(outputs), atol=1e-5):
        return False, f"{curve}: the output is the same for every image"
    if silent:
        return False, f"{curve}: the gradient of {silent[0]} is zero (dead activations?)"
    if losses[-1] > 0.9 * chance:
        where = "check the forward pass and the initialisation"
        return False, f"{curve}, no better than guessing ({chance:.3g}): {where}"
    if _rises(accuracies) and _rises([-loss for loss in losses]):
        return True, f"{curve}: still improving after the last step"
    return False, f"{curve}: it learns slowly or is too small, try --steps {4 * steps}"


def _rises(curve: list[float]) -> bool:
    """Whether its last quarter is higher than the one before."""
    quarter = max(1, len(curve) // 4)
    return sum(curve[-quarter:]) > sum(curve[-2 * quarter : -quarter])


def _last(losses: list[float]) -> float:
    return losses[-1] if losses else math.inf


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:240]
