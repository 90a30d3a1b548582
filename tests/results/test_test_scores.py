"""The winners on test: the means over seeds are those of scikit-learn on each seed."""

import json

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from hwcls.report.html.page import write_page
from hwcls.results.compare import build_summary
from hwcls.results.load import load_results
from hwcls.results.test_scores import build_class_rows, find_common_errors, score_winners
from hwcls.training.artifacts import load_arrays, save_arrays

NAMES = ["0", "1", "2"]


@pytest.fixture
def sweep(results, tmp_path):
    folder = results.full(tmp_path)
    results.confirm(folder, "resnet", 0.9, seeds=3)
    results.confirm(folder, "mlp", 0.7, seeds=1, trial=1)
    return folder


def test_each_class_as_scikit_learn_counts_it(sweep):
    first, second = score_winners(load_results(sweep.path), 3)
    assert (first.name, first.seeds, second.name, second.seeds) == ("resnet", 3, "mlp", 1)
    expected = []
    for seed in range(3):
        stored = load_arrays(sweep.confirm_run("resnet", 1000 + seed).path / "test_predictions.npz")
        labels, scores = stored["labels"], stored["scores"].astype(float)
        values = precision_recall_fscore_support(labels, scores.argmax(1))[:3]
        areas = [roc_auc_score(labels == place, scores[:, place]) for place in range(3)]
        expected.append(np.stack([*values, areas]))
    assert first.mean == pytest.approx(np.mean(expected, 0))
    assert first.spread == pytest.approx(np.std(expected, 0, ddof=1))
    assert first.macro() == pytest.approx(np.mean(expected, 0).mean(1))


def test_rows_for_the_page(sweep):
    found = score_winners(load_results(sweep.path), 3)
    made = build_class_rows(found, NAMES)
    assert [row["name"] for row in made] == NAMES
    assert sum(row["images"] for row in made) == 400
    assert all(row["values"][0]["most"] and not row["values"][1]["most"] for row in made)
    assert made[0]["values"][1]["spread"] is None  # a single seed
    text = write_page(sweep.path).read_text("utf-8")
    assert "Test scores by class" in text
    assert "Means over 1 to 3 seeds" in text


def test_they_are_in_the_json_of_compare(sweep):
    found = json.loads(json.dumps(build_summary(load_results(sweep.path)), allow_nan=False))["classes"]
    assert len(found) == 6
    assert {row["label"] for row in found} == {"resnet", "mlp"}
    of_class = {"class", "images", "seeds", "precision", "recall", "f1", "f1_spread", "area"}
    assert found[0].keys() == {"label", "trial"} | of_class
    assert {(row["label"], row["trial"]) for row in found} == {("resnet", 0), ("mlp", 1)}


def test_images_without_probabilities_are_no_common_errors(results, tmp_path):
    folder = results.full(tmp_path)
    results.confirm(folder, "resnet", 0.0, seeds=2, images=9)  # every image is wrong
    assert find_common_errors(load_results(tmp_path), 3).images.tolist() == list(range(9))
    path = load_results(tmp_path).confirm[1].run.folder / "test_predictions.npz"
    stored = dict(load_arrays(path))
    stored["scores"][3] = np.nan
    save_arrays(path, **stored)
    assert find_common_errors(load_results(tmp_path), 3).images.tolist() == [0, 1, 2, 4, 5, 6, 7, 8]


def test_truncated_predictions_are_left_out(sweep):
    (sweep.confirm_run("resnet", 1000).path / "test_predictions.npz").write_bytes(b"PK torn")
    whole = (sweep.confirm_run("resnet", 1001).path / "test_predictions.npz").read_bytes()
    (sweep.confirm_run("resnet", 1001).path / "test_predictions.npz").write_bytes(whole[: len(whole) // 2])
    found = load_results(sweep.path)
    assert score_winners(found, 3)[0].seeds == 1
    assert build_summary(found)["alternatives"]
    write_page(sweep.path)


def test_without_confirm_there_is_nothing(results, tmp_path):
    results.full(tmp_path)
    assert score_winners(load_results(tmp_path), 3) == []
    assert "Test scores by class" not in write_page(tmp_path).read_text("utf-8")


def test_common_errors_leave_out_scores_of_other_classes(results, tmp_path):
    folder = results.full(tmp_path)
    results.confirm(folder, "resnet", 0.0, seeds=3, images=9)
    path = load_results(tmp_path).confirm[1].run.folder / "test_predictions.npz"
    stored = dict(load_arrays(path))
    save_arrays(path, labels=stored["labels"], scores=np.ones((9, 4), np.float16) / 4)
    found = find_common_errors(load_results(tmp_path), 3)
    assert (found.runs, found.scores.shape) == (2, (9, 3))
