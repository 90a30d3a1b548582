"""bfloat16: where it is used."""

import pytest
import torch

from hwcls.training.step.precision import Precision, choose_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize(("capability", "expected"), [((9, 0), Precision(bf16=True)), ((7, 5), Precision())])
def test_chosen_by_hardware(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: capability >= (8, 0))
    assert choose_precision(GPU, torch.float32) == expected
    assert choose_precision(GPU, torch.float64) == choose_precision(CPU, torch.float32) == Precision()
