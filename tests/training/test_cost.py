"""What a trial's model costs, as result.json has it."""

import pytest

from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import open_data
from hwcls.models.summary import summarise
from hwcls.training.cost import cost
from hwcls.training.trainer import Trainer


@pytest.fixture
def trainer():
    values = {"data": {"name": "digits", "per_class": 10}, "model": {"name": "simple_cnn", "width": 4}, "epochs": 2}
    config = TrialConfig.from_dict(values | {"optimizer": {"name": "adam"}})
    return Trainer(config, open_data(config.data))


def test_the_model_as_hwcls_models_counts_it(trainer):
    expected = summarise(trainer.config.model, classes=10, channels=1, image_size=8)
    found = cost(trainer)
    assert found == {
        "parameters": expected.parameters,
        "flops": expected.flops,
        "receptive_field": expected.receptive_field,
    }


def test_inference_is_that_of_the_fastest_validation(trainer):
    seconds = []
    for _ in trainer.epochs():
        seconds.append(cost(trainer)["inference_ms"])
    assert 0 < seconds[1] <= seconds[0]


def test_a_model_that_cannot_be_followed_loses_no_trial(trainer, monkeypatch):
    def broken(*args):
        raise RuntimeError("no dispatch here")

    monkeypatch.setattr("hwcls.training.cost.summary.size", broken)
    assert cost(trainer) == {"parameters": sum(weight.numel() for weight in trainer.model.parameters())}
