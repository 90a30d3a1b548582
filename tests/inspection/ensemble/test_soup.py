"""A soup is the plain mean of weights with BatchNorm's statistics of that mean, where such a mean makes sense."""

import copy
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from typer.testing import CliRunner

from hwcls.data.imageset import open_data
from hwcls.inspection.ensemble import soup as module
from hwcls.inspection.ensemble.model import load_classifier
from hwcls.inspection.ensemble.soup import Soup, average_weights, update_statistics, why_not_soup
from hwcls.inspection.load_trained import load_trained
from tests.trials import changed

SCRATCH = {
    "data": {"name": "digits", "batch_size": 40, "per_class": 30, "val": 0.3},
    "model": {"name": "simple_cnn", "width": 4},
    "optimizer": {"name": "adam", "lr": 0.01},
    "epochs": 1,
}


def invoke(*words):
    from hwcls.cli.main import app

    return CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A sweep of three trials that fine-tune the same tiny backbone, with weights from a file."""
    timm = pytest.importorskip("timm")
    from hwcls.training.local import train

    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("tuned") / "tuned"
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), path.parent / "weights.safetensors")
    base = copy.deepcopy(SCRATCH)
    base["data"] |= {"image_size": 32, "channels": 3, "augment": {"hflip": True}}
    base["model"] = {"name": "timm", "backbone": "test_resnet", "pretrained": str(path.parent / "weights.safetensors")}
    path.mkdir()
    (path / "sweep.yaml").write_text("name: tuned\n")
    for number, lr in enumerate((0.003, 0.002, 0.004)):
        train(changed(base, optimizer__lr=lr), path / "trials" / str(number), lambda line: None)
    return path


def test_the_mean_by_hand():
    rng = np.random.default_rng(0)
    every = [
        {"a": torch.from_numpy(rng.normal(size=(2, 3)).astype(np.float32)), "count": torch.tensor(7 + place)}
        for place in range(3)
    ]
    found = average_weights(every)
    expected = np.mean([one["a"].numpy().astype(np.float64) for one in every], axis=0).astype(np.float32)
    assert np.array_equal(found["a"].numpy(), expected)
    assert found["a"].dtype == torch.float32
    assert found["count"] == 7
    assert torch.equal(average_weights([every[0]] * 3)["a"], every[0]["a"]), "the mean of equal weights is exact"


def test_statistics_are_the_mean_over_training_batches(monkeypatch):
    config = changed(SCRATCH)
    data = open_data(config.data)
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 10))
    model[0].running_mean.fill_(9.0)
    weight = model[3].weight.clone()
    batches = list(module._training_batches(config, data, torch.device("cpu")))
    assert sum(map(len, batches)) == len(data.train)
    update_statistics(model, config, data, torch.device("cpu"))
    assert model[0].running_mean.item() == pytest.approx(np.mean([one.mean().item() for one in batches]), abs=1e-6)
    assert model[0].running_var.item() == pytest.approx(np.mean([one.var().item() for one in batches]), rel=1e-5)
    assert model[0].momentum == 0.1
    assert torch.equal(model[3].weight, weight)
    assert not any(part.training for part in model.modules())
    monkeypatch.setattr(module, "STATISTICS", 80)
    assert len(list(module._training_batches(config, data, torch.device("cpu")))) == 2


def test_statistics_of_a_frozen_backbone_stay(tuned):
    from dataclasses import replace

    opened = load_trained(tuned / "trials/0")
    frozen = replace(opened, config=changed(opened.config.to_dict(), model__frozen=True, model__features="live"))
    soup = Soup([frozen, frozen], lambda model: 0.0)
    before = {name: one.clone() for name, one in opened.model.state_dict().items()}
    after = soup.mix([0, 1]).model.state_dict()
    assert all(torch.equal(after[name], one) for name, one in before.items())
    moved = Soup([opened, frozen], lambda model: 0.0).mix([0, 1])
    assert not torch.equal(moved.model.state_dict()["backbone.bn1.running_mean"], before["backbone.bn1.running_mean"])
    assert not moved.config.model.frozen, "a part was trained, so that its statistics are computed anew"
    later = replace(opened, config=changed(opened.config.to_dict(), model__freeze_epochs=1, epochs=2))
    for pair in ([frozen, later], [later, later]):
        moved = Soup(pair, lambda model: 0.0).mix([0, 1])
        after = moved.model.state_dict()["backbone.bn1.running_mean"]
        assert not torch.equal(after, before["backbone.bn1.running_mean"])
        assert not moved.config.model.frozen
        assert moved.config.model.frozen_epochs == 0


def test_which_weights_can_be_averaged(tuned):
    one = load_trained(tuned / "trials/0").config
    values = one.to_dict()
    assert why_not_soup(one, changed(values, optimizer__lr=0.1, seed=9, epochs=4, model__label="x")) == ""
    assert (
        why_not_soup(one, changed(values, model__head__dropout=0.5, model__backbone_lr=0.1, data__batch_size=8)) == ""
    )
    assert why_not_soup(one, changed(values, model__frozen=True)) == ""
    assert why_not_soup(one, changed(values, model__head__depth=2)) == "head_depth 1 or 2"
    assert why_not_soup(one, changed(values, data__image_size=48)) == "image_size 32 or 48"
    assert why_not_soup(one, changed(values, model__pretrained=False)) == "trained from scratch"
    assert why_not_soup(one, changed(values, model__pretrained="other.pth")) == "started from other pretrained weights"
    assert why_not_soup(changed(SCRATCH), changed(SCRATCH)) == "trained from scratch"


@pytest.mark.parametrize(
    ("values", "chosen"),
    [
        ({(0, 1): 0.8, (0, 1, 2): 0.7}, [0, 1]),
        ({(0, 1): 0.4, (0, 2): 0.5, (0, 1, 2): 0.3}, [0, 2]),
        ({(0, 1): 0.4, (0, 2): 0.4, (0, 1, 2): 0.6}, [0, 1, 2]),  # all of them, as no step was good
        ({(0, 1): 0.4, (0, 2): 0.4, (0, 1, 2): 0.4}, [0]),
    ],
)
def test_the_greedy_choice(tuned, monkeypatch, values, chosen):
    opened = load_trained(tuned / "trials/0")
    monkeypatch.setattr(Soup, "mix", lambda self, places: tuple(places))
    found, model = Soup(
        [opened] * 3, lambda model: values.get(model, 0.5) if isinstance(model, tuple) else 0.5
    ).choose()
    assert found == chosen
    assert model == (opened if chosen == [0] else tuple(chosen))


def test_the_command(tuned, tmp_path):
    made = shutil.copytree(tuned, tmp_path / "tuned")
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:  # one epoch of a random backbone promises nothing: every soup is good enough
        patch.setattr("hwcls.results.ensemble.build.Soup.choose", lambda self: ([0, 1, 2], self.mix([0, 1, 2])))
        done = invoke("ensemble", made, "--soup", "--json")
    assert done.exit_code == 0, done.output
    about = json.loads(done.stdout)
    assert about["kind"] == "soup"
    assert sorted(about["averaged"]) == ["trials/0", "trials/1", "trials/2"]
    assert [one["folder"] for one in about["members"]] == ["1"]
    name = "head.0.weight"
    every = [load_file(made / "trials" / str(number) / "best.safetensors")[name].double() for number in range(3)]
    written = load_file(made / "ensemble/1/best.safetensors")
    assert torch.equal(written[name], torch.stack(every).mean(0).float())
    shutil.rmtree(made / "trials")
    assert load_classifier(made / "ensemble").shares == (1.0,)
    assert load_trained(made / "ensemble/1").config.model.backbone == "test_resnet"
    assert invoke("evaluate", made / "ensemble").exit_code == 0
    assert "The soup in ensemble/ is the average of the weights of 3 models" in (made / "report.html").read_text()
