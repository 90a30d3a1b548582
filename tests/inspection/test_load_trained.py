"""A trial's folder opened again: scores equal those of its training, and errors name the file and the remedy."""

import json
import shlex
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from sklearn import metrics as reference

from hwcls.config.sweep_file import load_trial
from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import open_data
from hwcls.errors import UserError
from hwcls.inspection.evaluate import evaluate_trial, evaluate_weights, most_confused, summarise_scores
from hwcls.inspection.load_trained import count_test_read, find_sweep_folder, load_trained
from hwcls.inspection.recorded import load_recorded
from hwcls.models.user.trust import all_accepted
from hwcls.models.user_model import UserModelConfig
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.training.local import train

CPU = torch.device("cpu")


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of the trial in a sweep's folder."""
    (tmp_path / "sweep.yaml").write_text("name: made\n")
    return shutil.copytree(trained, tmp_path / "trials" / "3")


def changed(folder, **values):
    """The folder with its config.yaml changed."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    for name, value in values.items():
        config[name] |= value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def test_val_scores_are_those_of_the_training(trained):
    found = evaluate_trial(load_trained(trained), "val")
    best = TrialFolder(trained).result().best
    line = next(line for line in TrialFolder(trained).records() if line["epoch"] == best["epoch"])
    assert found.values["val/accuracy"] == line["val/accuracy"]
    assert found.values["val/loss"] == pytest.approx(line["val/loss"], rel=1e-5)
    assert found.values["val/macro_f1"] == pytest.approx(line["val/macro_f1"])
    with np.load(trained / "predictions.npz") as kept:
        assert np.array_equal(kept["labels"], found.labels)
        assert np.allclose(kept["scores"].astype(np.float32), found.scores, atol=1e-3)


RANDOM = """
import numpy as np
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.register_buffer("first", torch.randn(64, 32), persistent=False)  # random features
        self.register_buffer("shift", torch.tensor(np.random.randn(32), dtype=torch.float32), persistent=False)
        self.last = nn.Linear(32, classes)

    def forward(self, x):
        return self.last(torch.relu(x.flatten(1) @ self.first + self.shift))

def build(classes, channels, image_size):
    return Net(classes)
