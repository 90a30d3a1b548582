"""Trackers show what is in a trial's folder when it ends."""

import subprocess
import sys

import numpy as np
import pytest

from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import open_data
from hwcls.inspection.media import build_media
from hwcls.inspection.pictures import draw_predictions
from hwcls.tracking.folders import TrialFolder
from hwcls.training.artifacts import save_arrays


@pytest.fixture
def trial(tmp_path):
    config = TrialConfig.from_dict(
        {"data": {"name": "digits"}, "model": {"name": "mlp"}, "optimizer": {"name": "adam"}}
    )
    folder = TrialFolder(tmp_path / "trials" / "0")
    folder.write_config(config)
    data = open_data(config.data)
    labels = data.val.labels
    scores = np.full((len(labels), 10), 0.01)
    scores[np.arange(len(labels)), np.where(np.arange(len(labels)) % 4, labels, 3)] = 0.91
    save_arrays(folder.path / "predictions.npz", labels=labels, scores=scores.astype(np.float16))
    return folder


def test_classes_table_and_predictions(trial):
    found = build_media(trial)
    data = open_data(trial.config().data)
    assert found.classes == data.classes
    assert (found.labels == data.val.labels).all()
    hits = (found.predicted == found.labels) & (found.labels == 7)
    row = dict(zip(found.columns, found.rows[7], strict=True))
    assert (row["class"], row["images"]) == ("7", (found.labels == 7).sum())
    assert row["recall"] == pytest.approx(hits.sum() / (found.labels == 7).sum())
    assert list(found.pictures) == ["confusion", "predictions"]
    assert found.pictures["predictions"].shape[2] == 3
    assert found.histograms == ()


def test_the_grid_is_that_of_hwcls_evaluate(trial):
    stored, data = np.load(trial.path / "predictions.npz"), open_data(trial.config().data)
    expected = np.asarray(
        draw_predictions(data, data.val, stored["labels"], stored["scores"].astype(np.float32), "mlp")
    )
    assert (build_media(trial).pictures["predictions"] == expected).all()


def test_histograms_and_pictures_of_the_training(trial):
    edges, counts = np.linspace([-1, -2], [1, 2], 5, axis=1), np.arange(8).reshape(2, 4)
    seen = {"weights/epochs": [1, 4], "weights/a/b/edges": edges, "weights/a/b/counts": counts}
    image, maps = np.zeros((8, 8, 1), np.uint8), np.ones((3, 8, 8), np.float16)
    pairs = {"reconstructions/input": image[None], "reconstructions/output": image[None]}
    save_arrays(trial.path / "inspection.npz", activation_image=image, activations=maps, **seen, **pairs)
    found = build_media(trial)
    assert [(one.name, one.epoch) for one in found.histograms] == [("weights/a/b", 1), ("weights/a/b", 4)]
    assert (found.histograms[1].counts == counts[1]).all()
    assert (found.histograms[1].edges == edges[1]).all()
    assert set(found.pictures) == {"confusion", "predictions", "activations", "reconstructions"}


def test_without_the_images_the_rest_is_there(trial, monkeypatch):
    monkeypatch.setattr("hwcls.inspection.media.open_images", lambda folder: None)
    found = build_media(trial)
    assert list(found.pictures) == ["confusion"]
    assert found.classes == tuple(map(str, range(10)))
    assert len(found.rows) == 10


def test_data_that_has_changed_since_shows_no_images(trial):
    stored = dict(np.load(trial.path / "predictions.npz"))
    save_arrays(trial.path / "predictions.npz", labels=stored["labels"] % 4, scores=stored["scores"][:, :4])
    found = build_media(trial)
    assert (list(found.pictures), found.classes) == (["confusion"], ("0", "1", "2", "3"))


def test_torch_is_not_loaded_for_it(trial):
    """Nor for the page: the process that follows a sweep has no use for it."""
    code = "import sys; from pathlib import Path; import hwcls.report.html.page; "
    code += "from hwcls.inspection.media import build_media; from hwcls.tracking.folders import TrialFolder; "
    code += "assert build_media(TrialFolder(Path(sys.argv[1]))).pictures; "
    code += "print('torch' in sys.modules)"
    command = [sys.executable, "-c", code, str(trial.path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"


def test_without_predictions_there_is_nothing(trial):
    (trial.path / "predictions.npz").write_bytes(b"torn")
    assert build_media(trial) is None
