"""Exported files give the model's own outputs, for any batch, and say what goes in."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from hwcls.data.loader import Feed
from hwcls.errors import UserError
from hwcls.inspection import export as module
from hwcls.inspection.ensemble.model import Ensemble
from hwcls.inspection.export import describe, description_path, export
from hwcls.inspection.load_trained import load_trained


def test_torch_export(trained, tmp_path):
    opened = load_trained(trained)
    found = export(opened, tmp_path / "model.pt2", "torch")
    assert found["max_difference"] < 1e-5
    description = json.loads(description_path(tmp_path / "model.pt2").read_text())
    assert description == found
    # from the description alone: pixels to classes
    pixels = opened.data.val.images[opened.data.val.rows[:5]]
    mean, std = (np.array(description["input"][key]).reshape(1, -1, 1, 1) for key in ("mean", "std"))
    images = (pixels.transpose(0, 3, 1, 2) / 255 - mean) / std
    logits = torch.export.load(tmp_path / "model.pt2").module()(torch.tensor(images, dtype=torch.float32))
    feed = Feed(opened.data, opened.config.data, seed=0, device=torch.device("cpu"))
    with torch.no_grad():
        expected = opened.model(next(feed.evaluate("val", batch_size=5)).images)
    assert torch.allclose(logits, expected, atol=1e-4)
    assert description["classes"] == list(opened.data.classes)


def test_photos_of_ones_own_are_called_by_their_folder(trained):
    opened = load_trained(trained)
    assert describe(opened)["trained_on"] == "digits"
    own = opened.config.data.model_copy(update={"name": "imagefolder", "path": "/photos/streets/images"})
    streets = replace(opened, config=opened.config.model_copy(update={"data": own}))
    assert describe(streets)["trained_on"] == "streets"
    assert (
        describe(Ensemble(trained, (streets, opened, streets), (0.5, 0.3, 0.2)))["trained_on"] == "streets and digits"
    )


def test_onnx(trained, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    found = export(load_trained(trained), tmp_path / "model.onnx", "onnx")
    assert found["max_difference"] < 1e-4
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    for count in (1, 7):
        images = np.zeros((count, 1, 8, 8), np.float32)
        assert session.run(["logits"], {"images": images})[0].shape == (count, 10)


def test_outputs_that_differ_are_not_written(trained, tmp_path, monkeypatch):
    honest = module._to_torch

    def off(*args):
        run = honest(*args)
        return lambda images: run(images) + 0.1

    monkeypatch.setattr(module, "_to_torch", off)
    with pytest.raises(UserError, match=r"differ by up to 0\.1: nothing was written"):
        export(load_trained(trained), tmp_path / "model.pt2", "torch")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_cannot_be_exported(trained, tmp_path):
    from dataclasses import replace

    class Branches(torch.nn.Module):
        def forward(self, x):
            return x.mean((1, 2, 3))[:, None].expand(-1, 10) if x.sum().item() > 0 else x.flatten(1)[:, :10]

    opened = replace(load_trained(trained), model=Branches())
    with pytest.raises(UserError, match="cannot be exported"):
        export(opened, tmp_path / "model.pt2", "torch")


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`:FutureWarning")
def test_a_model_whose_weights_are_computed(trained, tmp_path):
    from dataclasses import replace

    layer = torch.nn.utils.weight_norm(torch.nn.Linear(64, 10))
    with torch.no_grad():
        layer.weight_g.mul_(2)  # as weights that were loaded: `weight` is not computed from them yet
    model = torch.nn.Sequential(torch.nn.Flatten(), layer).eval()
    found = export(replace(load_trained(trained), model=model), tmp_path / "model.pt2", "torch")
    assert found["max_difference"] < 1e-5
