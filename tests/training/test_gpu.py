"""GPUs that were asked for, or whose driver is installed, but that torch cannot use."""

import pytest
import torch

import hwcls
from hwcls.errors import UserError
from hwcls.training import gpu


@pytest.fixture
def broken(monkeypatch, tmp_path):
    """A machine with a driver that torch cannot use."""
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr(gpu, "NVIDIA_DRIVER", str(tmp_path / "nvidiactl"))
    monkeypatch.setattr(gpu, "GPU_DRIVERS", (gpu.NVIDIA_DRIVER,))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return monkeypatch


def test_a_gpu_that_torch_cannot_use_is_an_error_of_a_trial_that_has_it(broken):
    with pytest.raises(UserError, match=r"has a GPU, but torch .* cannot use it — run `hwcls doctor`, or set gpus_per"):
        gpu.require_gpu()
    broken.setattr(torch.cuda, "is_available", lambda: True)
    gpu.require_gpu()


def test_a_driver_that_torch_cannot_use_is_an_error(broken):
    with pytest.raises(UserError) as caught:
        gpu.refuse_unusable_driver("set this")
    what = f"an NVIDIA driver is installed, but torch {torch.__version__} cannot use it"
    assert str(caught.value) == f"{what} — run `hwcls doctor`, or set this to train on CPUs"
    broken.setattr(torch.version, "cuda", None)
    with pytest.raises(UserError, match="is built for CPUs"):
        gpu.refuse_unusable_driver("set this")


def test_without_a_driver_or_where_the_user_hides_the_gpus_the_cpu_is_meant(broken, tmp_path):
    for hidden in ("", "-1"):
        broken.setenv("CUDA_VISIBLE_DEVICES", hidden)
        gpu.refuse_unusable_driver("set this")
    broken.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(UserError):
        gpu.refuse_unusable_driver("set this")
    broken.setattr(gpu, "NVIDIA_DRIVER", str(tmp_path / "absent"))
    gpu.refuse_unusable_driver("set this")
    broken.setattr(torch.cuda, "is_available", lambda: True)
    assert gpu.has_gpu_driver()


def test_a_process_of_its_own_finds_this_hwcls_and_says_why_it_failed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("HIDDEN", "1")
    look = "import hwcls, os; print(hwcls.__file__, os.environ.get('HIDDEN'))"
    assert gpu.run_apart(["-c", look], 60.0, "HIDDEN") == (f"{hwcls.__file__} None\n", "")
    assert gpu.run_apart(["-c", "print('first', flush=True); raise OSError('lost')"], 60.0) == (
        "first\n",
        "OSError: lost",
    )
    assert gpu.run_apart(["-c", "import os; os._exit(3)"], 60.0) == ("", "its process ended with 3")
    hangs = "import time; print('first', flush=True); time.sleep(60)"
    assert gpu.run_apart(["-c", hangs], 1.0)[1] == "no answer in 1 s"
