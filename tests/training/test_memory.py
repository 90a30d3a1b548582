import pytest
import torch

from hwcls.errors import UserError
from hwcls.training.distributed import World
from hwcls.training.memory import fit_micro_batch, is_out_of_memory

CPU = World(device=torch.device("cpu"))


def attempt_up_to(limit, tried):
    def attempt(size):
        tried.append(size)
        if size > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")

    return attempt


@pytest.mark.parametrize(("start", "limit", "expected"), [(64, 64, 64), (64, 20, 16), (50, 13, 13), (1, 1, 1)])
def test_halves_until_it_fits(start, limit, expected):
    tried = []
    assert fit_micro_batch(start, attempt_up_to(limit, tried), CPU) == expected
    assert tried[-1] == expected


def test_not_a_single_image():
    with pytest.raises(UserError, match="single image"):
        fit_micro_batch(8, attempt_up_to(0, []), CPU)


def test_other_errors_are_not_swallowed():
    def attempt(size):
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        fit_micro_batch(8, attempt, CPU)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("x"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_which_errors_mean_memory(error, expected):
    assert is_out_of_memory(error) is expected
