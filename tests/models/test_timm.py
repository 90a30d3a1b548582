"""timm's backbones: weights from files, caches and an unreachable hub; stems; names."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from hwcls import models
from hwcls.config.model import HeadConfig
from hwcls.errors import UserError
from hwcls.models.timm import TimmConfig
from hwcls.models.weights.find import find_offline_weights, may_have_weights

torch.set_num_threads(1)


def build(channels: int = 3, size: int = 32, **settings: Any) -> torch.nn.Module:
    return models.build(TimmConfig(**settings), classes=5, channels=channels, image_size=size)


def trained(backbone: str, **options: Any) -> torch.nn.Module:
    """A timm model as on its hub, with its classifier and with statistics that differ from a new one's."""
    torch.manual_seed(7)
    model = timm.create_model(backbone, **options).train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(4, 3, 160, 160))
    return model.eval()


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet", "test_vit"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_from_a_file(backbone: str, suffix: str, tmp_path: Path) -> None:
    source = trained(backbone)
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(source.state_dict(), path)
    size = timm.get_pretrained_cfg(backbone).input_size[-1]
    model = build(size=size, backbone=backbone, pretrained=str(path)).eval()
    source.reset_classifier(0)
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        assert torch.equal(model.backbone(x), source(x))
    assert "state_dict" not in model.backbone.pretrained_cfg


def test_a_file_for_other_images(tmp_path: Path) -> None:
    save_file(trained("test_vit").state_dict(), tmp_path / "vit.safetensors")
    model = build(size=32, backbone="test_vit", pretrained=str(tmp_path / "vit.safetensors"))
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 5)  # its position embedding was resized


def test_grey_images_sum_the_colours(tmp_path: Path) -> None:
    source = trained("test_efficientnet")
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    model = build(1, backbone="test_efficientnet", pretrained=str(tmp_path / "weights.safetensors"))
    expected = source.conv_stem.weight.sum(1, keepdim=True)
    assert torch.allclose(model.backbone.conv_stem.weight, expected, atol=1e-6)


def test_a_trials_own_weights(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = build(backbone="test_resnet")
    save_file(first.state_dict(), tmp_path / "best.safetensors")
    again = build(backbone="test_resnet", pretrained=str(tmp_path / "best.safetensors"), head=HeadConfig(depth=2))
    for name, weight in again.backbone.state_dict().items():
        assert torch.equal(weight, first.backbone.state_dict()[name]), name


def test_weights_of_another_model_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file(trained("test_efficientnet").state_dict(), path)
    with pytest.raises(UserError, match=r"other\.safetensors.*test_resnet"):
        build(backbone="test_resnet", pretrained=str(path))


def test_weights_of_another_shape_are_rejected(tmp_path: Path) -> None:
    weights = trained("test_resnet").state_dict()
    weights["layer1.0.conv1.weight"] = torch.zeros(1, 2, 3, 3)
    save_file(weights, tmp_path / "shape.safetensors")
    with pytest.raises(UserError, match=r"'layer1\.0\.conv1\.weight' is 1x2x3x3 there and 32x32x3x3 in test_resnet"):
        build(backbone="test_resnet", pretrained=str(tmp_path / "shape.safetensors"))


def test_incomplete_weights_are_rejected(tmp_path: Path) -> None:
    weights = trained("test_resnet").state_dict()
    del weights["layer2.0.conv1.weight"]
    save_file(weights, tmp_path / "part.safetensors")
    with pytest.raises(UserError, match=r"layer2\.0\.conv1\.weight"):
        build(backbone="test_resnet", pretrained=str(tmp_path / "part.safetensors"))


class _Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("was_unpickled"),))


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": torch.zeros(1), "evil": _Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="unreadable"):
        build(backbone="test_resnet", pretrained="evil.pth")
    assert not Path("was_unpickled").exists()


def test_a_missing_file_is_an_error_before_the_start() -> None:
    with pytest.raises(UserError, match="no/such/file"):
        models.check(
            TimmConfig(backbone="test_resnet", pretrained="no/such/file.pth"), classes=5, channels=3, image_size=32
        )


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, empty, and a hub that refuses every connection."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path


