"""Miniatures of data sets as people published them, each with what makes it hard."""

from __future__ import annotations

import pytest

from hwcls.config.data import LayoutConfig
from hwcls.data.own.read import read_own_images
from hwcls.errors import LayoutError, UserError
from tests.data.own.conftest import Write, listed, numbered, sizes

FACES = [f"images/{i}.jpg" for i in range(6)]


def table(rows: list[str], header: str) -> str:
    return "\n".join([header, *rows]) + "\n"


def test_images_and_test_are_no_classes(write: Write) -> None:
    """Faces: a table in another folder says the emotion, and test/ has no labels."""
    names = [*FACES, "test/8.jpg", "test/9.jpg", "test/7.jpg"]
    rows = [f"{i},{name.rpartition('/')[2]},{'joy' if i % 2 else 'fear'}" for i, name in enumerate(FACES)]
    with pytest.raises(
        LayoutError, match=r"images/ and test/ are hardly classes by name; it holds images/ \(6 im"
    ) as said:
        read_own_images(write(names))
    assert "--class-depth 1 takes each folder as a class, --table labels.csv a table" in str(said.value.with_options())
    assert read_own_images(write(names), LayoutConfig(class_depth=1)).classes == ("images", "test")
    raw = read_own_images(
        write(names, {"data/legend.csv": table(rows, "number,image,emotion")}), LayoutConfig(label_column="emotion")
    )
    assert raw.classes == ("fear", "joy")
    with pytest.raises(LayoutError, match="several columns can hold the labels") as asked:
        read_own_images(write(names, {"data/legend.csv": table(rows, "user.id,image,emotion")}))
    assert str(asked.value.with_options()).endswith("name it: --label-column emotion")


@pytest.mark.parametrize("other", ["check", "doc", "shodan-webcams"])
def test_a_table_of_the_images_of_one_folder_decides(write: Write, other: str) -> None:
    """Letters, solar cells, vehicles: most images in one folder with a table, and a few in another."""
    names = [*numbered("Img", count=8), f"{other}/x.png"]
    rows = [f"{name},{'a' if i % 2 else 'b'}" for i, name in enumerate(names[:8])]
    raw = read_own_images(write(names, {"english.csv": table(rows, "image,letter")}))
    assert (raw.classes, sizes(raw)) == (("a", "b"), {"train": 8})
    assert raw.left_out[f"{other}/x.png"].what == "images that are not in english.csv"


def test_several_tables_of_the_images_of_one_folder_are_asked_for(write: Write) -> None:
    names = [*numbered("images", count=8), "doc/plot.png"]
    rows = [f"{name},a" for name in names[:8]]
    texts = {"a.csv": table(rows[:4], "image,x"), "b.csv": table(rows, "image,x")}
    with pytest.raises(LayoutError, match=r"several tables name images: a\.csv") as asked:
        read_own_images(write(names, texts))
    assert str(asked.value.with_options()).endswith("choose one: --table b.csv")


def test_a_table_of_one_class_leaves_the_classes(write: Write) -> None:
    """Boxes of the images of one class, which are fewer than half of all."""
    names = numbered("cat", "dog", "emu")
    texts = {"boxes.csv": table([f"{name},{i}" for i, name in enumerate(names[:3])], "image,width")}
    assert read_own_images(write(names, texts)).classes == ("cat", "dog", "emu")


def test_a_few_pictures_beside_the_classes(write: Write) -> None:
    """Waste: images/ holds pictures of a report, and one of the classes is as good as a document's name."""
    names = [*numbered(*(f"resized/{label}" for label in ("glass", "metal", "paper")), count=9), "images/plot.png"]
    raw = read_own_images(write(names))
    assert raw.classes == ("glass", "metal", "paper")
    assert raw.left_out["images/plot.png"].what == "images outside of resized/"
    names = numbered("figures", "letters", "photos", count=4)
    with pytest.raises(LayoutError, match="figures/ and photos/ are hardly classes by name"):
        read_own_images(write(names))
    raw = read_own_images(write([*numbered("letters", "memos", count=40), *numbered("figures", count=3)]))
    assert (raw.classes, len(raw.left_out)) == (("letters", "memos"), 3)
    assert raw.found[0] == "note: figures/ is hardly a class by name and few images: left out (3)"


def test_folders_of_images_and_documents_at_the_root(write: Write) -> None:
    """Solar cells: doc/ with a picture beside src/, in which the table and the images lie."""
    names = ["doc/1.png", *(f"src/elpv/data/images/{i}.png" for i in range(4))]
    rows = [f"images/{i}.png,{'mono' if i % 2 else 'poly'}" for i in range(4)]
    raw = read_own_images(write(names, {"src/elpv/data/labels.csv": table(rows, "path,type")}))
    assert raw.classes == ("mono", "poly")


def test_masks_beside_photos_are_left_out(write: Write) -> None:
    names = [
        f"MT_{label}/Imgs/{i}{ending}" for label in ("Break", "Free") for i in range(3) for ending in (".jpg", ".png")
    ]
    raw = read_own_images(write(names))
    assert (raw.classes, sizes(raw)) == (("MT_Break", "MT_Free"), {"train": 6})
    assert raw.found[-1] == (
        "note: 6 images have the name of a photo beside them and are left out, as masks give the class away:"
        " MT_Break/Imgs/0.png"
    )
    raw = read_own_images(write([name for name in names if name not in ("MT_Break/Imgs/0.png", "MT_Free/Imgs/0.png")]))
    assert sizes(raw) == {"train": 10}  # images of two sources, numbered alike


