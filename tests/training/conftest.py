"""A tiny trial on digits."""

import pytest
import torch

from hwcls.config.trial import TrialConfig
from tests.trials import changed

BASE = {
    "data": {"name": "digits", "batch_size": 64, "per_class": 40},
    "model": {"name": "simple_cnn", "width": 8, "head": {"depth": 2, "width": 16, "dropout": 0.2}},
    "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9},
    "scheduler": {"name": "plateau", "patience": 0, "factor": 0.5},
    "epochs": 4,
}


def build(**changes) -> TrialConfig:
    """The tiny trial, with entries changed by dotted name: model__norm="none"."""
    return changed(BASE, **changes)


@pytest.fixture(scope="session")
def trial():
    torch.set_num_threads(1)
    return build
