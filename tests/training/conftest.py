"""A tiny trial on digits, and weights for timm's backbones."""

from collections.abc import Callable
from pathlib import Path

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


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The path of a file with random weights of a backbone, with the statistics of BatchNorm random, too."""
    folder = tmp_path_factory.mktemp("weights")

    def make(backbone: str) -> Path:
        import timm
        from safetensors.torch import save_file

        path = folder / f"{backbone}.safetensors"
        if not path.exists():
            with torch.random.fork_rng():
                torch.manual_seed(0)
                state = timm.create_model(backbone).state_dict()
                for name, value in state.items():
                    if name.endswith("running_var"):
                        value.uniform_(0.5, 2)
                    elif name.endswith(("running_mean", "bias")):
                        value.normal_(0, 0.2)
            save_file(state, path)
        return path

    return make
