"""An optimizer step by the path that a GPU captures: equal to the plain one to the last bit."""

import contextlib
import gc
import logging
import warnings
import weakref
from types import SimpleNamespace

import pytest
import torch

from hwcls.data.imageset import open_data
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World
from hwcls.training.effective import effective_settings
from hwcls.training.step import graph
from hwcls.training.step.graph import WARM_UP, StepGraph

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
MIXED = {"mixup": 0.2, "cutmix": 1.0, "erase": 0.5, "trivial": True, "brightness": 0.2, "crop": 1}


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Steps are called with positions on the device, as those that are captured."""
    monkeypatch.setattr("hwcls.training.step.graph.CAPTURED", ("cpu",))


@pytest.fixture
def calls(monkeypatch):
    """The first position of each call of a StepGraph."""
    found, call = [], StepGraph.__call__
    monkeypatch.setattr(StepGraph, "__call__", lambda self, first: found.append(first) or call(self, first))
    return found


def train(config):
    """The records without times and the weights of a training."""
    trainer = build_trainer(config, open_data(config.data), World(device=CPU))
    records = [record.metrics for record in trainer.epochs()]
    return records, trainer.weights()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"clip": 0.5, "ema": 0.9, "optimizer__nesterov": True},
        {"data__augment": {"crop": 1, "hflip": True}, "optimizer": {"name": "adamw", "lr": 0.01}},
        {"data__augment": MIXED, "scheduler": {"name": "one_cycle"}, "class_weights": "balanced"},
    ],
)
def test_positions_on_the_device_change_nothing(trial, as_on_a_gpu, calls, monkeypatch, changes):
    config = trial(**changes)
    records, weights = train(config)
    steps = -(-len(open_data(config.data).train) // config.data.batch_size)
    assert calls == [64 * step for step in range(steps - 1)] * config.epochs  # the last step has an observer
    monkeypatch.setattr("hwcls.training.step.graph.CAPTURED", ())
    plain_records, plain_weights = train(config)
    assert len(calls) == (steps - 1) * config.epochs
    assert records == plain_records
    assert all(torch.equal(weights[name], weight) for name, weight in plain_weights.items())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("model", [{"name": "simple_cnn"}, {"name": "timm", "backbone": "test_resnet"}])
@pytest.mark.parametrize("augment", [{"crop": 1, "hflip": True}, MIXED])
def test_a_gpu_replays_what_it_was_launched(trial, model, optimizer, augment):
    config = trial(model=model, optimizer={"name": optimizer, "lr": 0.001}, data__augment=augment, clip=1.0, ema=0.9)
    found = []
    for captured in (True, False):
        trainer = build_trainer(config, open_data(config.data), World(device=torch.device("cuda", 0)))
        if not captured:
            trainer.step.graph = None
        records = [record.metrics for record in trainer.epochs()]
        assert captured == (trainer.step.graph is not None and trainer.step.graph.captured)
        found.append((records, trainer.weights()))
    (records, weights), (plain_records, plain_weights) = found
    assert records == plain_records
    assert all(torch.equal(weights[name], weight) for name, weight in plain_weights.items())


def test_a_resumed_training_captures_again(trial, as_on_a_gpu):
    config = trial()
    first = build_trainer(config, open_data(config.data), World(device=CPU))
    epochs = first.epochs()
    next(epochs)
    state = first.state() | {"confusions": {}, "best_weights": first.history.best_weights}
    state |= {"best_scores": first.history.best_scores}
    assert first.step.graph.calls > WARM_UP
    first.load_state(state)
    assert first.step.graph.calls == 0


def test_a_replay_averages_the_weights(trial, as_on_a_gpu):
    config = trial(ema=0.9)
    trainer = build_trainer(config, open_data(config.data), World(device=CPU))
    trainer.train_epoch(1)
    trainer.ema.share.fill_(1)  # the next average is the model itself
    trainer.step.graph.body(torch.arange(config.data.batch_size))
    for mean, live in zip(trainer.ema.mean, trainer.ema.live, strict=True):
        torch.testing.assert_close(mean, live)


def test_a_capture_that_fails_changes_nothing(trial, as_on_a_gpu, monkeypatch):
    config = trial(optimizer={"name": "adam", "lr": 0.01})
    records, weights = train(config)
    failed = []

    def out_of_memory():
        raise torch.OutOfMemoryError

    def capture(call, device):
        state = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
        groups = trainer.optimizer.param_groups
        step.rates = [torch.tensor(group["lr"]) for group in groups]  # as on a GPU
        with torch.random.fork_rng(), monkeypatch.context() as patch:
            patch.setattr(trainer.optimizer, "step", out_of_memory)
            with pytest.raises(torch.OutOfMemoryError):
                call()
        failed.append([(type(group["lr"]), group["capturable"]) for group in groups])
        step.rates = []
        trainer.model.load_state_dict(state)  # a GPU runs nothing of what is captured

    monkeypatch.setattr(graph, "capture", capture)
    trainer = build_trainer(config, open_data(config.data), World(device=CPU))
    step = trainer.step
    assert [record.metrics for record in trainer.epochs()] == records
    assert failed == [[(float, False)] * len(trainer.optimizer.param_groups)]
    assert all(torch.equal(trainer.weights()[name], weight) for name, weight in weights.items())


def test_a_trainer_is_freed_at_once(trial, as_on_a_gpu):
    config = trial()
    trainer = build_trainer(config, open_data(config.data), World(device=CPU))
    next(trainer.epochs())
    model, feed = weakref.ref(trainer.model), weakref.ref(trainer.feed)
    gc.disable()
    try:
        del trainer
        assert model() is None
        assert feed() is None
    finally:
        gc.enable()


def test_an_epochs_plan_is_where_the_one_before_was(trial, as_on_a_gpu):
    config = trial()
    trainer = build_trainer(config, open_data(config.data), World(device=CPU))
    trainer.train_epoch(1)
    before, place = trainer.feed._plan.order.clone(), trainer.feed._plan.order.data_ptr()
    trainer.train_epoch(2)
    assert trainer.feed._plan.order.data_ptr() == place
    assert not torch.equal(trainer.feed._plan.order, before)


def test_what_a_replay_would_not_repeat_is_not_captured(trial, as_on_a_gpu, tmp_path):
    own = tmp_path / "own.py"
    own.write_text(
        "from torch import nn\n\ndef build(classes, channels, image_size):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, classes))\n"
    )
    data = open_data(trial().data)
    plain = build_trainer(trial(), data, World(device=CPU)).step
    assert plain.graph is not None
    assert plain.why_eager() == "it is captured after 3 steps of a complete batch"
    own_code = "the code of your own model may depend on the host"
    for changes, why in (({"model": {"name": f"{own}:build"}}, own_code), ({"norm_batch": 16}, "norm_batch")):
        step = build_trainer(trial(**changes), data, World(device=CPU)).step
        assert step.graph is None
        assert step.why_eager() == why


@pytest.mark.parametrize(
    ("world", "resident", "why"),
    [
        (World(device=CPU), True, "it runs on a CPU"),
        (World(size=2, device=GPU), True, "several workers"),
        (World(device=GPU), False, "the training images are not on the GPU"),
        (World(device=GPU), True, None),
    ],
)
def test_the_reason_why_none_is_captured(trial, world, resident, why):
    assert graph.find_obstacle(trial(), world, SimpleNamespace(resident=resident)) == why


def test_the_reason_is_in_the_result(trial, as_on_a_gpu):
    config = trial(epochs=1)
    trainer = build_trainer(config, open_data(config.data), World(device=CPU))
    found = effective_settings(trainer)
    assert not found["cuda_graph"]
    assert found["cuda_graph_reason"] == "it is captured after 3 steps of a complete batch"
    trainer.micro_batch = 8
    assert effective_settings(trainer)["cuda_graph_reason"] == "its batches are split into micro-batches"
    trainer.micro_batch, trainer.step.graph.replay = 64, lambda: None
    found = effective_settings(trainer)
    assert (found["cuda_graph"], found["cuda_graph_reason"]) == (True, None)


class FakeStream:
    """Stands for torch.cuda.Stream."""

    def wait_stream(self, other):
        """Nothing runs."""


class FakeGraph:
    """Stands for torch.cuda.CUDAGraph."""

    def replay(self):
        """Runs what was captured."""


@pytest.mark.parametrize(
    ("room", "error", "why"),
    [
        (True, None, None),
        (False, None, "too little memory is free"),
        (True, RuntimeError("unsupported\nmore"), "unsupported"),
    ],
)
def test_a_step_that_cannot_be_captured_is_called(monkeypatch, caplog, room, error, why):
    calls, capturing = [], []
    monkeypatch.setattr(graph, "has_room", lambda needed, device: room)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)

    @contextlib.contextmanager
    def capture(_, **settings):
        capturing.append(settings)
        try:
            yield
        finally:
            capturing.clear()

    monkeypatch.setattr(torch.cuda, "graph", capture)

    def call(positions):
        if capturing and error:
            raise error
        calls.append(positions.tolist())

    step = StepGraph(call, 2, CPU)
    monkeypatch.setattr(step, "_warm_up", step._call)
    for first in range(0, 2 * WARM_UP, 2):
        step(first)
    step.device = GPU
    with caplog.at_level(logging.INFO, "hwcls"):
        for first in (6, 8):
            step(first)
    assert step.captured == (why is None)
    assert step.why_eager() == why
    message = f"the training step is not captured as a CUDA graph: {why}"
    assert [record.getMessage() for record in caplog.records] == ([message] if why else [])
    assert ([8, 9] in calls) == (why is not None), "what cannot be captured is called"


@pytest.mark.parametrize("waits", [True, False])
def test_a_step_that_waits_for_the_gpu_is_found(monkeypatch, waits):
    modes = []
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def call():
        warnings.warn("called a synchronizing CUDA operation" if waits else "another", stacklevel=1)

    assert graph.waits_for_device(call) == waits
    assert modes == ["warn", 0]


def test_a_step_that_waits_for_the_gpu_is_not_captured(monkeypatch, caplog):
    monkeypatch.setattr(graph, "waits_for_device", lambda call: call() is None)
    monkeypatch.setattr(graph, "capture", lambda call, device: pytest.fail("it waits"))
    monkeypatch.setattr(graph, "_warm_up_stream", lambda device: FakeStream())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: FakeStream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    step = StepGraph(lambda positions: None, 2, CPU)
    step.device = GPU
    with caplog.at_level(logging.INFO, "hwcls"):
        for first in range(0, 4 * WARM_UP, 2):
            step(first)
    assert step.why_eager() == "it waits for the GPU"
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("peaks", "needed"), [((1000, 400, 300), 900), ((100, 100, 100), 0)])
def test_a_capture_needs_the_room_of_the_calls_before_it(monkeypatch, peaks, needed):
    """Also where it is the first step of an epoch, at whose start the peak is reset."""
    peak, asked = iter(peaks), []
    monkeypatch.setattr(graph, "waits_for_device", lambda call: call())
    monkeypatch.setattr(graph, "_warm_up_stream", lambda device: FakeStream())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: FakeStream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: next(peak))
    monkeypatch.setattr(graph, "has_room", lambda needed, device: asked.append(needed))
    step = StepGraph(lambda positions: None, 2, CPU)
    step.device = GPU
    for first in range(0, 2 * WARM_UP + 2, 2):
        step(first)
    assert asked == [needed]
    assert step.why_eager() == "too little memory is free"
    step.reset()
    assert step.needed == 0


def test_all_warm_ups_share_a_stream(monkeypatch):
    made, device = [], torch.device("cuda", 0)

    class FakeStream:
        def __init__(self, device):
            made.append(device)

        def wait_stream(self, other):
            """Nothing runs."""

    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: FakeStream.__new__(FakeStream))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(graph, "waits_for_device", lambda call: call())
    graph._warm_up_stream.cache_clear()
    try:
        for _ in range(2):  # trainings
            step = StepGraph(lambda positions: None, 3, CPU)
            step.device = device
            for first in range(WARM_UP):
                step(first)
        assert made == [device]
    finally:
        graph._warm_up_stream.cache_clear()


def test_positions_follow_the_first_one():
    seen = []
    step = StepGraph(lambda positions: seen.append(positions.tolist()), 3, CPU)
    for first in (0, 3, 6, 9, 12):
        step(first)
    assert seen == [[first, first + 1, first + 2] for first in (0, 3, 6, 9, 12)]
    assert step.calls == WARM_UP + 2
