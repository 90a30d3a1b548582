"""Imports of what the user has: archives and folders, good, damaged and hostile."""

from __future__ import annotations

import errno
import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hwcls.config.data import DataConfig
from hwcls.data.catalog import DATA_SETS, list_data_sets
from hwcls.data.formats.archive import FolderTree
from hwcls.data.formats.cifar import CLASSES
from hwcls.data.formats.idx import FILES
from hwcls.data.formats.image_types import LOOSE, LeftOut
from hwcls.data.imageset import open_data
from hwcls.data.importer import import_data_set
from hwcls.errors import UserError


def test_import_archive_and_folders(make: SimpleNamespace, tmp_path: Path) -> None:
    make.write_cifar(tmp_path / "cifar-10-binary.tar.gz")
    import_data_set("cifar10", tmp_path / "cifar-10-binary.tar.gz")
    assert len(open_data(DataConfig(name="cifar10")).test) == 20
    make.write_idx(tmp_path / "somewhere", gz=True)
    import_data_set("mnist", str(tmp_path / "somewhere"))
    assert len(open_data(DataConfig(name="mnist")).test) == 20
    make.write_files(tmp_path / "home" / "tiny-imagenet-200", make.tiny_files())
    import_data_set("tinyimagenet", tmp_path / "home")  # the folder that holds it
    assert len(open_data(DataConfig(name="tinyimagenet")).test) == 8
    with pytest.raises(UserError, match="imported before"):
        import_data_set("mnist", tmp_path / "somewhere")


def test_import_refuses_what_it_is_not(make: SimpleNamespace, tmp_path: Path) -> None:
    make.write_cifar(tmp_path / "cifar-10-binary.tar.gz")
    with pytest.raises(UserError, match="this is not mnist"):
        import_data_set("mnist", tmp_path / "cifar-10-binary.tar.gz")
    with pytest.raises(UserError, match="no such file"):
        import_data_set("mnist", tmp_path / "nowhere")
    with pytest.raises(UserError, match="needs no import"):
        import_data_set("digits", tmp_path)
    broken = tmp_path / "broken" / "cifar-10-binary.tar.gz"
    broken.parent.mkdir()
    broken.write_bytes((tmp_path / "cifar-10-binary.tar.gz").read_bytes()[:9000])
    with pytest.raises(UserError, match="not a readable tar"):
        import_data_set("cifar10", broken)
    assert not (tmp_path / "cache" / "raw" / "cifar10").exists()


def test_import_refuses_names(tmp_path: Path) -> None:
    for name, message in (
        ("imagefolder", "a name of their own"),
        ("../x", "cannot be a name"),
        (".x", "cannot be a name"),
    ):
        with pytest.raises(UserError, match=message):
            import_data_set(name, tmp_path)


def class_folders(make: SimpleNamespace, images: int = 6) -> dict[str, bytes]:
    """An own data set of two classes with train/ and val/, as file name to bytes."""
    names = [f"{split}/{kind}/{i}.png" for split in ("train", "val") for kind in ("ant", "bee") for i in range(images)]
    return {name: make.png(make.noise(seed, 12, 12, 3)) for seed, name in enumerate(names)}


def pack(path: Path, files: dict[str, bytes]) -> Path:
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    elif ".tar" in path.name:
        with tarfile.open(path, "w:gz") as packed:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                packed.addfile(member, io.BytesIO(data))
    else:
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    return path


@pytest.mark.parametrize("kind", ["archive.zip", "archive.tar.gz", "folder"])
@pytest.mark.parametrize("deeper", ["", "archive/"])
def test_a_data_set_of_ones_own(make: SimpleNamespace, tmp_path: Path, kind: str, deeper: str) -> None:
    files = {deeper + name: data for name, data in class_folders(make).items()}
    path = pack(tmp_path / kind, files | {"__MACOSX/._x.png": b"mac"})
    done = import_data_set("my_set", path)
    assert (done.path, done.skipped) == (tmp_path / "cache" / "raw" / "my_set", {})
    with pytest.raises(UserError, match="imported before"):
        import_data_set("my_set", path)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    data = open_data(DataConfig(name="my_set", val=0.34))
    assert (data.name, data.classes, data.image_size) == ("my_set", ("ant", "bee"), 12)
    assert (len(data.train), len(data.val), len(data.test)) == (8, 4, 12)
    assert np.array_equal(data.test.images[6], make.noise(18, 12, 12, 3))
    assert ("my_set", str(done.path / "my_set.zip")) in [(entry["name"], entry["found"]) for entry in list_data_sets()]
    with pytest.raises(UserError, match="did you mean 'my_set'"):
        open_data(DataConfig(name="my_sett"))


