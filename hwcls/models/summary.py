"""The cost of a model, and which models are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hwcls.config.model import ModelFamily
from hwcls.models import build_checked, count_parameters
from hwcls.models.dispatch_mode import LightDispatchMode, flatten_values, operation_name, storage_id, without_overload
from hwcls.models.receptive_field import FieldSize, Layer, trace_receptive_field
from hwcls.models.user.code import exits_as_errors
from hwcls.models.user.output import bounded_output


@dataclass(frozen=True)
class Summary:
    """The size of a model, and a signature that does not depend on its name."""

    parameters: int
    trainable: int  # of the parameters, those that are trained
    flops: int  # of one image's forward pass; a multiplication and an addition are two
    activations: int  # bytes that one image's training step keeps for the backward pass, in float32
    receptive_field: FieldSize  # of the last map
    output: tuple[int, ...]  # the shape for one image
    layers: tuple[Layer, ...]
    signature: str


def summarise_model(config: ModelFamily, *, classes: int, channels: int, image_size: int) -> Summary:
    """Summarise the model that `config` describes without its weights; raises UserError as `models.check` does."""
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


def measure_head(config: ModelFamily, head: nn.Module, classes: int, features: int) -> dict[str, Any]:
    """`parameters`, `flops` and `activations` (bytes of one image) of a model's part that takes (B, features).

    `head` is that of `config`, by which the result is cached.
    """
    key = (config.model_dump_json(), classes, features, 0)
    if key not in _sizes:
        weight = next(head.parameters())
        images = torch.zeros(2, features, device=weight.device, dtype=weight.dtype)  # (2, F)
        found = {"parameters": count_parameters(head), "flops": _count_operations(head, images[:1])}
        _sizes[key] = found | {"activations": _count_kept_bytes(head, images)}
    return dict(_sizes[key])


_sizes: dict[tuple[str, int, int, int], dict[str, Any]] = {}


def count_flops(model: nn.Module, channels: int, image_size: int) -> int:
    """The floating point operations of one image's forward pass in evaluation mode, on the model's device.

    Counted by the formulas of torch.utils.flop_counter, two per multiplication: convolutions, matrix products and
    attention; and the products of recurrent layers.
    """
    weight = next(model.parameters(), torch.zeros(()))
    images = torch.zeros(1, channels, image_size, image_size, device=weight.device, dtype=weight.dtype)  # (1, C, H, W)
    return _count_operations(model, images)


def _count_operations(model: nn.Module, images: Tensor) -> int:
    counted = _Flops()
    with _restored(model), _without_fused_attention(), counted, torch.no_grad():
        model.eval()(images)
    return counted.total


@contextmanager
def _without_fused_attention() -> Iterator[None]:
    """In the block attention is computed by parts, for which torch has formulas."""
    attention = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(attention)


def count_activation_bytes(model: nn.Module, channels: int, image_size: int) -> int:
    """The bytes that a training step keeps for one image between forward and backward pass, in the weights' dtype.

    Every tensor that autograd saves is counted once, except weights and the image itself; what a norm keeps per batch
    is shared by two images here. A frozen part keeps nothing. The statistics of norms are restored.
    """
    return _count_kept_bytes(model, _two_images(model, channels, image_size))


def _count_kept_bytes(model: nn.Module, images: Tensor) -> int:
    known = {storage_id(tensor.untyped_storage()) for tensor in (images, *model.parameters(), *model.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}  # kept alive, so that no other storage gets its address

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if (key := storage_id(storage)) not in known:
            kept[key] = storage
        return tensor

    with _restored(model), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model.train()(images)  # (2, classes); its graph holds what is counted
    del logits
    return sum(storage.nbytes() for storage in kept.values()) // len(images)


def compute_signature(model: nn.Module, image: tuple[int, int] | None = None) -> str:
    """16 hex digits that two models share if they have the same structure, whatever the names of their parts.

    Covers every module in order: depth, class, settings in its repr, shapes of its weights and buffers, and which
    weights are trained. With `image` (channels, side) also the operations of a training step's forward pass, since
    two models may connect the same modules differently. Weight values are ignored: a pretrained model and one from
    scratch agree.
    """
    digest = hashlib.blake2b(digest_size=8)
    for depth, module in _walk(model, 0):
        kind = f"{type(module).__module__}.{type(module).__qualname__}"
        weights = [(tuple(weight.shape), weight.requires_grad) for weight in module.parameters(recurse=False)]
        buffers = [tuple(buffer.shape) for buffer in module.buffers(recurse=False)]
        digest.update(repr((depth, kind, module.extra_repr(), weights, buffers)).encode())
    if image is not None:
        with _restored(model), torch.no_grad(), _Operations() as operations:
            model.train()(_two_images(model, *image))
        digest.update(repr(operations.found).encode())
    return digest.hexdigest()


def compute_identity(config: ModelFamily, *, classes: int, channels: int, image_size: int) -> str:
    """A text that two configs share if they start as the same model: its signature and the origin of its weights.

    Raises UserError as `models.check` does.
    """
    model = build_checked(config, classes=classes, channels=channels, image_size=image_size)
    start = json.dumps(config.initialisation(), sort_keys=True)
    with exits_as_errors(config.name), bounded_output():
        return f"{compute_signature(model, (channels, image_size))} {start}"


def _recurrent_flops(rows: Tensor, *args: Any, **_: Any) -> int:
    """Of recurrent layers in one operation: each row of (T, B, F) times each matrix of weights, which follow it.

    They are a list on a GPU; of oneDNN they are the two of one layer.
    """
    weights = args[0] if isinstance(args[0], list | tuple) else args[:2]
    return int(2 * rows.shape[:-1].numel() * sum(weight.numel() for weight in weights if weight.ndim == 2))


RECURRENT = dict.fromkeys(("mkldnn_rnn_layer", "_cudnn_rnn", "miopen_rnn"), _recurrent_flops)


class _Flops(LightDispatchMode):  # type: ignore[no-untyped-call]
    """Counts FLOPs as torch's FlopCounterMode does, which loads the compiler: 1.0 to 1.9 s at first use, here 0.1 s."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from torch.utils.flop_counter import flop_registry

        given = kwargs or {}
        formula = flop_registry.get(without_overload(func), RECURRENT.get(operation_name(func)))
        if formula is None:
            with self:
                parts = func.decompose(*args, **given)  # a composite operation is counted by its parts
            if parts is not NotImplemented:
                return parts
        out = func(*args, **given)
        if formula is not None:
            self.total += int(formula(*args, **given, out_val=out))
        return out


