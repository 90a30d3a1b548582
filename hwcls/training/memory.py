"""Memory of the process and of the device: how it is kept, freed, and how running out of it looks."""

from __future__ import annotations

import ctypes
import gc

import torch

OUT_OF_MEMORY = (
    *("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"),
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
)
NO_ENGINE = "unable to find an engine"  # of cuDNN: none that works, or none whose workspace fits
NO_HANDLE = ("CUBLAS_STATUS_NOT_INITIALIZED", "CUDNN_STATUS_NOT_INITIALIZED")
LITTLE = 2**30  # bytes: with less for tensors, NO_ENGINE means that memory ran out
HANDLE = 2**28  # bytes of a library's handle and kernels, which it takes from the driver: what torch keeps is no help
CONTEXT = 2**29  # bytes that a process takes of a GPU before it allocates any tensor
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1  # of glibc's malloc.h


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that device memory ran out; cuBLAS and cuDNN have errors of their own for it."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error)
    if not isinstance(error, RuntimeError):
        return False
    return any(words in text for words in OUT_OF_MEMORY) or _is_little_free(text)


def _is_little_free(text: str) -> bool:
    """Whether so little is free that an error with this text, which may mean other things as well, means that."""
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return False
    device = torch.device("cuda", torch.cuda.current_device())
    try:
        if NO_ENGINE in text:
            return available_bytes(device) < LITTLE
        return any(words in text for words in NO_HANDLE) and torch.cuda.mem_get_info(device)[0] < HANDLE
    except RuntimeError:  # the GPU is lost
        return False


def available_bytes(device: torch.device) -> int:
    """What this process can still allocate on a GPU: what is free there or kept by torch, within its limit."""
    free, total = torch.cuda.mem_get_info(device)
    allocated = torch.cuda.memory_allocated(device)
    unused = torch.cuda.memory_reserved(device) - allocated
    limit = int(torch.cuda.get_per_process_memory_fraction(device) * total)
    return min(free + unused, limit - allocated)


def step_bytes(device: torch.device, peak: int = 0) -> int:
    """What a step on a GPU takes for a time: as much as the highest peak, that so far or `peak` bytes."""
    return max(peak, torch.cuda.max_memory_allocated(device)) - torch.cuda.memory_allocated(device)


def limit_memory(share: float, device: torch.device) -> None:
    """Let this process have its share of a GPU's memory, in (0, 1], where others have the rest.

    What fits then does not depend on them. A process's CUDA context is outside of torch's count, and is left room for.
    """
    if device.type == "cuda" and 0 < share < 1:
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(max(share - CONTEXT / total, share / 2), device)


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
