"""`hwcls data` as users type it: their own archives, the picture, what is wrong with a data set."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run a command in an empty folder, with a cache of its own and no raw data."""
    from hwcls.cli.main import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HWCLS_DATA", raising=False)
    return lambda *words: CliRunner().invoke(app, ["data", *map(str, words)])


def archive(path: Path, **more: bytes) -> Path:
    """A zip of three classes, one folder deeper; `more` are further files of train/ant."""
    with zipfile.ZipFile(path, "w") as packed:
        for seed, name in enumerate(
            f"{s}/{c}/{i}" for s in ("train", "val") for c in ("ant", "bee", "cow") for i in "0123"
        ):
            file = io.BytesIO()
            Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)).save(file, "PNG")
            packed.writestr(f"archive/{name}.png", file.getvalue())
        for name, content in more.items():
            packed.writestr(f"archive/train/ant/{name}.png", content)
    return path


def test_an_own_archive_from_import_to_picture(invoke: Invoke, tmp_path: Path) -> None:
    path = archive(tmp_path / "archive.zip", broken=b"no image")
    refused = invoke("import", "my_set", path)
    assert refused.exit_code == 2
    assert "train/ant/broken.png: not a readable image (of no known image format)" in refused.stderr
    assert "--skip-corrupt" in refused.stderr
    done = invoke("import", "my_set", path, "--skip-corrupt", "--json")
    assert json.loads(done.stdout)["skipped"] == {"archive/train/ant/broken.png": "of no known image format"}
    assert "my_set  " in invoke("list").stdout
    shown = invoke("show", "my_set", "--set", "classes=[cow, ant]", "--set", "augment.vflip=true", "--json")
    found = json.loads(shown.stdout)
    assert (found["classes"], found["images"]) == (["cow", "ant"], {"train": 6, "val": 2, "test": 8})
    with Image.open(tmp_path / found["picture"]) as picture:
        assert len(set(picture.convert("L").tobytes())) > 50


@pytest.mark.parametrize("words", ["fetch mnist", "show digits", "import my_set archive.zip"])
def test_a_cache_that_cannot_be_written(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    archive(tmp_path / "archive.zip")
    (tmp_path / "file").touch()
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "file" / "cache"))
    done = invoke(*words.split())
    assert done.exit_code == 2
    assert "cannot be created (Not a directory) — set HWCLS_CACHE" in done.stderr