def test_an_unreachable_hub_is_an_error_within_seconds(hub: Path) -> None:
    start = time.monotonic()
    with pytest.raises(UserError, match=r"cannot be reached.*pretrained: path/to/weights\.safetensors"):
        build(backbone="test_resnet", pretrained=True)
    assert time.monotonic() - start < 10
    assert models.check(TimmConfig(backbone="test_resnet", pretrained=True), classes=5, channels=3, image_size=32) > 0


def test_cached_weights_need_no_hub(hub: Path) -> None:
    source = trained("test_resnet")
    repo = hub / ("models--" + timm.get_pretrained_cfg("test_resnet").hf_hub_id.replace("/", "--"))
    (repo / "refs").mkdir(parents=True)
    (repo / "refs/main").write_text("0" * 40)
    (repo / "snapshots" / ("0" * 40)).mkdir(parents=True)
    assert find_offline_weights("test_resnet") is None
    save_file(source.state_dict(), repo / "snapshots" / ("0" * 40) / "model.safetensors")
    assert find_offline_weights("test_resnet") == str(repo / "snapshots" / ("0" * 40) / "model.safetensors")
    model = build(backbone="test_resnet", pretrained=True).eval()
    source.reset_classifier(0)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model.backbone(x), source(x))
    found = TimmConfig(backbone="test_resnet", pretrained=True).decided(model)
    assert found["pretrained_weights"] == "test_resnet.r160_in1k"
    assert found["weights_source"] == "timm's cache"
    assert len(found["weights_sha256"]) == 64


def test_weights_are_looked_for_in_the_caches_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HF_HOME", "TORCH_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("hwcls.models.weights.package.PACKAGES", {})
    assert not may_have_weights()
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    assert not may_have_weights()
    (tmp_path / "torch" / "hub" / "checkpoints" / "resnet18.pth").touch()
    assert may_have_weights()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "elsewhere"))
    assert not may_have_weights()


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(UserError, match="resnet18"):
        build(backbone="resnet_18")
    with pytest.raises(UserError, match="a1_in1k"):
        build(backbone="resnet18.a1_in1")


def test_a_backbone_without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = dataclasses.replace(timm.get_pretrained_cfg("test_resnet"), hf_hub_id=None, url=None)
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: bare)
    with pytest.raises(UserError, match="no weights for test_resnet"):
        build(backbone="test_resnet", pretrained=True)


@pytest.mark.parametrize("backbone", ["resnet18", "wide_resnet50_2", "resnet50d", "tf_efficientnet_b0"])
def test_small_stem_keeps_the_resolution(backbone: str) -> None:
    config = TimmConfig(backbone=backbone, stem="small")
    model = models.build_skeleton(config, classes=5, channels=1, image_size=28)
    stem = model.backbone.conv1 if hasattr(model.backbone, "conv1") else model.backbone.conv_stem
    assert stem(torch.zeros(1, 1, 28, 28)).shape[-2:] == (28, 28)
    assert isinstance(getattr(model.backbone, "maxpool", torch.nn.Identity()), torch.nn.Identity)


def test_small_stem_of_pretrained_weights(tmp_path: Path) -> None:
    source = trained("test_efficientnet")
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    model = build(backbone="test_efficientnet", pretrained=str(tmp_path / "weights.safetensors"), stem="small")
    assert torch.equal(model.backbone.conv_stem.weight, source.conv_stem.weight)
    assert model.backbone.conv_stem.stride == (1, 1)


def test_a_small_stem_that_was_trained_is_kept(tmp_path: Path) -> None:
    """Frozen, too, as its weights are not new; grey images get the sum over its colours."""
    source, path = build(backbone="resnet18", stem="small").backbone, tmp_path / "best.safetensors"
    save_file({f"backbone.{name}": value for name, value in source.state_dict().items()}, path)
    for channels, expected in ((3, source.conv1.weight), (1, source.conv1.weight.sum(1, keepdim=True))):
        found = build(channels, backbone="resnet18", stem="small", pretrained=str(path), frozen=True).backbone
        assert found.conv1.stride == (1, 1)
        assert torch.allclose(found.conv1.weight, expected)
        assert torch.equal(found.layer4[1].conv2.weight, source.layer4[1].conv2.weight)
    with pytest.raises(
        UserError, match=r"best.* was trained with the small stem of resnet18 — set model\.stem to small"
    ):
        build(backbone="resnet18", pretrained=str(path))


