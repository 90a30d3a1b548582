"""A rank's process without Ray."""

import pytest
import torch

from hwcls.sweep.run.worker import Rank


@pytest.mark.parametrize(("share", "device"), [(0.25, "cuda:0"), (1.0, "cuda:0"), (0.0, "cpu")])
def test_a_rank_that_joins_takes_its_share_of_a_gpu(monkeypatch, tmp_path, share, device):
    limits = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr("hwcls.training.memory.limit_memory", lambda share, device: limits.append((share, device)))
    rank = Rank(0, 1, 1, share, str(tmp_path / "stacks"))
    try:
        rank.join("127.0.0.1:1", 60.0)
        assert limits == [(share, torch.device(device))]
    finally:
        rank.stacks.close()
