"""What the doctor says of torch, from a process of its own that may crash."""

import json
import subprocess
import sys

import pytest

from hwcls.sweep.preflight.doctor import torch_checks
from hwcls.sweep.preflight.doctor.check import Check

NO_GPU = Check("gpu", "note", "none")


@pytest.fixture(autouse=True)
def _without_gpu(monkeypatch):
    monkeypatch.setattr(torch_checks, "check_gpus", lambda: iter([NO_GPU]))


def test_where_torchvision_fits_nothing_is_said_of_it():
    assert list(torch_checks.check_torch()) == [NO_GPU]


@pytest.mark.parametrize("error", [RuntimeError("operator torchvision::nms does not exist\nmore"), ImportError()])
def test_a_torchvision_that_does_not_fit_is_named_and_the_gpus_are_still_tried(monkeypatch, error):
    class Finder:
        def find_spec(self, name, *_):
            if name == "torchvision":
                raise error

    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    wrong, gpu = torch_checks.check_torch()
    first = (str(error) or "ImportError").splitlines()[0]
    assert (wrong.state, wrong.found) == ("wrong", f"cannot be imported: {first}")
    assert "--force-reinstall torch torchvision" in wrong.remedy
    assert gpu == NO_GPU


def test_what_a_process_that_crashes_had_found_is_kept(monkeypatch):
    line = json.dumps(NO_GPU.to_dict())

    def run(command, **options):
        return subprocess.CompletedProcess(command, -11, f"{line}\nnot of ours\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    gpu, crashed = torch_checks.ask_torch()
    assert gpu == NO_GPU
    assert (crashed.state, crashed.found) == ("wrong", "cannot be tried: its process ended with -11")


def test_a_process_that_does_not_answer_is_left(monkeypatch):
    def run(command, timeout, **options):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", run)
    (silent,) = torch_checks.ask_torch()
    assert silent.found == f"cannot be tried: no answer in {3 * torch_checks.LIMIT:.0f} s"


def test_the_process_prints_what_was_found(monkeypatch, capsys):
    monkeypatch.setattr(torch_checks.gc, "disable", lambda: None)  # it is this process here
    monkeypatch.setattr(torch_checks.gc, "freeze", lambda: None)
    torch_checks.main()
    assert torch_checks.read_checks(capsys.readouterr().out) == [NO_GPU]
