"""Whether a model can learn at all: it must learn two small batches by heart, free of any regularisation."""

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
from hwcls.inspection.load_trained import normalise_pixels
from hwcls.training.distributed import default_device

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
BATCHES, BATCH = 2, 16  # fixed ones
RATES = (1e-3, 1e-2, 1e-4)  # of Adam, tried in turn: a model is not to fail for its learning rate
LEARNT = 0.1  # of the loss of guessing, ln(classes)


class CannotLearn(Exception):
    """Why the model cannot learn, in a few words."""


@dataclass(frozen=True)
class Verdict:
    """Whether the batches were learnt by heart, and how the loss went."""

    passed: bool
    reason: str  # what was reached, or what is wrong and what to look at
    lr: float | None  # of the attempt that the losses are from
    losses: list[float]  # mean over the batches, pass by pass
    accuracy: float  # on the batches at the end, in [0, 1]

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON-ready values."""
        return {**vars(self), "losses": [round(loss, 6) for loss in self.losses]}


def overfit(config: TrialConfig, data: ImageSet, steps: int = 200) -> Verdict:
    """Train the model of a trial on 32 fixed training images with Adam, at most `steps` steps for each learning rate.

    It passes once every image is classified rightly and the loss is below a tenth of ln(classes), and also where both
    still get better when the steps are used up. A frozen encoder is trained too: what it starts from here is random.
    """
    images, labels = _few(data)
    chance, best = math.log(len(data.classes)), Verdict(False, "", None, [], 0.0)
    for lr in RATES:
        losses: list[float] = []
        accuracies: list[float] = []
        try:
            model = _unregularised(_build(config, data)).to(images.device)
            model.to(memory_format=torch.channels_last)
            for loss, accuracy in _passes(model, images, labels, lr, steps):
                losses.append(loss)
                accuracies.append(accuracy)
                if accuracy == 1 and loss < LEARNT * chance:
                    done = len(losses) * BATCHES
                    return Verdict(True, f"learnt in {done} steps at a learning rate of {lr:g}", lr, losses, accuracy)
        except UserError as error:
            return Verdict(False, str(error), None, [], 0.0)
        except CannotLearn as why:
            return Verdict(False, str(why), lr, losses, 0.0)
        except Exception as error:  # the user's own code may raise anything
            return Verdict(False, f"the training step failed: {_line(error)}", lr, losses, 0.0)
        if not best.losses or _last(losses) < _last(best.losses):
            passed, reason = _diagnosis(model, images, losses, accuracies, chance, steps)
            best = Verdict(passed, reason, lr, losses, accuracy)
    return best


def _build(config: TrialConfig, data: ImageSet) -> nn.Module:
    torch.manual_seed(config.seed)
    size = data.image_size
    return models.build(config.model.unfrozen(), classes=len(data.classes), channels=data.channels, image_size=size)


def _few(data: ImageSet) -> tuple[Tensor, Tensor]:
    """Normalised training images of as many classes as there are: (N, C, S, S) and (N,), in BATCHES batches."""
    labels = data.train.labels
    nth = np.empty(len(labels), np.int64)  # how many of its class came before
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
    """Train pass by pass over the batches: the mean loss and accuracy of each.

    Raises:
        CannotLearn: No gradient reaches a trained weight, or the loss is not finite.
    """
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    if not trained:
        raise CannotLearn("the model has no trainable weight")
    optimizer = torch.optim.Adam(trained.values(), lr=lr)
    parts = list(zip(images.chunk(BATCHES), labels.chunk(BATCHES), strict=True))
    model.train()
    for _ in range(max(1, steps // BATCHES)):
        losses, hits = 0.0, 0
        for batch, truth in parts:
            logits = model(batch)  # (B, K)
            loss = F.cross_entropy(logits, truth)
            if not torch.isfinite(loss):
                raise CannotLearn(f"the loss is not finite at a learning rate of {lr:g}: look for a log, a division")
            if not loss.requires_grad:
                raise CannotLearn("the output has no gradient: look for .detach(), torch.no_grad(), argmax")
            optimizer.zero_grad()
            torch.autograd.backward([loss])
            lost = [name for name, weight in trained.items() if weight.grad is None]
            if lost:
                more = f" and {len(lost) - 1} more" if lost[1:] else ""
                raise CannotLearn(f"no gradient reaches {lost[0]}{more}: look for .detach(), no_grad, unused layers")
            optimizer.step()
            losses += loss.item()
            hits += int((logits.argmax(1) == truth).sum())
        yield losses / len(parts), hits / len(labels)


def _diagnosis(
    model: nn.Module, images: Tensor, losses: list[float], accuracies: list[float], chance: float, steps: int
) -> tuple[bool, str]:
    """Whether it learns none the less, and what a loss that did not fall far enough may come from."""
    went = f"after {steps} steps the loss went from {losses[0]:.3g} to {losses[-1]:.3g}, {accuracies[-1]:.0%} right"
    silent = [n for n, w in model.named_parameters() if w.requires_grad and w.grad is not None and not w.grad.any()]
    with torch.no_grad():
        outputs = model(images)
    if torch.allclose(outputs, outputs[:1].expand_as(outputs), atol=1e-5):
        return False, f"{went}: the output is the same for every image"
    if silent:
        return False, f"{went}: the gradient of {silent[0]} is zero (dead activations?)"
    if losses[-1] > 0.9 * chance:
        where = "look at the forward pass and the weights' first values"
        return False, f"{went}, no better than guessing ({chance:.3g}): {where}"
    if _rises(accuracies) and _rises([-loss for loss in losses]):
        return True, f"{went}: still learning when the steps were used up"
    return False, f"{went}: it learns slowly or is too small; try --steps {4 * steps}"


def _rises(curve: list[float]) -> bool:
    """Whether its last quarter lies above the one before."""
    quarter = max(1, len(curve) // 4)
    return sum(curve[-quarter:]) > sum(curve[-2 * quarter : -quarter])


def _last(losses: list[float]) -> float:
    return losses[-1] if losses else math.inf


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:240]
