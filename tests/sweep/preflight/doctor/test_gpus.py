"""What the doctor says of GPUs: none, those that torch cannot use, those that fail or hang when they are tried."""

import json
import subprocess

import pytest
import torch

from hwcls.sweep.preflight.doctor import gpu_trials, gpus
from hwcls.sweep.preflight.doctor.check import Check

CPU = torch.device("cpu")
EACH = ["gpu", "memory", "bf16", "compile"]


@pytest.fixture
def driver(monkeypatch, tmp_path):
    """Installs an NVIDIA driver."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr(gpus, "NVIDIA_DRIVER", str(tmp_path / "nvidiactl"))
    monkeypatch.setattr(gpus, "GPU_DRIVERS", (gpus.NVIDIA_DRIVER,))


@pytest.fixture
def machine(monkeypatch):
    """A machine with GPUs; this process must not open a context on any."""

    def build(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: pytest.fail("a context"))

    return build


@pytest.fixture
def answers(monkeypatch):
    """What the process that tries the GPUs writes, or how it fails; returns its commands."""
    commands = []

    def build(*checks, error="", hangs=False, code=0):
        output = "".join(json.dumps(check.to_dict()) + "\n" for check in checks)

        def run(command, timeout, **options):
            commands.append(command)
            if hangs:
                raise subprocess.TimeoutExpired(command, timeout, output.encode())
            return subprocess.CompletedProcess(command, code, output, error)

        monkeypatch.setattr(subprocess, "run", run)
        return commands

    return build


def test_a_driver_without_a_gpu_is_wrong(machine, driver, monkeypatch):
    machine(0)
    (found,) = gpus.check_gpus()
    assert found.state == "wrong"
    assert found.found.startswith("an NVIDIA driver is installed, but torch")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (found,) = gpus.check_gpus()
    assert (found.state, found.found) == ("note", "hidden by CUDA_VISIBLE_DEVICES: trials run on CPU cores")


def test_no_gpu_is_no_error(machine, monkeypatch, tmp_path):
    machine(0)
    monkeypatch.setattr(gpus, "NVIDIA_DRIVER", str(tmp_path / "absent"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert list(gpus.check_gpus()) == [Check("gpu", "note", "none: trials run on CPU cores", "large models need a GPU")]


def test_one_gpu_is_tried_by_itself(machine, answers):
    machine(1)
    every = [Check(name, "ok", "cuda:0: fine") for name in EACH]
    commands = answers(*every)
    assert list(gpus.check_gpus()) == every
    assert [command[-2:] for command in commands] == [["each", "1"]]


def test_several_gpus_sum_over_all_of_them(machine, answers, monkeypatch):
    machine(2)
    commands = answers(Check("all-reduce", "wrong", "a sum over 2 ranks is wrong"))
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    *_, last = gpus.check_gpus()
    assert commands[-1][-2:] == ["all", "2"]
    assert (last.name, last.state, last.remedy) == ("all-reduce", "wrong", gpus.REMEDIES["all-reduce"])
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: False)
    *_, last = gpus.check_gpus()
    assert (last.name, last.state) == ("nccl", "wrong")


def test_the_trial_that_hangs_or_crashes_is_named(answers):
    """The first one without a result; those before it stay."""
    fine = [Check("gpu", "ok", "H200"), Check("memory", "ok", "cuda:0: fine")]
    answers(*fine, hangs=True)
    assert list(gpus._run_trials("each", 1, EACH)) == [
        *fine,
        Check("bf16", "wrong", "no answer in 180 s", gpus.REMEDIES["bf16"]),
    ]
    answers(*fine, Check("bf16", "ok", "fine"), error="Traceback\nRuntimeError: no Triton\n", code=1)
    assert list(gpus._run_trials("each", 1, EACH))[3] == Check(
        "compile", "note", "RuntimeError: no Triton", gpus.REMEDIES["compile"]
    )
    answers(code=-11)
    assert list(gpus._run_trials("each", 1, EACH)) == [
        Check("gpu", "wrong", "its process ended with -11", gpus.REMEDIES["gpu"])
    ]


@pytest.mark.slow
def test_ranks_of_this_machine_sum_in_a_process_of_its_own(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (found,) = gpus._run_trials("all", 2, ["all-reduce"])
    assert (found.state, found.found) == ("ok", "2 ranks have summed 1.0 MB")


@pytest.fixture
def device(monkeypatch):
    """A device that is a GPU to the trials: the CPU."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**20, 2**21))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    monkeypatch.setattr(torch, "compile", lambda call: call)
    monkeypatch.setattr(gpu_trials.shutil, "which", lambda name: f"/usr/bin/{name}")
    return monkeypatch


def test_each_trial_of_a_sound_gpu(device, capsys):
    found = gpu_trials.try_each([CPU, CPU])
    assert [(check.name, check.state) for check in found] == [
        *[("gpu", "ok")] * 2,
        *[("memory", "ok")] * 2,
        *[("bf16", "ok")] * 2,
        ("compile", "ok"),
    ]
    assert [Check(**json.loads(line)) for line in capsys.readouterr().out.splitlines()] == found


def test_a_gpu_that_another_program_uses_is_a_note(device):
    assert gpu_trials.describe(CPU) == Check("gpu", "ok", "Tesla T4, 1.0 MB of 2.1 MB free")
    device.setattr(torch.cuda, "mem_get_info", lambda device: (2**19, 2**21))
    check = gpu_trials.describe(CPU)
    assert (check.state, check.remedy) == ("note", "another program uses it; see nvidia-smi")


def test_a_t4_trains_in_float32(device):
    device.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    check = gpu_trials.try_bf16(CPU)
    assert check.state == "note"
    assert "Tesla T4 has no bf16: trials train in float32" in check.found


def test_what_a_gpu_cannot_do_is_found(device, capsys):
    device.setattr(torch.Tensor, "bfloat16", lambda self: self * 2)
    assert gpu_trials.try_bf16(CPU).state == "wrong"
    device.setattr(torch, "compile", lambda call: lambda x: call(x) + 1)
    assert gpu_trials.try_compile(CPU).state == "note"
    device.setattr(gpu_trials.shutil, "which", lambda name: None)
    assert gpu_trials.try_compile(CPU).found == "torch.compile finds no C compiler"
    device.setattr(torch, "full", lambda size, *_, **options: torch.zeros(size, dtype=torch.int32))
    assert gpu_trials.try_memory(CPU).state == "wrong"

    def fail(*_, **options):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    device.setattr(torch, "full", fail)
    check = gpu_trials._report("memory", gpu_trials.try_memory, CPU)
    assert (check.state, check.found) == ("wrong", "cpu: CUDA out of memory.")
