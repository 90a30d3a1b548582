"""Micro-batches: the batch size of the search is kept, whatever fits into memory."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

from hwcls.errors import UserError
from hwcls.training.distributed import World


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that device memory ran out, cuBLAS and cuDNN included."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(
        word in text
        for word in (
            "out of memory",
            "CUBLAS_STATUS_ALLOC_FAILED",
            "CUDNN_STATUS_ALLOC_FAILED",
            "can't allocate memory",
        )
    )


def fit_micro_batch(start: int, attempt: Callable[[int], None], world: World) -> int:
    """The largest of start, start/2, ... images per rank for which `attempt` fits into memory on every rank.

    Raises:
        UserError: not even a single image fits.
    """
    size = max(1, start)
    while True:
        failed = False
        try:
            attempt(size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) and not isinstance(error, MemoryError):
                raise
            failed = True  # freed below, outside the handler, which would keep the tensors alive
        if not world.any(failed):
            return size
        gc.collect()
        if world.device.type == "cuda":
            torch.cuda.empty_cache()
        if size == 1:
            raise UserError("the model does not fit into memory with a single image", remedy="use a smaller model")
        size = (size + 1) // 2