"""


def test_what_a_model_draws_and_does_not_keep_is_as_in_training(trial, tmp_path):
    (tmp_path / "net.py").write_text(RANDOM)
    config = trial(seed=3, epochs=1)
    config = config.model_copy(update={"model": UserModelConfig(name=f"{tmp_path / 'net.py'}:build")})
    with all_accepted(True):
        train(config, tmp_path / "trial", lambda line: None)
        torch.manual_seed(99)
        found = evaluate_trial(load_trained(tmp_path / "trial"), "val")
    [line] = TrialFolder(tmp_path / "trial").records()
    assert found.values["val/loss"] == pytest.approx(line["val/loss"], rel=1e-5)


def test_confirm_scores_are_those_of_the_folder(trained, trial):
    weights = (trained / "best.safetensors").read_bytes()
    state = torch.random.get_rng_state()
    found = evaluate_weights(trial(), weights, "test", CPU)
    assert torch.equal(state, torch.random.get_rng_state())
    other = evaluate_trial(load_trained(trained), "test")
    assert found.values == other.values
    assert found.scores.dtype == np.float16


def test_summary_against_scikit_learn(trained):
    opened = load_trained(trained)
    scored = evaluate_trial(opened, "val")
    found = json.loads(json.dumps(summarise_scores(scored, opened.data.classes), allow_nan=False))
    labels, guess = scored.labels, scored.scores.argmax(1)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(labels, guess))
    assert found["top5"] == pytest.approx(reference.top_k_accuracy_score(labels, scored.scores, k=5))
    for kind in ("macro", "weighted"):
        expected = reference.precision_recall_fscore_support(labels, guess, average=kind, zero_division=0)
        assert [found[kind][key] for key in ("precision", "recall", "f1")] == pytest.approx(expected[:3])
    assert found["auc"] == pytest.approx(reference.roc_auc_score(labels, scored.scores, multi_class="ovr"), abs=1e-9)
    assert found["confusion"] == reference.confusion_matrix(labels, guess).tolist()
    assert [row["images"] for row in found["classes"]] == np.bincount(labels).tolist()
    for place, row in enumerate(found["classes"]):
        false, true, _ = reference.roc_curve(labels == place, scored.scores[:, place], drop_intermediate=False)
        points = set(zip(false.round(4), true.round(4), strict=True))
        assert len(row["roc"][0]) == min(len(false), 100)
        assert set(zip(*row["roc"], strict=True)) <= points
        assert [axis[0] for axis in row["roc"]] + [axis[-1] for axis in row["roc"]] == [0, 0, 1, 1]
    pairs = most_confused(found)
    assert sum(count for *_, count in most_confused(found, most=100)) == int((labels != guess).sum())
    assert all(true != predicted for true, predicted, _ in pairs)


def test_reads_of_test_are_counted_in_the_sweep(copied):
    opened = load_trained(copied)
    sweep = find_sweep_folder(copied)
    assert sweep == copied.parent.parent
    assert SweepFolder(sweep).count_test_reads() == 0
    assert [count_test_read(opened.path), count_test_read(opened.path)] == [1, 2]
    assert SweepFolder(sweep).count_test_reads() == 2
    line = json.loads((sweep / "test_reads.jsonl").read_text().splitlines()[0])
    assert line["trial"] == "trials/3"


def test_a_pretrained_backbone_is_not_fetched_again(tmp_path):
    from safetensors.torch import save

    from hwcls.models import build

    config = TrialConfig.from_dict(
        {
            "data": {"name": "digits", "image_size": 32, "channels": 3},
            "model": {"name": "timm", "backbone": "resnet10t", "pretrained": True},
            "optimizer": {"name": "adam"},
        }
    )
    data = open_data(config.data)
    plain = config.model.model_copy(update={"pretrained": False})
    weights = save(build(plain, classes=10, channels=3, image_size=32).state_dict())
    assert evaluate_weights(config, weights, "val", CPU).scores.shape == (len(data.val), 10)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "best.safetensors").unlink(), ["no weights were kept", "hwcls train", "keep: none"]),
        (
            lambda folder: changed(folder, model={"width": 4}),
            ["of another model: width 8 became 4", "config.yaml"],
        ),
        (lambda folder: (folder / "best.safetensors").write_bytes(b"torn"), ["cannot be read as weights", "damaged"]),
        (lambda folder: (folder / "config.yaml").unlink(), ["has no config.yaml", "results/<sweep>/trials/<n>"]),
        (lambda folder: changed(folder, data={"name": "cifar10"}), ["cifar10", "hwcls data"]),
    ],
    ids=["none kept", "config changed", "truncated", "no trial", "no data"],
)
def test_errors_name_the_cause(copied, damage, words, monkeypatch):
    monkeypatch.delenv("HWCLS_DATA", raising=False)
    damage(copied)
    with pytest.raises(UserError) as caught:
        _ = load_trained(copied).data
    for word in words:
        assert word in str(caught.value)


def test_a_command_to_copy_has_its_path_in_one_word(tmp_path, copied):
    folder = shutil.copytree(copied, tmp_path / "a b'c" / "3")
    (folder / "best.safetensors").unlink()
    (folder / "inspection.npz").unlink(missing_ok=True)
    sweep_file = folder.parent / "my sweep.yaml"
    sweep_file.write_text("parameters: {}\n")
    for read, path, named in (
        (load_trained, folder, f"train {folder / 'config.yaml'}"),
        (load_recorded, folder, f"train {folder / 'config.yaml'}"),
        (load_trial, sweep_file, f"sweep {sweep_file}"),
    ):
        with pytest.raises(UserError) as caught:
            read(path)
        command = shlex.split(caught.value.remedy.partition("hwcls ")[2].partition(" (")[0])
        assert command == named.split(" ", 1)


@pytest.mark.parametrize("metadata", [None, {}, {"inputs": None}, {"inputs": {"name": "a"}, "config": 3}])
def test_weights_without_metadata_are_opened_with_the_data(copied, metadata):
    from safetensors.torch import load_file, save_file

    weights = load_file(copied / "best.safetensors")
    save_file(weights, copied / "best.safetensors", None if metadata is None else {"hwcls": json.dumps(metadata)})
    opened = load_trained(copied)
    assert (opened.inputs.name, len(opened.inputs.classes)) == ("digits", 10)


def test_weights_of_another_model_by_their_shapes(trained, trial):
    weights = (trained / "best.safetensors").read_bytes()
    with pytest.raises(UserError, match=r"of another model: .* is \(8, 1, 3, 3\) in the file, \(16, 1, 3, 3\)"):
        evaluate_weights(trial(model__width=16), weights, "val", CPU)
    with pytest.raises(UserError, match=r"of another model: .* is missing"):
        evaluate_weights(trial(model__depth=3), weights, "val", CPU)


def test_a_sweep_is_no_trial(copied):
    with pytest.raises(UserError, match=r"name one of its trials: .*trials/3"):
        load_trained(copied.parent.parent)


COLOURS = {"cat": 60, "dog": 120, "fox": 180}


def add_photos(root, name, first, count, brightness, channels=3):
    """Noisy images of one brightness."""
    (root / name).mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(first)
    for i in range(first, first + count):
        pixels = random.integers(brightness - 40, brightness + 40, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels if channels == 3 else pixels[..., 0]).save(root / name / f"{i}.png")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Photos of a user's own, and the trial that was trained on them."""
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    for name, brightness in COLOURS.items():
        add_photos(tmp_path / "photos", name, 0, 20, brightness)
    data = {"path": str(tmp_path / "photos"), "image_size": 8}
    config = {"data": data, "model": {"name": "mlp", "width": 4}, "optimizer": {"name": "adam"}, "epochs": 1}
    train(TrialConfig.from_dict(config), tmp_path / "out", lambda line: None)
    return tmp_path / "photos", tmp_path / "out"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda photos: (photos / "cat").rename(photos / "tabby"), r"new: tabby; missing: cat"),
        (lambda photos: add_photos(photos, "ant", 0, 20, 128), r"new: ant"),
        (lambda photos: shutil.rmtree(photos / "fox"), r"missing: fox"),
    ],
    ids=["renamed", "new", "missing"],
)
def test_other_classes_than_in_training_are_refused(own, change, words):
    photos, out = own
    change(photos)
    remedy = "restore the images or train again"
    with pytest.raises(UserError, match=rf"trained on other classes than photos has now \({words}\) — {remedy}"):
        evaluate_trial(load_trained(out), "val")
    assert load_trained(out).classes == ("cat", "dog", "fox")  # predictions go on