@pytest.mark.parametrize("name", ["Digits", "Fashion-MNIST"])
def test_a_new_name_is_not_another_spelling_of_a_known_one(make: SimpleNamespace, tmp_path: Path, name: str) -> None:
    path = pack(tmp_path / "a.zip", class_folders(make))
    with pytest.raises(UserError, match=f"'{name}' would be taken for .* — choose another name"):
        import_data_set(name, path)


@pytest.mark.parametrize("name", ["imagefolder", "mine"])
def test_class_folders_are_also_read_in_place(make: SimpleNamespace, tmp_path: Path, raw: Path, name: str) -> None:
    where = {"path": str(pack(tmp_path / "a.zip", class_folders(make)))} if name == "imagefolder" else {}
    if not where:
        pack(raw / name, class_folders(make))
    assert len(open_data(DataConfig(name=name, **where)).test) == 12


@pytest.mark.parametrize("kind", ["archive.zip", "archive.tar.gz", "folder"])
def test_corrupt_images_are_named_or_left_out(make: SimpleNamespace, tmp_path: Path, kind: str) -> None:
    files = class_folders(make)
    files["train/ant/3.png"] = files["train/ant/3.png"][:200]
    files["val/bee/0.png"] = b"no image at all"
    path = pack(tmp_path / kind, files)
    with pytest.raises(
        UserError, match=r"2 of 24 images .*: train/ant/3\.png, val/bee/0\.png .*--skip-corrupt"
    ) as caught:
        import_data_set("my_set", path)
    assert str(path) in str(caught.value)
    assert not [file for file in (tmp_path / "cache" / "raw").iterdir() if not file.name.endswith(".lock")]
    done = import_data_set("my_set", path, skip_corrupt=True)
    assert list(done.skipped) == ["train/ant/3.png", "val/bee/0.png"]
    data = open_data(DataConfig(name="my_set"))
    assert (len(data.train) + len(data.val), len(data.test)) == (11, 11)


@pytest.mark.parametrize("skip", [True, False])
def test_an_image_that_cannot_be_read_now_is_not_corrupt(
    make: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skip: bool
) -> None:
    make.write_files(tmp_path / "set", make.tiny_files())
    real = FolderTree.read

    def read(tree: FolderTree, name: str) -> bytes:
        if name.endswith("_1.JPEG"):
            raise OSError(errno.EIO, "Input/output error")
        return real(tree, name)

    monkeypatch.setattr(FolderTree, "read", read)
    with pytest.raises(UserError, match=r"_1\.JPEG: cannot be read \(Input/output error\)$"):
        import_data_set("tinyimagenet", tmp_path / "set", skip_corrupt=skip)
    assert not (tmp_path / "cache" / "raw" / "tinyimagenet").exists()


def test_leaving_out_must_leave_something(make: SimpleNamespace, tmp_path: Path) -> None:
    files = class_folders(make, images=2) | {f"val/ant/{i}.png": b"x" for i in range(2)}
    path = pack(tmp_path / "folder", files)
    with pytest.raises(
        UserError, match=r"val/ant: no images in this class folder once the corrupt ones are left out \(2\)"
    ) as caught:
        import_data_set("my_set", path, skip_corrupt=True)
    assert str(path) in str(caught.value)
    assert ".tmp" not in str(caught.value)
    assert not (tmp_path / "cache" / "raw" / "my_set").exists()


def test_a_misspelt_known_name_is_suggested(make: SimpleNamespace, tmp_path: Path) -> None:
    make.write_cifar(tmp_path / "cifar-10-binary.tar.gz")
    with pytest.raises(UserError, match=r"no images; it holds .*did you mean 'cifar10'"):
        import_data_set("cifra10", tmp_path / "cifar-10-binary.tar.gz")