def test_splits_as_the_ends_of_class_names(write: Write) -> None:
    raw = read_own_images(write(numbered("in_resized", "in_resized_test", "out_resized", "out_resized_test")))
    assert (raw.classes, sizes(raw)) == (("in_resized", "out_resized"), {"train": 6, "test": 6})
    assert raw.found == ("splits from the ends of the folders' names, such as in_resized_test",)
    assert len(read_own_images(write(numbered("in", "in_test", "out"))).classes) == 3


def test_a_split_column_of_any_name_and_classes_by_number(write: Write) -> None:
    """Toys: the table numbers the classes of the folders, and its split column is called train-valid."""
    names = numbered("data/marvel/0001", "data/marvel/0002", "data/wars/0001")
    rows = [f"{i},{name[5:]},{i // 3},{'valid' if i % 3 == 2 else 'train'}" for i, name in enumerate(names)]
    raw = read_own_images(write(names, {"index.csv": table(rows, ",path,class_id,train-valid")}))
    assert (raw.classes, sizes(raw)) == (("marvel/0001", "marvel/0002", "wars/0001"), {"train": 6, "test": 3})
    assert raw.found[1:3] == (
        "splits from index.csv, column train-valid",
        "classes are called as their folders, not by number",
    )
    assert listed(raw)["test"]["data/wars/0001/2_2.jpg"] == "wars/0001"


def test_folders_whose_names_end_in_splits_are_proposed(write: Write) -> None:
    """Chest X-rays: two training folders, one with an inner folder."""
    names = numbered(
        "OldTrain/ill", "OldTrain/well", "TrainData/ill/ill", "TrainData/well", "ValData/ill", "ValData/well"
    )
    with pytest.raises(LayoutError, match="images lie at several depths") as asked:
        read_own_images(write(names))
    options = "--train-folder OldTrain --val-folder ValData"
    assert f"— {options} takes them as splits; --class-depth 1 makes" in str(asked.value.with_options())
    raw = read_own_images(write(names), LayoutConfig(train_folder="OldTrain", val_folder="ValData"))
    assert (raw.classes, sizes(raw)) == (("ill", "well"), {"train": 6, "test": 6})


def test_the_label_column_that_is_proposed_is_no_file(write: Write) -> None:
    rows = [f"{i}.png,{i % 2}.png,{i % 3},Say {i}" for i in range(6)]
    texts = {"metadata.csv": table(rows, "file_name,content_image_path,font,text")}
    with pytest.raises(LayoutError, match="several columns can hold the labels") as asked:
        read_own_images(write([f"{i}.png" for i in range(6)], texts))
    assert str(asked.value.with_options()).endswith("--label-column text")


def test_classes_in_file_names_need_a_table(write: Write) -> None:
    names = [f"{split}_signs/{i}_IMG_5.jpg" for split in ("train", "test") for i in range(3)]
    with pytest.raises(
        UserError, match=r"is the class in the file names \(._IMG_5.jpg\)\? then write a table of file_name"
    ):
        read_own_images(write(names))


def test_archives_in_a_folder_are_named(write: Write) -> None:
    with pytest.raises(UserError, match=r"no images; archives lie there: a/faces.tar.gz — give one of these"):
        read_own_images(write([], {"README.md": "#", "a/faces.tar.gz": "x"}))
    with pytest.raises(
        UserError, match=r"nothing says the classes .*; archives lie there: a/one.zip, b.zip — give one"
    ):
        read_own_images(write(["plot.png"], {"a/one.zip": "x", "b.zip": "x"}).joinpath())


def test_the_same_names_in_two_folders(write: Write) -> None:
    """Weather: test/ has no labels; hand signs: a few copies of the images of a table in test/."""
    names = [*(f"train/{i}.jpg" for i in range(3)), *(f"test/{i}.jpg" for i in range(2))]
    texts = {
        "Training_set.csv": table(["0.jpg,sun", "1.jpg,rain", "2.jpg,sun"], "filename,label"),
        "Testing_set.csv": table(["0.jpg", "1.jpg", "2.jpg"], "filename"),  # test/2.jpg is not there
    }
    raw = read_own_images(write(names, texts))
    assert sizes(raw) == {"train": 3}
    assert set(raw.left_out) == {f"test/{i}.jpg" for i in range(2)}
    names = [*(f"data/{i}.jpg" for i in range(20)), "test/a/3.jpg"]
    rows = [f"{'a' if i % 2 else 'b'},{i}.jpg" for i in range(20)]
    raw = read_own_images(write(names, {"data/labels.csv": "\n".join(rows) + "\n"}))
    assert (sizes(raw), set(raw.left_out)) == ({"train": 20}, {"test/a/3.jpg"})


def test_an_empty_folder_and_a_tiny_class_are_noted(write: Write) -> None:
    root = write([*numbered("a", count=100), "b/1.jpg", *numbered("c")])
    (root / "palm").mkdir()
    assert read_own_images(root).found == (
        "class folders, without splits",
        "note: nothing is in palm/, so it is no class",
        "note: 1 of 3 classes with one or two training images: b (1); a has 100",
    )
    rows = [f"{i}.jpg,name {i // 2}" for i in range(200)]
    raw = read_own_images(write([f"{i}.jpg" for i in range(200)], {"labels.csv": table(rows, "file,label")}))
    said = "note: 100 of 100 classes with one or two training images: name 0 (2), name 1 (2), name 10 (2), ...; name "
    assert raw.found[-1].startswith(said)
