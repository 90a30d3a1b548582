"""A user's own data in a sweep file: a path alone, and the layout that says class, split and group."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from hwcls.config.data import DataConfig, LayoutConfig
from hwcls.config.space import Fixed
from hwcls.config.sweep_file import Sweep, load_sweep
from hwcls.errors import UserError

SWEEP = """
run_cap: 1
parameters:
  data: {DATA}
  model: {name: mlp}
  optimizer: {name: sgd, lr: 0.1}
"""


def load(folder: Path, data: str) -> Sweep:
    (folder / "photos.yaml").write_text(SWEEP.replace("DATA", data))
    return load_sweep(folder / "photos.yaml")


def read(folder: Path, data: str) -> DataConfig:
    return load(folder, data).trial(Fixed({})).data


def test_a_path_needs_no_name(tmp_path: Path) -> None:
    assert read(tmp_path, "path: /photos") == DataConfig(name="imagefolder", path="/photos")
    with pytest.raises(ValidationError, match="name"):
        DataConfig.model_validate({"batch_size": 3})
    choice = load(tmp_path, "choice: {near: {path: /a}, far: {path: /b}, digits: {}}")
    drawn = {(trial.data.label, trial.data.name, trial.data.path) for trial in choice.corners}
    assert drawn == {("near", "imagefolder", "/a"), ("far", "imagefolder", "/b"), ("digits", "digits", None)}


def test_a_path_is_looked_for_beside_the_sweep_file_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert read(tmp_path, "path: photos").path == str(tmp_path / "here" / "photos")
    (tmp_path / "photos").mkdir()
    assert read(tmp_path, "path: photos").path == str(tmp_path / "photos")


def test_a_table_is_looked_for_in_the_data_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("photos", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def table() -> str | None:
        found = read(tmp_path, "path: photos, layout: {table: a.csv}").layout
        return found and found.table

    assert table() == "a.csv"
    (tmp_path / "here" / "a.csv").touch()
    assert table() == str(tmp_path / "here" / "a.csv")
    (tmp_path / "a.csv").touch()
    assert table() == str(tmp_path / "a.csv")
    (tmp_path / "photos" / "a.csv").touch()
    assert table() == "a.csv"
    found = read(tmp_path, "path: photos, layout: {table: ../a.csv}").layout
    assert found
    assert found.table == str(tmp_path / "a.csv")


def test_a_layout_is_written_and_read(tmp_path: Path) -> None:
    config = read(tmp_path, "path: /photos, layout: {label_column: species, group: '(.*)_', val_folder: dev}")
    assert config.layout == LayoutConfig(label_column="species", group="(.*)_", val_folder="dev")
    assert DataConfig.model_validate(config.model_dump(mode="json")) == config
    assert load(tmp_path, "path: /photos, layout: {label_column: species}").corners[0].flat()["layout_label_column"]


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ("{lable_column: x}", "photos.yaml:4: parameters.data.layout.lable_column: .*did you mean 'label_column'"),
        ("{y_col: x}", "did you mean 'label_column'"),
        ("{label_column: 3}", "data.layout.label_column: 3 is not text — put it into quotes: '3'"),
        ("{table: ''}", "data.layout.table: ''"),
        ("labels.csv", r"data.layout: expected entries, found 'labels.csv'"),
    ],
)
def test_mistakes_in_a_layout(tmp_path: Path, layout: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load(tmp_path, f"path: /photos, layout: {layout}")


def test_a_results_folder_that_was_moved_finds_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work" / "photos").mkdir(parents=True)
    (tmp_path / "work" / "labels.csv").touch()
    written = "path: photos, layout: {table: labels.csv}"
    before = read(tmp_path / "work", written)
    trial = load(tmp_path / "work", written).trial(Fixed({}))
    moved = tmp_path / "else" / "moved"
    (moved / "trials" / "0").mkdir(parents=True)
    (moved / "trials" / "0" / "config.yaml").write_text(yaml.safe_dump(trial.to_dict()))
    (moved / "sweep.yaml").write_text(SWEEP.replace("DATA", written))
    monkeypatch.chdir(moved)
    assert load_sweep(moved / "sweep.yaml").trial(Fixed({})).data == before
