"""Bad input of a user's own: one line that says what lies there and the remedy."""

from __future__ import annotations

import pytest

from hwcls.config.data import LayoutConfig
from hwcls.data.own.read import read_own_images
from hwcls.errors import UserError
from tests.data.own.conftest import Write, numbered, sizes

HEAD = "file_name,label\n"
GOOD = HEAD + "0.jpg,a\n1.jpg,b\n2.jpg,a\n"
SPLIT_ROWS = "file_name,label,split\n0.jpg,a,train\n1.jpg,b,train\n3.jpg,b,train\n2.jpg,c,test\n"
FILES = ["0.jpg", "1.jpg", "2.jpg"]


@pytest.mark.parametrize(
    ("images", "texts", "said"),
    [
        (
            [],
            {"a/notes.txt": "x"},
            r"photos: no images; it holds a/ \(no image\); files that are no images by their end",
        ),
        (
            [],
            {"a/1.dcm": "x"},
            r"no images; it holds a/ \(no image\); DICOM files \(1\) — convert them to PNG",
        ),
        (numbered("cat"), {}, r"all training images \(3\) are of one class, 'cat' — two classes or more are needed"),
        (["a/1.jpg", "b/2.jpg"], {}, "each of the 2 classes has one training image, such as a, b — several images of"),
        (FILES, {}, r"nothing says the classes of the images; it holds 3 images in no folder — images lie in class fo"),
        (
            FILES,
            {"labels.csv": GOOD + "7.jpg,a\n8.jpg,b\n9.jpg,a\nx.jpg,a\n"},
            r"labels.csv: 4 of the 7 images that it lists in column file_name are missing: 7.jpg, 8.jpg, 9.jpg, ",
        ),
        (
            FILES,
            {"labels.csv": HEAD + "0.jpg,Cat\n1.jpg,cat\n2.jpg,dog\n"},
            r"'Cat' \(1 image\) and 'cat' \(1\) differ in case or blanks alone — give both one spelling",
        ),
        (numbered("Golden Retriever", "golden  retriever", "x"), {}, "differ in case or blanks alone"),
        (
            FILES,
            {"labels.csv": HEAD + "0.jpg,a\n1.jpg,\n2.jpg,b\n"},
            r"1 row has no label in column label, such as row 3 \(1.jpg\) — fill or remove them",
        ),
        (
            FILES,
            {"labels.csv": GOOD + "0.jpg,b\n"},
            r"1 image has two labels, such as 0.jpg: 'a' in labels.csv row 2 and 'b' in labels.csv row 5 — ",
        ),
        (
            FILES,
            {"labels.csv": HEAD + "../0.jpg,a\n1.jpg,b\n2.jpg,a\n"},
            r"'../0.jpg' leaves the data's folder \(1 such rows\) — name images by their path below it",
        ),
        (
            [*FILES, "3.jpg"],
            {"labels.csv": SPLIT_ROWS},
            "class 'c' is in test, but not in train",
        ),
        (FILES, {"labels.csv": GOOD + '0.jpg,"a\n'}, "nothing says the classes"),
    ],
)
def test_bad_input(write: Write, images: list[str], texts: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        read_own_images(write(images, texts))
    assert "photos" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_in_two_folders_needs_its_folder(write: Write) -> None:
    root = write(["x/0.jpg", "y/0.jpg", "x/1.jpg"], {"labels.csv": HEAD + "0.jpg,a\n1.jpg,b\n"})
    said = r"'0.jpg' can be 2 images, such as x/0.jpg and y/0.jpg — write their folders into column file_name"
    with pytest.raises(UserError, match=said):
        read_own_images(root, LayoutConfig(table="labels.csv"))


def test_letters_that_differ_in_case_are_two_classes(write: Write) -> None:
    assert read_own_images(write(numbered("A", "a", "b"))).classes == ("A", "a", "b")


def test_blanks_around_a_label_do_not_count(write: Write) -> None:
    raw = read_own_images(write(FILES, {"labels.csv": HEAD + "0.jpg, a \n1.jpg,b\n2.jpg,a\n"}))
    assert raw.classes == ("a", "b")


def test_a_row_twice_is_one_image(write: Write) -> None:
    assert sizes(read_own_images(write(FILES, {"labels.csv": GOOD + "0.jpg,a\n"}))) == {"train": 3}


def test_a_test_split_without_labels(write: Write) -> None:
    rows = "0.jpg,a,train\n1.jpg,b,train\n2.jpg,a,train\n3.jpg,,test\n"
    root = write([*FILES, "3.jpg"], {"labels.csv": "file,label,split\n" + rows})
    raw = read_own_images(root)
    assert sizes(raw) == {"train": 3}
    assert raw.found[0].startswith("1 image of labels.csv has no label and is left out; a test split is cut from")


def test_a_table_that_is_none_is_named_where_it_was_asked_for(write: Write) -> None:
    root = write(FILES, {"labels.csv": 'file,label\n0.jpg,"a\n', "empty.csv": ""})
    for table in ("labels.csv", "empty.csv"):
        with pytest.raises(UserError, match=rf"{table}: is no readable table \("):
            read_own_images(root, LayoutConfig(table=table))


def test_images_that_the_table_does_not_list_are_left_out(write: Write) -> None:
    raw = read_own_images(write([*FILES, "more.jpg"], {"labels.csv": GOOD}))
    assert raw.left_out["more.jpg"].what == "images that are not in labels.csv"
