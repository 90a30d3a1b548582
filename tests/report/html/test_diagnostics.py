"""Diagnostics on the page: tables, charts and images hold what the trials' files hold."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from hwcls import files, metrics
from hwcls.config.data import DataConfig
from hwcls.data.imageset import open_data
from hwcls.report.html import images, tables
from hwcls.report.html.charts import diagnostics as charts
from hwcls.report.html.findings import find_mislabelled
from hwcls.report.html.page import write_page
from hwcls.results.diagnostics import load_diagnostics
from hwcls.results.load import load_results
from hwcls.results.test_scores import CommonErrors, score_winners
from hwcls.training.artifacts import load_confusion

CLASSES = ["0", "1", "2"]


def test_matrices_of_every_stored_epoch_are_on_the_page(found, sweep):
    drawn = charts.confusion_matrices([], found, CLASSES)
    (model,) = drawn["models"]
    assert (model["name"], model["best"]) == ("mlp", 2)
    assert [epoch["epoch"] for epoch in model["epochs"]] == [1, 2, 3, 4]
    for epoch in model["epochs"]:
        matrix = np.zeros((3, 3), int)
        matrix[epoch["row"], epoch["col"]] = epoch["count"]
        stored = load_confusion(sweep.trial(1).path / "confusion" / f"{epoch['epoch']}.npz")
        assert (matrix == stored).all()
    text = write_page(sweep.path).read_text("utf-8")
    held = text.split('<script id="confusions" type="application/json">')[1].split("</script>")[0]
    assert json.loads(held) == json.loads(json.dumps(drawn))


def test_classes_table(found):
    rows = tables.class_rows(found, CLASSES)
    one = found[0]
    for place, row in enumerate(rows):
        numbers = [value["number"] for value in row["values"]]
        hits = one.confusion[place, place]
        precision, recall = hits / one.confusion[:, place].sum(), hits / one.confusion[place].sum()
        expected = [precision, recall, 2 * precision * recall / (precision + recall)]
        assert numbers[:3] == pytest.approx(expected)
        assert numbers[3] == pytest.approx(metrics.roc_auc(one.scores, one.labels)[place])
        assert row["images"] == 30
        assert not any(value["most"] for value in row["values"])  # a single model has no rival
    (macro, means), _ = tables.class_means(found)
    assert macro == "macro mean"
    assert means[2] == pytest.approx(np.mean([row["values"][2]["number"] for row in rows]))


def test_the_best_f1_of_a_class_is_marked_where_it_is_alone(results, tmp_path):
    folder = results.sweep(tmp_path)
    for number, rate in enumerate((0.3, 1.0)):
        results.trial(folder.trial(number), [rate], label=f"m{number}")
        results.seen(folder.trial(number), rate)
    rows = tables.class_rows(load_diagnostics(load_results(tmp_path)), CLASSES)
    assert [[value["most"] for value in row["values"]] for row in rows] == [[False, False, True, *[False] * 5]] * 3


def test_charts_of_the_models(found):
    palette = {"mlp": "#123456"}
    (roc,) = charts.mean_roc(found, palette)["data"]
    assert (roc["x"][0], roc["x"][-1], roc["y"][-1]) == (0, 1, 1)
    assert roc["y"] == sorted(roc["y"])
    assert len(charts.class_roc(found[0], CLASSES)["data"]) == 3
    _, calibrated = charts.reliability(found, palette)["data"]
    assert all(0 <= y <= 1 for y in calibrated["y"])
    last, first, key = charts.gradient_flow(found, palette)["data"]
    assert (key["name"], key["x"], key["line"]["dash"]) == ("first epoch", [None], "dot")
    stored = found[0].inspection["gradient_mean"]
    assert (last["y"], first["y"]) == (pytest.approx(stored[-1], rel=1e-4), pytest.approx(stored[0], rel=1e-4))
    assert [line["line"]["color"] for line in (roc, last)] == ["#123456"] * 2


def test_costs(results, tmp_path):
    folder = results.sweep(tmp_path)
    cost = {
        "parameters": 11_200_000,
        "flops": 2_960_000,
        "receptive_field": None,
        "inference_ms": 0.1234,
        "idle_share": 0.031,
    }
    results.trial(folder.trial(0), [0.5, 0.6], cost=cost)
    results.trial(folder.trial(1), [0.5], label="mlp")
    for number in (0, 1):
        results.seen(folder.trial(number), 0.5)
    first, second = tables.cost_rows(load_diagnostics(load_results(tmp_path)))
    assert [first[key] for key in ("parameters", "flops", "field", "inference")] == [
        "11.2 M",
        "2.96 M",
        "entire image",
        "0.123 ms",
    ]
    assert first["speed"] == "240"
    assert first["idle"] == "3 %"
    assert second["idle"] is None
    assert second["parameters"] == second["field"] == second["inference"] == "–"


def test_predictions_show_the_images(results, tmp_path):
    folder = results.sweep(tmp_path)
    results.trial(folder.trial(0), [0.5])
    config = folder.trial(0).config().data
    data = open_data(config)
    results.seen(folder.trial(0), 0.6, classes=10, images=len(data.val))
    classes = list(data.classes)
    files.write_json(tmp_path / "data.json", {"name": "digits", "classes": classes})
    (one,) = load_diagnostics(load_results(tmp_path))
    some, surest, wrong = images.draw_predictions(one, classes)
    assert wrong == (one.scores.argmax(1) != one.labels).sum()
    assert {picture.right for picture in surest} == {False}
    sure = [float(picture.title.split()[-1].rstrip("%")) for picture in surest]
    assert sure == sorted(sure, reverse=True)
    assert {picture.uri for picture in some} <= {images.encode_uri(data.val.images[row]) for row in data.val.rows}


def test_activations_and_reconstructions(found):
    given, maps, most = images.draw_activations(found[0])
    assert (len(maps), given.uri[:22]) == (5, "data:image/png;base64,")
    assert most == pytest.approx(float(np.abs(found[0].inspection["activations"]).max()))
    assert len(images.draw_reconstructions(found[0])) == 2


def test_one_image_that_all_runs_get_wrong_is_in_the_singular():
    found = images.Mislabelled([], 1, 5)
    assert find_mislabelled(found) == "1 test image is classified wrong by all 5 confirm runs of the winners."
    assert find_mislabelled(replace(found, count=2)).startswith("2 test images are classified wrong")


def test_mislabelled_images_are_misclassified_by_every_run_of_every_winner(results, tmp_path):
    folder = results.full(tmp_path)
    results.confirm(folder, "resnet", 0.8)
    results.confirm(folder, "mlp", 0.7)
    runs = [np.load(path) for path in tmp_path.glob("confirm/*/*/test_predictions.npz")]
    missed = np.all([run["scores"].argmax(1) != run["labels"] for run in runs], 0).sum()
    found = images.draw_mislabelled(load_results(tmp_path), CLASSES)
    assert (found.count, found.runs) == (missed, len(runs))
    text = write_page(tmp_path).read_text("utf-8")
    assert (
        f"{missed} test images are classified wrong by all {len(runs)} confirm runs" in text
        if missed
        else "Every test image" in text
    )
    assert not found.shown  # of another size than the digits' test split


def test_possible_label_errors_have_the_names_of_their_files(monkeypatch, tmp_path):
    opened = open_data(DataConfig(name="digits", classes=["0", "1", "2"]))
    labels = opened.test.labels
    wrong = CommonErrors(np.array([5]), labels, np.eye(3, dtype=np.float32)[(labels + 1) % 3], 2, tmp_path)
    monkeypatch.setattr(images, "find_common_errors", lambda *_: wrong)
    monkeypatch.setattr(images, "open_images", lambda _: opened)
    sweep = SimpleNamespace(folder=tmp_path)
    label = CLASSES[labels[5]]
    assert images.draw_mislabelled(sweep, CLASSES).shown[0].note == f"labelled {label}; test image 5"
    rows = "".join(f"{i}.png,{CLASSES[one]},test\n" for i, one in enumerate(labels))
    (tmp_path / "splits.csv").write_text(f"file_name,label,split\nx.png,0,train\n{rows}")
    assert images.draw_mislabelled(sweep, CLASSES).shown[0].note == f"labelled {label}; 5.png"


def test_while_running_the_predictions_name_their_epoch(results, sweep):
    """The records are of every epoch, predictions of the last checkpoint's best one."""
    folder = sweep.trial(1).path
    stored = dict(np.load(folder / "predictions.npz"))
    np.savez(folder / "predictions.npz", **stored, epoch=np.int64(1))
    (one,) = load_diagnostics(load_results(sweep.path))
    assert (one.epoch, one.trial.best["epoch"]) == (1, 2)
    shown = charts.confusion_matrices([], [one], CLASSES)["models"][0]
    assert shown["best"] == 1