@pytest.mark.slow
def test_an_own_archive_is_trained_on_by_its_name(invoke: Invoke, tmp_path: Path) -> None:
    invoke("import", "my_set", archive(tmp_path / "archive.zip"))
    trial = {"data": {"name": "my_set"}, "model": {"name": "mlp"}, "optimizer": {"name": "adam"}, "epochs": 1}
    (tmp_path / "trial.yaml").write_text(json.dumps(trial))
    words = [sys.executable, "-m", "hwcls", "train", "trial.yaml", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert json.loads(done.stdout)["status"] == "complete", done.stderr


def test_import_says_what_it_left_out(invoke: Invoke, tmp_path: Path) -> None:
    path = archive(tmp_path / "archive.zip", **{f"broken{i:02}": b"x" for i in range(25)})
    lines = invoke("import", "my_set", path, "--skip-corrupt").stdout.splitlines()
    assert lines[0] == "left out: archive/train/ant/broken00.png: of no known image format"
    assert lines[20] == "... and 5 more; --json has them all"
    assert lines[21].endswith("my_set; corrupt and left out: 25")


def test_import_says_what_a_sweep_will_see(invoke: Invoke, tmp_path: Path) -> None:
    done = invoke("import", "my_set", archive(tmp_path / "archive.zip"))
    numbers = "images: 9 train, 3 val, 12 test; val (10%) is cut from train"
    expected = f"3 classes; {numbers}; in a sweep file: data: {{name: my_set}}"
    assert expected in done.stdout
    assert "note: no " not in done.stdout
    with zipfile.ZipFile(tmp_path / "archive.zip") as packed, zipfile.ZipFile(tmp_path / "less.zip", "w") as less:
        for name in packed.namelist():
            if "val/bee" not in name:
                less.writestr(name, packed.read(name))
    assert "note: no test image of bee" in invoke("import", "less", tmp_path / "less.zip").stdout


@pytest.mark.parametrize(("shape", "size"), [((600, 400), 64), ((50, 90), 48), ((2, 3), 4), ((16, 16), 16)])
def test_images_of_several_sizes_get_a_size(invoke: Invoke, tmp_path: Path, shape: tuple[int, int], size: int) -> None:
    for name in ("train/ant/0", "train/ant/1", "train/bee/0", "train/bee/1", "val/ant/0", "val/bee/0"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", shape).save(tmp_path / "photos" / f"{name}.png")
    imported = invoke("import", "mine", tmp_path / "photos").stdout
    assert "; in a sweep file: data: {name: mine}\n" in imported
    assert f"\nimage_size {size}: " in imported
    given = json.loads(invoke("import", "mine", tmp_path / "photos", "--overwrite", "--json").stdout)
    assert given["image_size"] == size
    for command in ("verify mine", "show mine --overwrite", f"verify imagefolder --path {tmp_path}/photos"):
        done = invoke(*command.split())
        assert done.exit_code == 0, done.stderr
        assert f"image_size {size}: " in done.stderr
        assert "image_size 8:" not in invoke(*command.split(), "--set", "image_size=8").stderr
    assert json.loads(invoke("show", "mine", "--overwrite", "--json").stdout)["image_size"] == size


def test_an_import_again_replaces_only_when_told(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path / "archive.zip")
    copy = tmp_path / "cache" / "raw" / "my_set" / "my_set.zip"
    assert invoke("import", "my_set", path).exit_code == 0
    first = copy.read_bytes()
    more = archive(tmp_path / "archive.zip", more=zipfile.ZipFile(path).read("archive/val/bee/2.png"))
    again = invoke("import", "my_set", more)
    assert again.exit_code == 2
    expected = "my_set has been imported before — pass --overwrite to replace it"
    assert again.stderr == f"hwcls: {copy.parent}: {expected}\n"
    for place in ("options", "commands.data"):
        monkeypatch.setattr(f"hwcls.cli.{place}.can_ask", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    refused = invoke("import", "my_set", more)
    assert refused.stderr == f"hwcls: {copy.parent}: kept, nothing was written\n"
    broken = archive(tmp_path / "broken.zip", broken=b"no image")
    assert invoke("import", "my_set", broken, "--overwrite").exit_code == 2
    assert copy.read_bytes() == first
    monkeypatch.setattr("typer.confirm", lambda *_, **__: True)
    assert "10 train, 3 val, 12 test" in invoke("import", "my_set", more).stdout
    assert sorted(entry.name for entry in copy.parents[1].iterdir()) == [".my_set.lock", "my_set"]


def test_import_counts_what_it_passed_over(invoke: Invoke, tmp_path: Path) -> None:
    path = archive(tmp_path / "archive.zip")
    with zipfile.ZipFile(path, "a") as packed:
        packed.writestr("archive/train/loose.png", b"x")
    [line] = [one for one in invoke("import", "my_set", path).stdout.splitlines() if one.startswith("left out")]
    one = "left out: images outside a class folder (1), such as archive/train/loose.png"
    assert line == f"{one} — move each into the folder of its class"
    assert json.loads(invoke("import", "again", path, "--json").stdout)["passed_over"] == ["archive/train/loose.png"]


def test_verify_names_duplicates_and_changed_images(invoke: Invoke, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive(tmp_path / "archive.zip")) as packed:
        twin = packed.read("archive/val/bee/2.png")
    invoke("import", "my_set", archive(tmp_path / "archive.zip", twin=twin))
    lines = invoke("verify", "my_set").stdout.splitlines()
    assert lines == [
        "the same pixels: archive/val/bee/2.png and archive/train/ant/twin.png",
        "my_set: duplicate images: 1 (1 in another split, 1 under another label)",
        "near copies with different labels: archive/train/ant/twin.png and archive/val/bee/2.png",
        "a near copy of a training image: archive/val/bee/2.png of archive/train/ant/twin.png",
        "my_set: near copies are not looked for, only exact ones: the images are too small for them (16 pixels)",
        "my_set: exact copies with different labels: 1 pair, such as archive/train/ant/twin.png (ant) and "
        "archive/val/bee/2.png (bee)",
        "my_set: exact copies of training images in test: 1 of 12, such as archive/val/bee/2.png of "
        "archive/train/ant/twin.png",
        "my_set: images: 10 train, 3 val, 12 test",
        "my_set: no pixel has changed since it was decoded",
    ]
    found = json.loads(invoke("verify", "my_set", "--json").stdout)
    [one] = found["duplicates"]
    assert (one["split"], one["of_split"], one["same_label"]) == ("test", "train", False)
    assert (one["file"], one["of_file"]) == ("archive/val/bee/2.png", "archive/train/ant/twin.png")
    pair = ["archive/train/ant/twin.png", "archive/val/bee/2.png"]
    assert found["near_copies"] == {"conflicts": [pair], "across": [pair[::-1]]}
    assert found["images"] == {"train": 10, "val": 3, "test": 12}
    images = Path(found["store"]) / "test.images.npy"
    data = bytearray(images.read_bytes())
    data[-1] ^= 1
    images.write_bytes(data)
    again = invoke("verify", "my_set")
    assert again.exit_code == 1
    assert "test: image 11 has changed" in again.stdout
    assert f"remove {found['store']}" in again.stdout


def test_list_is_in_columns(invoke: Invoke, tmp_path: Path) -> None:
    invoke("import", "a_data_set_with_a_long_name", archive(tmp_path / "archive.zip"))
    lines = invoke("list").stdout.splitlines()
    found = {line.split()[0]: line for line in lines}
    column = found["digits"].index("embedded")
    assert found["imagefolder"].endswith("  any folder or archive: hwcls init PATH")
    assert found["mnist"].index("not found") == column
    assert found["a_data_set_with_a_long_name"].index(str(tmp_path)) == column
    assert all(line[column - 2 : column] in ("  ", "") for line in lines[:-1])
    assert lines[-1].startswith("decoded images and features take ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("fetch nosuch", "unknown data set 'nosuch' — known: digits"),
        ("fetch imagefolder", "cannot be downloaded"),
        ("show fotos/", "unknown data set 'fotos/' — did you mean 'photos'?"),
        ("show imagefolder", "imagefolder needs --path"),
        ("show digits --split foo", "--split: no split 'foo'"),
        ("show digits --set classes", "no '=' in it"),
        ("show digits --overwrite --set classes=[1,x]", "data.classes: no class 'x'"),
        ("show digits --set augment.hflp=true", "data.augment.hflp: unknown key 'hflp' — did you mean 'hflip'"),
        ("show digits --set clases=3", "data.clases: unknown key 'clases' — did you mean 'classes'"),
        ("show digits --set classes.a=1", "data.classes: "),
        ("show digits --set val=2", "data.val: "),
        ("show digits --out digits.png/x.png", "digits.png: not a directory"),
        ("import ../x .", "'../x' cannot be a name"),
        ("import imagefolder .", "need a name of their own"),
        ("import my_set .", "nothing says the classes of the images; it holds 1 image in no folder — images lie in"),
    ],
)
def test_mistakes_are_one_line(invoke: Invoke, tmp_path: Path, words: str, message: str) -> None:
    (tmp_path / "digits.png").touch()
    (tmp_path / "photos").mkdir()
    done = invoke(*words.split())
    assert (done.exit_code, done.stdout) == (2, "")
    [line] = [line for line in done.stderr.splitlines() if "decoded" not in line]
    assert line.startswith("hwcls: ")
    assert message in line


BAR = """
from hwcls.cli.progress_bar import progress_reporter
with progress_reporter() as progress:
    for done in range(11):
        progress.step("x.zip", done, 10)
    progress("a line [of] its own")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_a_bar_on_a_terminal() -> None:
    import pty

    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run([sys.executable, "-c", BAR], stderr=slave, timeout=60, env=environment)
    os.close(slave)
    screen = os.read(master, 1 << 16).decode()
    os.close(master)
    assert done.returncode == 0
    assert "x.zip" in screen
    assert "100%" in screen
    assert "a line [of] its own" in screen


def test_plain_lines_elsewhere(capsys: pytest.CaptureFixture[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from hwcls.cli.progress_bar import progress_reporter
    from hwcls.data.progress import ProgressMeter

    monkeypatch.setattr("hwcls.data.progress.REPORT_EVERY", -1.0)
    with progress_reporter() as progress:
        meter = ProgressMeter(progress, "x.zip", 100_000_000, "MB", 1e6)
        for done in range(0, 100_000_001, 1_000_000):
            meter.update(done)
        ProgressMeter(progress, "unknown size", 0, "MB").update(5)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"x.zip: {tenth}0 % of 100.0 MB" for tenth in range(1, 11)]


def test_show_takes_a_folder_and_a_sweep_file(invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(archive(tmp_path / "archive.zip")) as packed:
        packed.extractall(tmp_path / "my photos")
    done = invoke("show", "my photos", "--set", "image_size=8")
    assert done.stdout.splitlines()[1].split()[:4] == ["ant", "3", "1", "4"]
    assert "training sees 8 x 8; short sides of the files: 16 pixels\n" in done.stdout
    assert done.stdout.endswith("images: 9 train, 3 val, 12 test; val (10%) is cut from train)\n")
    assert (tmp_path / "my_photos.png").is_file()
    decodes = pytest.MonkeyPatch()
    decodes.setattr("hwcls.data.imageset.open_data", lambda *_: pytest.fail("it is decoded before the error"))
    again = invoke("show", "my photos", "--set", "image_size=8")
    decodes.undo()
    assert (
        again.stderr == "hwcls: my_photos.png: exists already — pass --overwrite to replace it, or name another path\n"
    )
    sweep = "{name: mine, run_cap: 2, parameters: {data: {path: my photos, image_size: 12}, model: {name: mlp}, "
    (tmp_path / "a.yaml").write_text(sweep + "optimizer: {name: adam}}}")
    found = json.loads(invoke("show", "a.yaml", "--set", "augment.hflip=true", "--json").stdout)
    assert (found["picture"], found["image_size"], found["short_sides"]) == ("mine.png", 12, [16, 16, 16])
    assert found["images_per_class"]["test"] == [4, 4, 4]
    assert found["cut_from_train"] == {"val": 0.1}
    for place in ("my photos", "a.yaml"):
        verified = invoke("verify", place, "--set", "image_size=12")
        assert verified.exit_code == 0, verified.output
        assert f"{place}: no pixel has changed since it was decoded" in verified.stdout


def test_a_note_on_copies_has_the_command_that_names_them(invoke: Invoke, tmp_path: Path) -> None:
    from hwcls.config.data import DataConfig, LayoutConfig
    from hwcls.data.cuts.index import describe_copies

    with zipfile.ZipFile(archive(tmp_path / "archive.zip")) as packed:
        files = {
            f"{kind}/{file}": packed.read(f"archive/train/{kind}/{file}")
            for kind in ("ant", "bee")
            for file in ("0.png", "1.png", "2.png")
        }
    for name, content in {**files, "bee/again.png": files["ant/0.png"]}.items():
        (tmp_path / "my photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "my photos" / name).write_bytes(content)
    layout = LayoutConfig(class_depth=1)
    config = DataConfig(name="imagefolder", path=str(tmp_path / "my photos"), resize="pad", layout=layout)
    *_, note = describe_copies(config)
    command = note.split("`")[1]
    found = shlex.quote(str(tmp_path / "my photos"))
    assert command == f"hwcls data verify imagefolder --path {found} --set resize=pad --class-depth 1"
    done = invoke(*shlex.split(command)[2:])
    assert done.exit_code == 0, done.output
    assert "copies with different labels: ant/0.png and bee/again.png\n" in done.stdout
