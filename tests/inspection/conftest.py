"""A tiny trial on digits, trained once."""

import pytest
import torch

from hwcls.config.trial import TrialConfig
from tests.trials import changed

BASE = {
    "data": {"name": "digits", "batch_size": 64, "per_class": 40},
    "model": {"name": "simple_cnn", "width": 8, "head": {"depth": 2, "width": 16}},
    "optimizer": {"name": "adam", "lr": 0.01},
    "epochs": 3,
}


def build(**changes) -> TrialConfig:
    """The tiny trial, with entries changed by dotted name: model__norm="none"."""
    return changed(BASE, **changes)


@pytest.fixture(scope="session")
def trial():
    torch.set_num_threads(1)
    return build


@pytest.fixture(scope="session")
def trained(trial, tmp_path_factory):
    """The folder of the tiny trial after its three epochs."""
    from hwcls.inspection import create_recorder
    from hwcls.training.local import train

    folder = tmp_path_factory.mktemp("trained") / "trials" / "0"
    assert train(trial(), folder, lambda line: None, create_recorder).status == "complete"
    return folder
