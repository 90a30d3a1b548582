"""bfloat16: where it is used, and where not: logits are float32, and all evaluations have one precision."""

import pickle

import pytest
import torch
from torch import nn

from hwcls import models
from hwcls.data.imageset import open_data
from hwcls.inspection import evaluate, load_trained
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World
from hwcls.training.step.precision import Precision, choose_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
HALF = Precision(bf16=True, device="cpu")
FAMILIES = [
    {"name": "simple_cnn", "width": 8},
    {"name": "simple_cnn", "width": 8, "head": {"depth": 3, "width": 10, "dropout": 0.1}},
    {"name": "mlp", "width": 10, "depth": 2},
    {"name": "residual_cnn", "width": 8},
    {"name": "alexnet", "head": {"depth": 2, "width": 10}},
    {"name": "timm", "backbone": "test_resnet"},
    {"name": "timm", "backbone": "test_vit", "head": {"depth": 2, "width": 10}},
    {"name": "timm", "backbone": "test_efficientnet", "head": {"norm": "batch"}},
]


@pytest.fixture
def half(monkeypatch):
    """All models run in bfloat16, as on a GPU."""
    for module in ("hwcls.training.trainer", "hwcls.inspection.load_trained"):
        monkeypatch.setattr(f"{module}.choose_precision", lambda device, dtype, on_features: HALF)


@pytest.mark.parametrize(("capability", "expected"), [((9, 0), Precision(bf16=True)), ((7, 5), Precision())])
def test_chosen_by_hardware(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: capability >= (8, 0))
    assert choose_precision(GPU, torch.float32) == expected
    assert choose_precision(GPU, torch.float64) == choose_precision(CPU, torch.float32) == Precision()


def test_a_head_on_cached_features_and_its_whole_model_are_in_float32(trial, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    frozen = {"name": "timm", "backbone": "test_resnet", "pretrained": True, "frozen": True}
    for family, expected in ((frozen, False), (frozen | {"features": "live"}, True), ({"name": "simple_cnn"}, True)):
        config = trial(model=family)
        assert load_trained.inference_precision(config, GPU).bf16 == expected
        assert choose_precision(GPU, torch.float32, on_features=not expected).bf16 == expected


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: f"{family['name']}-{len(str(family))}")
def test_logits_are_float32_and_all_else_bfloat16(trial, family):
    torch.manual_seed(0)
    model = models.build(trial(model=family).model, classes=10, channels=1, image_size=32).eval()
    keys, images, taken = list(model.state_dict()), torch.randn(4, 1, 32, 32), []
    with HALF.autocast():
        assert model(images).dtype == torch.bfloat16
    HALF.adapt(model, 10)
    HALF.adapt(model, 10)  # once is enough
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    head = linear[-1]
    head.register_forward_pre_hook(lambda module, inputs: taken.append(inputs[0]))
    with HALF.autocast():
        logits = model(images)
    others = {one.out_features for one in linear[:-1]}  # of 10 outputs: in float32 as well
    hidden = torch.bfloat16 if 10 not in others else torch.float32
    assert (taken[0].dtype, logits.dtype) == (hidden, torch.float32)
    assert torch.equal(logits, nn.functional.linear(taken[0].float(), head.weight, head.bias))
    assert list(model.state_dict()) == keys
    assert type(head).__name__ == "Linear"
    logits.sum().backward()
    assert head.weight.grad.dtype == torch.float32


def test_where_nothing_is_in_bfloat16_nothing_changes(trial):
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    Precision().adapt(model, 3)
    assert type(model[1]) is nn.Linear
    HALF.adapt(model, 3)
    images = torch.randn(2, 1, 2, 2)
    assert torch.equal(model(images), nn.functional.linear(images.flatten(1), model[1].weight, model[1].bias))


@pytest.mark.parametrize("last", [nn.Conv2d(4, 3, 1), nn.Linear(2, 2)], ids=["conv", "another linear layer"])
def test_a_model_without_a_linear_last_layer_is_left_as_it_is(last):
    kind = type(last)
    HALF.adapt(nn.Sequential(last), 3)
    assert type(last) is kind


