"""What a model costs, and which models are one and the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from hwcls.config.model import ModelFamily
from hwcls.models import build_checked, count_parameters
from hwcls.models.dispatch_mode import LightDispatchMode
from hwcls.models.receptive_field import FieldSize, Layer, trace_receptive_field


@dataclass(frozen=True)
class Summary:
    """The size of a model, and what it is whatever its name."""

    parameters: int
    trainable: int  # of the parameters, those that learn
    flops: int  # of one image's forward pass; a multiplication and an addition are two
    activations: int  # bytes that one image's training step keeps for the backward pass, in float32
    receptive_field: FieldSize  # of the last map
    output: tuple[int, ...]  # the shape for one image
    layers: tuple[Layer, ...]
    signature: str


def summarise_model(config: ModelFamily, *, classes: int, channels: int, image_size: int) -> Summary:
    """Summarise the model that `config` describes without memory for it; raises UserError as `models.check` does."""
    model = build_checked(config, classes=classes, channels=channels, image_size=image_size)
    layers, field = trace_receptive_field(model, channels, image_size)
    return Summary(
        parameters=count_parameters(model),
        trainable=sum(weight.numel() for weight in model.parameters() if weight.requires_grad),
        flops=count_flops(model, channels, image_size),
        activations=count_activation_bytes(model, channels, image_size),
        receptive_field=field,
        output=(classes,),
        layers=tuple(layers),
        signature=compute_signature(model, (channels, image_size)),
    )


def measure_size(config: ModelFamily, model: nn.Module, classes: int, channels: int, image_size: int) -> dict[str, Any]:
    """`parameters`, `flops`, `activations` (bytes of one image) and `receptive_field` of the last map.

    `model` is what `config` describes. The result is cached by config: a sweep trains the same model again and again.
    """
    key = (config.model_dump_json(), classes, channels, image_size)
    if key not in _sizes:
        _, field = trace_receptive_field(model, channels, image_size)
        found = {"parameters": count_parameters(model), "flops": count_flops(model, channels, image_size)}
        kept = count_activation_bytes(model, channels, image_size)
        _sizes[key] = found | {"activations": kept, "receptive_field": field}
    return dict(_sizes[key])


_sizes: dict[tuple[str, int, int, int], dict[str, Any]] = {}


def count_flops(model: nn.Module, channels: int, image_size: int) -> int:
    """The floating point operations of one image's forward pass in evaluation mode, on the model's own device.

    Counted by the formulas of torch.utils.flop_counter: convolutions, matrix products and attention, two per
    multiplication.
    """
    weight = next(model.parameters(), torch.zeros(()))
    training = model.training
    images = torch.zeros(1, channels, image_size, image_size, device=weight.device, dtype=weight.dtype)  # (1, C, H, W)
    counted = _Flops()
    with counted, torch.no_grad():
        model.eval()(images)
    model.train(training)
    return counted.total


def count_activation_bytes(model: nn.Module, channels: int, image_size: int) -> int:
    """The bytes that a training step keeps of one image between forward and backward pass, in the weights' dtype.

    Every tensor that autograd saves is counted once, weights and the image itself left out; what a norm keeps per
    batch is shared by two images here. A frozen part keeps nothing. Statistics of norms on a real device are restored.
    """
    images = _two(model, channels, image_size)
    known = {tensor.untyped_storage()._cdata for tensor in (images, *model.parameters(), *model.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}  # held, so that no other storage takes its place

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            kept[storage._cdata] = storage
        return tensor

    with _left_as_it_was(model), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model.train()(images)  # (2, classes); its graph holds what is counted
    del logits
    return sum(storage.nbytes() for storage in kept.values()) // len(images)


def compute_signature(model: nn.Module, image: tuple[int, int] | None = None) -> str:
    """16 hex digits that two models share if they are built alike, whatever they and their parts are called.

    Over all modules in order: depth, class, the settings its repr shows, shapes of its weights and buffers, and which
    weights learn. With `image`, its channels and side, also what a training step's forward pass computes: two models
    of the same modules may put them together in different ways. Values of weights have no part in it, so that a
    pretrained model and one from scratch are alike.
    """
    digest = hashlib.blake2b(digest_size=8)
    for depth, module in _walk(model, 0):
        kind = f"{type(module).__module__}.{type(module).__qualname__}"
        weights = [(tuple(weight.shape), weight.requires_grad) for weight in module.parameters(recurse=False)]
        buffers = [tuple(buffer.shape) for buffer in module.buffers(recurse=False)]
        digest.update(repr((depth, kind, module.extra_repr(), weights, buffers)).encode())
    if image is not None:
        with _left_as_it_was(model), torch.no_grad(), _Operations() as operations:
            model.train()(_two(model, *image))
        digest.update(repr(operations.found).encode())
    return digest.hexdigest()


def compute_identity(config: ModelFamily, *, classes: int, channels: int, image_size: int) -> str:
    """What two configs share if they begin as the same model: its signature and where its weights come from.

    Raises UserError as `models.check` does.
    """
    model = build_checked(config, classes=classes, channels=channels, image_size=image_size)
    start = json.dumps(config.initialisation(), sort_keys=True)
    return f"{compute_signature(model, (channels, image_size))} {start}"


class _Flops(LightDispatchMode):
    """Adds up the operations of what is computed under it; torch's own FlopCounterMode loads the compiler."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from torch.utils.flop_counter import flop_registry

        given = kwargs or {}
        formula = flop_registry.get(func._overloadpacket)
        if formula is None:
            with self:
                parts = func.decompose(*args, **given)  # what is made of others is counted by those
            if parts is not NotImplemented:
                return parts
        out = func(*args, **given)
        if formula is not None:
            self.total += int(formula(*args, **given, out_val=out))
        return out


class _Operations(LightDispatchMode):
    """Writes down every operation with its settings, and which tensors it takes, each by when it was first seen."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[tuple[str, list[str]]] = []
        self.numbers: dict[int, tuple[int, Tensor]] = {}  # by id; the tensor is held so that its id stays its own

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        leaves = tree_leaves((args, kwargs, out))
        known = [leaf for leaf in leaves if not isinstance(leaf, torch.device | torch.Generator)]
        self.found.append((str(func), [self._named(leaf) for leaf in known]))
        return out

    def _named(self, leaf: Any) -> str:
        if not isinstance(leaf, Tensor):
            return repr(leaf)
        number, _ = self.numbers.setdefault(id(leaf), (len(self.numbers), leaf))
        return f"tensor {number}"


def _two(model: nn.Module, channels: int, image_size: int) -> Tensor:
    """Two empty images (2, C, H, W) on the model's device: BatchNorm wants several."""
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    return torch.zeros(2, channels, image_size, image_size, device=device)


@contextmanager
def _left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Its mode, its buffers and torch's generator are afterwards what they were before."""
    training, buffers = model.training, [buffer.clone() for buffer in model.buffers()]
    with torch.random.fork_rng(devices=[]):
        yield
    model.train(training)
    for buffer, before in zip(model.buffers(), buffers, strict=True):
        buffer.copy_(before)


def _walk(module: nn.Module, depth: int) -> Iterator[tuple[int, nn.Module]]:
    """Every module with its depth in the tree, a shared one wherever it stands."""
    yield depth, module
    for child in module.children():
        yield from _walk(child, depth + 1)
