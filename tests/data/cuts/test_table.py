"""splits.csv: what it says, and that it gives the same splits when it is given back."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from hwcls.config.data import DataConfig, LayoutConfig
from hwcls.config.trial import TrialConfig
from hwcls.data.cuts.table import read_names, read_test_names, write_split_tables
from hwcls.data.imageset import ImageSet, open_data
from hwcls.data.store import read_raw_data
from hwcls.errors import UserError
from hwcls.training import local

COUNTS = {"cat": 40, "=dog": 20, "élan": 10}


@pytest.fixture
def photos(make: SimpleNamespace, tmp_path: Path) -> Path:
    """Class folders without a split; the first pixel of an image is its number."""
    number = 0
    for name, count in COUNTS.items():
        for i in range(count):
            pixels = make.noise(number, 16, 16, 3)
            pixels[0, 0, 0] = number
            file = tmp_path / "photos" / name / f"plant{i // 2}-{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(make.png(pixels))
            number += 1
    return tmp_path / "photos"


def shown(images: ImageSet) -> dict[str, dict[int, str]]:
    """The class of each image, by its number, of each split."""
    found = {}
    for split in ("train", "val", "test"):
        part = getattr(images, split)
        numbers = part.images[part.rows][:, 0, 0, 0].tolist()
        found[split] = dict(zip(numbers, (images.classes[label] for label in part.labels), strict=True))
    return found


@pytest.mark.parametrize("settings", [{}, {"classes": ["cat", "élan"], "per_class": 8, "split_seed": 3}])
@pytest.mark.parametrize("group", [None, r"plant\d+"])
def test_a_recorded_split_is_given_back(photos: Path, tmp_path: Path, settings: dict[str, object], group: str) -> None:
    layout = LayoutConfig(group=group) if group else None
    config = DataConfig.model_validate({"path": str(photos), "layout": layout, **settings})
    opened = open_data(config)
    write_split_tables({config: opened}, tmp_path)
    lines = (tmp_path / "splits.csv").read_text("utf-8").splitlines()
    assert lines[0] == ("file_name,label,split,group" if group else "file_name,label,split")
    assert len(lines) == 1 + sum(map(len, shown(opened).values()))
    again = DataConfig(path=str(photos), layout=LayoutConfig(table=str(tmp_path / "splits.csv")))
    assert shown(open_data(again)) == shown(opened)
    assert open_data(again).origin.shares == {}
    if group:
        raw = read_raw_data(again)
        assert raw.groups is not None
        sides = [set(raw.groups[split]) for split in ("train", "val", "test")]
        assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]


def test_names_are_those_of_the_rows_in_every_cut(photos: Path, tmp_path: Path) -> None:
    config = DataConfig(path=str(photos), layout=LayoutConfig(group=r"plant\d+"))
    opened = open_data(config)
    write_split_tables({config: opened}, tmp_path)
    train, val = (part.rows.tolist() for part in (opened.train, opened.val))
    found = read_names(tmp_path, train, val)
    assert sorted(found) == sorted([*train, *val])
    every = read_raw_data(config).image_names("train")
    assert all(name == every[row].removeprefix("=") or every[row] == name for row, name in found.items())
    fold = open_data(config.model_copy(update={"folds": 5, "fold": 2}))
    assert set(fold.val.rows.tolist()) <= set(found)
    groups = [{every[row].rpartition("-")[0] for row in part.rows} for part in (fold.train, fold.val, fold.test)]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    assert read_names(tmp_path, train[1:], val) == read_names(tmp_path / "none", train, val) == {}
    (tmp_path / "splits_2.csv").touch()
    assert read_names(tmp_path, train, val) == {}


def test_only_own_images_are_listed_each_split_once(photos: Path, tmp_path: Path) -> None:
    own = [DataConfig(path=str(photos), image_size=size, split_seed=seed) for seed in (0, 1) for size in (8, 16)]
    digits = DataConfig(name="digits")
    write_split_tables({config: open_data(config) for config in (digits, *own)}, tmp_path)
    tables = sorted(path.name for path in tmp_path.glob("*.csv"))
    assert tables == ["splits.csv", "splits_2.csv"]
    first, second = ((tmp_path / name).read_text("utf-8").splitlines() for name in tables)
    assert sorted(line.split(",")[0] for line in first) == sorted(line.split(",")[0] for line in second)
    assert first != second
    assert np.array_equal(open_data(own[0]).test.rows, open_data(own[1]).test.rows)


def test_a_training_does_not_go_on_with_other_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)

    def add(count: int, first: int = 0) -> None:
        for name in "ab":
            (tmp_path / "mine" / name).mkdir(parents=True, exist_ok=True)
            for i in range(first, first + count):
                pixels = random.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / "mine" / name / f"{i}.png")

    add(10)
    file = {"data": {"path": str(tmp_path / "mine"), "image_size": 8}, "model": {"name": "mlp", "width": 4}}
    config = TrialConfig.from_dict({**file, "optimizer": {"name": "sgd"}, "epochs": 1})
    result = local.train(config, tmp_path / "trial", lambda line: None)
    (tmp_path / "trial" / "result.json").unlink()  # as if it had been killed
    assert local.train(config, tmp_path / "trial", lambda line: None).best == result.best
    (tmp_path / "trial" / "result.json").unlink()
    add(2, first=10)
    before = (tmp_path / "trial" / "splits.csv").read_text()
    with pytest.raises(UserError, match="images of mine have changed since this training began"):
        local.train(config, tmp_path / "trial", lambda line: None)
    assert (tmp_path / "trial" / "splits.csv").read_text() == before


def test_the_names_of_the_test_images(photos: Path, tmp_path: Path) -> None:
    """In the order of the predictions; none where the table is not of these images."""
    config = DataConfig(path=str(photos))
    opened = open_data(config)
    labels = [opened.classes[label] for label in opened.test.labels]
    assert read_test_names(tmp_path, labels) is None  # as of earlier versions
    write_split_tables({config: opened}, tmp_path)
    raw = read_raw_data(config)
    names = [raw.image_name("train", row) for row in opened.test.rows.tolist()]
    assert read_test_names(tmp_path, labels) == names
    assert any(name.startswith("=dog/plant") for name in names)
    assert read_test_names(tmp_path, labels[1:]) is None
    assert read_test_names(tmp_path, labels[::-1]) is None
    (tmp_path / "splits_2.csv").touch()
    assert read_test_names(tmp_path, labels) is None
