"""Histograms of weights and gradients, layer by layer, at epochs 1, 2, 4, 8, ... and the last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

BINS = 32
LAYERS = 32  # at most, spread over the depth; keeps the file small
SAMPLE = 65_536  # values counted per layer; more would only cost time


class Histograms:
    """One histogram of BINS equal bins between minimum and maximum for each layer and kept epoch (H of them)."""

    def __init__(self, kind: str) -> None:
        self.kind = kind  # "weights" or "gradients"
        self.layers: list[str] = []
        self.counts: dict[int, Tensor] = {}  # epoch -> (L, BINS) int32, on the device
        self.ends: dict[int, Tensor] = {}  # epoch -> (L, 2), minimum and maximum

    def add(self, values: Mapping[str, Tensor], epoch: int) -> None:
        """Count the values of an epoch; of earlier epochs, powers of two are kept."""
        chosen = _spread(list(values))
        if not chosen:
            return
        if chosen != self.layers:  # a part was frozen until now: the epochs since then are kept
            self.layers, self.counts, self.ends = chosen, {}, {}
        found = [histogram(values[name]) for name in chosen]
        self.counts[epoch] = torch.stack([counts for counts, _ in found])
        self.ends[epoch] = torch.stack([ends for _, ends in found])
        for old in [old for old in self.counts if old & (old - 1) and old != epoch]:
            del self.counts[old], self.ends[old]

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """`<kind>/epochs` (H,), `<kind>/<layer>/counts` (H, BINS) int32 and `.../edges` (H, BINS + 1) float32."""
        if not self.counts:
            return {}
        found: dict[str, np.ndarray[Any, Any]] = {f"{self.kind}/epochs": np.array(list(self.counts), np.int32)}
        counts = torch.stack(list(self.counts.values())).cpu().numpy()  # (H, L, BINS)
        ends = torch.stack(list(self.ends.values())).cpu().numpy()  # (H, L, 2)
        for place, name in enumerate(self.layers):
            found[f"{self.kind}/{name}/counts"] = counts[:, place]
            edges = np.linspace(ends[:, place, 0], ends[:, place, 1], BINS + 1, axis=1)
            found[f"{self.kind}/{name}/edges"] = edges.astype(np.float32)
        return found

    def state(self) -> dict[str, Any]:
        return {"layers": list(self.layers), "counts": dict(self.counts), "ends": dict(self.ends)}

    def load_state(self, state: dict[str, Any]) -> None:
        self.layers, self.counts, self.ends = list(state["layers"]), dict(state["counts"]), dict(state["ends"])


def histogram(values: Tensor) -> tuple[Tensor, Tensor]:
    """Counts (BINS,) int32 of equal bins and the ends (2,) of their range, without a device sync.

    Above SAMPLE values, evenly spaced ones are counted; values that are not finite count as zero.
    """
    flat = values.detach().reshape(-1)
    flat = flat[:: -(-flat.numel() // SAMPLE) | 1]  # an odd step: an even one would sample a single column of a kernel
    flat = torch.nan_to_num(flat, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = torch.aminmax(flat)
    width = (high - low).clamp_min(torch.finfo(flat.dtype).tiny)
    place = ((flat - low) / width * BINS).long().clamp_(0, BINS - 1)
    counts = torch.zeros(BINS, dtype=torch.int32, device=flat.device)
    counts.scatter_add_(0, place, torch.ones_like(place, dtype=torch.int32))
    return counts, torch.stack([low, high])


def _spread(names: list[str]) -> list[str]:
    """At most LAYERS of the names, the first and the last among them."""
    if len(names) <= LAYERS:
        return names
    return [names[round(i * (len(names) - 1) / (LAYERS - 1))] for i in range(LAYERS)]