def test_times_and_counts_with_three_digits():
    assert [tables.format_step(value) for value in (0.0247, 0.9996, 2.913)] == ["24.7 ms", "1 s", "2.91 s"]
    assert [tables.format_large(value) for value in (999, 999_600, 11_200_000, None)] == ["999", "1 M", "11.2 M", "–"]


def test_confusion_is_that_of_the_confirm_runs_on_test(results, sweep):
    """Summed over the seeds, before the matrices on validation, which have epochs."""
    results.confirm(sweep, "mlp", 0.8, seeds=4)
    loaded = load_results(sweep.path)
    (winner,) = score_winners(loaded, 3)
    first, *others = charts.confusion_matrices([winner], load_diagnostics(loaded), CLASSES)["models"]
    assert first["name"] == "mlp, on test (4 confirm runs)"
    (only,) = first["epochs"]
    assert only["epoch"] is None
    assert sum(only["count"]) == 4 * winner.support.sum()
    assert sorted(first["order"]) == [0, 1, 2]
    assert others[0]["name"].endswith(", on validation")
    text = write_page(sweep.path).read_text("utf-8")
    assert '<option value="0">mlp, on test (4 confirm runs)</option>' in text
    assert re.search(r'<input id="matrix-sorted" type="checkbox">', text)  # the data's order first
