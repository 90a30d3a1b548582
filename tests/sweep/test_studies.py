"""The shipped sweeps, on real data made small: each shows in its results and on its page what it is made for."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwcls.config.space import Fixed
from hwcls.config.sweep_file import load_sweep
from hwcls.results.compare import build_summary
from hwcls.results.learning_dynamics import summarize_learning
from hwcls.results.load import SweepResults, load_results
from hwcls.results.settings.marginal_effects import setting_effects
from hwcls.training.artifacts import load_arrays, load_confusions
from tests.sweep.conftest import start

ROOT = Path(__file__).parents[2]
FEW = ("confirm.seeds=1", "early_terminate=null", "resources.concurrent=1", "track=[]")
SHRUNK = {  # in addition to preset quick: seconds instead of minutes
    "fashion_mnist_attention": ("run_cap=3", "parameters.data.per_class=40", "parameters.epochs=3"),
    "fashion_mnist_pretraining": ("run_cap=3", "parameters.data.per_class=40", "parameters.epochs=3"),
    "fashion_mnist_probe": (
        "run_cap=2",
        "parameters.data.per_class=20",
        "parameters.data.image_size=32",
        "track=[tensorboard]",
    ),
    "mnist_fc_vs_cnn": ("run_cap=4", "parameters.data.per_class=40", "parameters.epochs=3"),
    "mnist_kernels": ("run_cap=4", "parameters.data.per_class=40", "parameters.epochs=2"),
    "cifar10_residual": ("run_cap=3", "parameters.data.per_class=30", "parameters.epochs=3"),
    "tinyimagenet": (
        *("run_cap=6", "parameters.data.per_class=2", "parameters.data.batch_size={values: [64, 128]}"),
        "parameters.model.choice.resnet.backbone={values: [test_resnet, test_byobnet]}",
        "parameters.model.choice.wideresnet.backbone=test_resnet",
        "parameters.model.choice.efficientnet.backbone=test_efficientnet",
    ),
}
# Ray leaves some of its files and sockets to the garbage collector
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]


@dataclass(frozen=True)
class Row:
    """One study's results."""

    sweep: SweepResults
    page: str

    @property
    def winners(self) -> dict[str, Path]:
        """The folder of the best trial of each alternative."""
        return {str(trial.label): trial.folder for trial in reversed(self.sweep.ranked()) if trial.value is not None}

    @property
    def figures(self) -> dict[str, Any]:
        found = re.search(r'<script id="figures" type="application/json">(.*?)</script>', self.page, re.DOTALL)
        assert found
        figures: dict[str, Any] = json.loads(found[1])
        return figures

    def names(self, figure: str) -> set[str]:
        return {trace["name"] for trace in self.figures[figure]["data"] if "name" in trace}

    def lines(self, label: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.winners[label] / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def row(ray_here, small_data, tmp_path_factory):
    """Runs a shipped sweep's quick preset, shrunk, once; its results."""
    made: dict[str, Row] = {}
    change = pytest.MonkeyPatch()
    change.setenv("HWCLS_DATA", str(small_data))
    change.chdir(ROOT)  # where the README's commands are run

    def run(name: str) -> Row:
        if name not in made:
            sweep = load_sweep(Path("sweeps", f"{name}.yaml"), preset="quick", sets=[*FEW, *SHRUNK[name]])
            outcome, output = start(sweep, tmp_path_factory.mktemp(name))
            assert not outcome.failed, output
            path = outcome.folder.path
            made[name] = Row(load_results(path), (path / "report.html").read_text("utf-8"))
        return made[name]

    yield run
    change.undo()


@pytest.mark.parametrize("name", SHRUNK)
def test_what_every_study_shows(row, name):
    """Curves, each class on test, costs, gaps, and what was made small for this run."""
    found = row(name)
    labels = set(found.winners)
    assert len(labels) >= 2
    heads = set()
    for label in labels:
        lines = found.lines(label)
        for metric in ("train/loss", "val/loss", "train/accuracy", "val/accuracy", "val/macro_f1", "lr"):
            assert all(np.isfinite(line[metric]) for line in lines), metric
        trial = json.loads((found.winners[label] / "result.json").read_text())
        assert trial["cost"]["parameters"] > 0
        assert trial["cost"]["inference_ms"] > 0
        assert trial["cost"]["memory_mb"] > 0
        assert trial["seconds"] > 0
        seen = load_arrays(found.winners[label] / "inspection.npz")
        assert seen["gradient_mean"].shape == seen["gradient_max"].shape == (len(lines), len(seen["layers"]))
        if trial["effective"].get("features") == "cached":  # a head alone has no layer on an image
            assert "activations" not in seen
            heads.add(label)
        else:
            assert seen["activations"].ndim == 3
        matrices = load_confusions(found.winners[label])
        assert {1, len(lines)} <= matrices.keys()  # after the first and the last epoch
    scored = {path.parents[1].name: path for path in found.sweep.folder.glob("confirm/*/*/result.json")}
    assert set(scored) == labels
    for path in scored.values():  # test is read once, at the end
        assert 0 <= json.loads(path.read_text())["test"]["test/accuracy"] <= 1
        assert "test/accuracy" in json.loads((path.parent / "metrics.jsonl").read_text().splitlines()[-1])
    classes = found.sweep.data["classes"]
    tested = {(one["label"], one["class"]) for one in build_summary(found.sweep)["classes"]}
    assert tested == {(label, name) for label in labels for name in classes}
    assert {"accuracy", "loss"} & found.figures.keys() or "metric" in found.figures
    drawn = {name.split(",")[0] for name in found.names("loss")}
    assert labels <= drawn <= {*labels, "training images", "other trials"}  # the latter two are the legend's
    assert {name.partition(",")[0] for name in found.names("roc")} >= labels
    for words in ("Test scores by class", "Learning dynamics", "Changed by preset quick", "receptive field", "step"):
        assert words in found.page, words
    for label in labels:
        assert f"{label}: predictions" in found.page
        assert (f"{label}: activations of the first layer" in found.page) is (label not in heads)
    assert heads == ({"probe"} if name == "fashion_mnist_probe" else set())
    for one in summarize_learning(found.sweep)[0]:
        assert one.confirmed
        assert one.test is not None
        assert one.gap is not None
        assert one.describe_overfitting() in found.page


def test_attention(row):
    found = row("fashion_mnist_attention")
    assert set(found.winners) == {"simple", "attention", "gated"}
    config = load_sweep(ROOT / "sweeps" / "fashion_mnist_attention.yaml", preset="study")
    drawn = config.trial(Fixed({"model": "attention"}))
    augment = drawn.data.augment
    assert (augment.hflip, augment.vflip, augment.rotate) == (True, True, 90)
    assert (drawn.optimizer.name, drawn.optimizer.lr, drawn.data.batch_size, drawn.epochs) == ("adamw", 3e-4, 64, 100)
    assert all(f"{label}<br>F1" in found.page for label in found.winners)  # side by side in one table
    assert 'class="tile right"' in found.page
    assert 'class="tile wrong"' in found.page


def test_pretraining(row):
    found = row("fashion_mnist_pretraining")
    assert set(found.winners) == {"alone", "fine_tuned", "frozen"}
    for label in ("fine_tuned", "frozen"):
        seen = load_arrays(found.winners[label] / "inspection.npz")
        assert seen["reconstructions/input"].shape == seen["reconstructions/output"].shape
        assert json.loads((found.winners[label] / "result.json").read_text())["cost"]["pretrain_seconds"] > 0
        assert f"{label}: reconstructions of the pretrained autoencoder" in found.page
    assert "alone: reconstructions of" not in found.page
    models, bar = summarize_learning(found.sweep)
    assert bar is not None
    assert f"to reach {bar}" in found.page  # is it faster: epochs and seconds until all are as good
    assert any(one.reached is not None for one in models)
    shares = load_sweep(ROOT / "sweeps" / "fashion_mnist_pretraining.yaml", preset="shares")
    assert [one.label for one in shares.alternatives] == ["0.05", "0.25", "1.0"]


def test_probe(row):
    found = row("fashion_mnist_probe")
    assert set(found.winners) == {"cnn", "probe"}
    assert found.sweep.data["classes"] == ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal"]
    for one in summarize_learning(found.sweep)[0]:
        assert [mark for mark, _, _ in one.at_epochs] == [1, 10]
        assert all(f1 is not None for _, _, f1 in one.at_epochs)
    probe = json.loads((found.winners["probe"] / "result.json").read_text())
    assert probe["parameters"]["model"] == "probe"
    assert probe["effective"]["pretrained_weights"] == "tf_efficientnet_lite0.in1k"
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = found.sweep.folder / "tensorboard" / "trials" / found.winners["cnn"].name
    events = reader.EventAccumulator(str(folder))
    events.Reload()
    assert {"lr", "train/loss", "val/accuracy"} <= set(events.Tags()["scalars"])
    kinds = {tag.split("/")[0] for tag in events.Tags()["histograms"]}
    assert {"weights", "gradients"} <= kinds


def test_fully_connected_against_convolutions(row):
    found = row("mnist_fc_vs_cnn")
    assert set(found.winners) == {"fully_connected", "cnn", "residual", "own"}  # a user's own module among them
    fields = {
        label: json.loads((path / "result.json").read_text())["cost"]["receptive_field"]
        for label, path in found.winners.items()
    }
    assert fields["fully_connected"] is None  # the whole image
    assert all(isinstance(fields[label], int) for label in ("cnn", "residual", "own"))
    assert "source" in {path.name for path in found.sweep.folder.iterdir()}  # the user's file is kept


def test_kernels_have_equally_many_parameters(row):
    found = row("mnist_kernels")
    counts = {
        label: json.loads((path / "result.json").read_text())["cost"]["parameters"]
        for label, path in found.winners.items()
    }
    assert set(counts) == {"kernel_3", "kernel_5", "kernel_7", "mixed"}
    assert all(abs(count - 50_000) <= 0.02 * 50_000 for count in counts.values())


def test_residual_blocks(row):
    found = row("cifar10_residual")
    assert set(found.winners) == {"fully_connected", "residual", "regularised"}
    assert found.sweep.data["name"] == "cifar10"
    areas = [one["area"] for one in build_summary(found.sweep)["classes"]]  # under the one-vs-rest curves, on test
    assert len(areas) == 30
    assert all(0 <= area <= 1 for area in areas)


def test_tinyimagenet(row):
    found = row("tinyimagenet")
    assert set(found.winners) == {"resnet", "wideresnet", "efficientnet"}
    for label in found.winners:
        assert all(matrix.shape == (200, 200) for matrix in load_confusions(found.winners[label]).values())
    compared = {one.setting for one in setting_effects(found.sweep)}
    assert {"backbone", "head_depth", "optimizer", "batch_size"} <= compared
