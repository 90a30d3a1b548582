"""Backbones of timm: found, checked for the image size, built with their weights."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from hwcls.errors import UserError, ask_for, did_you_mean, nearest_names
from hwcls.models.fine_tuning import batch_norms, require_drop_path
from hwcls.models.layers import Head
from hwcls.models.skip_init import skip_init
from hwcls.models.weights.find import fetch_weights
from hwcls.models.weights.load import load_backbone
from hwcls.synonyms import plain

SIZES = (32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384)  # that a remedy may name


class TimmModel(nn.Module):
    """`head` on the pooled features of `backbone`: (B, C, H, W) to (B, classes).

    A frozen backbone stays in evaluation mode, also in training, and keeps nothing for a backward pass. With
    `frozen_norm` the BatchNorms of one that is trained keep their statistics and normalise by them.
    """

    def __init__(self, backbone: nn.Module, head: Head, frozen: bool, frozen_norm: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.frozen_norm = frozen_norm
        self.trained = {name for name, weight in backbone.named_parameters() if weight.requires_grad}
        self.freeze(frozen)

    def freeze(self, frozen: bool) -> None:
        """Freeze the backbone, or train those of its weights that timm trains."""
        self.frozen = frozen
        for name, weight in self.backbone.named_parameters():
            weight.requires_grad_(name in self.trained and not frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> TimmModel:
        """Switch to training mode, except what is frozen."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        elif self.frozen_norm:
            for norm in batch_norms(self.backbone):
                norm.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features = self.backbone(x)  # (B, features)
        logits: Tensor = self.head(features)  # (B, classes)
        return logits


def build_backbone(
    name: str,
    pretrained: bool | str,
    *,
    stem: str,
    needs_trained_stem: bool,
    channels: int,
    image_size: int,
    drop_path: float = 0.0,
) -> tuple[nn.Module, int]:
    """timm's backbone without its classifier, and the length of its pooled features.

    Pretrained weights are converted to the number of channels as timm does (grey: the sum over RGB); `stem="small"`
    replaces a 7x7 first convolution by a 3x3 with new weights, or with those of a file that was trained so. Raises
    UserError for an unknown name, images it cannot take, weights that are not available or for another stem.
    """
    if not name:
        raise UserError("no backbone named", where="model.backbone", remedy="for example resnet18")
    _check_backbone(name)
    features, options, _ = _fit_backbone(name, stem, channels, image_size)
    if drop_path:
        require_drop_path(name)
    backbone, was_small = _create_backbone(
        name, pretrained, dict(options) | ({"drop_path_rate": drop_path} if drop_path else {})
    )
    if was_small and stem != "small":
        what = f"'{pretrained}' was trained with the small stem of {name}"
        raise UserError(what, where="model.stem", remedy="set model.stem to small")
    if stem == "small":
        fresh = _make_stem_small(backbone, name, channels, was_small)
        if fresh and needs_trained_stem:
            raise UserError(
                f"the small stem of {name} has new weights, which no frozen backbone and no probe would train",
                where="model.stem",
                remedy="set model.stem to standard, or model.frozen to false and model.start to random",
            )
    return backbone, features


def _check_backbone(backbone: str) -> None:
    """Raise UserError with the nearest names where timm has no such backbone."""
    import timm

    name, _, tag = backbone.partition(".")
    if not timm.is_model(name):
        raise UserError(
            f"timm has no backbone '{backbone}'",
            where="model.backbone",
            remedy=_nearest(name, timm.list_models()),
        )
    tags = {full.partition(".")[2] for full in timm.list_models(f"{name}.*", pretrained=True)}
    if tag and tag not in tags:
        what = f"timm's {name} has no weights '{tag}'"
        raise UserError(what, where="model.backbone", remedy=did_you_mean(tag, sorted(tags)))


def _nearest(name: str, known: list[str]) -> str:
    """The remedy of the nearest names: timm has more than a thousand."""
    same = [one for one in known if plain(one) == plain(name)]
    return ask_for(same[:1] or nearest_names(name, known)) or "timm.list_models() shows every name"


def _create_backbone(name: str, pretrained: bool | str, options: dict[str, Any]) -> tuple[nn.Module, bool]:
    """timm's model without classifier, weights loaded, and whether they were trained with a small stem."""
    import timm

    if pretrained:
        return load_backbone(fetch_weights(name, pretrained), options)
    return timm.create_model(name, **options), False


def unseen_edge(backbone: str, stem: str, channels: int, image_size: int) -> str | None:
    """Which pixels a backbone does not see because its patches end before the images do; None: it sees all."""
    return _fit_backbone(backbone, stem, channels, image_size)[2]


