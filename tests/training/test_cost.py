"""The cost of a trial's model, as in result.json."""

import pytest

from hwcls.config.optim import MetricConfig
from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import open_data
from hwcls.models.summary import count_activation_bytes, summarise_model
from hwcls.training.build import build_trainer
from hwcls.training.cost import trial_cost


@pytest.fixture
def trainer():
    values = {"data": {"name": "digits", "per_class": 10}, "model": {"name": "simple_cnn", "width": 4}, "epochs": 2}
    config = TrialConfig.from_dict(values | {"optimizer": {"name": "adam"}})
    return build_trainer(config, open_data(config.data))


def test_the_model_as_hwcls_models_counts_it(trainer):
    expected = summarise_model(trainer.config.model, classes=10, channels=1, image_size=8)
    found = trial_cost(trainer)
    assert found.pop("memory_mb") > 0
    assert found == {
        "parameters": expected.parameters,
        "flops": expected.flops,
        "receptive_field": expected.receptive_field,
        "batch_size": trainer.config.data.batch_size,
    }


def test_memory_on_a_cpu_is_weights_gradients_optimizer_and_activations(trainer):
    weights = sum(weight.numel() for weight in trainer.model.parameters())
    others = sum(buffer.nbytes for buffer in trainer.model.buffers())
    kept = count_activation_bytes(trainer.model, 1, 8)
    before = 2 * 4 * weights + others + kept * trainer.micro_batch
    assert trial_cost(trainer)["memory_mb"] * 2**20 == before
    next(trainer.epochs())
    moments = 2 * 4 * weights  # of Adam, and a counter of steps for each weight
    assert trial_cost(trainer)["memory_mb"] * 2**20 == before + moments + 4 * len(list(trainer.model.parameters()))


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_pretraining_is_counted_once_and_kept(share, tmp_path, monkeypatch):
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path))
    model = {"name": "alexnet", "width": 4, "pretrain": {"share": share, "epochs": 1}}
    values = {"data": {"name": "digits", "per_class": 10}, "model": model, "optimizer": {"name": "adam"}}
    config = TrialConfig.from_dict(values)
    first = trial_cost(build_trainer(config, open_data(config.data)))["pretrain_seconds"]
    assert first > 0
    assert trial_cost(build_trainer(config, open_data(config.data)))["pretrain_seconds"] == first  # from the cache


def test_nothing_is_pretrained_without_an_encoder(trainer):
    assert "pretrain_seconds" not in trial_cost(trainer)


def test_inference_is_that_of_the_fastest_validation(trainer):
    seconds = []
    for _ in trainer.epochs():
        seconds.append(trial_cost(trainer)["inference_ms"])
    assert 0 < seconds[1] <= seconds[0]


def test_a_model_that_cannot_be_traced_fails_no_trial(trainer, monkeypatch):
    def broken(*args):
        raise RuntimeError("no dispatch here")

    monkeypatch.setattr("hwcls.training.cost.summary.measure_size", broken)
    parameters = sum(weight.numel() for weight in trainer.model.parameters())
    assert trial_cost(trainer) == {"parameters": parameters, "batch_size": trainer.config.data.batch_size}


def test_latency_is_measured_once_where_the_sweep_searches_for_it(trainer):
    assert "latency_ms" not in trial_cost(trainer)
    config = trainer.config.model_copy(
        update={"metric": MetricConfig.model_validate(["val/accuracy", "cost/parameters", "cost/latency"])}
    )
    asked = build_trainer(config, trainer.data)
    calls = []
    asked.built.whole.register_forward_pre_hook(lambda module, inputs: calls.append(len(inputs[0])))
    latency = trial_cost(asked)["latency_ms"]
    assert 0 < latency < 1000
    assert calls.count(1) >= 20  # an image by itself
    calls.clear()
    assert trial_cost(asked)["latency_ms"] == latency
    assert calls == []


def test_a_latency_that_cannot_be_measured_fails_no_trial(trainer, monkeypatch):
    def broken(*args):
        raise RuntimeError("no single images here")

    monkeypatch.setattr("hwcls.training.cost.image_seconds", broken)
    metric = MetricConfig.model_validate(["val/accuracy", "cost/latency"])
    asked = build_trainer(trainer.config.model_copy(update={"metric": metric}), trainer.data)
    assert "latency_ms" not in trial_cost(asked)


def test_measuring_the_latency_changes_no_training(trainer):
    metric = MetricConfig.model_validate(["val/accuracy", "cost/latency"])
    asked = build_trainer(trainer.config.model_copy(update={"metric": metric}), trainer.data)
    losses = []
    for one in (trainer, asked):
        for _ in one.epochs():
            trial_cost(one)
        losses.append([line["train/loss"] for line in one.history.records])
    assert losses[0] == losses[1]