class _Operations(LightDispatchMode):  # type: ignore[no-untyped-call]
    """Records every operation with its settings and its tensors, each numbered in the order of first use."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[str]]] = []
        self.numbers: dict[int, tuple[int, Tensor]] = {}  # by id; the tensor is kept alive so that its id is unique

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        leaves = flatten_values(args, kwargs, out)
        known = [leaf for leaf in leaves if not isinstance(leaf, torch.device | torch.Generator)]
        self.found.append((str(func), [self._label(leaf) for leaf in known]))
        return out

    def _label(self, leaf: Any) -> str:
        if not isinstance(leaf, Tensor):
            return repr(leaf)
        number, _ = self.numbers.setdefault(id(leaf), (len(self.numbers), leaf))
        return f"tensor {number}"


def _two_images(model: nn.Module, channels: int, image_size: int) -> Tensor:
    """Two zero images (2, C, H, W) on the model's device: BatchNorm needs several."""
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    return torch.zeros(2, channels, image_size, image_size, device=device)


@contextmanager
def _restored(model: nn.Module) -> Iterator[None]:
    """Restore the model's mode, its buffers and torch's generator after the block."""
    training, buffers = model.training, [buffer.clone() for buffer in model.buffers()]
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        model.train(training)
        for buffer, before in zip(model.buffers(), buffers, strict=True):
            buffer.copy_(before)


def _walk(module: nn.Module, depth: int) -> Iterator[tuple[int, nn.Module]]:
    """Every module with its depth in the tree, a shared one at each place."""
    yield depth, module
    for child in module.children():
        yield from _walk(child, depth + 1)
