"""Archives read in place: what they may not hold, and what is ignored."""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hwcls.data.formats.archive import FileTree, find_files, may_contain, open_tree, walk_files
from hwcls.data.formats.image_types import SPECIAL
from hwcls.errors import UserError

FILES = {"set/train/a/0.png": b"one", "set/train/b/1.png": b"two" * 1000, "set/readme.txt": b""}


def write_zip(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return path


def write_tar(path: Path, files: dict[str, bytes], change: Callable[[tarfile.TarInfo], None] | None = None) -> Path:
    kind = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}.get(path.suffix, "w")
    with tarfile.open(path, kind) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            if change:
                change(member)
            archive.addfile(member, io.BytesIO(data))
    return path


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz", "folder"])
def test_every_kind_reads_the_same(tmp_path: Path, name: str) -> None:
    write = write_zip if name == "a.zip" else write_folder if name == "folder" else write_tar
    hidden = {"set/train/a/.DS_Store": b"x", "__MACOSX/set/train/a/0.png": b"x", ".git/train/x.png": b"x"}
    tree: FileTree = open_tree(write(tmp_path / name, FILES | hidden))
    assert {file: tree.read(file) for file in tree.names} == FILES
    assert tree.folders() == ["set"]
    assert tree.folders("set/") == ["train"]
    assert tree.folders("set/train/") == ["a", "b"]
    assert tree.folders("set/train/a/") == tree.folders("nowhere/") == []
    assert find_files(tree, ["1.png", "2.png"]) == {"1.png": "set/train/b/1.png"}


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "folder"])
def test_names_are_sorted_whatever_order_they_were_packed_in(tmp_path: Path, name: str) -> None:
    write = write_zip if name == "a.zip" else write_folder if name == "folder" else write_tar
    files = {f"train/{kind}/{i}.png": b"x" for kind in "bca" for i in (3, 10, 1, 2)}
    assert open_tree(write(tmp_path / name, files)).names == sorted(files)


def test_empty_folders_are_seen(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", {"train/": b"", "train/empty/": b"", "train/a/0.png": b"x"})
    assert open_tree(tmp_path / "a.zip").folders("train/") == ["a", "empty"]
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("train", "train/a", "train/empty"):
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE
            archive.addfile(member)
    tree = open_tree(tmp_path / "a.tar")
    assert (tree.folders("train/"), tree.names) == (["a", "empty"], [])
    (tmp_path / "folder" / "train" / "empty").mkdir(parents=True)
    assert open_tree(tmp_path / "folder").folders("train/") == ["empty"]


def test_names_of_other_systems(tmp_path: Path) -> None:
    assert open_tree(write_tar(tmp_path / "a.tar", {"./train/a/0.png": b"x"})).names == ["train/a/0.png"]
    assert open_tree(write_zip(tmp_path / "a.zip", {"train\\a\\0.png": b"x"})).names == ["train/a/0.png"]


@pytest.mark.parametrize("write", [write_zip, write_tar])
@pytest.mark.parametrize("name", ["../evil.png", "train/../../evil.png", "/etc/evil.png", "C:\\evil.png"])
def test_a_member_that_leaves_the_folder(
    tmp_path: Path, write: Callable[[Path, dict[str, bytes]], Path], name: str
) -> None:
    path = write(tmp_path / ("a.zip" if write is write_zip else "a.tar.gz"), {"train/a/0.png": b"x", name: b"x"})
    with pytest.raises(UserError, match="leaves the archive's folder") as caught:
        open_tree(path)
    assert str(path) in str(caught.value)
    assert {file.name for file in tmp_path.iterdir()} == {path.name, "raw"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    def link(member: tarfile.TarInfo) -> None:
        member.type, member.linkname, member.size = kind, "/etc/passwd", 0

    with pytest.raises(UserError, match=r"'train/link\.png' is a link"):
        open_tree(write_tar(tmp_path / "a.tar", {"train/link.png": b""}, link))
    info = zipfile.ZipInfo("train/link.png")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(UserError, match=r"'train/link\.png' is a link"):
        open_tree(tmp_path / "a.zip")


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar.xz"])
def test_an_archive_that_is_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write = write_zip if name == "a.zip" else write_tar
    path = write(tmp_path / name, {"train/a/0.bmp": bytes(3_000_000)})
    monkeypatch.setattr("hwcls.data.formats.archive.MAX_FILE", 1_000_000)
    with pytest.raises(UserError, match=r"unpacks to .* bytes: a zip bomb"):
        open_tree(path)
    monkeypatch.setattr("hwcls.data.formats.archive.MAX_RATIO", 10_000)
    tree = open_tree(path)
    with pytest.raises(OSError, match="unpacks to 3,000,000 bytes"):
        tree.read("train/a/0.bmp")


def test_a_size_that_the_zip_directory_lies_about(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"0.png": bytes(5000)})
    data = path.read_bytes()
    path.write_bytes(data.replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little")))
    with pytest.raises(OSError, match="checksum"):
        open_tree(path).read("0.png")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
def test_truncated(tmp_path: Path, name: str) -> None:
    write = write_zip if name == "a.zip" else write_tar
    path = write(tmp_path / name, {f"train/a/{i}.png": bytes([i] * 5000) for i in range(50)})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 - 700])
    with pytest.raises(UserError, match=r"not a readable (zip|tar) archive"):
        open_tree(path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"not a readable (zip|tar) archive"):
        open_tree(path)