def test_more_images_are_normalised_as_in_training(own):
    photos, out = own
    before = load_trained(out)
    assert before.changed_images("test") is before.changed_images("val") is None
    inputs = before.inputs
    assert (before.data.mean, before.data.std) == (inputs.mean, inputs.std)
    add_photos(photos, "fox", 100, 100, 210)
    opened = load_trained(out)
    assert open_data(opened.config.data).mean != inputs.mean
    assert (opened.data.mean, opened.data.std) == (inputs.mean, inputs.std)
    part = opened.data.test
    assert np.allclose(evaluate_trial(opened, "test").scores, opened.probabilities(part.images[part.rows]), atol=1e-6)


def test_images_that_became_larger_or_grey_are_decoded_as_in_training(own):
    photos, out = own
    for name, brightness in COLOURS.items():
        shutil.rmtree(photos / name)
        add_photos(photos, name, 0, 20, brightness, channels=1)
    opened = load_trained(out)
    assert open_data(opened.config.data).channels == 1
    assert opened.data.channels == opened.inputs.channels == 3
    assert evaluate_trial(opened, "val").scores.shape[1] == 3


def test_training_images_in_test_are_counted(own):
    photos, out = own
    table = (out / "splits.csv").read_text()
    moved = [line for line in table.splitlines() if line.endswith(",train")][:3]
    for line in moved:
        table = table.replace(line, line.replace(",train", ",test"))
    (photos / "images.csv").write_text(table)
    opened, count = load_trained(out), table.count(",test\n")
    assert opened.changed_images("test") == (
        "photos: the images of test have changed since the training (3 new);"
        f" 3 of these {count} trained or chose the model, so the scores are too high"
    )
    assert opened.changed_images("train").endswith("the images of train have changed since the training (3 gone)")
    assert opened.changed_images("val") is None
    (photos / moved[0].split(",")[0]).unlink()
    (photos / "images.csv").write_text(table.replace(moved[0].replace(",train", ",test") + "\n", ""))
    assert "(2 new); 2 of these" in load_trained(out).changed_images("test")
    (out / "splits_2.csv").write_text(table)  # the splits are searched: no table need be that of this trial
    assert load_trained(out).changed_images("test") is None


def test_a_run_with_a_cut_of_its_own_is_compared_with_the_table_of_its_sweep(own):
    photos, out = own
    sweep = out.parent
    shutil.copytree(out, sweep / "confirm" / "mlp" / "7")
    (sweep / "confirm" / "mlp" / "7" / "splits.csv").rename(sweep / "splits.csv")
    (sweep / "sweep.yaml").write_text("name: made\n")
    run = changed(sweep / "confirm" / "mlp" / "7", data={"folds": 3, "fold": 2})
    assert [load_trained(run).changed_images(split) for split in ("train", "val", "test")] == [None] * 3
    add_photos(photos, "fox", 100, 30, 180)
    line = load_trained(run).changed_images("val")
    assert (
        line == "photos: the images of train and val have changed since the training (26 new, 2 gone)"
    )  # which are in test