@pytest.mark.parametrize("settings", [{"frozen": True}, {"start": "probe"}])
def test_a_small_stem_of_a_file_may_stay_frozen(settings: dict[str, Any], tmp_path: Path) -> None:
    """Whether the file has it is known where it is read, neither in the skeleton nor in a model that is restored."""
    sizes = {"classes": 5, "channels": 3, "image_size": 32}
    for stem, name in (("small", "small.safetensors"), ("standard", "standard.safetensors")):
        save_file(build(backbone="resnet18", stem=stem).backbone.state_dict(), tmp_path / name)
    config = TimmConfig(backbone="resnet18", stem="small", pretrained=str(tmp_path / "small.safetensors"), **settings)
    model = models.build(config, **sizes)
    assert models.check(config, **sizes) == models.count_parameters(model)
    restored = models.build(config.without_pretrained().without_pretrained(), **sizes)
    restored.load_state_dict(model.state_dict())
    assert restored.frozen == model.frozen == bool(settings.get("frozen"))
    other = config.model_copy(update={"pretrained": str(tmp_path / "standard.safetensors")})
    with pytest.raises(UserError, match=r"small stem of resnet18 has new weights"):
        models.build(other, **sizes)
    with pytest.raises(UserError, match=r"small stem of resnet18 has new weights"):
        models.check(config.model_copy(update={"pretrained": True}), **sizes)


def test_no_small_stem_for_a_transformer() -> None:
    with pytest.raises(UserError, match="stem"):
        build(size=32, backbone="test_vit", stem="small")


FROZEN = TimmConfig(backbone="test_efficientnet", frozen=True, head=HeadConfig(depth=2, width=8))


def test_a_frozen_backbone_does_not_change() -> None:
    model = models.build(FROZEN, classes=5, channels=3, image_size=32).eval().train()
    assert model.head.training
    assert not any(one.training for one in model.backbone.modules())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([one for one in model.parameters() if one.requires_grad], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(4, 3, 32, 32)).square().sum().backward()
        optimizer.step()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"head.0.weight", "head.0.bias", "head.2.weight", "head.2.bias"}, "statistics of norms included"
    assert all(one.grad is None for one in model.backbone.parameters())


def test_a_frozen_backbone_keeps_nothing_for_a_backward_pass() -> None:
    def kept(frozen: bool) -> int:
        sizes: list[int] = []
        model = build(backbone="test_efficientnet", frozen=frozen).train()
        with torch.autograd.graph.saved_tensors_hooks(lambda one: sizes.append(one.numel()) or one, lambda one: one):
            model(torch.randn(2, 3, 32, 32)).sum()
        return sum(sizes)

    head = build(backbone="test_efficientnet").head[0]
    assert kept(frozen=True) == 2 * head.in_features  # the head's input
    assert kept(frozen=False) > 100 * kept(frozen=True)


def test_a_frozen_backbone_over_ranks(tmp_path: Path) -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        model = models.build(FROZEN, classes=5, channels=3, image_size=32)
        ranked = torch.nn.parallel.DistributedDataParallel(model).train()
        for _ in range(2):
            ranked(torch.randn(2, 3, 32, 32)).sum().backward()
        assert all((one.grad is not None) == one.requires_grad for one in model.parameters())
    finally:
        dist.destroy_process_group()


def test_a_frozen_stem_must_have_been_trained() -> None:
    with pytest.raises(UserError, match=r"small stem of resnet18 has new weights.*set model\.stem to standard"):
        build(backbone="resnet18", stem="small", frozen=True)
    assert build(backbone="test_efficientnet", stem="small", frozen=True).frozen  # its 3x3 stem keeps its weights


def test_a_frozen_model_is_another_model() -> None:
    from hwcls.models.summary import compute_signature

    assert compute_signature(build(backbone="test_resnet")) != compute_signature(
        build(backbone="test_resnet", frozen=True)
    )


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet", "test_vit"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_loads_as_timm_loads_its_own(backbone: str, channels: int, tmp_path: Path) -> None:
    """The same keys without the same classifier, and the same first convolution, bit for bit."""
    path = str(tmp_path / "weights.safetensors")
    save_file(trained(backbone).state_dict(), path)
    size = timm.get_pretrained_cfg(backbone).input_size[-1]
    theirs = timm.create_model(
        backbone, pretrained=True, pretrained_cfg_overlay={"file": path}, num_classes=0, in_chans=channels
    ).state_dict()
    ours = build(channels, size, backbone=backbone, pretrained=path).backbone.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


