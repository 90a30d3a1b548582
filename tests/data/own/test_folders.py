"""Where the root of a data set is, which folders are splits, and how deep the classes lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwcls.config.data import LayoutConfig
from hwcls.data.own.read import may_be_own_images, read_own_images
from hwcls.data.own.split_names import split_of, splits_among
from hwcls.errors import LayoutError, UserError
from tests.data.own.conftest import Write, listed, numbered, sizes

BESIDE = {"README.md": "#", "LICENSE": "MIT", ".git/config": "x", "src/train.py": "x", "eda.ipynb": "{}"}


@pytest.mark.parametrize("around", ["", "flowers-master/", "flowers-master/data/images/"])
def test_class_folders_without_splits(write: Write, kind: str, around: str) -> None:
    top = around.split("/")[0]
    beside = {f"{top}/{name}" if top else name: text for name, text in BESIDE.items()}
    raw = read_own_images(write([f"{around}{name}" for name in numbered("rose", "tulip")], beside, kind))
    assert (raw.classes, sizes(raw), raw.plain) == (("rose", "tulip"), {"train": 6}, False)
    assert listed(raw)["train"][f"{around}tulip/1_0.jpg"] == "tulip"
    assert raw.found == (f"class folders{f' in {around}' if around else ''}, without splits",)
    assert raw.left_out == {}


def test_folders_of_a_repository_are_no_classes(write: Write) -> None:
    names = ["docs/plot.png", "logo.png", *numbered("data/rose", "data/tulip")]
    raw = read_own_images(write(names))
    assert raw.classes == ("rose", "tulip")
    assert set(raw.left_out) == {"docs/plot.png", "logo.png"}
    raw = read_own_images(write(["assets/a.png", *numbered("rose", "tulip")]))
    assert raw.classes == ("rose", "tulip")
    assert read_own_images(write(numbered("glass", "paper", "plastic"))).classes == ("glass", "paper", "plastic")


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "valid", "test"),
        ("Training", "VALIDATION", "Testing"),
        ("training_set", "dev", "test-set"),
        ("seg_train", "seg_val", "seg_test"),
        ("train_images", "val_images", "Eval"),
    ],
)
def test_names_of_splits(write: Write, kind: str, train: str, val: str, test: str) -> None:
    names = numbered(*(f"set/{split}/{label}" for split in (train, val, test) for label in "ab"))
    raw = read_own_images(write(names, None, kind))
    assert sizes(raw) == {"train": 6, "val": 6, "test": 6}
    assert raw.classes == ("a", "b")


def test_a_folder_around_each_split(write: Write) -> None:
    names = numbered(*(f"archive/{split}/{split}/{label}" for split in ("training_set", "test_set") for label in "ab"))
    raw = read_own_images(write(names))
    assert (sizes(raw), raw.classes) == ({"train": 6, "test": 6}, ("a", "b"))


def test_a_class_may_be_called_as_a_split(write: Write) -> None:
    raw = read_own_images(write(numbered("bus", "car", "train")))
    assert (raw.classes, sizes(raw)) == (("bus", "car", "train"), {"train": 9})
    assert split_of("trains") is None
    assert splits_among(["cat_train", "dog"]) == {}


def test_only_training_images_and_val_as_test(write: Write) -> None:
    assert sizes(read_own_images(write(numbered("train/a", "train/b")))) == {"train": 6}
    raw = read_own_images(write(numbered("train/a", "train/b", "val/a", "val/b")))
    assert sizes(raw) == {"train": 6, "test": 6}
    assert raw.found[1] == "there is no test split: val is the test split, and val is cut from train"


def test_splits_in_each_class(write: Write) -> None:
    raw = read_own_images(write(numbered("cat/train", "cat/test", "dog/train", "dog/test")))
    assert sizes(raw) == {"train": 6, "test": 6}
    assert raw.classes == ("cat", "dog")


def test_only_train_is_missing(write: Write) -> None:
    root = write(numbered("val/a", "val/b", "pictures/a", "pictures/b"))
    with pytest.raises(LayoutError, match=r"no training folder; it holds pictures/ \(6 images\), val/ \(6") as caught:
        read_own_images(root)
    assert str(caught.value).endswith("name it: data.layout.train_folder: pictures")
    assert str(caught.value.with_options()).endswith("name it: --train-folder pictures")
    assert sizes(read_own_images(root, LayoutConfig(train_folder="pictures"))) == {"train": 6, "test": 6}


def test_folders_that_the_user_names(write: Write) -> None:
    root = write(numbered(*(f"in/{split}/{label}" for split in ("one", "two", "three") for label in "ab")))
    layout = LayoutConfig(train_folder="one", val_folder="in/two", test_folder="three/")
    raw = read_own_images(root, layout)
    assert (sizes(raw), raw.plain) == ({"train": 6, "val": 6, "test": 6}, False)
    with pytest.raises(
        UserError, match=r"no folder 'tree' with images .*did you mean 'three'.*data.layout.test_folder"
    ):
        read_own_images(root, LayoutConfig(train_folder="one", test_folder="tree"))


def test_of_two_folders_of_one_split_one_can_be_named(write: Write) -> None:
    root = write(numbered(*(f"{split}/{label}" for split in ("train", "val", "dev") for label in "ab")))
    with pytest.raises(UserError, match=r"val/ are both val|dev/ are both val"):
        read_own_images(root)
    assert sizes(read_own_images(root, LayoutConfig(val_folder="dev", test_folder="val")))["test"] == 6


def test_a_test_split_without_classes_is_left_out(write: Write) -> None:
    raw = read_own_images(write([*numbered("train/a", "train/b"), "test/1.jpg", "test/2.jpg"]))
    assert sizes(raw) == {"train": 6}
    assert raw.found[1] == (
        "test/ has no class folders: its 2 images are left out; a test split is cut from train (data.test, --test)"
    )
    assert raw.left_out["test/1.jpg"].remedy == "hwcls predict classifies them"


def test_classes_two_deep(write: Write, kind: str) -> None:
    places = ["Greek/character01", "Greek/character02", "Latin/character01", "Latin/character02", "Latin/character03"]
    raw = read_own_images(write(numbered(*(f"omniglot/images/{place}" for place in places)), None, kind))
    assert raw.classes == tuple(places)
    assert raw.found[1].startswith("class folders 2 deep: a class is named by its path, such as Greek/character01")


@pytest.mark.parametrize(
    ("folders", "depth", "classes"),
    [
        (("cat/images", "dog/images"), None, ("cat", "dog")),  # one folder in each
        (("cat", "cat/old", "dog", "dog/old/more"), None, ("cat", "dog")),  # images of a class in sub-folders
        (("cat", "dog/images"), None, ("cat", "dog")),
        (("cat/persian", "cat/siamese", "dog/poodle"), None, ("cat/persian", "cat/siamese", "dog/poodle")),
        (("cat/persian", "cat/siamese", "dog/poodle"), 1, ("cat", "dog")),
        (("cat/day", "cat/night", "dog/day", "dog/night"), 2, ("cat/day", "cat/night", "dog/day", "dog/night")),
        (("cat/day", "cat/night", "dog/day", "dog/night"), 1, ("cat", "dog")),
        (("cat", "dog/poodle", "dog/boxer"), 1, ("cat", "dog")),
        (("cat", "dog/poodle", "dog/boxer"), 2, ("cat", "dog/boxer", "dog/poodle")),
    ],
)
def test_how_deep_the_classes_lie(
    write: Write, folders: tuple[str, ...], depth: int | None, classes: tuple[str, ...]
) -> None:
    assert read_own_images(write(numbered(*folders)), LayoutConfig(class_depth=depth)).classes == classes


@pytest.mark.parametrize(
    ("folders", "count", "why"),
    [
        (("cat/day", "cat/night", "dog/day", "dog/night"), 3, "each folder holds folders of the same names"),
        (("cat", "dog/poodle", "dog/boxer"), 3, "images lie at several depths"),
        (("sick/p1", "sick/p2", "well/p3", "well/p4"), 2, "the inner folders hold one or two images each"),
    ],
)
def test_an_ambiguous_depth_is_refused(write: Write, folders: tuple[str, ...], count: int, why: str) -> None:
    with pytest.raises(LayoutError, match=f"{why}, which can be classes or not; it holds ") as caught:
        read_own_images(write(numbered(*folders, count=count)))
    first, inner = sorted({place.split("/")[0] for place in folders}), sorted(folders)
    said = str(caught.value.with_options())
    assert f"--class-depth 1 makes 2 classes ({', '.join(first)}); --class-depth 2 makes {len(inner)}" in said
    assert "data.layout.class_depth: 2 makes" in str(caught.value)


def test_in_splits_classes_of_test_decide_how_deep(write: Write) -> None:
    both = [f"{split}/{place}" for split in ("train", "test") for place in ("cat/persian", "cat/siamese", "dog/poodle")]
    assert read_own_images(write(numbered(*both))).classes == ("cat/persian", "cat/siamese", "dog/poodle")
    apart = ["train/sick/p1", "train/sick/p2", "train/well/p3", "test/sick/p7", "test/sick/p8", "test/well/p9"]
    assert read_own_images(write([f"x/{name}" for name in numbered(*apart)]).joinpath("x")).classes == ("sick", "well")


def test_a_copy_deeper_down_is_left_out(write: Write) -> None:
    """Chest X-rays as of Kaggle: the archive has the data set twice."""
    once = [f"chest_xray/{split}/{label}" for split in ("train", "test") for label in ("NORMAL", "PNEUMONIA")]
    raw = read_own_images(write(numbered(*once, *(place.replace("_xray/", "_xray/chest_xray/") for place in once))))
    assert sizes(raw) == {"train": 6, "test": 6}
    assert len(raw.left_out) == 12


def test_groups_by_a_pattern(write: Write) -> None:
    root = write(["a/p1_1.jpg", "a/p1_2.jpg", "a/p2_1.jpg", "b/p3_1.jpg", "b/p3_2.jpg", "b/x.jpg"])
    raw = read_own_images(root, LayoutConfig(group="^(p[0-9]+)_"))
    assert raw.groups is not None
    assert raw.groups["train"].tolist() == ["p1", "p1", "p2", "p3", "p3", ""]
    assert raw.found[-1] == "3 groups by the pattern ^(p[0-9]+)_, such as p1; 1 image has none"
    assert read_own_images(root, LayoutConfig(group="^./")).groups["train"].tolist()[:1] == ["a/"]  # type: ignore[index]
    for pattern, said in (("patient", "finds nothing in the images' names, such as p1_1.jpg"), ("(", "no regular")):
        with pytest.raises(LayoutError, match=said):
            read_own_images(root, LayoutConfig(group=pattern))


def test_groups_by_a_table_beside_class_folders(write: Write) -> None:
    names = numbered(*(f"{split}/{label}" for split in ("train", "test") for label in "ab"))
    text = "file,patient\n" + "".join(f"{name.rpartition('/')[2]},p{i // 2}\n" for i, name in enumerate(names))
    raw = read_own_images(write(names, {"patients.csv": text}), LayoutConfig(group="patient"))
    assert raw.groups is not None
    assert raw.groups["train"].tolist() == ["p0", "p0", "p1", "p1", "p2", "p2"]
    assert raw.found[-1] == "groups from patients.csv, column patient"
    assert not raw.plain  # an import writes them down


def test_what_may_be_a_data_set_is_found_without_reading_it(write: Write, tmp_path: Path) -> None:
    assert may_be_own_images(write(numbered("a", "b")))
    assert not may_be_own_images(write([], {"text/readme.md": "x"}).joinpath("text"))
    assert not may_be_own_images(tmp_path / "photos" / "a")
