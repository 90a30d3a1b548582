"""A split's pixels and labels for a device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from hwcls.data.enlarged import flat_images
from hwcls.data.imageset import Split
from hwcls.data.transfer.staging import Stage
from hwcls.data.transfer.upload import try_upload

ON_HOST = ("cpu",)  # kinds of device that work on host memory itself


class Pixels:
    """The memory map itself on a CPU, one upload where a GPU has room, else batches that are copied when they are used.

    Attributes:
        labels: (N,) int64 on the device.
        resident: Whether `take` never waits for the host.
    """

    _known: ClassVar[WeakKeyDictionary[Split, dict[torch.device, Pixels]]] = WeakKeyDictionary()

    def __init__(self, split: Split, device: torch.device) -> None:
        images: Tensor
        images, rows = flat_images(split.images), torch.from_numpy(split.rows)  # (M, S*S*C) uint8
        self.side, self.channels = split.images.shape[1], split.images.shape[3]
        uploaded = try_upload([images], rows, device)
        if uploaded is not None:
            images, rows = uploaded, torch.arange(len(rows), device=device)
        self.resident = uploaded is not None or device.type in ON_HOST
        self.images, self.rows, self.device = images, rows, device
        self.labels = torch.from_numpy(split.labels).to(device)

    @classmethod
    def cached(cls, split: Split, device: torch.device) -> Pixels:
        """The one copy for this split and device; it lives as long as the split does."""
        devices = cls._known.setdefault(split, {})
        if device not in devices:
            devices[device] = cls(split, device)
        return devices[device]

    def take(self, index: Tensor) -> Tensor:
        """(b, S, S, C) uint8 of some positions (b,) of the split; waits for the host where it is not resident."""
        found = self.images.index_select(0, self.rows[index.to(self.rows.device)]).to(self.device)
        return self.shaped(found)

    def stage(self, requests: Iterable[Tensor], largest: int) -> Stage | None:
        """What makes batches of positions ready in advance, as (b, S*S*C); None where `take` does not wait.

        Args:
            requests: The positions of each batch, (b,) int64 on the CPU.
            largest: Of their lengths; 0: there are none.
        """
        if self.resident or not largest:
            return None
        shape = largest, self.images.shape[1]
        return Stage(self._read, (self.rows[index] for index in requests), shape, torch.uint8, self.device)

    def shaped(self, rows: Tensor) -> Tensor:
        """(b, S*S*C) as (b, S, S, C)."""
        return rows.view(len(rows), self.side, self.side, self.channels)

    def _read(self, rows: Tensor, out: Tensor) -> None:
        if isinstance(self.images, Tensor):
            torch.index_select(self.images, 0, rows, out=out)
        else:  # enlarged when they are read
            out.copy_(self.images[rows])
