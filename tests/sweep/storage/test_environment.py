"""The hardware and the versions in environment.json."""

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


def test_the_version_of_hwcls_is_that_of_the_code(monkeypatch, tmp_path):
    """Not that of an installed copy, which may be another one than the clone that runs."""
    monkeypatch.setattr(environment, "__version__", "7.8.9")
    monkeypatch.setattr(environment, "_hardware", dict)
    environment.write_environment(tmp_path, {})
    assert environment.package_version("no_such_package") is None
    assert '"hwcls": "7.8.9"' in (tmp_path / "environment.json").read_text("utf-8")
