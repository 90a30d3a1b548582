"""What fine-tuning needs to know of timm's backbones: their layers from input to output, drop path, norms."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from torch import nn

from hwcls.errors import UserError
from hwcls.models.skip_init import skip_init

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def layer_scales(backbone: nn.Module, name: str, decay: float) -> dict[str, float]:
    """`decay` to the power of each weight's distance from the head, in timm's layers: by the weight's name.

    As timm's `param_groups_layer_decay` has it for the model with its classifier, which is the last layer; a final
    norm that timm counts with the classifier has 1. Raises UserError where timm knows no layers of the model.
    """
    from timm.models import group_parameters

    matcher: Any = getattr(backbone, "group_matcher", None)
    settings: dict[str, Any] = getattr(backbone, "pretrained_cfg", None) or {}
    head = settings.get("classifier") or "classifier"
    names = [name for name, _ in backbone.named_parameters()]
    classifier = f"{head if isinstance(head, str) else head[0]}.weight"
    whole: Any = SimpleNamespace(named_parameters=lambda: [(one, None) for one in (*names, classifier)])
    try:
        layers = group_parameters(whole, matcher(), reverse=True)
    except Exception:  # none, or one that cannot tell
        layers = {}
    if len(set(layers.values())) < 2:
        what = f"timm knows no layers of {name}, so that their learning rates cannot differ"
        remedy = "remove layer_decay: backbone_lr lowers the rate of all of them"
        raise UserError(what, where="model.layer_decay", remedy=remedy)
    return {one: decay ** (max(layers.values()) - layers[one]) for one in names}


def require_drop_path(name: str) -> None:
    """Raise UserError where a backbone has no drop path."""
    if not _has_drop_path(name):
        what = f"{name} has no blocks that could be dropped (drop path, stochastic depth)"
        raise UserError(what, where="model.drop_path", remedy="remove drop_path, or take another backbone")


@lru_cache(maxsize=256)
def _has_drop_path(name: str) -> bool:
    import timm
    from timm.layers.drop import DropPath

    try:
        with skip_init():
            model = timm.create_model(name, num_classes=0, drop_path_rate=0.5)
    except TypeError:  # an argument that it does not know
        return False
    return any(isinstance(module, DropPath) for module in model.modules())


def require_batch_norm(backbone: nn.Module, name: str) -> None:
    """Raise UserError where a backbone has no BatchNorm."""
    if not batch_norms(backbone):
        what = f"{name} has no BatchNorm, whose statistics could be frozen"
        raise UserError(what, where="model.frozen_norm", remedy="remove frozen_norm")


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """The BatchNorms of a model."""
    return [module for module in model.modules() if isinstance(module, BATCH_NORMS)]