@lru_cache(maxsize=256)  # a sweep builds the same backbone many times
def _fit_backbone(
    backbone: str, stem: str, channels: int, image_size: int
) -> tuple[int, tuple[tuple[str, Any], ...], str | None]:
    """The length of the pooled features, from one forward pass, the arguments of timm that it takes, and `unseen_edge`.

    timm alone decides what fits. Raises UserError.
    """
    error: Exception | None = None
    for options in _model_options(backbone, channels, image_size):
        try:
            # the generator's state must not depend on the cache
            with skip_init():
                shape, unseen = _run_backbone(backbone, stem, image_size, options)
        except UserError:
            raise
        except Exception as failed:
            error = error or failed
            continue
        if len(shape) != 2 or not shape[1]:
            raise UserError(f"{backbone} does not output pooled features but {shape}", where="model.backbone")
        return int(shape[1]), tuple(options.items()), unseen
    reason = " ".join(str(error).split())[:240]
    what = f"{backbone} cannot take {channels}x{image_size}x{image_size} images: {reason}"
    remedy = _size_remedy(backbone, stem, channels, image_size)
    raise UserError(what, where="model.backbone", remedy=remedy) from error


def _model_options(backbone: str, channels: int, image_size: int) -> list[dict[str, Any]]:
    """The arguments of create_model for pooled features of these images, those to try first at the front."""
    import timm

    options: dict[str, Any] = {"num_classes": 0, "in_chans": channels}
    settings = timm.get_pretrained_cfg(backbone)
    if settings is not None and settings.fixed_input_size:  # most of these have a number of tokens that is fixed
        return [{**options, "img_size": image_size}, options]
    return [options]


def _run_backbone(
    backbone: str, stem: str, image_size: int, options: dict[str, Any]
) -> tuple[tuple[int, ...], str | None]:
    """The shape of the features of two images, and `unseen_edge`; raises whatever timm does."""
    import timm

    model = timm.create_model(backbone, **options).eval()
    if stem == "small":
        _make_stem_small(model, backbone, options["in_chans"])
    unseen: list[tuple[int, int, int]] = []  # kernel, stride and the first pixel that no patch has

    def check_edges(conv: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        kernel, stride, padding = (getattr(conv, name)[0] for name in ("kernel_size", "stride", "padding"))
        if kernel >= stride and not isinstance(padding, str):
            end = (output.shape[-1] - 1) * stride + kernel - padding  # of the last pixel that it sees
            if end < inputs[0].shape[-1]:
                unseen.append((kernel, stride, end))

    for module in getattr(model, "patch_embed", nn.Identity()).modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(check_edges)
    with torch.no_grad():
        shape = tuple(model(torch.empty(2, options["in_chans"], image_size, image_size)).shape)  # (2, features)
    if not unseen:
        return shape, None
    kernel, stride, end = unseen[0]
    size = next(size for size in range(image_size, image_size + stride + 1) if (size - kernel) % stride == 0)
    remedy = f"with data.image_size {max(size, kernel)} it sees all"
    pixels = f"the last {image_size - end} of {image_size} pixels, right and bottom"
    return shape, f"{backbone}, whose patches have {kernel} pixels, does not see {pixels}; {remedy}"


def _size_remedy(backbone: str, stem: str, channels: int, image_size: int) -> str:
    """The next size of images that a backbone takes, as timm finds on the meta device, which takes no memory."""
    import timm

    settings = timm.get_pretrained_cfg(backbone)
    own = settings.input_size[-1] if settings is not None and settings.input_size else 224
    for size in sorted({*SIZES, own}):
        for options in _model_options(backbone, channels, size) if size > image_size else []:
            try:
                with torch.device("meta"):
                    _run_backbone(backbone, stem, size, options)
                return f"set data.image_size to {size}"
            except Exception:
                continue
    return "take another backbone"


def _make_stem_small(model: nn.Module, backbone: str, channels: int, was_small: bool = False) -> bool:
    """Adapt a ResNet or EfficientNet to small images: a stride-1 3x3 stem without pooling.

    Returns whether its first convolution has new weights; with `was_small` they are the middle of the one that it has.
    Raises UserError where there is no such stem.
    """
    resnet = hasattr(model, "maxpool") and hasattr(model, "layer1")
    stem = getattr(model, "conv1" if resnet else "conv_stem", None)
    first = stem[0] if isinstance(stem, nn.Sequential) else stem  # ResNet-D has three convolutions in its stem
    if not isinstance(first, nn.Conv2d):
        raise UserError(
            f"{backbone} has no stem that can be made small",
            where="model.stem",
            remedy="set model.stem to standard, or take a ResNet or EfficientNet",
        )
    kept = first.kernel_size == (3, 3)
    if kept:
        first.stride = (1, 1)  # its weights are kept, also pretrained ones
    else:
        model.conv1 = nn.Conv2d(channels, first.out_channels, 3, 1, 1, bias=first.bias is not None)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
        if was_small:
            model.conv1.weight.data.copy_(first.weight.data[..., 2:5, 2:5])
    if resnet:
        model.maxpool = nn.Identity()
    return not kept and not was_small
