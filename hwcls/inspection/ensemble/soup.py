"""A soup: the average of the weights of models that began with the same pretrained ones (arXiv 2203.05482).

It costs no more than a single model. Weights can only be averaged where they are of one architecture and began at one
point: models that were drawn at random lie in different valleys, and their average in none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from hwcls.config.trial import TrialConfig, flatten
from hwcls.data.imageset import ImageSet
from hwcls.data.loader import Feed
from hwcls.inspection.load_trained import WEIGHTS, Trained, restore_model
from hwcls.training.step.batch_norm import BatchNorm

REGULARISERS = ("dropout", "drop_path")  # settings that act in training alone
STATISTICS = 10_000  # training images, at least, of which BatchNorm's means and variances are computed


def why_not_soup(one: TrialConfig, other: TrialConfig) -> str:
    """Why the weights of two trials cannot be averaged, in a few words; empty where they can."""
    if one.model.pretrained_from is None or other.model.pretrained_from is None:
        return "trained from scratch"
    if one.model.pretrained_from != other.model.pretrained_from:
        return "started from other pretrained weights"
    free = {"label", *one.model.initialisation(), *other.model.initialisation()}
    old, new = (_architecture(config, free) for config in (one, other))
    changed = [f"{key} {old.get(key)} or {new.get(key)}" for key in {**old, **new} if old.get(key) != new.get(key)]
    return ", ".join(changed)


def _architecture(config: TrialConfig, free: Collection[str]) -> Mapping[str, Any]:
    """The settings that a model's outputs depend on, apart from weights and `free` ones, and how images are made."""
    plain = config.model.unfrozen().without_pretrained()
    model = plain.model_dump(mode="json", exclude=set(free))
    data = config.data.model_dump(mode="json", exclude={"augment", "batch_size"})
    return flatten(_without({"model": model, "data": data}, ("label", *REGULARISERS)))


def _without(value: Any, keys: Sequence[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(inner, keys) for key, inner in value.items() if key not in keys}
    return value


class Soup:
    """Averages weights of one architecture, and judges each average on val.

    Args:
        models: The candidates' folders, opened; the first is the best on val.
        judge: The value of a model on val, more is better.
    """

    def __init__(self, models: Sequence[Trained], judge: Callable[[Trained], float]) -> None:
        self.models, self.judge = models, judge
        self.weights = [load_file(one.path / WEIGHTS) for one in models]

    def choose(self) -> tuple[list[int], Trained]:
        """The places of the models whose average is best on val, and that average: greedy, or all of them.

        Greedy as in the paper: from the best on, each next model stays if val does not get worse with it.
        """
        chosen, best, found = [0], self.judge(self.models[0]), self.models[0]
        for place in range(1, len(self.models)):
            mixed = self.mix([*chosen, place])
            if (value := self.judge(mixed)) >= best:
                chosen, best, found = [*chosen, place], value, mixed
        every = list(range(len(self.models)))
        if chosen != every:
            mixed = self.mix(every)
            if self.judge(mixed) > best:
                return every, mixed
        return chosen, found

    def mix(self, places: Sequence[int]) -> Trained:
        """The model with the mean weights of some of the models, BatchNorm's statistics computed anew."""
        first = self.models[0]
        weights = average_weights([self.weights[place] for place in places])
        config = first.config
        if not all(_is_frozen(self.models[place].config) for place in places):
            config = config.model_copy(update={"model": config.model.unfrozen()})
        model = restore_model(config, first.inputs, save(weights), first.device)
        update_statistics(model, config, first.data, first.device)
        return replace(first, config=config, model=model)


def _is_frozen(config: TrialConfig) -> bool:
    """Whether a part was never trained; one that was frozen in the first epochs alone was."""
    return config.model.unfrozen() != config.model and not config.model.frozen_epochs


def average_weights(every: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each tensor over some models; of whole numbers, which count something, the first model's."""
    found = {}
    for name, first in every[0].items():
        if first.is_floating_point():
            total = torch.stack([one[name].to(torch.float64) for one in every]).mean(0)
            found[name] = total.to(first.dtype)
        else:
            found[name] = first.clone()
    return found


@torch.no_grad()
def update_statistics(model: nn.Module, config: TrialConfig, data: ImageSet, device: torch.device) -> None:
    """Compute the means and variances of every BatchNorm that was trained anew, as averages over training batches.

    Others, as those of a frozen backbone, stay. The model is in evaluation mode afterwards.
    """
    model.train()
    norms = [module for module in model.modules() if isinstance(module, BatchNorm) and module.training]
    model.eval()
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average
        norm.train()
    for images in _training_batches(config, data, device):
        model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def _training_batches(config: TrialConfig, data: ImageSet, device: torch.device) -> Iterator[Tensor]:
    """Augmented batches of the first epoch until STATISTICS images, or all."""
    feed, seen = Feed(data, config.data, seed=config.seed, device=device), 0
    for step in feed.train(1):
        for part in step.parts:
            yield part.images
        seen += step.size
        if seen >= STATISTICS:
            return
