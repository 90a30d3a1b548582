"""Memory of a GPU: what an error means, and how much of it a process may take."""

from types import SimpleNamespace

import pytest
import torch

from hwcls.training.memory import CONTEXT, HANDLE, LITTLE, available_bytes, is_out_of_memory, limit_memory
from hwcls.training.step.graph import has_room

GPU = torch.device("cuda", 0)
TOTAL = 16 * 2**30


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of TOTAL bytes; its numbers can be changed."""
    state = {"free": TOTAL, "reserved": 0, "allocated": 0, "peak": 0, "limit": 1.0}
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (state["free"], TOTAL))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: state["reserved"])
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: state["allocated"])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: state["peak"])
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: state["limit"])
    properties = SimpleNamespace(total_memory=TOTAL)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    return state


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("x"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
        (ValueError("unable to find an engine"), False),
    ],
)
def test_errors_that_say_what_they_mean(gpu, error, expected):
    gpu["free"] = 0
    assert is_out_of_memory(error) is expected


@pytest.mark.parametrize(
    "text",
    [
        "GET was unable to find an engine to execute this computation",
        "FIND was unable to find an engine to execute this computation",
    ],
)
def test_errors_that_mean_it_where_little_is_free(gpu, monkeypatch, text):
    error = RuntimeError(text)
    assert not is_out_of_memory(error), "there is plenty"
    gpu["free"] = LITTLE - 1
    assert is_out_of_memory(error)
    gpu["reserved"] = LITTLE
    assert not is_out_of_memory(error), "torch keeps some that is unused"
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    gpu["reserved"] = 0
    assert not is_out_of_memory(error), "nothing runs on a GPU"


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
    ],
)
def test_a_librarys_handle_takes_memory_that_torch_does_not_keep(gpu, text):
    error = RuntimeError(text)
    gpu |= {"free": HANDLE, "limit": 0.01}
    assert not is_out_of_memory(error), "the limit is one for tensors"
    gpu |= {"free": HANDLE - 1, "reserved": 8 * 2**30, "limit": 1.0}
    assert is_out_of_memory(error), "what torch keeps for tensors is no help before it is freed"


def test_an_error_of_a_gpu_that_is_lost_is_not_of_its_memory(gpu, monkeypatch):
    def lost(device):
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(torch.cuda, "mem_get_info", lost)
    assert not is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED"))


def test_a_limit_counts_what_is_allocated(gpu):
    gpu |= {"free": TOTAL // 2, "reserved": 3 * 2**30, "allocated": 2 * 2**30}
    assert available_bytes(GPU) == TOTAL // 2 + 2**30
    gpu["limit"] = 0.25
    assert available_bytes(GPU) == TOTAL // 4 - 2 * 2**30


def test_a_graph_needs_room_within_the_limit(gpu):
    gpu |= {"allocated": 2**30, "reserved": 2**30}
    assert has_room(2 * 2**30, GPU)
    gpu["limit"] = 0.25
    assert not has_room(2 * 2**30, GPU), "3 GiB are left, 4 are needed"


@pytest.mark.parametrize(
    ("share", "device", "expected"),
    [
        (0.5, GPU, [0.5 - CONTEXT / TOTAL]),
        (0.05, GPU, [0.025]),
        (1.0, GPU, []),
        (2.0, GPU, []),
        (0.0, GPU, []),
        (0.5, torch.device("cpu"), []),
    ],
)
def test_a_share_of_a_gpu_is_a_limit(gpu, monkeypatch, share, device, expected):
    found = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda fraction, device: found.append(fraction))
    limit_memory(share, device)
    assert found == pytest.approx(expected)
