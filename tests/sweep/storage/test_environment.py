"""The hardware in environment.json."""

import pytest
import torch

from hwcls.sweep.storage import environment


@pytest.mark.parametrize(("usable", "expected"), [(True, ["NVIDIA H200"] * 2), (False, [])])
def test_gpus_that_torch_cannot_use_are_not_asked_for_their_names(monkeypatch, usable, expected):
    def name(number):
        assert usable, "the driver on your system is too old"
        return "NVIDIA H200"

    monkeypatch.setattr(environment, "has_gpu_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: usable)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", name)
    assert environment._gpus() == expected
