"""The folders of trials: records read from their end, configs of other versions, names."""

import json
from pathlib import Path

import pytest
import yaml

from hwcls.errors import UserError
from hwcls.tracking import json_lines
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.tracking.json_lines import read_backwards, read_lines


@pytest.mark.parametrize("block", [1, 7, 4096])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b'{"a": 1}',
        b'{"a": 1}\n',
        b'{"a": 1}\n{"b"',
        b'{"a": 1}\n{"b": \n[3]\n\n{"c": "\xc3\xa9"}\n',
        b"x" * 50,
    ],
    ids=["empty", "blank", "partial", "one", "partial second", "damaged", "no line"],
)
def test_backwards_is_forwards_turned(tmp_path, content, block):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(content)
    assert list(read_backwards(path, block)) == list(read_lines(path))[::-1]


def test_backwards_of_a_missing_file(tmp_path):
    assert list(read_backwards(tmp_path / "none")) == []


def test_an_epoch_is_appended_without_reading_all_before(tmp_path, monkeypatch):
    trial = TrialFolder(tmp_path)
    lines = [{"epoch": epoch, "val/accuracy": 0.5} for epoch in range(1, 2001)]
    trial.metrics_path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    trial.append({"test/accuracy": 0.5})
    read = []

    class Counted:
        def __init__(self, *arguments):
            self.file = open(*arguments)  # noqa: SIM115

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            self.file.close()

        def seek(self, *arguments):
            return self.file.seek(*arguments)

        def read(self, *arguments):
            read.append(self.file.read(*arguments))
            return read[-1]

    monkeypatch.setattr(json_lines, "open", Counted, raising=False)
    monkeypatch.setattr(type(tmp_path), "read_bytes", None)
    assert trial.append_missing([*lines[-3:], {"epoch": 2001}]) == [{"epoch": 2001}]
    assert sum(map(len, read)) <= 4096


def test_a_config_of_another_version_is_an_error_for_people(tmp_path):
    folder = TrialFolder(tmp_path)
    values = {"data": {"name": "digits"}, "model": {"name": "mlp", "wdth": 3}, "optimizer": {"name": "adam"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match=r"not of this version .*wdth"):
        folder.config()
    assert folder.settings() == values


def test_a_sweeps_name_is_its_folders_also_from_within(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    assert SweepFolder(Path(".")).name == "mine"