QUICK = ["resnet18", "resnet50", "wide_resnet50_2", "efficientnet_b0"]
SLOW = [
    "resnet34",
    "wide_resnet101_2",
    *(f"efficientnet_b{n}" for n in range(1, 8)),
    "tf_efficientnet_b6",
    "tf_efficientnet_b7",
]


@pytest.mark.parametrize("backbone", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_the_backbones_of_the_studies(backbone: str) -> None:
    assert models.check(TimmConfig(backbone=backbone), classes=200, channels=3, image_size=64) > 1_000_000
    weights = bool(timm.get_pretrained_cfg(backbone).has_weights)
    assert weights == (backbone not in ("efficientnet_b6", "efficientnet_b7")), "B6 and B7 have weights as tf_ alone"


@pytest.mark.parametrize("size", [32, 64, 224])
def test_vit_tiny_as_a_linear_probe(size: int, tmp_path: Path) -> None:
    source = timm.create_model("vit_tiny_patch16_224").eval()
    save_file(source.state_dict(), tmp_path / "vit.safetensors")
    path = str(tmp_path / "vit.safetensors")
    model = build(size=size, backbone="vit_tiny_patch16_224", pretrained=path, frozen=True)
    assert sum(one.numel() for one in model.parameters() if one.requires_grad) == 192 * 5 + 5
    x = torch.randn(2, 3, size, size)
    assert model.train()(x).shape == (2, 5)
    if size == 224:
        source.reset_classifier(0)
        with torch.no_grad():
            assert torch.equal(model.backbone(x), source(x))


def test_vit_tiny_takes_small_images() -> None:
    vit = TimmConfig(backbone="vit_tiny_patch16_224")
    assert models.check(vit, classes=200, channels=3, image_size=64) > 5_000_000
    assert vit.notes(channels=3, image_size=64) == ()
    assert models.check(vit, classes=6, channels=1, image_size=28) > 5_000_000
    assert vit.notes(channels=1, image_size=28) == (
        "vit_tiny_patch16_224, whose patches have 16 pixels, does not see the last 12 of 28 pixels, right and bottom; "
        "with data.image_size 32 it sees all",
    )


@pytest.mark.parametrize(
    ("backbone", "size"),
    [
        ("pvt_v2_b0", 64),  # patches that overlap
        ("efficientvit_m0", 28),
        ("xcit_nano_12_p16_224", 28),
        ("crossvit_tiny_240", 32),  # resizes images itself, and takes no img_size
        ("mvitv2_tiny", 28),  # takes 28 pixels, but not as its img_size
        ("pit_ti_224", 28),  # sees 24 of them
    ],
)
def test_what_timm_takes_is_taken(backbone: str, size: int) -> None:
    assert models.check(TimmConfig(backbone=backbone), classes=5, channels=3, image_size=size) > 1_000_000


@pytest.mark.parametrize(
    ("backbone", "size", "unseen"),
    [
        ("pvt_v2_b0", 64, None),
        ("resnet18", 28, None),
        ("pit_ti_224", 28, "the last 4 of 28 pixels, right and bottom; with data.image_size 32 it sees all"),
        ("pit_b_224", 64, "the last 1 of 64 pixels, right and bottom; with data.image_size 70 it sees all"),
    ],
)
def test_pixels_that_no_patch_has_are_named(backbone: str, size: int, unseen: str | None) -> None:
    notes = TimmConfig(backbone=backbone).notes(channels=3, image_size=size)
    assert [note.partition(" does not see ")[2] for note in notes] == ([unseen] if unseen else [])


@pytest.mark.parametrize(
    ("backbone", "size", "fitting"),
    [
        ("coat_tiny", 28, 32),
        ("inception_v3", 28, 96),
    ],
)
def test_a_refusal_names_the_size_to_set(backbone: str, size: int, fitting: int) -> None:
    config = TimmConfig(backbone=backbone)
    with pytest.raises(UserError, match=f"{size}x{size} images.*set data.image_size to {fitting}$"):
        models.check(config, classes=5, channels=3, image_size=size)
    assert models.check(config, classes=5, channels=3, image_size=fitting) > 1_000_000
