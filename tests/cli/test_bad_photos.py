"""Photos as people have them, and what is wrong with them: one line that says what lies there and what to do.

Each is given to the commands that read a user's images: `init`, `data import` and the dry run of a sweep.
"""

from __future__ import annotations

import io
import os
import random
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from hwcls.init.plan import Model
from hwcls.sweep.preflight.timing import Timing, TrialTime

CLASSES = ("cat", "dog")
Invoke = Callable[..., Result]
Make = Callable[[Path], Path]


def photo(seed: int, size: tuple[int, int] = (24, 18)) -> bytes:
    """A JPEG of a colour of its own with a diagonal, so that no two are near copies."""
    draw, file = random.Random(seed), io.BytesIO()
    image = Image.new("RGB", size)
    image.putdata([tuple(draw.randrange(256) for _ in range(3)) for _ in range(size[0] * size[1])])
    image.save(file, "JPEG")
    return file.getvalue()


def write(root: Path, *folders: str, each: int = 4, **others: bytes) -> Path:
    """`each` photos in every folder, and files by name."""
    root.mkdir(parents=True, exist_ok=True)
    for place, folder in enumerate(folders):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(each):
            (root / folder / f"{i}.jpg").write_bytes(photo(100 * place + i))
    for name, content in others.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def write_table(root: Path, rows: Iterable[str], images: int) -> Path:
    """images/0.jpg and so on, and labels.csv."""
    write(root, "images", each=images)
    (root / "labels.csv").write_text("\n".join(["filename,label", *rows]) + "\n", "utf-8")
    return root


