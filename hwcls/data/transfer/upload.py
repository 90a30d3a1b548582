"""What of a data set is kept in a GPU's memory."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import torch
from torch import Tensor

RESERVED = 0.2  # share of a GPU's memory
UPLOADED = 2**28  # bytes at once

_log = logging.getLogger(__name__)


def fits(size: int, device: torch.device) -> bool:
    """Whether `size` bytes of pixels are kept on `device`: a GPU's model needs RESERVED of what the process may use."""
    if device.type != "cuda":
        return device.type != "cpu"
    free, total = torch.cuda.mem_get_info(device)
    reserved = torch.cuda.memory_reserved(device)
    allowed = torch.cuda.get_per_process_memory_fraction(device) * total
    unused = reserved - torch.cuda.memory_allocated(device)
    return size < min(free, allowed - reserved) + unused - RESERVED * allowed


def try_upload(parts: Sequence[Tensor], rows: Tensor, device: torch.device) -> Tensor | None:
    """The `rows` (N,) of several (M, P) tensors one after the other on `device`, (V * N, P).

    None where they do not fit, and where memory runs out although they should.
    """
    shape = len(parts), len(rows), parts[0].shape[1]
    if not fits(math.prod(shape) * parts[0].dtype.itemsize, device):
        return None
    try:
        found = torch.empty(shape, dtype=parts[0].dtype, device=device)
        for part, out in zip(parts, found, strict=True):
            upload(part, rows, out)
        return found.flatten(0, 1)
    except torch.OutOfMemoryError:  # another process has taken the memory meanwhile
        _log.info("memory ran out while data was copied to %s: each batch is copied instead", device)
    return None


def upload(images: Tensor, rows: Tensor, out: Tensor) -> None:
    """Copy the `rows` (N,) of (M, P) pixels into `out`, (N, P): a part at a time, for the host may not hold all."""
    step = max(1, UPLOADED // max(1, images.shape[1]))
    for start in range(0, len(rows), step):
        out[start : start + step] = images[rows[start : start + step]].to(out.device)
