"""Receptive fields: the pixels that each layer of a model depends on, traced through one forward pass.

A convolution or pooling of kernel k, dilation d and stride s widens the receptive field by (k - 1) * d steps and
multiplies the step by s (Araujo, Norris, Sim: Computing Receptive Fields of Convolutional Neural Networks, 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hwcls.models.dispatch_mode import LightDispatchMode, flatten_values, operation_name

# operations that do not move positions
STILL = {"clone", "detach", "alias", "_to_copy", "copy_", "contiguous", "expand", "native_dropout", "bernoulli"}
NORMS = {"native_batch_norm", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit", "cudnn_batch_norm"}
REDUCTIONS = {"mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "norm", "linalg_vector_norm"}
MIXING = {"mm", "addmm", "bmm", "baddbmm", "native_group_norm"}  # and attention: every position depends on every other
ALONG = {"_softmax": 1, "_log_softmax": 1, "glu": 1, "split": 2, "split_with_sizes": 2, "chunk": 2, "cumsum": 1}

FieldSize = int | Literal["unknown"] | None  # pixels of one side, padding included; None: the whole image


@dataclass(frozen=True)
class Span:
    """Pixels along one side: position i of a map depends on `first` + i * `step` to `last` + i * `step`."""

    first: int = 0  # below 0 in the padding
    last: int = 0
    step: int = 1

    def through(self, kernel: int, stride: int, padding: int, dilation: int = 1) -> Span:
        """The span of a window over these positions."""
        wider = ((kernel - 1) * dilation - padding) * self.step
        return Span(self.first - padding * self.step, self.last + wider, self.step * stride)

    def shifted(self, positions: int) -> Span:
        """The span where position 0 is moved by so many positions."""
        return Span(self.first + positions * self.step, self.last + positions * self.step, self.step)


@dataclass(frozen=True)
class Field:
    """The receptive field of the values in a tensor."""

    spans: tuple[Span, Span] | None = None  # along height and width; None: the whole image
    axes: tuple[int, int] | None = None  # height and width among the tensor's axes, counted from the end
    positions: bool = True  # whether it has values of several positions
    rows: tuple[int, ...] | None = None  # of a matrix: the leading axes that were merged into its rows
    known: bool = True  # False: an operation that cannot be traced came before

    @property
    def side(self) -> FieldSize:
        """Pixels of the longer side, padding included; None for the whole image; or "unknown"."""
        if not self.known:
            return "unknown"
        return None if self.spans is None else max(span.last - span.first + 1 for span in self.spans)


@dataclass(frozen=True)
class Layer:
    """One module without children, in the order of the forward pass."""

    name: str
    kind: str
    shape: tuple[int, ...]  # of its output for one image, without the batch
    parameters: int
    receptive_field: FieldSize


def trace_receptive_field(model: nn.Module, channels: int, image_size: int) -> tuple[list[Layer], FieldSize]:
    """Every layer of `model`, and the receptive field of its last map before positions are merged.

    It is None, the whole image, after attention and global pooling, and in a fully connected net. It is "unknown"
    after an operation that cannot be traced, such as a flip or a transposed convolution. Runs one forward pass in
    evaluation mode on the model's device, which may be the meta device.
    """
    found: dict[str, Layer] = {}
    tracer = _FieldTracer()

    def record(name: str, module: nn.Module, output: Any) -> None:
        seen = tracer.of(output)
        if seen is not None:
            weights = sum(weight.numel() for weight in module.parameters())
            found[name] = Layer(name, type(module).__name__, tuple(output.shape[1:]), weights, seen.side)

    hooks = [
        module.register_forward_hook(lambda module, _, output, name=name: record(name, module, output))
        for name, module in model.named_modules()
        if not list(module.children()) and not isinstance(module, nn.Identity)
    ]
    weight = next(model.parameters(), torch.zeros(()))
    training = model.training
    images = torch.zeros(1, channels, image_size, image_size, device=weight.device, dtype=weight.dtype)  # (1, C, H, W)
    try:
        with torch.no_grad(), tracer:
            tracer.start(images)
            model.eval()(images)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return list(found.values()), tracer.last.side


class _FieldTracer(LightDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps the receptive field of every tensor that is computed from the images."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[int, tuple[Tensor, Field]] = {}  # by id; the tensor is kept alive so that its id is unique
        self.last = Field()  # of the last operation that kept positions apart

    def start(self, images: Tensor) -> None:
        self.seen[id(images)] = (images, Field((Span(), Span()), (-2, -1)))

    def of(self, tensor: object) -> Field | None:
        """The receptive field of a tensor; None where it is not computed from the images."""
        return self.seen[id(tensor)][1] if id(tensor) in self.seen else None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        inputs = [(leaf, seen) for leaf in flatten_values(args, kwargs) if (seen := self.of(leaf)) is not None]
        name = operation_name(func)
        if inputs and not name.startswith("new_") and not name.endswith("_like"):  # those use no value of the images
            batch = name in NORMS and any(value is True for value in args)  # of the image's own statistics
            pointwise = torch.Tag.pointwise in func.tags or name.rstrip("_") in STILL | (NORMS if not batch else set())
            for made in [leaf for leaf in flatten_values(out) if isinstance(leaf, Tensor)]:
                known = (
                    _pointwise([seen for _, seen in inputs]) if pointwise else _moved(name, inputs, args, kwargs, made)
                )
                mixed = Field(positions=made.ndim > 2 and any(seen.positions for _, seen in inputs))
                seen = known or mixed
                self.seen[id(made)] = (made, seen)
                if seen.positions and seen.rows is None:
                    self.last = seen
        return out


def _pointwise(seen: Sequence[Field]) -> Field:
    """The union of the inputs' fields, for an operation that works position by position."""
    positions = any(one.positions for one in seen)
    maps = [one for one in seen if one.spans is not None]
    unknown = [one for one in seen if not one.known]
    if unknown and len(maps) + len(unknown) == len(seen):
        return replace(unknown[0], positions=positions)
    if len(maps) < len(seen) or len({(one.axes, one.rows) for one in seen}) > 1:
        axes = next((one.axes for one in seen if one.axes is not None), None)
        return Field(None, axes, positions)
    spans = [one.spans for one in maps if one.spans is not None]
    joined = tuple(_union([pair[axis] for pair in spans]) for axis in (0, 1))
    height, width = joined
    return replace(seen[0], spans=None if height is None or width is None else (height, width))


