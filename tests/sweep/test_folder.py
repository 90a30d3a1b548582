import json

import pytest

from hwcls.errors import UserError
from hwcls.sweep.folder import open_folder, write_environment


def test_the_same_file_opens_its_folder_again(tiny, tmp_path):
    for _ in range(2):
        with open_folder(tiny(), tmp_path, new=False) as folder:
            assert folder.path == tmp_path / "tiny"
    assert "presets" not in (tmp_path / "tiny" / "sweep.yaml").read_text()


def test_more_trials_are_no_other_sweep(tiny, tmp_path):
    with open_folder(tiny(), tmp_path, new=False):
        pass
    with open_folder(tiny(run_cap=9, confirm={"top": 1, "seeds": 2}), tmp_path, new=False) as folder:
        assert "run_cap: 9" in (folder.path / "sweep.yaml").read_text()


def test_another_file_is_refused_and_nothing_is_touched(tiny, tmp_path):
    with open_folder(tiny(), tmp_path, new=False) as folder:
        before = (folder.path / "sweep.yaml").read_text()
    other = tiny(seed=4, parameters={"epochs": 7})
    with (
        pytest.raises(UserError, match=r"changed: parameters\.epochs, seed.*--new"),
        open_folder(other, tmp_path, new=False),
    ):
        pass
    assert (folder.path / "sweep.yaml").read_text() == before
    with open_folder(other, tmp_path, new=True) as beside:
        assert beside.path == tmp_path / "tiny-2"


def test_two_sweeps_in_one_folder(tiny, tmp_path):
    refused = pytest.raises(UserError, match="another sweep works in this folder")
    with open_folder(tiny(), tmp_path, new=False), refused, open_folder(tiny(), tmp_path, new=False):
        pass


def test_a_foreign_folder_is_left_alone(tiny, tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="lies in the way"), open_folder(tiny(), tmp_path, new=False):
        pass
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == ["thesis.tex"]


def test_a_place_that_cannot_be_written(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"), open_folder(tiny(), tmp_path / "file", new=False):
        pass


def test_environment_keeps_the_first_start(tmp_path):
    write_environment(tmp_path)
    first = json.loads((tmp_path / "environment.json").read_text())
    write_environment(tmp_path)
    second = json.loads((tmp_path / "environment.json").read_text())
    assert {"command", "git", "versions", "hardware", "started"} <= first.keys()
    assert first["versions"]["torch"]
    assert second["started"] == first["started"]
    assert len(second["restarts"]) == 1
