"""Imports of what the user has: archives and folders, good, damaged and hostile."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from hwcls.config.data import DataConfig
from hwcls.data.bring import import_data
from hwcls.data.imageset import open_data
from hwcls.errors import UserError


def test_import_archive_and_folders(make: SimpleNamespace, tmp_path: Path) -> None:
    make.write_cifar(tmp_path / "cifar-10-binary.tar.gz")
    import_data("cifar10", tmp_path / "cifar-10-binary.tar.gz")
    assert len(open_data(DataConfig(name="cifar10")).test) == 20
    make.write_idx(tmp_path / "somewhere", gz=True)
    import_data("mnist", str(tmp_path / "somewhere"))
    assert len(open_data(DataConfig(name="mnist")).test) == 20
    make.write_files(tmp_path / "home" / "tiny-imagenet-200", make.tiny_files())
    import_data("tinyimagenet", tmp_path / "home")  # the folder that holds it
    assert len(open_data(DataConfig(name="tinyimagenet")).test) == 8
    with pytest.raises(UserError, match="imported before"):
        import_data("mnist", tmp_path / "somewhere")


def test_import_refuses_what_it_is_not(make: SimpleNamespace, tmp_path: Path) -> None:
    make.write_cifar(tmp_path / "cifar-10-binary.tar.gz")
    with pytest.raises(UserError, match="this is not mnist"):
        import_data("mnist", tmp_path / "cifar-10-binary.tar.gz")
    with pytest.raises(UserError, match="no such file"):
        import_data("mnist", tmp_path / "nowhere")
    with pytest.raises(UserError, match="needs no import"):
        import_data("digits", tmp_path)
    broken = tmp_path / "broken" / "cifar-10-binary.tar.gz"
    broken.parent.mkdir()
    broken.write_bytes((tmp_path / "cifar-10-binary.tar.gz").read_bytes()[:9000])
    with pytest.raises(UserError, match="not a whole tar"):
        import_data("cifar10", broken)
    assert not (tmp_path / "cache" / "raw" / "cifar10").exists()