def _union(spans: Sequence[Span]) -> Span | None:
    if len({span.step for span in spans}) > 1:
        return None
    return Span(min(span.first for span in spans), max(span.last for span in spans), spans[0].step)


def _moved(name: str, inputs: list[tuple[Tensor, Field]], args: Any, kwargs: Any, out: Tensor) -> Field | None:
    """The field after an operation that moves or merges positions; None for the whole image."""
    x, seen = inputs[0]
    mixing = name in MIXING | NORMS or name.startswith("_scaled_dot_product")
    if not seen.known:
        return None if mixing else Field(positions=seen.positions and out.ndim > 2, known=False)
    if seen.rows is not None and name in ("mm", "addmm"):
        return seen
    if name in ("view", "_unsafe_view", "reshape"):
        return _viewed(x, seen, tuple(out.shape))
    if seen.axes is None:
        return None
    axes = [x.ndim + axis for axis in seen.axes]
    if name == "cat":
        dim = args[1] if len(args) > 1 else 0
        return None if dim % x.ndim in axes else _pointwise([one for _, one in inputs])
    if name in ALONG:
        place = ALONG[name]
        dim = args[place] if len(args) > place else (kwargs or {}).get("dim", -1 if name == "glu" else 0)
        return None if dim % x.ndim in axes else seen
    if name == "native_layer_norm":
        return seen if x.ndim - len(args[1]) > max(axes) else None
    if name in REDUCTIONS:
        return _reduced(x, seen, args, out)
    order = _order(name, x, args)
    if order is not None:
        return _reordered(seen, axes, order)
    return None if mixing else _windowed(name, x, seen, axes, args, out)


