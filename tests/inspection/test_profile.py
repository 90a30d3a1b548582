"""The cost of a step: every number is there, the trace is a Chrome trace, memory grows with the batch."""

import json

import torch

from hwcls.data.imageset import open_data
from hwcls.inspection.profile import TRACED, TimedTraining, profile_training
from hwcls.training.step import graph


def test_steps(trial, tmp_path):
    config = trial()
    data = open_data(config.data)
    found = profile_training(config, data, tmp_path / "a.json", steps=8)
    assert found.parameters == sum(w.numel() for w in _model(config, data).parameters())
    assert found.batch_size == 64
    assert min(found.step_ms, found.inference_ms, found.inference_batch_ms, found.images_per_second) > 0
    assert len(found.slowest) == 5
    assert found.slowest == sorted(found.slowest, key=lambda row: -row["share"])
    events = json.loads((tmp_path / "a.json").read_text())["traceEvents"]
    backward = [event for event in events if event.get("name") == "aten::convolution_backward"]
    assert len(backward) == 2 * TRACED  # two convolutions

    larger = profile_training(trial(data__batch_size=256), data, tmp_path / "b.json", steps=1)
    assert larger.memory_mb > 2 * found.memory_mb > 0


def test_epochs(trial, tmp_path):
    config = trial(data__per_class=20, data__batch_size=32)
    data = open_data(config.data)
    profile_training(config, data, tmp_path / "a.json", steps=1, epochs=2)
    events = json.loads((tmp_path / "a.json").read_text())["traceEvents"]
    updates = [event for event in events if str(event.get("name")).startswith("Optimizer.step#")]
    steps = {event["ts"] for event in updates if event.get("cat") == "user_annotation"}
    assert len(steps) == 2 * -(-len(data.train) // 32)


def test_steps_go_on_over_the_end_of_the_training(trial):
    config = trial(data__per_class=20, data__batch_size=32, epochs=2)
    training = TimedTraining(config, open_data(config.data))
    steps = training.trainer.feed.steps
    assert len(training.run(5 * steps)) == 5 * steps
    assert training.run_epochs(3) == 3 * steps


def test_a_warm_up_ends_with_the_capture(trial, monkeypatch):
    """What is timed afterwards is what a trial does for most of its time."""
    data = open_data(trial().data)
    plain = TimedTraining(trial(), data)
    plain.warm_up()
    assert (len(plain.timer.seconds), plain.trainer.step.graph) == (1, None)
    monkeypatch.setattr(graph, "CAPTURED", ("cpu",))
    monkeypatch.setattr(graph, "capture", lambda call, device: call)
    captured = TimedTraining(trial(), data)
    captured.warm_up()
    assert captured.trainer.step.graph.captured
    assert len(captured.timer.seconds) == graph.WARM_UP + 1


def test_the_peak_on_a_gpu_is_that_of_the_steps_before_the_capture(trial, monkeypatch):
    """A replay allocates nothing, and the peak is reset at the start of an epoch."""
    peaks = iter([900, 200, 300])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: next(peaks))
    training = TimedTraining(trial(epochs=1), open_data(trial().data))
    assert training.run(1)
    assert training.peak == 0
    training.device = torch.device("cuda", 0)
    training.warm_up()
    training.run(1)
    training.run_epochs(1)
    assert training.peak == 900
    assert not list(peaks)


def test_steps_are_those_of_the_whole_model(trial):
    """Also where its backbone is frozen in the first epochs."""
    family = {"name": "timm", "backbone": "test_resnet", "pretrained": True, "freeze_epochs": 1}
    config = trial(data__per_class=20, data__batch_size=32, epochs=2, model=family)
    training = TimedTraining(config, open_data(config.data))
    for measure in (lambda: training.run(1), lambda: training.run_epochs(3), lambda: training.run(1)):
        measure()
        assert training.trainer.model.backbone.layer1[0].conv1.weight.requires_grad


def test_memory_is_the_models_own(trial, tmp_path):
    config = trial(data__per_class=20, data__batch_size=32)
    large = trial(data__per_class=20, model={"name": "mlp", "width": 512, "depth": 3})
    data = open_data(config.data)
    alone = profile_training(config, data, tmp_path / "a.json", steps=5).memory_mb
    profile_training(large, data, tmp_path / "b.json", steps=1, epochs=1)
    assert profile_training(config, data, tmp_path / "c.json", steps=5).memory_mb == alone


def _model(config, data):
    from hwcls import models

    torch.manual_seed(0)
    return models.build(config.model, classes=10, channels=data.channels, image_size=data.image_size)
