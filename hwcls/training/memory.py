"""Memory of the process and of the device: how it is kept, freed, and how running out of it looks."""

from __future__ import annotations

import ctypes
import gc

import torch

M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1  # of glibc's malloc.h


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that device memory ran out; cuBLAS and cuDNN have errors of their own for it."""
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


def retain_freed_memory() -> None:
    """Keep freed host memory in the process, where its C library is glibc.

    By default glibc returns large tensors to the system, which hands them out again a page at a time, zeroed: in each
    step.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_MMAP_THRESHOLD, 1 << 30) or mallopt(M_MMAP_THRESHOLD, 1 << 25)  # the most before glibc 2.35
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def return_freed_memory() -> None:
    """Return what `retain_freed_memory` kept to the system."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def free_memory() -> None:
    """Free what nothing refers to any more, on the host and on the device."""
    gc.collect()
    return_freed_memory()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
