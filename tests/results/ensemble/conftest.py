"""A small sweep whose trials are trained in seconds, without Ray: several models, image sizes and augmentations."""

import shutil

import pytest
import torch

from tests.trials import changed

DATA = {"name": "digits", "batch_size": 32, "per_class": 60, "val": 0.4, "image_size": 8, "augment": {"hflip": True}}
BASE = {
    "data": DATA,
    "model": {"name": "mlp", "width": 12, "depth": 1},
    "optimizer": {"name": "adam", "lr": 0.02},
    "epochs": 5,
}
CNN = {"name": "simple_cnn", "width": 4}
TRIALS = [
    {},
    {"data__image_size": 12, "data__augment": {"crop": 2}, "model": CNN, "epochs": 4},
    {"data__augment": {}, "model__width": 14, "seed": 5, "epochs": 2},
    {"seed": 7},
]


def write(path, configs):
    """A results folder with these trials."""
    from hwcls.training.local import train

    torch.set_num_threads(1)
    path.mkdir(parents=True, exist_ok=True)
    (path / "sweep.yaml").write_text("name: made\n")
    for number, config in enumerate(configs):
        train(config, path / "trials" / str(number), lambda line: None)
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    return write(tmp_path_factory.mktemp("trained") / "made", [changed(BASE, **one) for one in TRIALS])


@pytest.fixture
def made(trained, tmp_path):
    """A copy of the sweep."""
    return shutil.copytree(trained, tmp_path / "made")
