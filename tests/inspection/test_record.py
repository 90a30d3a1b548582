"""inspection.npz: exact numbers, nothing changed by looking, a resumed run equal to an uninterrupted one."""

import numpy as np
import pytest
import torch

from hwcls.data.imageset import open_data
from hwcls.inspection.activations import Activations, first_layer
from hwcls.inspection.gradients import GradientFlow, layer_weights
from hwcls.inspection.histograms import BINS, LAYERS, SAMPLE, Histograms, histogram
from hwcls.inspection.record import InspectionRecorder
from hwcls.training import checkpoint
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World
from hwcls.training.snapshot import take_snapshot

CPU = World(device=torch.device("cpu"))


def trainer_of(config):
    return build_trainer(config, open_data(config.data), CPU, InspectionRecorder())


def test_gradient_flow_is_the_mean_and_max_of_each_layer():
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(8, 3))
    unused = torch.nn.Linear(2, 2)
    model.add_module("unused", torch.nn.Identity())
    model.unused.weight = unused.weight  # trained by name, reached by nothing
    model[0].bias.requires_grad_(False)
    torch.manual_seed(0)
    model(torch.randn(4, 1, 4, 4)).square().sum().backward()
    weights = layer_weights(model)
    assert list(weights) == ["0", "2", "unused"]
    flow = GradientFlow()
    flow.add(weights, 1)
    flow.add(weights, 2)
    arrays = flow.arrays()
    assert arrays["layers"].tolist() == ["0", "2", "unused"]
    assert arrays["epochs"].tolist() == [1, 2]
    for row in range(2):
        for place, layer in enumerate((0, 2)):
            grad = model[layer].weight.grad.abs()
            assert arrays["gradient_mean"][row, place] == pytest.approx(grad.mean().item(), rel=1e-5)
            assert arrays["gradient_max"][row, place] == pytest.approx(grad.max().item())
        assert arrays["gradient_mean"][row, 2] == arrays["gradient_max"][row, 2] == 0


def test_histogram_counts_every_value():
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0)).view(10, 100)
    counts, ends = histogram(values)
    expected, _ = np.histogram(values.numpy(), bins=BINS)
    assert int(counts.sum()) == 1000
    assert np.abs(counts.numpy() - expected).max() <= 1  # at a bin's edge the last digit decides
    assert ends.tolist() == [values.min().item(), values.max().item()]


def test_histogram_of_awkward_values():
    counts, ends = histogram(torch.full((7,), 3.0))
    assert (int(counts.sum()), ends.tolist()) == (7, [3.0, 3.0])
    counts, ends = histogram(torch.tensor([float("nan"), float("inf"), 1.0, -float("inf")]))
    assert (int(counts.sum()), ends.tolist()) == (4, [0.0, 1.0])
    counts, _ = histogram(torch.zeros(3 * SAMPLE + 5))
    assert SAMPLE // 2 < int(counts.sum()) <= SAMPLE


def test_histograms_keep_powers_of_two_and_the_last_and_few_layers():
    kept = Histograms("weights")
    for epoch in range(1, 12):
        kept.add({f"layer{i}": torch.full((2,), float(i)) for i in range(100)}, epoch)
    arrays = kept.arrays()
    assert arrays["weights/epochs"].tolist() == [1, 2, 4, 8, 11]
    assert len(arrays) == 1 + 2 * LAYERS
    assert arrays["weights/layer99/edges"].shape == (5, BINS + 1)
    assert arrays["weights/layer0/counts"].sum(1).tolist() == [2] * 5


def test_first_layer_and_its_input():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.last, self.first = torch.nn.Linear(4, 2), torch.nn.Conv2d(1, 4, 3)

        def forward(self, x):
            return self.last(self.first(x * 2).mean((2, 3)))

    net, images = Net(), torch.ones(1, 1, 5, 5)
    layer, inputs = first_layer(net, images)
    assert layer is net.first
    assert torch.equal(inputs, images * 2)
    assert net(images).shape == (1, 2)  # no hook is left
    assert first_layer(torch.nn.Flatten(), images) is None


def test_the_first_layers_input_is_that_of_the_latest_epoch(trial):
    """A norm before it is trained on; a resumed trial sees what an uninterrupted one sees."""
    config = trial()
    feed = build_trainer(config, open_data(config.data), CPU).feed
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(1), torch.nn.Conv2d(1, 4, 3))
    seen, resumed = Activations(), Activations()
    seen.update(model, feed)
    before = seen.arrays()["activations"]
    torch.nn.init.constant_(model[0].bias, 2)
    resumed.load_state(seen.state())
    for one in (seen, resumed):
        one.update(model, feed)
    assert model.training
    with torch.no_grad():
        expected = model.eval()(next(feed.evaluate("val", batch_size=1)).images)[0].half().numpy()
    assert np.array_equal(seen.arrays()["activations"], expected)
    assert np.array_equal(resumed.arrays()["activations"], expected)
    assert not np.array_equal(before, expected)


@pytest.mark.parametrize("model", ["simple_cnn", "mlp"])
def test_looking_changes_nothing_and_a_resumed_run_sees_the_same(trial, tmp_path, model):
    config = trial(epochs=5, model={"name": model, "width": 8, "head": {"depth": 2, "width": 8, "dropout": 0.3}})
    blind = build_trainer(config, open_data(config.data), CPU)
    uninterrupted = trainer_of(config)
    assert [r.metrics for r in blind.epochs()] == [r.metrics for r in uninterrupted.epochs()]
    expected = uninterrupted.observer.arrays()

    first = trainer_of(config)
    epochs = first.epochs()
    for _ in range(3):
        next(epochs)
    checkpoint.write(take_snapshot(first), tmp_path)
    second = trainer_of(config)
    checkpoint.load(second, tmp_path)
    so_far = second.observer.arrays()
    assert sorted(so_far) == sorted(first.observer.arrays()), "before another epoch has ended, too"
    assert all(np.array_equal(array, so_far[name]) for name, array in first.observer.arrays().items())
    list(second.epochs())
    found = second.observer.arrays()
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        assert np.array_equal(array, found[name]), name
    assert expected["weights/epochs"].tolist() == [1, 2, 4, 5]
    assert expected["gradient_mean"].shape == (5, len(expected["layers"]))
    assert (expected["gradient_max"] >= expected["gradient_mean"]).all()
    assert expected["activations"].shape[0] == 8


def test_the_file_is_written_and_small(trained):
    with np.load(trained / "inspection.npz") as arrays:
        assert {"layers", "gradient_mean", "weights/epochs", "activations", "activation_image"} <= set(arrays.files)
        assert arrays["activation_image"].shape == (8, 8, 1)
        assert np.abs(arrays["activations"]).max() > 0
    assert (trained / "inspection.npz").stat().st_size < 100_000