class TwoHeads(nn.Module):
    """Its logits are made by the layer that is registered first."""

    def __init__(self):
        super().__init__()
        self.head, self.hidden = nn.Linear(3, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(input=self.hidden(x))


def test_the_layer_that_makes_the_logits_is_found_wherever_it_is_registered():
    model, images = TwoHeads(), torch.randn(2, 4)
    HALF.adapt(model, 3)
    with HALF.autocast():
        logits = model(images)
    assert logits.dtype == torch.float32
    expected = nn.functional.linear(model.hidden(images), model.head.weight, model.head.bias)
    assert torch.equal(logits, expected)


def test_a_users_linear_layer_may_take_more_than_an_input():
    class Masked(nn.Linear):
        def forward(self, x, mask, *, rows, scale=1.0):
            return super().forward(x[rows] * mask) * scale

    layer, images = Masked(4, 3), torch.randn(2, 4)
    HALF.adapt(layer, 3)
    half, mask, rows = images.bfloat16(), torch.tensor([1.0, 0.0, 1.0, 0.0]).bfloat16(), torch.tensor([1, 0])
    with HALF.autocast():
        logits = layer(half, mask, rows=rows, scale=2.0)
    expected = 2 * nn.functional.linear(half.float()[rows] * mask.float(), layer.weight, layer.bias)
    assert torch.equal(logits, expected)
    assert torch.equal(layer(images, mask.float(), rows=rows), layer(images, mask=mask.float(), rows=rows))


def test_a_users_own_linear_layer_keeps_its_forward():
    class Cosine(nn.Linear):
        def forward(self, x):
            return super().forward(nn.functional.normalize(x)) * 10

    model = nn.Sequential(nn.Linear(4, 4), Cosine(4, 3))
    HALF.adapt(model, 3)
    images = torch.randn(2, 4)
    with HALF.autocast():
        hidden, logits = model[0](images), model(images)
    expected = 10 * nn.functional.linear(nn.functional.normalize(hidden.float()), model[1].weight, model[1].bias)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, expected)


def test_a_copy_for_other_programs_has_the_layers_own_classes(trial, half, tmp_path):
    from hwcls.inspection.ensemble.averaged import copy_for_export

    config = trial(epochs=1)
    data = open_data(config.data)
    model = models.build(config.model, classes=10, channels=1, image_size=8).eval()
    kinds = [type(layer) for layer in model.modules()]
    HALF.adapt(model, 10)
    copied = copy_for_export(load_trained.Trained(tmp_path, config, data, model, CPU))
    assert [type(layer) for layer in pickle.loads(pickle.dumps(copied)).modules()] == kinds
    assert [type(layer) for layer in model.modules()] != kinds


def test_the_same_images_get_the_same_classes_everywhere(trial, half, tmp_path):
    """By the training's evaluation, by evaluate and confirm, and by predict."""
    from safetensors.torch import save

    config = trial(epochs=1)
    data = open_data(config.data)
    trainer = build_trainer(config, data, World(device=CPU))
    list(trainer.epochs())
    val = trainer.evaluate("val")
    weights = save({name: tensor.contiguous() for name, tensor in trainer.weights().items()})
    assert trainer.accumulator.precision == HALF
    assert val.scores.unique(dim=0).shape == val.scores.shape, "no ties"
    confirmed = evaluate.evaluate_weights(config, weights, "val", CPU)
    model = load_trained.restore_model(config, data, weights, CPU)
    scored = evaluate.score_split(model, config, data, "val", CPU)
    trained = load_trained.Trained(tmp_path, config, data, model, CPU)
    predicted = trained.probabilities(data.val.images[data.val.rows])
    guess = val.scores.argmax(1).tolist()
    assert confirmed.scores.argmax(1).tolist() == scored.scores.argmax(1).tolist() == guess
    assert predicted.argmax(1).tolist() == guess
    assert torch.equal(val.scores, torch.from_numpy(scored.scores))
    torch.testing.assert_close(torch.from_numpy(predicted), val.scores, rtol=1e-5, atol=1e-6)
    assert scored.values["val/loss"] == trainer.history.records[-1]["val/loss"]
