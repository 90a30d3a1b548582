"""timm's weights where an earlier download left them: the cache of the Hugging Face hub, or torch's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hwcls.models.weights.source import SOURCES, FoundWeights, NotFound, WeightSource

FILES = ("model.safetensors", "pytorch_model.safetensors", "pytorch_model.bin")  # the names that timm uses


@SOURCES.register("cache")
class TimmCache(WeightSource):
    """Where timm itself looks before it downloads."""

    def look(self, backbone: str, pretrained: bool | str) -> FoundWeights | NotFound | None:
        import timm

        known = timm.get_pretrained_cfg(backbone)
        if pretrained is not True or known is None or not known.has_weights:
            return None
        path = Path(known.file) if known.file else find_cached(known)
        if path is None:
            return NotFound("cache", backbone, str(_folder(known)), f"not in timm's cache ({_folder(known)})")
        return FoundWeights("cache", backbone, str(path), path, "timm's cache")

    @property
    def may_have_some(self) -> bool:
        return any(any(Path(folder).expanduser().glob("[!.]*")) for folder in _caches())


def find_cached(known: Any) -> Path | None:
    """The file of timm's weights in the hub's or torch's cache; None where it is not there."""
    if not known.hf_hub_id:
        path = _folder(known)
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    for name in file_names(known):
        found = try_to_load_from_cache(known.hf_hub_id, name)
        if isinstance(found, str):
            return Path(found)
    return None


def file_names(known: Any) -> tuple[str, ...]:
    """The names that the file of timm's weights may have at the hub, those to try first at the front."""
    return (known.hf_hub_filename,) if known.hf_hub_filename else FILES


def _folder(known: Any) -> Path:
    """The folder of the hub's cache, or the file of torch's, that would have the weights."""
    if known.hf_hub_id:
        from huggingface_hub import constants

        return Path(constants.HF_HUB_CACHE, f"models--{known.hf_hub_id.replace('/', '--')}")
    from torch.hub import get_dir

    return Path(get_dir(), "checkpoints", Path(str(known.url)).name)


def _caches() -> tuple[Path, Path]:
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    hub = os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or caches / "huggingface", "hub")
    torch_hub = Path(os.environ.get("TORCH_HOME") or caches / "torch", "hub", "checkpoints")
    return Path(hub), torch_hub
