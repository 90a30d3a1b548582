"""timm's weights at the Hugging Face hub or another address: asked once, with a limit of seconds."""

from __future__ import annotations

import threading
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from hwcls.models.weights.cache import file_names, find_cached
from hwcls.models.weights.source import SOURCES, FoundWeights, NotFound, WeightSource

PATIENCE = 5.0  # seconds until a hub that does not answer counts as unreachable

_reached: set[str] = set()  # addresses that answered this process


@SOURCES.register("hub")
class Hub(WeightSource):
    """Where timm downloads from."""

    def look(self, backbone: str, pretrained: bool | str) -> FoundWeights | NotFound | None:
        import timm

        known = timm.get_pretrained_cfg(backbone)
        if pretrained is not True or known is None or known.file or not known.has_weights:
            return None
        address = _address(known)
        return FoundWeights("hub", backbone, address, None, address)

    def reach(self, found: FoundWeights) -> NotFound | None:
        if found.place in _reached:
            return None
        errors: list[BaseException] = []
        known = _known(found)

        def ask() -> None:
            try:
                _ask(known)
            except BaseException as error:
                errors.append(error)

        # on a thread, as looking up a name has no timeout of its own
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(PATIENCE + 1)
        if asking.is_alive() or errors:
            why = _reason(errors[0]) if errors else "no answer"
            reason = f"the hub cannot be reached ({found.place}: {why})"
            return NotFound("hub", found.backbone, found.place, reason, f"{_command(known)} (where it can be reached)")
        _reached.add(found.place)
        return None

    def download(self, found: FoundWeights) -> Path:
        known = _known(found)
        if not known.hf_hub_id:
            from torch.hub import load_state_dict_from_url

            load_state_dict_from_url(known.url, map_location="cpu", progress=False, weights_only=True)
        elif find_cached(known) is None:
            from huggingface_hub import hf_hub_download
            from huggingface_hub.errors import RemoteEntryNotFoundError

            for name in file_names(known):
                try:
                    return Path(hf_hub_download(known.hf_hub_id, name))
                except RemoteEntryNotFoundError:
                    continue
        path = find_cached(known)
        if path is None:
            raise FileNotFoundError(f"{found.place} has none of {', '.join(file_names(known))}")
        return path


def _known(found: FoundWeights) -> Any:
    import timm

    return timm.get_pretrained_cfg(found.backbone)


def _address(known: Any) -> str:
    """Where a browser shows the weights, or downloads them."""
    if not known.hf_hub_id:
        return str(known.url)
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{known.hf_hub_id}"


def _command(known: Any) -> str:
    """What downloads the weights on a machine that reaches the hub."""
    return f"hf download {known.hf_hub_id}" if known.hf_hub_id else f"curl -LO {known.url}"


def _reason(error: BaseException) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"HTTP {status}" if status else type(error).__name__


def _ask(known: Any) -> None:
    """One short request to the weights' server; raises where it would not give the file."""
    if not known.hf_hub_id:
        request = urllib.request.Request(str(known.url), method="HEAD")
        urllib.request.urlopen(request, timeout=PATIENCE).close()
        return
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import RemoteEntryNotFoundError

    with suppress(RemoteEntryNotFoundError):  # then the file has another of its names
        get_hf_file_metadata(hf_hub_url(known.hf_hub_id, file_names(known)[0]), timeout=PATIENCE)