def _windowed(name: str, x: Tensor, seen: Field, axes: list[int], args: Any, out: Tensor) -> Field | None:
    """Convolution, pooling, padding and slices of maps; after any other operation the field is unknown."""
    if seen.spans is None:
        return (
            Field(None, seen.axes, seen.positions) if out.ndim == x.ndim and not name.startswith("adaptive") else None
        )
    pair: list[Span] = []
    last = axes == [x.ndim - 2, x.ndim - 1]  # where windows move
    for i, (axis, span) in enumerate(zip(axes, seen.spans, strict=True)):
        if name == "convolution" and last and args[1].ndim == 4 and not args[6]:  # not transposed
            pair.append(span.through(args[1].shape[2 + i], *(_nth(args[place], i) for place in (3, 4, 5))))
        elif name in ("max_pool2d_with_indices", "avg_pool2d") and last:
            kernel = _nth(args[1], i)
            stride = _nth(args[2], i) if len(args) > 2 and args[2] else kernel
            dilation = _nth(args[4], i) if name.startswith("max") and len(args) > 4 else 1
            pair.append(span.through(kernel, stride, _nth(args[3], i) if len(args) > 3 else 0, dilation))
        elif name in ("_adaptive_avg_pool2d", "adaptive_max_pool2d") and x.shape[axis] % out.shape[axis] == 0:
            factor = x.shape[axis] // out.shape[axis]
            pair.append(span.through(factor, factor, 0))
        elif name == "constant_pad_nd":
            place = 2 * (x.ndim - 1 - axis)
            pair.append(span.shifted(-args[1][place]) if place < len(args[1]) else span)
        elif name == "slice":
            dim, start, step = (args[i] if len(args) > i else default for i, default in ((1, 0), (2, 0), (4, 1)))
            inside = dim % x.ndim == axis
            begin = (start or 0) % x.shape[axis] if inside else 0
            pair.append(replace(span.shifted(begin), step=span.step * step) if inside else span)
    if len(pair) < 2:
        return Field(positions=seen.positions and out.ndim > 2, known=False)
    pooled = name.lstrip("_").startswith("adaptive") and all(out.shape[axis] == 1 for axis in axes)
    return Field(positions=False) if pooled else replace(seen, spans=(pair[0], pair[1]))


def _nth(value: Sequence[int], i: int) -> int:
    """The i-th of a setting per axis; a single one applies to all axes."""
    return value[i] if len(value) > 1 else value[0]


def _viewed(x: Tensor, seen: Field, shape: tuple[int, ...]) -> Field | None:
    """A reshaping that keeps height and width, merges them into the rows of a matrix, or restores them."""
    if seen.rows is not None:
        return replace(seen, rows=None) if shape[:-1] == seen.rows else None
    if shape == tuple(x.shape):
        return seen
    if seen.axes is None:
        return None
    if len(shape) == 2 and shape[1] == x.shape[-1]:  # a matrix for nn.Linear along the last axis
        rows = tuple(x.shape[:-1])
        return Field(None, None, seen.positions, rows) if -1 in seen.axes else replace(seen, rows=rows)
    kept = min(seen.axes)  # height and whatever follows it
    return seen if shape[kept:] == tuple(x.shape[kept:]) else None


def _reduced(x: Tensor, seen: Field, args: Any, out: Tensor) -> Field | None:
    """A mean, sum or maximum over some axes."""
    dims = args[1] if len(args) > 1 else list(range(x.ndim))
    over = {dim % x.ndim for dim in ([dims] if isinstance(dims, int) else dims or range(x.ndim))}
    axes = [x.ndim + axis for axis in seen.axes or ()]
    if over.issuperset(axes):
        return Field(positions=False)
    if over & set(axes):
        return None
    return seen if out.ndim == x.ndim else _reordered(seen, axes, [dim for dim in range(x.ndim) if dim not in over])


def _order(name: str, x: Tensor, args: Any) -> list[int | None] | None:
    """For an operation that only moves, adds or drops axes: the old axis at the place of each new one."""
    order: list[int | None] = list(range(x.ndim))
    if name == "permute":
        return [dim % x.ndim for dim in args[1]]
    if name == "transpose":
        a, b = args[1] % x.ndim, args[2] % x.ndim
        order[a], order[b] = order[b], order[a]
    elif name == "unsqueeze":
        order.insert(args[1] % (x.ndim + 1), None)
    elif name in ("select", "unbind"):
        del order[(args[1] if len(args) > 1 else 0) % x.ndim]
    elif name == "squeeze":
        dims = args[1] if len(args) > 1 else range(x.ndim)
        gone = {dim % x.ndim for dim in ([dims] if isinstance(dims, int) else dims)}
        order = [dim for dim in order if dim not in gone or x.shape[dim or 0] != 1]
    else:
        return None
    return order


def _reordered(seen: Field, axes: list[int], order: Sequence[int | None]) -> Field | None:
    if any(axis not in order for axis in axes):
        return None
    height, width = (order.index(axis) - len(order) for axis in axes)
    return replace(seen, axes=(height, width))