def measured(models: Iterable[Model], data: object) -> Timing:
    """In place of `time_models`: every epoch takes 0.1 s."""
    return Timing(3.0, {one.label: [TrialTime(0.5, 0.1)] for one in models})


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run a command in an empty folder, with a cache of its own and no raw data."""
    from hwcls.cli.main import app

    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HWCLS_DATA", raising=False)
    monkeypatch.setattr("hwcls.init.create.time_models", measured)
    return lambda *words: CliRunner().invoke(app, list(map(str, words)))


def dry_run(invoke: Invoke, path: Path | str) -> Result:
    """The dry run of a sweep file that names nothing but the path."""
    model = {"name": "mlp", "width": 8, "depth": 1}
    parameters = {"data": {"path": str(path)}, "model": model, "optimizer": {"name": "adam"}, "epochs": 1}
    Path("photos.yaml").write_text(yaml.safe_dump({"run_cap": 1, "parameters": parameters}), "utf-8")
    return invoke("sweep", "photos.yaml", "--dry-run", "--no-probe", "--wandb", "off")


COMMANDS: dict[str, Callable[[Invoke, Path], Result]] = {
    "init": lambda invoke, path: invoke("init", path, "--out", "new.yaml"),
    "import": lambda invoke, path: invoke("data", "import", "mine", path),
    "sweep": dry_run,
}


def check(done: Result, *expected: str) -> str:
    """One line on stderr, no traceback, exit code 2; returns the line."""
    assert done.exit_code == 2, f"{done.exit_code}\n{done.output}\n{done.exception!r}"
    lines = [line for line in done.stderr.splitlines() if line.startswith("hwcls: ")]
    assert len(lines) == 1, done.output
    assert "Traceback" not in done.output
    for words in expected:
        assert words.casefold() in lines[0].casefold(), f"{words!r} is not in {lines[0]!r}"
    assert " — " in lines[0] or "no such" in lines[0], f"no remedy in {lines[0]!r}"
    assert len(lines[0]) < 500
    return lines[0]


def nested_zips(root: Path) -> Path:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        for name in CLASSES:
            archive.writestr(f"train/{name}/0.jpg", photo(0))
    path = root / "download.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.zip", inner.getvalue())
        archive.writestr("test.zip", inner.getvalue())
        archive.writestr("sample_submission.csv", "id,label\n1,cat\n")
    return path


def empty_zip(root: Path) -> Path:
    zipfile.ZipFile(root.with_suffix(".zip"), "w").close()
    return root.with_suffix(".zip")


def half_a_zip(root: Path) -> Path:
    path = root.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for name in (*CLASSES, "cow"):
            archive.writestr(f"{name}/0.jpg", photo(1, (90, 90)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def missing_files(root: Path) -> Path:
    return write_table(root, (f"images/{i}.jpg,{CLASSES[i % 2]}" for i in range(9)), images=4)


def two_spellings(root: Path) -> Path:
    labels = ("cat", "Cat", "dog", "dog ", "cat", "dog")
    return write_table(root, (f'images/{i}.jpg,"{label}"' for i, label in enumerate(labels)), images=6)


def single_file(name: str, content: bytes) -> Make:
    def make(root: Path) -> Path:
        root.mkdir()
        (root / name).write_bytes(content)
        return root / name

    return make


BAD: dict[str, tuple[Make, tuple[str, ...]]] = {
    "nothing": (lambda root: write(root), ("no image",)),
    "no images": (lambda root: write(root, **{"notes.txt": b"x", "cat__plan.pdf": b"x"}), ("no image", "notes.txt")),
    "one class": (lambda root: write(root, "cat"), ("cat", "two")),
    "images alone": (lambda root: write(root, "."), ("4", "class")),
    "one image per class": (lambda root: write(root, "ant", "bee", "cat", each=1), ("3 classes", "one")),
    "files of a table are missing": (
        missing_files,
        ("labels.csv", "5 of the 9", "images/4.jpg", "images/5.jpg", "images/6.jpg"),
    ),
    "all files of a table are missing": (
        lambda root: write_table(root, (f"img_{i}.jpg,cat" for i in range(5)), images=4),
        ("labels.csv", "img_0.jpg"),
    ),
    "class folders in two cases": (lambda root: write(root, "Cat", "cat", "dog"), ("'Cat'", "'cat'", "4")),
    "labels in two spellings": (two_spellings, ("labels.csv", "'Cat'", "'cat'")),
    "an empty zip": (empty_zip, ("no image",)),
    "half a zip": (half_a_zip, ("not a readable zip archive",)),
    "zips in a zip": (nested_zips, ("train.zip", "unpack")),
    "a single image": (single_file("one.jpg", photo(0)), ("one.jpg", "folder")),
    "a table without its images": (
        single_file("labels.csv", b"file_name,label\na.jpg,cat\n"),
        ("labels.csv", "folder"),
    ),
    "nowhere": (lambda root: root / "none", ("none", "no such")),
    "two tables": (
        lambda root: write(root, "images", **dict.fromkeys(("a.csv", "b.csv"), b"filename,label\n0.jpg,a\n1.jpg,b\n")),
        ("a.csv", "b.csv", "table"),
    ),
    "a table without labels": (
        lambda root: write(root, "images", **{"data.csv": b"filename,width,height\n0.jpg,1,2\n1.jpg,1,2\n"}),
        ("data.csv", "width", "label"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", BAD)
def test_one_line_says_what_lies_there_and_what_to_do(invoke: Invoke, tmp_path: Path, what: str, command: str) -> None:
    make, expected = BAD[what]
    line = check(COMMANDS[command](invoke, make(tmp_path / "photos")), *expected)
    assert str(tmp_path / "photos") in line
    left = {path.name for path in Path().iterdir()}
    assert left <= {"photos.yaml"}, "something was written"
    assert not (tmp_path / "cache" / "raw" / "mine").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_test_split_without_labels_is_left_out(invoke: Invoke, tmp_path: Path, command: str) -> None:
    root = write(tmp_path / "photos", *(f"train/{name}" for name in CLASSES), each=9)
    done = COMMANDS[command](invoke, write(root, "test"))
    assert done.exit_code == 0, done.output
    assert "test/ has no class folders: its 4 images are left out; a test split is cut from train" in done.output


@pytest.mark.parametrize("command", ["import", "sweep"])
@pytest.mark.parametrize("content", [b"", b"no image", photo(0)[:60]], ids=["empty", "text", "truncated"])
def test_an_image_that_cannot_be_read_is_named(invoke: Invoke, tmp_path: Path, command: str, content: bytes) -> None:
    root = write(tmp_path / "photos", *CLASSES, **{"cat__broken.jpg": content})
    check(COMMANDS[command](invoke, root), "cat/broken.jpg", "--skip-corrupt" if command == "import" else "remove")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_may_not_be_read(invoke: Invoke, tmp_path: Path, command: str) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    root = write(tmp_path / "photos", *CLASSES)
    root.chmod(0)
    try:
        check(COMMANDS[command](invoke, root), "permission denied", "readable")
    finally:
        root.chmod(0o700)


NAMES = (
    "no",
    "1e3",
    "null",
    "a: b",
    "été 猫",
    "x" * 120,
    "with blanks",
    "-dash",
    "# hash",
    "'quote\"",
    "[list]",
    "~",
    "01",
)


def test_class_names_that_yaml_would_read_as_something_else(invoke: Invoke, tmp_path: Path) -> None:
    root = write(tmp_path / "photos", *NAMES, each=5)
    done = invoke("init", root, "--out", "new.yaml")
    assert done.exit_code == 0, done.output
    again = invoke("sweep", "new.yaml", "--dry-run", "--no-probe", "--json", "--wandb", "off")
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize(
    "name", ["two words", "it's", 'a "b"', "-v", "été", "a: b", "# x", "100%", "null", "2024", "a.b"]
)
def test_folders_whose_names_need_quotes(invoke: Invoke, tmp_path: Path, name: str) -> None:
    write(Path(name), *CLASSES, each=6)
    done = invoke("init", "--", name)
    assert done.exit_code == 0, done.output
    (written,) = Path().glob("*.yaml")
    again = invoke("sweep", "--dry-run", "--no-probe", "--wandb", "off", "--", written)
    assert again.exit_code == 0, again.output
    assert "hwcls sweep" in done.output


def test_a_class_of_a_single_image_among_many_is_a_note(invoke: Invoke, tmp_path: Path) -> None:
    root = write(tmp_path / "photos", *CLASSES, each=12)
    write(root, "rare", each=1)
    done = dry_run(invoke, root)
    assert done.exit_code == 0, done.output
    assert "no test image of rare (1 in train)" in done.output


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep with one tiny trained trial."""
    import torch

    from hwcls.config.trial import TrialConfig
    from hwcls.training.local import train

    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("sweep")
    (path / "sweep.yaml").write_text("name: made\n")
    data = {"name": "digits", "per_class": 10}
    config = {
        "data": data,
        "model": {"name": "mlp", "width": 4, "depth": 1},
        "optimizer": {"name": "adam"},
        "epochs": 1,
    }
    train(TrialConfig.from_dict(config), path / "trials" / "0", lambda line: None, None)
    return path


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda root: root / "none", ("no such", "photos/none")),
        (lambda root: write(root), ("no image",)),
        (lambda root: write(root, **{"notes.txt": b"x"}), ("no image", "notes.txt")),
        (lambda root: write(root, **{"notes.txt": b"x"}) / "notes.txt", ("notes.txt", "cannot be read")),
        (lambda root: write(root, **{"broken.jpg": b""}), ("broken.jpg", "cannot be read")),
    ],
    ids=["nowhere", "nothing", "no images", "a text", "an empty file"],
)
def test_photos_that_cannot_be_predicted(
    invoke: Invoke, results: Path, tmp_path: Path, make: Make, expected: tuple[str, ...]
) -> None:
    check(invoke("predict", results, make(tmp_path / "photos")), *expected)


def test_predict_with_a_folder_that_is_no_result(invoke: Invoke, tmp_path: Path) -> None:
    write(tmp_path / "photos", *CLASSES)
    check(invoke("predict", tmp_path / "photos", tmp_path / "photos"), "photos", "results/")
