"""Fine-tuning of timm's backbones: learning rates by layer, frozen parts, drop path, and what does not fit."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from timm.layers import DropPath
from timm.optim import param_groups_layer_decay

from hwcls import models
from hwcls.config.model import HeadConfig
from hwcls.config.trial import TrialConfig
from hwcls.errors import UserError
from hwcls.models.fine_tuning import batch_norms
from hwcls.models.layers import Head
from hwcls.models.timm import TimmConfig

torch.set_num_threads(1)


def config(backbone: str = "test_resnet", **settings: Any) -> TimmConfig:
    return TimmConfig.model_validate({"backbone": backbone, "pretrained": True, **settings})


def skeleton(settings: TimmConfig, size: int = 64) -> torch.nn.Module:
    return models.build_skeleton(settings, classes=5, channels=3, image_size=size)


@pytest.mark.parametrize(
    "backbone", ["test_resnet", "test_efficientnet", "test_vit", "test_convnext", "resnet18", "tf_efficientnet_lite0"]
)
def test_learning_rates_by_layer_are_timms(backbone: str) -> None:
    whole = timm.create_model(backbone, num_classes=5)
    names = {id(weight): name for name, weight in whole.named_parameters()}
    groups = param_groups_layer_decay(whole, layer_decay=0.75)
    theirs = {names[id(weight)]: group["lr_scale"] for group in groups for weight in group["params"]}
    settings = config(backbone, layer_decay=0.75)
    ours = settings.lr_scales(skeleton(settings))
    assert ours == {f"backbone.{name}": theirs[name] for name in theirs if f"backbone.{name}" in ours}
    of_classifier = {name for name in theirs if f"backbone.{name}" not in ours}
    assert len(of_classifier) == 2  # weight and bias, in hwcls the head's
    assert {theirs[name] for name in of_classifier} == {1.0}
    assert len(set(ours.values())) > 2


def test_the_backbones_factor_multiplies_those_of_its_layers() -> None:
    settings = config(layer_decay=0.5)
    alone = settings.lr_scales(skeleton(settings))
    both = settings.model_copy(update={"backbone_lr": 0.1})
    assert both.lr_scales(skeleton(both)) == {name: pytest.approx(0.1 * scale) for name, scale in alone.items()}
    flat = config(backbone_lr=0.1)
    assert flat.lr_scales(skeleton(flat)) == dict.fromkeys(alone, 0.1)
    assert config().lr_scales(skeleton(config())) == {}


def test_first_the_head_alone_then_all() -> None:
    settings = config(freeze_epochs=2)
    model = skeleton(settings)
    fixed = "backbone.layer1.0.conv1.weight"
    assert all(weight.requires_grad for weight in model.parameters()), "an optimizer has all of them"
    for epoch in (1, 2, 3, 2, 4):  # it depends on the epoch alone
        settings.before_epoch(model, epoch)
        model.train()
        trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
        assert (fixed in trained) == (epoch > 2)
        assert model.backbone.training == (epoch > 2)
        assert model.head.training
        assert "head.0.weight" in trained


def test_weights_that_timm_does_not_train_stay_so() -> None:
    from hwcls.models.timm_backbone import TimmModel

    backbone = timm.create_model("test_resnet", num_classes=0)
    backbone.conv1[0].weight.requires_grad_(False)
    model = TimmModel(backbone, Head(backbone.num_features, 5, HeadConfig()), frozen=True)
    assert not any(weight.requires_grad for weight in backbone.parameters())
    model.freeze(False)
    assert [name for name, weight in backbone.named_parameters() if not weight.requires_grad] == ["conv1.0.weight"]


def test_frozen_norms_keep_their_statistics_and_train_their_weights() -> None:
    settings = config("test_efficientnet", frozen_norm=True).without_pretrained()
    model = models.build(settings, classes=5, channels=3, image_size=32).eval().train()
    norms = batch_norms(model.backbone)
    assert norms
    assert not any(norm.training for norm in norms)
    assert model.backbone.training
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.randn(4, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert not {name for name in moved if "running" in name or "tracked" in name}
    assert {"backbone.bn1.weight", "backbone.bn1.bias", "backbone.conv_stem.weight"} <= moved


def test_drop_path_is_of_training_alone() -> None:
    torch.manual_seed(0)
    model = models.build(config("test_vit", drop_path=0.4).without_pretrained(), classes=5, channels=3, image_size=32)
    rates = [module.drop_prob for module in model.modules() if isinstance(module, DropPath)]
    assert max(rates) == pytest.approx(0.4)
    x = torch.randn(8, 3, 32, 32)
    assert torch.equal(model.eval()(x), model(x))
    assert not torch.equal(model.train()(x), model(x))


@pytest.mark.parametrize(
    ("backbone", "settings", "message"),
    [
        ("vgg11", {"drop_path": 0.1}, r"model\.drop_path: vgg11 has no blocks that could be dropped.*remove drop_path"),
        ("densenet121", {"drop_path": 0.1}, r"model\.drop_path: densenet121 has no blocks"),
        ("pit_ti_224", {"layer_decay": 0.5}, r"model\.layer_decay: timm knows no layers of pit_ti_224.*backbone_lr"),
        ("test_vit", {"frozen_norm": True}, r"model\.frozen_norm: test_vit has no BatchNorm.*remove frozen_norm"),
    ],
)
def test_what_a_backbone_does_not_have(backbone: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        models.check(config(backbone, **settings), classes=5, channels=3, image_size=224)


TUNED = {
    "freeze_epochs": 1,
    "backbone_lr": 0.1,
    "layer_decay": 0.75,
    "drop_path": 0.1,
    "frozen_norm": True,
    "start": "probe",
}


@pytest.mark.parametrize("name", TUNED)
def test_a_frozen_backbone_has_nothing_to_tune(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is for a backbone that is trained.*remove it or frozen"):
        config(frozen=True, **{name: TUNED[name]})
    assert config(frozen=True, **{name: TimmConfig.model_fields[name].default}).frozen  # as config.yaml has it


@pytest.mark.parametrize("name", [name for name in TUNED if name != "drop_path"])
def test_without_pretrained_weights_there_is_nothing_to_keep(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is for pretrained weights — add pretrained: true, or remove it"):
        config(pretrained=False, **{name: TUNED[name]})
    assert config(pretrained=False, drop_path=0.1).drop_path == 0.1


@pytest.mark.parametrize(("epochs", "fails"), [(2, True), (3, True), (4, False)])
def test_the_head_alone_is_not_the_whole_training(epochs: int, fails: bool) -> None:
    values = {
        "data": {"name": "digits"},
        "model": {"name": "timm", "backbone": "test_resnet", "pretrained": True, "freeze_epochs": 3},
        "optimizer": {"name": "adam"},
        "epochs": epochs,
    }
    if not fails:
        assert TrialConfig.from_dict(values).model.frozen_epochs == 3
        return
    message = f"freeze_epochs 3 leaves none of {epochs} epochs to train the backbone — set epochs to 4 or more"
    with pytest.raises(ValueError, match=message):
        TrialConfig.from_dict(values)


def test_how_it_is_tuned_is_part_of_what_is_compared() -> None:
    assert config().initialisation() == {"pretrained": True}
    assert config(backbone_lr=0.1).initialisation() == {"pretrained": True, "backbone_lr": 0.1}
    assert config(freeze_epochs=2).initialisation() == {"pretrained": True, "freeze_epochs": 2}
    assert config(start="probe").initialisation() == {"pretrained": True, "start": "probe"}


def test_the_start_of_the_head_is_not_that_of_a_schedule() -> None:
    values = {"data": {"name": "digits"}, "optimizer": {"name": "adam"}, "scheduler": {"name": "one_cycle"}}
    values["model"] = {"name": "timm", "backbone": "test_resnet", "pretrained": True, "start": "probe"}
    flat = TrialConfig.from_dict(values).flat()
    assert (flat["model_start"], flat["start"]) == ("probe", 0.04)


def test_a_head_on_standardised_features() -> None:
    torch.manual_seed(0)
    head = Head(6, 3, HeadConfig(norm="batch", depth=2, width=4))
    assert sorted(name for name, _ in head.named_parameters()) == ["1.bias", "1.weight", "3.bias", "3.weight"]
    x = 5 + 3 * torch.randn(64, 6)
    found = head[0].train()(x)
    assert found.mean(0).abs().max() < 1e-5
    assert (found.var(0, unbiased=False) - 1).abs().max() < 1e-4
    for _ in range(200):
        head.train()(x)
    assert torch.allclose(head[0].eval()(x).mean(0), torch.zeros(6), atol=1e-4)
    alone = x[:1]
    assert torch.equal(head.train()[0](alone), head.eval()[0](alone)), "the rest of an epoch may be one image"
    assert [type(layer).__name__ for layer in Head(6, 3, HeadConfig())] == ["Linear"]
