"""hwcls ensemble: chosen on val alone, scored once on test beside the winner, written whole, and used as a model."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from hwcls import files
from hwcls.errors import UserError
from hwcls.inspection.ensemble.model import Ensemble, load_classifier, report_views
from hwcls.inspection.evaluate import evaluate_trial
from hwcls.inspection.load_trained import load_trained
from hwcls.results.ensemble import folder as module
from hwcls.results.ensemble.build import Request, _why_not, build_ensemble
from hwcls.results.ensemble.candidates import find_candidates
from hwcls.results.ensemble.describe import describe_ensemble
from hwcls.results.load import load_results
from hwcls.tracking.folders import SweepFolder
from hwcls.training.artifacts import save_arrays
from tests.results.ensemble.conftest import TRIALS


def invoke(*words):
    from hwcls.cli.main import app

    return CliRunner().invoke(app, list(map(str, words)))


def build(path, **options):
    said = []
    return build_ensemble(load_results(path), Request(**options), said.append), said


@pytest.fixture
def photos(tmp_path):
    from hwcls.config.data import DataConfig
    from hwcls.data.imageset import open_data

    data = open_data(DataConfig(name="digits"))
    (tmp_path / "photos").mkdir()
    for place in range(9):
        pixels = data.test.images[data.test.rows[place], :, :, 0]
        Image.fromarray(np.array(pixels)).resize((30, 20)).save(tmp_path / "photos" / f"{place}.png")
    return tmp_path / "photos"


def test_it_is_chosen_on_val_and_scored_once_on_test(made):
    about, said = build(made)
    assert said[0] == "4 candidates"
    assert said[1].startswith("test has now been read once outside confirm")
    assert SweepFolder(made).count_test_reads() == 1
    assert json.loads((made / "test_reads.jsonl").read_text())["trial"] == "ensemble"
    assert about["scores"]["val/accuracy"] > about["scores"]["alone"]["val/accuracy"]
    assert about == json.loads((made / "ensemble" / "ensemble.json").read_text())
    # the same numbers by hand
    shares = np.array([one["times"] for one in about["members"]]) / sum(one["times"] for one in about["members"])
    parts = [evaluate_trial(load_trained(made / one["run"]), "test") for one in about["members"]]
    mean = sum(share * part.scores for share, part in zip(shares, parts, strict=True))
    right = mean.argmax(1) == parts[0].labels
    winner = evaluate_trial(load_trained(made / about["winner"]), "test")
    own = winner.scores.argmax(1) == winner.labels
    assert about["test"]["ensemble"][0] == pytest.approx(right.mean())
    assert about["test"]["winner"][0] == pytest.approx(own.mean())
    assert about["test"]["images"] == len(right)
    assert about["scores"]["test/accuracy"] == pytest.approx(right.mean())
    opened = load_classifier(made / "ensemble")
    assert len(opened.decodings) == 2, "two image sizes"
    assert np.allclose(evaluate_trial(opened, "test").scores, mean, atol=1e-6)


def test_test_does_not_choose(made, monkeypatch):
    about, _ = build(made)
    chosen = {one["run"]: one["times"] for one in about["members"]}
    from hwcls.data import imageset

    honest = imageset.open_data

    def other(config, report=None):
        data = honest(config, report)
        data.test.labels[:] = (data.test.labels + 1) % 10
        return data

    monkeypatch.setattr("hwcls.inspection.load_trained.open_data", other)
    again, _ = build(made)
    assert {one["run"]: one["times"] for one in again["members"]} == chosen
    assert again["test"]["ensemble"][0] < 0.3 < about["test"]["ensemble"][0]


def test_it_can_be_moved_and_predicts_as_it_scored(made, photos, tmp_path):
    about, _ = build(made)
    moved = tmp_path / "elsewhere"
    shutil.move(made / "ensemble", moved)
    shutil.rmtree(made / "trials")
    done = invoke("predict", moved, photos, "--top", 10, "--json")
    assert done.exit_code == 0, done.output
    assert f"model: {about['why']}" in done.stderr
    found = json.loads(done.stdout)
    members = [
        json.loads(invoke("predict", moved / one["folder"], photos, "--top", 10, "--json").stdout)
        for one in about["members"]
    ]
    total = sum(one["times"] for one in about["members"])
    for place, one in enumerate(found):
        expected = dict.fromkeys((top["class"] for top in one["top"]), 0.0)
        for member, run in zip(members, about["members"], strict=True):
            for top in member[place]["top"]:
                expected[top["class"]] += top["probability"] * run["times"] / total
        assert {top["class"]: top["probability"] for top in one["top"]} == pytest.approx(expected, abs=1e-6)
    scores = json.loads(invoke("evaluate", moved, "--json").stdout)
    assert scores["accuracy"] == pytest.approx(about["scores"]["val/accuracy"])
    picture = invoke("evaluate", moved, "--split", "test", "--grid", tmp_path / "grid.png")
    assert picture.exit_code == 0, picture.output
    assert (moved / "test_reads.jsonl").is_file()


def test_what_has_no_weights_is_counted(made):
    (made / "trials/3/best.safetensors").unlink()
    (made / "trials/2/predictions.npz").write_bytes(b"torn")
    found = find_candidates(load_results(made))
    assert {one.key for one in found.found} == {"trials/0", "trials/1"}
    text = found.describe()
    assert text.startswith("2 candidates (1 without weights and 1 without sound predictions on val)")
    assert "unless keep: none; hwcls train repeats a run" in text
    (made / "trials/0/best.safetensors").unlink()
    (made / "trials/1/best.safetensors").write_bytes(b"torn")
    done = invoke("ensemble", made)
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1].startswith("hwcls: ")
    assert "keep: best" in done.stderr


def test_where_the_images_have_changed_nothing_is_averaged(made, monkeypatch):
    said = {"test": "photos: the images of test have changed since the training (3 new)"}
    monkeypatch.setattr("hwcls.inspection.load_trained.Trained.changed_images", lambda self, split: said.get(split))
    with pytest.raises(UserError, match=r"test have changed .*\(3 new\) — restore the images or train again"):
        build(made)
    assert SweepFolder(made).count_test_reads() == 0
    assert not (made / "ensemble").exists()


def test_where_nothing_is_better_nothing_is_written(made):
    for number in (1, 2, 3):
        shutil.rmtree(made / "trials" / str(number))
    about, said = build(made)
    assert about is None
    assert said[-1].startswith("no average is better on val than trials/0 alone (accuracy ")
    assert said[-1].endswith("nothing was written, test was not read")
    assert not (made / "ensemble").exists()
    assert not (made / "test_reads.jsonl").exists()


@pytest.mark.parametrize(
    ("kind", "keys", "views", "value", "reason"),
    [
        ("ensemble", ("a", "b"), 1, 0.81, None),
        ("ensemble", ("a", "b"), 2, 0.80, "alone (accuracy 80.0 %): that of a and b over 2 views has 80.0 %"),
        ("ensemble", ("a",), 4, 0.79, "alone (accuracy 80.0 %): that of a over 4 views has 79.0 %"),
        ("ensemble", ("a",), 4, 0.81, None),
        ("ensemble", ("a",), 1, 0.80, "alone (accuracy 80.0 %)"),
        ("soup", ("a", "b"), 1, 0.80, None),
        ("soup", ("a", "b"), 1, 0.79, "alone (accuracy 80.0 %): that of a and b has 79.0 %"),
    ],
)
def test_what_is_worth_a_look_at_test(kind, keys, views, value, reason):
    sweep = SimpleNamespace(metric="val/accuracy", sign=1)
    chosen = SimpleNamespace(kind=kind, keys=keys, model=SimpleNamespace(views=views))
    found = _why_not(sweep, chosen, SimpleNamespace(key="trials/5", value=0.8), value)
    assert found == (reason and f"no average is better on val than trials/5 {reason}")


def test_other_images_are_no_members(made, tmp_path):
    from tests.results.ensemble.conftest import BASE, write
    from tests.trials import changed

    other = write(tmp_path / "other", [changed(BASE, data__per_class=30)])
    with pytest.raises(
        UserError, match=r"other: trained on other images or splits of digits — only models of the same"
    ):
        build(made, more=(other,))
    with pytest.raises(UserError, match=r"trials/0: trained on other images or splits"):
        build(made, more=(other / "trials/0",))
    with pytest.raises(UserError, match="no such folder"):
        build(made, more=(tmp_path / "none",))
    same = write(tmp_path / "same", [changed(BASE, seed=11, model__width=20)])
    found = find_candidates(load_results(made), (same / "trials/0",)).found
    assert str(same / "trials/0") in {one.key for one in found}
    shutil.copytree(other / "trials/0", made / "trials/9")
    assert "1 trained on other images" in find_candidates(load_results(made)).describe()
    stored = dict(np.load(made / "trials/9/predictions.npz"))  # though it is the best, as a confirm run may be
    save_arrays(made / "trials/9/predictions.npz", **{**stored, "scores": np.eye(10, dtype="f2")[stored["labels"]]})
    found = find_candidates(load_results(made))
    assert (len(found.found), found.left_out["trained on other images"]) == (len(TRIALS), 1)


def test_a_kill_leaves_the_old_or_the_new_one(made, monkeypatch):
    build(made)
    before = {path: path.read_bytes() for path in (made / "ensemble").rglob("*") if path.is_file()}

    def full(new, target):
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(module.files, "replace_folder", full)
    with pytest.raises(OSError, match="No space"):
        build(made, top=2)
    assert {path: path.read_bytes() for path in (made / "ensemble").rglob("*") if path.is_file()} == before
    assert not list(made.glob(".ensemble*"))
    (made / "ensemble" / "mine.txt").write_text("x")
    reads = SweepFolder(made).count_test_reads()
    with pytest.raises(UserError, match="files that hwcls did not write"):
        build(made)
    assert SweepFolder(made).count_test_reads() == reads, "refused before test is read"


def test_damaged_members_are_named(made, photos):
    build(made)
    first = made / "ensemble/1/best.safetensors"
    content = first.read_bytes()
    other = made / "ensemble/2/best.safetensors"
    for wrong in (content[:-4], content[:-4] + b"abcd"):
        first.write_bytes(wrong)
        done = invoke("predict", made / "ensemble", photos)
        assert done.exit_code == 2
        (line,) = [one for one in done.stderr.splitlines() if one.startswith("hwcls: ")]
        assert str(first) in line
    first.write_bytes(content)
    other.unlink()
    assert str(other) in invoke("evaluate", made / "ensemble").stderr
    (made / "ensemble/ensemble.json").write_text("{")
    assert "ensemble.json: is damaged" in invoke("predict", made / "ensemble", photos).stderr
    assert describe_ensemble(load_results(made)) == ""


def test_bad_usage_is_one_line(made, monkeypatch):
    assert invoke("ensemble", made, "--top", 0).exit_code == 2
    assert "no such folder" in invoke("ensemble", made / "none").stderr
    soup = invoke("ensemble", made, "--soup")
    assert soup.exit_code == 2
    assert "trained from scratch — a soup needs models of one architecture" in soup.stderr
    monkeypatch.setattr("hwcls.tracking.folders.is_in_use", lambda path: True)
    assert "this sweep is running — wait until it ends" in invoke("ensemble", made).stderr
    assert not (made / "ensemble").exists()


def test_the_command_and_what_needs_a_single_model(made, photos):
    done = invoke("ensemble", made, "--json")
    assert done.exit_code == 0, done.output
    about = json.loads(done.stdout)
    assert about["kind"] == "ensemble"
    page = (made / "report.html").read_text("utf-8")
    assert "The ensemble in ensemble/ is the average of the probabilities of" in page
    assert "1 more by hwcls evaluate or ensemble" in " ".join(page.split())
    again = invoke("ensemble", made)
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    text = invoke("ensemble", made, "--overwrite", "--top", 2)
    assert "McNemar's p " in text.stdout
    assert "read 2 times" in text.stderr
    member = made / "ensemble" / "1"
    for words in (("inspect",), ("check",), ("train",), ("profile",)):
        refused = invoke(*words, made / "ensemble")
        assert refused.exit_code == 2
        assert f"holds an ensemble — name one of its models, such as {member}" in refused.stderr
    assert invoke("predict", member, photos).exit_code == 0


def test_explanations_are_of_a_single_model(made, photos, tmp_path):
    pytest.importorskip("captum")
    build(made)
    refused = invoke("predict", made / "ensemble", photos, "--explain", tmp_path / "why")
    assert "--explain is for a single model" in refused.stderr


def test_views(made, photos):
    about, _ = build(made, views=3)
    assert about["views"] == 3
    mirrored = tuple(load_trained(made / "trials" / number) for number in "03")
    said = []
    report_views(Ensemble(made, mirrored, (0.5, 0.5)).with_views(4), 4, said.append)
    assert said == ["note: 2 views in place of 4: the training did no more than mirror images"]
    opened = load_classifier(made / "ensemble")
    views = {str(one.config.data.augment.model_dump(exclude_defaults=True)): one.views for one in opened.members}
    assert set(views.items()) <= {("{'hflip': True}", 2), ("{'crop': 2}", 3), ("{}", 1)}
    assert load_classifier(made / "ensemble", views=1).views == 1
    done = invoke("evaluate", made / "trials/0", "--views", 4, "--json")
    assert json.loads(done.stdout)["views"] == 2
    assert "note: 2 views in place of 4" in done.stderr
    refused = invoke("predict", made / "trials/2", photos, "--views", 4)
    assert refused.exit_code == 2
    assert "more views would change nothing" in refused.stderr
    assert invoke("predict", made / "trials/1", photos, "--views", 4).exit_code == 0


def test_verdicts(made):
    build(made)
    path = made / "ensemble/ensemble.json"
    about = json.loads(path.read_text())
    for metric, gap, p, words in (
        ("test/accuracy", 0.02, 0.01, "so that the ensemble is better (McNemar's p 0.01"),
        ("test/accuracy", -0.02, 0.01, "so that the ensemble is worse"),
        ("test/loss", -0.02, 0.01, "so that the ensemble is better (p 0.01"),
        ("test/accuracy", 0.02, 0.4, "cannot be told apart (McNemar's p 0.4"),
    ):
        about["test"] |= {"metric": metric, "difference": [gap, gap - 0.01, gap + 0.01], "p": p}
        files.write_json(path, about)
        assert words in describe_ensemble(load_results(made))


@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_export_gives_what_predict_gives(made, photos, kind, tmp_path):
    if kind == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    two = invoke("ensemble", made)
    assert two.exit_code == 0, two.output
    refused = invoke("export", made / "ensemble", "--format", kind, "--out", tmp_path / "no")
    assert "take images in several ways (" in refused.stderr
    shutil.rmtree(made / "trials/1")  # 12 x 12
    assert invoke("ensemble", made, "--overwrite", "--views", 2).exit_code == 0
    out = tmp_path / f"model.{kind}"
    done = invoke("export", made / "ensemble", "--format", kind, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["members"]) > 1
    opened = load_classifier(made / "ensemble")
    assert opened.views == 2
    data = opened.data_sets[0]
    pixels = data.val.images[data.val.rows[:20]]
    inputs = json.loads(done.stdout)["input"]
    images = ((pixels.transpose(0, 3, 1, 2) / 255 - inputs["mean"][0]) / inputs["std"][0]).astype(np.float32)
    if kind == "onnx":
        logits = onnxruntime.InferenceSession(str(out)).run(["logits"], {"images": images})[0]
    else:
        logits = torch.export.load(out).module()(torch.from_numpy(images)).detach().numpy()
    expected = opened.probabilities(pixels)
    assert np.abs(np.exp(logits) - expected).max() < 1e-5
    moved = invoke("export", made / "trials/3", "--views", 2, "--format", kind, "--out", tmp_path / "one", "--json")
    assert moved.exit_code == 0, moved.output
    assert json.loads(moved.stdout)["views"] == 2


def test_members_of_other_means_share_one_exported_input(made):
    from dataclasses import replace

    from hwcls.inspection.ensemble.averaged import merge_models

    one, other = (load_trained(made / "trials" / number) for number in "02")
    other = replace(other, inputs=replace(other.inputs, mean=(0.5,), std=(0.5,)))
    ensemble = Ensemble(made, (one, other), (0.25, 0.75))
    pixels = one.data.val.images[one.data.val.rows[:10]]
    images = torch.from_numpy(((pixels / 255 - one.inputs.mean) / one.inputs.std).transpose(0, 3, 1, 2)).float()
    with torch.no_grad():
        logits = merge_models(ensemble)(images)
    assert np.abs(logits.exp().numpy() - ensemble.probabilities(pixels)).max() < 1e-5


def test_views_that_move_images_are_not_exported(made, tmp_path):
    done = invoke("export", made / "trials/1", "--views", 3, "--format", "torch", "--out", tmp_path / "one")
    assert done.exit_code == 2
    assert "only mirrored ones — export with --views 1" in done.stderr


def test_an_image_is_decoded_once_for_each_way(made, photos, monkeypatch):
    from hwcls.inspection import predictions
    from hwcls.inspection.image_sources import find_images

    members = tuple(load_trained(made / "trials" / str(number)) for number in range(4))
    ensemble, calls = Ensemble(made, members, (0.25,) * 4), []
    honest = predictions.decode_as_trained

    def counted(content, inputs):
        calls.append(inputs.image_size)
        return honest(content, inputs)

    monkeypatch.setattr(predictions, "decode_as_trained", counted)
    found = list(predictions.predict(ensemble, find_images([str(photos)]).images, 1))
    assert len(found) == 9
    assert sorted(calls) == [8] * 9 + [12] * 9
