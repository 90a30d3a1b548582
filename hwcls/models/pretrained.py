"""Pretrained weights: from a file of the user's, timm's cache, or the hub, which is contacted once with a timeout."""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path
from typing import Any

from hwcls.errors import UserError

PATIENCE = 5.0  # seconds until a hub that does not answer counts as unreachable
FILES = ("model.safetensors", "pytorch_model.safetensors", "pytorch_model.bin")  # the names that timm uses


def require_weights_file(path: str) -> None:
    """Raise UserError where the weights file does not exist."""
    if not Path(path).is_file():
        raise UserError("no such weights file", where=path, remedy="model.pretrained is true, false or a path")


def read_weights_file(path: str, backbone: str) -> dict[str, Any] | None:
    """timm's overlay that loads the weights in `path` strictly, all but the classifier.

    Reads .safetensors and .pth (only tensors are unpickled) with timm's names, and a trial's best.safetensors, of which
    the backbone is used. Raises UserError where the file is missing or holds no weights.
    """
    require_weights_file(path)
    import timm
    from timm.models import load_state_dict

    try:
        weights = load_state_dict(path, weights_only=True)
        weights = {name: weight for name, weight in weights.items() if hasattr(weight, "shape")}
    except Exception as error:
        raise UserError(
            f"unreadable as weights: {str(error)[:200]}",
            where=path,
            remedy="save them as .safetensors or with torch.save(model.state_dict(), ...)",
        ) from error
    prefix = "backbone."
    if any(name.startswith(prefix) for name in weights):  # a trial's best.safetensors
        weights = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    settings = timm.get_pretrained_cfg(backbone)
    classifiers = (settings.classifier if settings else None) or ()
    for classifier in (classifiers,) if isinstance(classifiers, str) else classifiers:
        for part in ("weight", "bias"):
            weights.pop(f"{classifier}.{part}", None)
    # with num_classes 0 on both sides timm's loader checks every other name
    return {"state_dict": weights, "num_classes": 0, "label_offset": 0}


def find_hub_weights(backbone: str) -> dict[str, Any]:
    """timm's overlay for its own weights of `backbone`: a cached file, or {} where the hub answers.

    Raises UserError where timm has none, or where they are not cached and the hub does not answer within seconds.
    """
    import timm

    settings = timm.get_pretrained_cfg(backbone)
    if settings is None or not settings.has_weights:
        raise UserError(
            f"timm has no weights for {backbone}",
            where="model.pretrained",
            remedy="set it to false, or to a weights file: pretrained: path/to/weights.safetensors",
        )
    if settings.file:
        return {}
    cached = _find_cached(settings)
    if cached:
        return {"file": cached}
    try:
        _check_hub(settings)
    except Exception as error:
        raise UserError(
            f"timm's weights for {backbone} are not cached and the hub cannot be reached ({type(error).__name__})",
            where="model.pretrained",
            remedy="give a file (pretrained: path/to/weights.safetensors) or set it to false",
        ) from error
    return {}


def find_offline_weights(backbone: str) -> str | None:
    """Where timm's own weights of `backbone` are on this machine; None where a hub would have to be asked."""
    import timm

    settings = timm.get_pretrained_cfg(backbone)
    if settings is None or not settings.has_weights:
        return None
    return str(settings.file) if settings.file else _find_cached(settings)


def may_have_weights() -> bool:
    """Whether there is any file in the caches of timm's weights; needs neither torch nor timm."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    hub = os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or caches / "huggingface", "hub")
    torch_hub = Path(os.environ.get("TORCH_HOME") or caches / "torch", "hub", "checkpoints")
    return any(any(Path(folder).expanduser().glob("[!.]*")) for folder in (hub, torch_hub))


def _find_cached(settings: Any) -> str | None:
    """The path of the weights in the hub's or torch's cache, if they are there."""
    if settings.hf_hub_id:
        from huggingface_hub import try_to_load_from_cache

        for name in (settings.hf_hub_filename,) if settings.hf_hub_filename else FILES:
            path = try_to_load_from_cache(settings.hf_hub_id, name)
            if isinstance(path, str):
                return None if settings.custom_load else path
        return None
    from torch.hub import get_dir

    path = Path(get_dir()) / "checkpoints" / Path(str(settings.url)).name
    return str(path) if path.is_file() and not settings.custom_load else None


def _check_hub(settings: Any) -> None:
    """One short request to the weights' server; any answer counts."""
    if settings.hf_hub_id:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url
        from huggingface_hub.errors import HfHubHTTPError

        try:
            get_hf_file_metadata(hf_hub_url(settings.hf_hub_id, settings.hf_hub_filename or FILES[0]), timeout=PATIENCE)
        except HfHubHTTPError as error:
            if error.response.status_code >= 500:
                raise
    else:
        request = urllib.request.Request(str(settings.url), method="HEAD")
        urllib.request.urlopen(request, timeout=PATIENCE).close()
