"""What of a data set is kept in a GPU's memory."""

from __future__ import annotations

import logging

import pytest
import torch

from hwcls.data.transfer import upload as module
from hwcls.data.transfer.upload import fits, try_upload, upload

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A GPU of 100 bytes, 50 of them free, 10 reserved by torch, which uses 4."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (50, 100))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 10)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 4)
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: 1.0)
    return monkeypatch


def test_a_fifth_of_the_gpu_is_left_to_the_model_and_unused_memory_of_torch_counts_as_free(
    gpu: pytest.MonkeyPatch,
) -> None:
    assert fits(35, GPU)
    assert not fits(36, GPU)
    assert not fits(0, CPU)


def test_a_process_with_a_share_of_the_gpu_uses_no_more(gpu: pytest.MonkeyPatch) -> None:
    gpu.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: 0.5)
    assert fits(35, GPU)  # 40 of its 50 are left, 6 of torch's are unused, and a fifth of 50 is the model's
    assert not fits(36, GPU)
    gpu.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: 0.25)
    assert fits(15, GPU)
    assert not fits(16, GPU)


@pytest.mark.parametrize("rows", [[1, 2, 5, 9, 3], [0], []])
def test_pixels_are_uploaded_part_by_part(monkeypatch: pytest.MonkeyPatch, rows: list[int]) -> None:
    images = torch.arange(40, dtype=torch.uint8).view(10, 4)
    sizes = []

    class Images:
        shape = images.shape

        def __getitem__(self, some: torch.Tensor) -> torch.Tensor:
            sizes.append(len(some))
            return images[some]

    monkeypatch.setattr(module, "UPLOADED", 9)  # two images
    out = torch.empty(len(rows), 4, dtype=torch.uint8)
    upload(Images(), torch.tensor(rows, dtype=torch.int64), out)  # type: ignore[arg-type]
    assert torch.equal(out, images[torch.tensor(rows, dtype=torch.int64)])
    assert max(sizes, default=0) <= 2


def test_several_parts_lie_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "fits", lambda size, device: size == 2 * 3 * 4 * 4)
    parts, rows = [torch.randn(10, 4), torch.randn(10, 4)], torch.tensor([3, 1, 9])
    found = try_upload(parts, rows, CPU)
    assert found is not None
    assert torch.equal(found, torch.cat([part[rows] for part in parts]))
    assert try_upload(parts, rows[:2], CPU) is None  # by its size


def test_memory_that_runs_out_during_the_upload_is_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where another process takes it after it was looked at."""

    def short(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 186.26 GiB")

    monkeypatch.setattr(module, "fits", lambda size, device: True)
    monkeypatch.setattr(module, "upload", short)
    with caplog.at_level(logging.INFO, logger=module.__name__):
        assert try_upload([torch.zeros(4, 2)], torch.arange(4), CPU) is None
    assert [record.getMessage() for record in caplog.records] == [
        "memory ran out while data was copied to cpu: each batch is copied instead"
    ]