def test_what_is_expected_is_named(make: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name, message in (("mnist", "train-images-idx3-ubyte"), ("cifar10", "cifar-10-python.tar.gz")):
        with pytest.raises(UserError, match=f"this is not {name} — expected .*{message}"):
            import_data_set(name, tmp_path / "empty")
    make.write_idx(tmp_path / "three")
    (tmp_path / "three" / "t10k-labels-idx1-ubyte").unlink()
    with zipfile.ZipFile(tmp_path / "three.zip", "w") as archive:
        for file in (tmp_path / "three").iterdir():
            archive.write(file, f"MNIST/{file.name}")
    with pytest.raises(UserError, match="t10k-labels-idx1-ubyte is missing"):
        import_data_set("mnist", tmp_path / "three.zip")


def test_idx_in_an_archive(make: SimpleNamespace, tmp_path: Path) -> None:
    arrays = make.write_idx(tmp_path / "idx", gz=True)
    with tarfile.open(tmp_path / "fashion.tar", "w") as archive:
        archive.add(tmp_path / "idx", "data/fashion")
    import_data_set("fashion_mnist", tmp_path / "fashion.tar")
    assert np.array_equal(open_data(DataConfig(name="fashion_mnist")).train.images[..., 0], arrays["train"])


def test_full_disk(make: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(tmp_path / "a.zip", class_folders(make))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        with pytest.raises(UserError, match=f"disk is full: {path.stat().st_size:,} bytes are needed"):
            import_data_set("my_set", path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "writestr", full)
        with pytest.raises(UserError, match="disk is full"):
            import_data_set("my_set", path)
    assert not [file for file in (tmp_path / "cache" / "raw").iterdir() if not file.name.endswith(".lock")]
    assert import_data_set("my_set", path).path.is_dir()


def test_what_a_killed_import_left_is_cleared(make: SimpleNamespace, tmp_path: Path) -> None:
    raw = tmp_path / "cache" / "raw"
    (raw / ".my_set.99999.tmp").mkdir(parents=True)
    (raw / "my_set").mkdir()
    (raw / "my_set" / "my_set.zip.part").write_bytes(b"of a download")
    import_data_set("my_set", pack(tmp_path / "a.zip", class_folders(make)))
    assert sorted(path.name for path in raw.rglob("*") if path.name != ".my_set.lock") == ["my_set", "my_set.zip"]


def test_an_import_takes_precedence_over_hwcls_data(make: SimpleNamespace, raw: Path) -> None:
    files = make.tiny_files()
    files["train/n02/images/n02_3.JPEG"] = b"broken"
    make.write_zip(raw / "tiny-imagenet-200.zip", files)
    with pytest.raises(UserError, match="--skip-corrupt"):
        open_data(DataConfig(name="tinyimagenet"))
    done = import_data_set("tinyimagenet", raw / "tiny-imagenet-200.zip", skip_corrupt=True)
    assert list(done.skipped) == ["tiny-imagenet-200/train/n02/images/n02_3.JPEG"]
    assert [entry["name"] for entry in list_data_sets()] == DATA_SETS.names()  # the damaged one is nobody's own
    data = open_data(DataConfig(name="tinyimagenet"))
    assert (len(data.train) + len(data.val), data.classes[1]) == (23, "crane (n02)")


def test_what_is_not_cifar10_is_refused(make: SimpleNamespace, tmp_path: Path, raw: Path) -> None:
    (raw / "cifar10").mkdir()
    pack(raw / "cifar10" / "ants.zip", class_folders(make))
    for kind in ("archive.zip", "archive.tar.gz", "folder"):
        with pytest.raises(UserError, match="this is not cifar10"):
            import_data_set("cifar10", pack(tmp_path / kind, class_folders(make)))
    assert {entry["name"]: entry["found"] for entry in list_data_sets()}["cifar10"] is None
    some = {name.replace("ant", "airplane").replace("bee", "cat"): data for name, data in class_folders(make).items()}
    with pytest.raises(UserError, match="this is not cifar10: no class 'automobile'"):
        import_data_set("cifar10", pack(tmp_path / "some.zip", some))
    names = [f"{split}/{kind}/{i}.png" for split in ("train", "test") for kind in CLASSES for i in range(2)]
    every = {name: make.png(make.noise(seed, 12, 12, 3)) for seed, name in enumerate(names)}
    import_data_set("cifar10", pack(tmp_path / "every.zip", every))
    assert open_data(DataConfig(name="cifar10", val=0.5, image_size=12)).classes == CLASSES


def test_a_folder_and_an_archive_of_it_are_the_same_data(make: SimpleNamespace, tmp_path: Path) -> None:
    files = class_folders(make, images=12)
    mixed = {list(files)[i]: files[list(files)[i]] for i in np.random.default_rng(0).permutation(len(files))}
    sets = []
    for kind in ("folder", "archive.zip", "archive.tar.gz"):
        config = DataConfig(name="imagefolder", path=str(pack(tmp_path / kind, mixed)), val=0.3)
        sets.append(open_data(config))
    for split in ("train", "val", "test"):
        first, *others = [getattr(data, split) for data in sets]
        for other in others:
            assert np.array_equal(first.labels, other.labels)
            assert np.array_equal(first.images[first.rows], other.images[other.rows])


def test_of_a_folder_only_what_was_read_is_copied(make: SimpleNamespace, tmp_path: Path) -> None:
    private = {"thesis.pdf": b"x", "passwords.txt": b"x", "train/notes.txt": b"x"}
    make.write_idx(tmp_path / "idx")
    make.write_files(tmp_path / "idx", private)
    done = import_data_set("mnist", tmp_path / "idx")
    assert sorted(file.name for file in done.path.iterdir()) == sorted(FILES)
    make.write_cifar(tmp_path / "c.tar.gz")
    shutil.unpack_archive(tmp_path / "c.tar.gz", tmp_path)
    make.write_files(tmp_path / "cifar-10-batches-bin", private)
    done = import_data_set("cifar10", tmp_path / "cifar-10-batches-bin")
    assert sorted(file.name for file in done.path.iterdir()) == sorted(
        [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    )
    assert len(open_data(DataConfig(name="cifar10")).test) == 20
    for name, files in (("tinyimagenet", make.tiny_files()), ("my_set", class_folders(make))):
        done = import_data_set(name, pack(tmp_path / name, files | private))
        with zipfile.ZipFile(done.path / f"{name}.zip") as packed:
            assert not [file for file in packed.namelist() if file in private]
    assert open_data(DataConfig(name="tinyimagenet")).classes[0] == "goldfish"


def test_ignored_files_are_counted(make: SimpleNamespace, tmp_path: Path) -> None:
    files = class_folders(make)
    files["train/ant/0.jfif"] = make.jpeg(make.noise(99, 12, 12, 3))
    other = {"train/loose.png": files["val/bee/0.png"], "val/bee/a.webm": b"x"}
    done = import_data_set("my_set", pack(tmp_path / "a.zip", files | other | {"readme.txt": b"next to them"}))
    assert done.left_out == {
        "train/loose.png": LOOSE,
        "val/bee/a.webm": LeftOut("videos", "extract their frames as images"),
    }
    data = open_data(DataConfig(name="my_set"))
    assert len(data.train) + len(data.val) == 13


def test_unreadable_images_are_counted_by_kind(make: SimpleNamespace, tmp_path: Path) -> None:
    files = class_folders(make, images=12)
    page = dict.fromkeys(("train/bee/0.png", "train/bee/1.png"), b"<!DOCTYPE html><html>")
    path = pack(tmp_path / "a.zip", files | page | {"train/ant/0.png": b"", "train/ant/1.png": b"x"})
    with pytest.raises(UserError) as caught:
        import_data_set("my_set", path)
    found = str(caught.value)
    assert "4 of 48 images cannot be read (2: is a web page; 1: is empty; 1: of no known image format)" in found
    names = "train/ant/0.png, train/ant/1.png, train/bee/0.png, train/bee/1.png"
    assert found.endswith(f": {names} — download it again; replace or remove the others")


def test_leaving_out_half_of_a_class_is_not_advised(make: SimpleNamespace, tmp_path: Path) -> None:
    files = class_folders(make)
    bad = {name: files[name][:50] for name in files if name.startswith("train/ant/")}
    for some, advised in ((2, True), (3, False), (6, False)):
        path = pack(tmp_path / f"{some}.zip", files | dict(list(bad.items())[:some]))
        with pytest.raises(UserError, match=rf"{some} of 24 images cannot be read") as caught:
            import_data_set("my_set", path)
        assert ("--skip-corrupt" in str(caught.value)) is advised


def test_an_import_leaves_the_folders_of_others_alone(make: SimpleNamespace, tmp_path: Path) -> None:
    others = [tmp_path / "cache" / "raw" / name for name in (".a.b.4711.tmp", ".aa.1.tmp", ".a.tmp")]
    for other in others:
        other.mkdir(parents=True)
    import_data_set("a", pack(tmp_path / "a.zip", class_folders(make)))
    assert all(other.is_dir() for other in others)


IMPORT = """
import sys, time
from pathlib import Path
from hwcls.data import importer
from hwcls.errors import UserError

pack = importer._pack_images

def slow(*given):
    time.sleep(1)  # one is at work while the others come
    return pack(*given)

importer._pack_images = slow
try:
    importer.import_data_set(sys.argv[1], Path(sys.argv[2]))
    print("done")
except UserError as error:
    print(error.what)
"""


def test_two_imports_at_once(make: SimpleNamespace, tmp_path: Path) -> None:
    path, names = pack(tmp_path / "a.zip", class_folders(make)), ("a", "a", "a.b")
    processes = [
        subprocess.Popen([sys.executable, "-c", IMPORT, name, str(path)], stdout=subprocess.PIPE, text=True)
        for name in names
    ]
    printed = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert sorted(printed[:2]) == ["a has been imported before", "done"]
    assert printed[2] == "done"
    for name in ("a", "a.b"):
        assert len(open_data(DataConfig(name=name)).test) == 12
    assert not list((tmp_path / "cache" / "raw").glob("*.tmp"))
