"""Micro-batches: the batch size of the search is kept, whatever fits into memory."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable

import torch
from torch import Tensor, nn

from hwcls.errors import UserError
from hwcls.training.distributed import World

PROBED = ("cuda",)  # the kinds of device on which memory is tried; a CPU's gives way to the disk first
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1  # of glibc's malloc.h

Attempt = Callable[[int], None]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that device memory ran out, cuBLAS and cuDNN included."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
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


def keep_freed() -> None:
    """Let freed host memory stay with the process, where its C library is glibc.

    By default glibc gives large tensors back to the system, which hands them out anew a page at a time, zeroed: in each
    step again.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_MMAP_THRESHOLD, 1 << 30) or mallopt(M_MMAP_THRESHOLD, 1 << 25)  # the most before glibc 2.35
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def free_memory() -> None:
    """Give back what nothing refers to any more, to the device and to the system."""
    gc.collect()
    trim_freed()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def trim_freed() -> None:
    """Give the system what `keep_freed` kept."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def halved(size: int, unit: int = 1) -> int:
    """The next smaller micro-batch: half of `size`, rounded up to a multiple of `unit`.

    Raises:
        UserError: `size` is as small as can be.
    """
    if size <= unit:
        what = "a single image" if unit == 1 else f"a single group of {unit} images"
        remedy = "use a smaller model" if unit == 1 else "use a smaller model or norm_batch"
        raise UserError(f"the model does not fit into memory with {what}", remedy=remedy)
    return -(-size // (2 * unit)) * unit


def fit_micro_batch(start: int, attempt: Callable[[int], None], world: World, unit: int = 1) -> int:
    """The largest of start, start/2, start/4, ... images per rank for which `attempt` fits into memory on every rank.

    Powers of two, so that the same few sizes come again in a sweep over batch sizes; all are multiples of `unit`.

    Raises:
        UserError: not even a single image (or `unit` of them) fits.
    """
    size = max(unit, start)
    while True:
        failed = False
        try:
            attempt(size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            failed = True  # freed below, outside the handler, which would keep the tensors alive
        if not world.any(failed):
            if world.device.type == "cuda":  # the most that a step takes is not what was tried
                torch.cuda.reset_peak_memory_stats(world.device)
            return size
        free_memory()
        size = halved(size, unit)


def probe(model: nn.Module, shape: tuple[int, int, int], copies: int, forward: Callable[[Tensor], Tensor]) -> Attempt:
    """An attempt for `fit_micro_batch`: forward and backward of images of `shape` (C, H, W), on this rank alone.

    `copies` of the weights are held meanwhile, for what the optimizer and DDP will take later.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]

    def attempt(size: int) -> None:
        like = next(model.parameters())
        held = [torch.empty_like(weight) for _ in range(copies) for weight in weights]
        images = torch.zeros(size, *shape, device=like.device, dtype=like.dtype)  # (B, C, H, W)
        try:
            forward(images.contiguous(memory_format=torch.channels_last)).sum().backward()  # type: ignore[no-untyped-call]
        finally:
            held.clear()
            model.zero_grad(set_to_none=True)

    return attempt
