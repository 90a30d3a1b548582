"""A model that cannot learn fails for its own reason; one that can passes."""

import math

import pytest
import torch

from hwcls.data.imageset import open_data
from hwcls.inspection.sanity_check import BATCH, BATCHES, _fixed_images, overfit
from hwcls.inspection.targets import check_models, find_targets

MODELS = """
from torch import nn

class Net(nn.Module):
    def __init__(self, classes, channels, image_size):
        super().__init__()
        self.body, self.head = nn.Linear(channels * image_size**2, 16), nn.Linear(16, classes)

    def forward(self, x):
        return self.head(self.features(x))

    def features(self, x):
        return self.body(x.flatten(1)).relu()

class Detached(Net):
    def features(self, x):
        return super().features(x).detach()

class Blind(Net):
    def features(self, x):
        return super().features(x) * 0

class NoGradient(Net):
    def forward(self, x):
        return super().forward(x).detach()

class Fails(Net):
    def forward(self, x):
        if self.training:
            raise ValueError("no training here")
        return super().forward(x)

class Infinite(Net):
    def forward(self, x):
        return super().forward(x).exp().exp().exp().exp()
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "nets.py"
    path.write_text(MODELS)
    return path


@pytest.mark.parametrize(
    ("name", "passed", "reason"),
    [
        ("Net", True, "overfitted in"),
        ("Detached", False, "no gradient reaches body.weight and 1 more"),
        ("Blind", False, "the output is the same for every image"),
        ("NoGradient", False, "the output has no gradient"),
        ("Fails", False, "ValueError: no training here"),
        ("Infinite", False, "the loss is not finite"),
    ],
)
def test_user_models(trial, file, name, passed, reason):
    config = trial(model={"name": f"{file}:{name}"})
    verdict = overfit(config, open_data(config.data), steps=100)
    assert verdict.passed is passed
    assert reason in verdict.reason
    if passed:
        assert verdict.accuracy == 1
        assert verdict.losses[-1] < 0.1 * math.log(10) < verdict.losses[0]


@pytest.mark.parametrize("name", ["simple_cnn", "residual_cnn", "mlp"])
def test_own_families_pass_with_any_dropout(trial, name):
    config = trial(model={"name": name, "head": {"depth": 2, "width": 16, "dropout": 0.9}})
    verdict = overfit(config, open_data(config.data))
    assert verdict.passed, verdict.reason
    again = overfit(config, open_data(config.data))
    assert verdict.to_dict() == again.to_dict()


def test_a_frozen_encoder_passes(trial):
    """Before pretraining it is random: it must not be judged by what it lets through."""
    config = trial(model={"name": "alexnet", "width": 8, "pretrain": {"frozen": True}})
    verdict = overfit(config, open_data(config.data))
    assert verdict.passed, verdict.reason


def test_one_that_still_improves_passes(trial):
    config = trial(model={"name": "alexnet", "width": 8, "pretrain": {}})
    verdict = overfit(config, open_data(config.data), steps=30)
    assert verdict.passed, verdict.reason
    assert "still improving" in verdict.reason
    assert verdict.accuracy < 1


def test_the_batches_hold_every_class(trial):
    data = open_data(trial().data)
    images, labels = _fixed_images(data)
    assert images.shape == (BATCH * BATCHES, 1, 8, 8)
    assert torch.bincount(labels).tolist() == [4, 4, 3, 3, 3, 3, 3, 3, 3, 3]


def test_alternatives_and_corners_of_a_sweep_file(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "run_cap: 4\ncompare: model\nparameters:\n  data: {name: digits}\n  optimizer: {name: adam}\n"
        "  model: {choice: {a: {name: simple_cnn, width: {min: 2, max: 8}}, b: {name: simple_cnn, depth: 4}}}\n"
    )
    found, sweep = find_targets(path, None, ["parameters.optimizer.lr=0.5"])
    assert [(subject.name, subject.config.model.label) for subject in found] == [("a", "a"), ("b", "b")]
    assert found[0].config.model.width == 2
    assert found[0].config.optimizer.lr == 0.5
    count, broken = check_models(sweep, [open_data(found[0].config.data)])
    assert count == 3
    assert len(broken) == 1
    assert broken[0].startswith("b: ")
    assert "too small" in broken[0]


def test_stochastic_depth_is_off():
    from timm.layers import DropPath

    from hwcls.inspection.sanity_check import _unregularised

    assert _unregularised(torch.nn.Sequential(DropPath(0.9)))[0].drop_prob == 0.0