def test_encrypted_and_unknown(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"0.png": b"x"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="encrypted"):
        open_tree(path)
    (tmp_path / "a.rar").write_bytes(b"Rar!")
    with pytest.raises(UserError, match=r"neither a folder nor an archive — known: \.zip, \.tar"):
        open_tree(tmp_path / "a.rar")


def test_a_zip_that_this_python_cannot_read(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"0.png": b"x", "\xe9.png": b"x"})
    good = path.read_bytes()
    path.write_bytes(good.replace("\xe9".encode(), b"\xe9\xe9"))  # flagged as UTF-8, which it is not
    with pytest.raises(UserError, match="not a readable zip archive"):
        open_tree(path)
    place = good.index(b"PK\x01\x02") + 6
    path.write_bytes(good[:place] + struct.pack("<H", 99) + good[place + 2 :])
    with pytest.raises(UserError, match=r"not a readable zip archive \(zip file version 9.9\)"):
        open_tree(path)


@pytest.mark.skipif(os.name == "nt", reason="names are not bytes there")
def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"train/a/\xe9.png")
    for path in (write_folder(tmp_path / "folder", {name: b"x"}), write_tar(tmp_path / "a.tar", {name: b"x"})):
        with pytest.raises(UserError, match=r"udce9.png' is not UTF-8 — rename it") as caught:
            open_tree(path)
        str(caught.value).encode()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(write_folder(tmp_path / "folder", FILES) / "set" / "train" / "a" / "pipe.png")
    tree = open_tree(tmp_path / "folder")
    assert (tree.names, tree.no_files) == (sorted(FILES), {"set/train/a/pipe.png": SPECIAL})
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(UserError, match=r"pipe\.zip: is a pipe, a device or a socket — save it as a file"):
        open_tree(tmp_path / "pipe.zip")


def test_links_are_followed_but_not_round_and_round(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "folder", FILES)
    (root / "set" / "again").symlink_to(root / "set")
    (root / "set" / "train" / "c").symlink_to(root / "set" / "train" / "a")
    assert [name for name, _ in walk_files(root)] == sorted([*FILES, "set/train/c/0.png"])


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, scan = write_folder(tmp_path / "folder", FILES), os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(UserError, match=r"set/train/b: cannot be read \(Permission denied\)"):
        open_tree(root)


def test_what_an_archive_may_hold(tmp_path: Path) -> None:
    path = write_zip(
        tmp_path / "a.zip", {"set/train/a/0.png": b"in its bytes: wnids.txt" + bytes(500)}, zipfile.ZIP_STORED
    )
    assert may_contain(path, "nowhere/", "train/")
    assert not may_contain(path, "wnids.txt")
    path.write_bytes(path.read_bytes()[:-20])
    assert may_contain(path, "wnids.txt")  # truncated: only reading it shows that
    assert may_contain(write_tar(tmp_path / "a.tar", FILES), "wnids.txt")
    assert not may_contain(tmp_path, "train/")


def test_results_of_sweeps_are_no_files_of_the_data(tmp_path: Path) -> None:
    data = tmp_path / "data"
    results = data / "results" / "photos"
    for name in ("cat/1.png", "cat/sweep.yaml", "results/photos/sweep.yaml", "results/photos/wandb/2.png"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(b"")
    tree = open_tree(data)
    assert tree.names == ["cat/1.png", "cat/sweep.yaml", "results/photos/sweep.yaml", "results/photos/wandb/2.png"]
    assert tree.folders() == ["cat", "results"]
    (results / ".lock").touch()
    tree = open_tree(data)
    assert tree.names == ["cat/1.png", "cat/sweep.yaml"]
    assert tree.folders() == ["cat"]
    assert open_tree(results).names == ["sweep.yaml", "wandb/2.png"], "a folder that is named itself is read"
    (data / "results" / "dog").mkdir()
    assert open_tree(data).folders() == ["cat", "results"], "other folders are in it, too"


def test_a_member_a_thousand_folders_deep_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "deep.zip", "w") as archive:
        archive.writestr("a/" * 2000 + "1.png", b"x")
    with pytest.raises(UserError, match="lies 2,001 folders deep"):
        open_tree(tmp_path / "deep.zip")
