"""What every data set of the registry must do."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from hwcls.config.data import AugmentConfig, DataConfig
from hwcls.data.catalog import DATA_SETS, find_config_spec, list_data_sets, locate
from hwcls.data.fetch import fetch_data_set
from hwcls.data.formats.raw import RawData
from hwcls.data.imageset import open_data
from hwcls.data.importer import import_data_set
from hwcls.errors import UserError

SPECS = DATA_SETS.all()
EMBEDDED = [name for name, spec in SPECS.items() if spec.embedded]
WITH_FILES = [name for name in SPECS if name not in EMBEDDED]
IN_RAW_FOLDERS = [name for name, spec in SPECS.items() if spec.in_raw_folders]


@pytest.mark.parametrize("name", SPECS)
def test_it_is_described(name: str) -> None:
    spec = SPECS[name]
    assert spec.description
    assert isinstance(spec.augment, AugmentConfig)
    assert [spec.embedded, spec.needs_path, bool(spec.places)].count(True) == 1  # one way to find it
    assert bool(spec.expects) != spec.embedded
    for download in spec.downloads:
        assert re.fullmatch("[0-9a-f]{32}", download.md5)
        assert download.urls
        assert all(re.match("https?://", url) for url in download.urls)
    assert name in [entry["name"] for entry in list_data_sets()]


def pixels_of(raw: RawData) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pixels and labels by split, checked."""
    assert set(raw.splits) in ({"train", "test"}, {"train", "val", "test"})
    found = {}
    for name, split in raw.splits.items():
        assert isinstance(split.images, np.ndarray)
        assert (split.images.dtype, split.images.ndim, split.labels.dtype) == (np.uint8, 4, np.int64)
        assert len(split.images) == len(split.labels) > 0
        assert set(split.labels) <= set(range(len(raw.classes)))
        found[name] = split.images, split.labels
    assert set(found["train"][1]) == set(range(len(raw.classes)))
    return found


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_one_opens_at_once(name: str) -> None:
    spec = SPECS[name]
    first, second = (pixels_of(spec.read(Path())) for _ in range(2))
    for split in first:
        assert all(map(np.array_equal, first[split], second[split]))  # its store's name does not depend on the pixels
    lines: list[str] = []
    data = open_data(DataConfig(name=name), lines.append)
    assert (data.name, data.augment) == (name, spec.augment)
    assert len(data.train) + len(data.val) == len(first["train"][0]) + len(first.get("val", [()])[0])
    assert np.array_equal(data.test.images, first["test"][0])
    assert fetch_data_set(name) is None
    assert locate(name) is None
    with pytest.raises(UserError, match="needs no import"):
        import_data_set(name, Path())


@pytest.mark.parametrize("name", WITH_FILES)
def test_an_empty_folder_is_not_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert not SPECS[name].is_at(tmp_path / "empty")
    with pytest.raises(UserError) as caught:
        SPECS[name].read(tmp_path / "empty")
    assert str(tmp_path / "empty") in str(caught.value)


@pytest.mark.parametrize("name", IN_RAW_FOLDERS)
def test_an_import_error_describes_what_is_expected(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert locate(name) is None
    with pytest.raises(UserError, match=f"this is not {name} — expected {re.escape(SPECS[name].expects)}"):
        import_data_set(name, tmp_path / "empty")


@pytest.mark.parametrize("name", SPECS)
def test_a_path_is_for_those_that_need_one(name: str, tmp_path: Path) -> None:
    config = DataConfig(name=name, path=str(tmp_path))
    if SPECS[name].needs_path:
        assert find_config_spec(config) is SPECS[name]
        with pytest.raises(UserError, match=r"data\.path: .* needs a path"):
            open_data(DataConfig(name=name))
    else:
        with pytest.raises(UserError, match=rf"data\.path: {name} takes no path"):
            open_data(config)
