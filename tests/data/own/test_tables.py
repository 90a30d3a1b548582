"""A folder and a table: its kinds, its columns, and how its cells name images."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pandas as pd
import pytest

from hwcls.config.data import LayoutConfig
from hwcls.data.formats.image_types import LeftOut
from hwcls.data.own import read
from hwcls.data.own.read import read_own_images
from hwcls.errors import LayoutError, UserError
from tests.data.own.conftest import Write, listed, sizes

FILES = [f"{i}.jpg" for i in range(6)]
LABELS = ["cat", "dog", "cat", "dog", "cat", "dog"]
EXPECTED = dict(zip(FILES, LABELS, strict=True))
ROWS = list(zip(FILES, LABELS, strict=True))


def csv(rows: list[tuple[str, ...]], header: str = "file_name,label", delimiter: str = ",") -> str:
    lines = [header.replace(",", delimiter)] * bool(header) + [delimiter.join(row) for row in rows]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", csv(ROWS)),
        ("labels.csv", csv(ROWS, delimiter=";")),
        ("labels.csv", "\ufeff" + csv(ROWS).replace("\n", "\r\n")),
        ("labels.csv", csv(ROWS, "")),  # no header
        ("labels.tsv", csv(ROWS, delimiter="\t")),
        ("labels.csv", csv([(f'"{file}"', f'"{label}"') for file, label in ROWS])),
        ("labels.jsonl", "\n".join(json.dumps({"image": file, "class": label}) for file, label in ROWS)),
        ("labels.csv", csv([(file, "x", label) for file, label in ROWS], "Image Path,source,Class Name")),
        ("labels.csv", csv([(file.removesuffix(".jpg"), label) for file, label in ROWS], "id,breed")),
        ("labels.csv", csv([(f"\\\\server\\photos\\{file}", label) for file, label in ROWS], "path,target")),
        ("labels.csv", csv([(f"/home/ann/photos/{file}", label) for file, label in ROWS], "filename,category")),
        ("labels.csv", csv([(f"C:\\photos\\{file}", label) for file, label in ROWS], "path,target")),
        ("labels.csv", csv([(f"./{file.upper()}", label) for file, label in ROWS], "file,label")),
        ("labels.csv", csv([(file, str(int(label == "cat")), label) for file, label in ROWS], "image,label,class")),
        ("labels.csv", csv([(f"https://x.org/a/{file}", label) for file, label in ROWS], "url,label")),
    ],
)
@pytest.mark.parametrize("place", ["", "images/", "data/images/"])
def test_a_table_names_images_and_labels(write: Write, kind: str, name: str, text: str, place: str) -> None:
    raw = read_own_images(write([f"{place}{file}" for file in FILES], {name: text}, kind))
    assert listed(raw) == {"train": {f"{place}{file}": label for file, label in ROWS}}
    assert raw.found[0].startswith(f"labels from {name}, column ")
    assert not raw.plain


def test_parquet(write: Write) -> None:
    packed = io.BytesIO()
    pd.DataFrame({"file": FILES, "label": [0, 1] * 3}).to_parquet(packed)
    root = write([f"images/{file}" for file in FILES])
    (root / "labels.parquet").write_bytes(packed.getvalue())
    raw = read_own_images(root)
    assert raw.classes == ("0", "1")  # numbers stay names
    assert sizes(raw) == {"train": 6}


def test_columns_that_the_user_names(write: Write, tmp_path: Path) -> None:
    rows = [(file, "x", str(i), label, "fold a" if i else "b") for i, (file, label) in enumerate(ROWS)]
    root = write(FILES, {"t.csv": csv(rows, "a,b,c,species_found,e")})
    with pytest.raises(LayoutError, match=r"several columns can hold the labels: b \(1 value\), c \(6") as caught:
        read_own_images(root)
    assert str(caught.value).endswith("name it: data.layout.label_column: species_found")
    assert str(caught.value.with_options()).endswith("name it: --label-column species_found")
    raw = read_own_images(root, LayoutConfig(label_column="species_found"))
    assert listed(raw) == {"train": EXPECTED}
    with pytest.raises(
        LayoutError,
        match=r"no column 'species' — name one by data.layout.label_column: ...; did you mean 'species_found'",
    ):
        read_own_images(root, LayoutConfig(label_column="species"))
    with pytest.raises(LayoutError, match=r"no table with a column 'z' that names the images; it holds t.csv"):
        read_own_images(root, LayoutConfig(image_column="z"))
    (root / "t.csv").rename(tmp_path / "elsewhere.csv")
    layout = LayoutConfig(table=str(tmp_path / "elsewhere.csv"), image_column="a", label_column="species_found")
    assert listed(read_own_images(root, layout)) == {"train": EXPECTED}
    with pytest.raises(UserError, match=r"nowhere.csv: no such table in the data or elsewhere"):
        read_own_images(root, LayoutConfig(table="nowhere.csv"))


def test_splits_and_groups_of_a_table(write: Write) -> None:
    splits = ["Train", "training", "train", "valid", "TEST", "train"]
    rows = [(*row, split, f"p{i // 2}") for i, (row, split) in enumerate(zip(ROWS, splits, strict=True))]
    root = write(FILES, {"labels.csv": csv(rows, "file,label,Split,group")})
    raw = read_own_images(root)
    assert sizes(raw) == {"train": 4, "val": 1, "test": 1}
    assert raw.groups is not None
    assert [raw.groups[split].tolist() for split in ("train", "val", "test")] == [
        ["p0", "p0", "p1", "p2"],
        ["p1"],
        ["p2"],
    ]
    assert raw.found == (
        "labels from labels.csv, column label, images by column file",
        "splits from labels.csv, column Split",
        "groups from labels.csv, column group",
    )
    patients = write(FILES, {"labels.csv": csv(rows, "file,label,part,patient")})
    layout = LayoutConfig(split_column="part", group="patient", label_column="label")
    assert read_own_images(patients, layout).groups is not None
    with pytest.raises(LayoutError, match=r"column patient says 'p0', 'p1', 'p2', which is no split"):
        read_own_images(patients, LayoutConfig(split_column="patient", label_column="label"))


def test_one_hot_columns(write: Write) -> None:
    rows = [(file, *(str(float(label == one)) for one in ("cat", "dog"))) for file, label in ROWS]
    root = write(FILES, {"labels.csv": csv(rows, "image,cat,dog")})
    raw = read_own_images(root)
    assert listed(raw) == {"train": EXPECTED}
    assert raw.found == ("labels from labels.csv, one-hot columns cat, dog, images by column image",)
    rows[0] = (FILES[0], "1", "1")
    with pytest.raises(LayoutError, match="several columns can hold the labels: cat"):
        read_own_images(write(FILES, {"labels.csv": csv(rows, "image,cat,dog")}))


@pytest.mark.parametrize("folder", ["train/", ""])
def test_metadata_of_hugging_face_in_each_split(write: Write, folder: str) -> None:
    texts = {
        f"{split}/metadata.csv": csv([(f"{split}.{file}", label) for file, label in ROWS])
        for split in ("train", "test")
    }
    names = [f"{split}/{split}.{file}" for split in ("train", "test") for file in FILES]
    raw = read_own_images(write(names, texts))
    assert sizes(raw) == {"train": 6, "test": 6}
    assert listed(raw)["test"]["test/test.1.jpg"] == "dog"
    assert raw.found[-1] == "splits by the tables: test/metadata.csv is test, train/metadata.csv is train"


def test_the_same_names_in_each_split(write: Write) -> None:
    texts = {f"{split}/metadata.csv": csv(ROWS) for split in ("train", "validation")}
    raw = read_own_images(write([f"{split}/{file}" for split in ("train", "validation") for file in FILES], texts))
    assert sizes(raw) == {"train": 6, "test": 6}


def test_a_table_for_each_split(write: Write, kind: str) -> None:
    texts = {"train.csv": csv(ROWS[:4], "image_id,breed"), "test.csv": csv([(f,) for f in FILES[4:]], "image_id")}
    texts["sample_submission.csv"] = csv(ROWS[4:], "image_id,breed")
    raw = read_own_images(write([f"images/{file}" for file in FILES], texts, kind))
    assert sizes(raw) == {"train": 4}
    assert "2 images of test.csv have no label and are left out; a test split is cut" in " ".join(raw.found)
    assert raw.left_out["images/5.jpg"].remedy == "hwcls predict classifies them"
    texts["test.csv"] = csv(ROWS[4:], "image_id,breed")
    assert sizes(read_own_images(write([f"images/{file}" for file in FILES], texts))) == {"train": 4, "test": 2}


def test_traffic_signs_as_of_kaggle(write: Write) -> None:
    train = [f"Train/{label}/{label}_{i}.png" for label in (0, 1) for i in range(3)]
    test = [f"Test/{i}.png" for i in range(4)]
    rows = {"Train.csv": [("29", "30", name.split("/")[1], name) for name in train],
            "Test.csv": [("53", "54", str(i % 2), name) for i, name in enumerate(test)]}  # fmt: skip
    texts = {name: csv(found, "Width,Height,ClassId,Path") for name, found in rows.items()}
    texts["Meta.csv"] = csv([(f"Meta/{i}.png", str(i), "1") for i in (0, 1)], "Path,ClassId,ShapeId")
    raw = read_own_images(write([*train, *test, "Meta/0.png", "Meta/1.png"], texts))
    assert (raw.classes, sizes(raw)) == (("0", "1"), {"train": 6, "test": 4})
    assert set(raw.left_out) == {"Meta/0.png", "Meta/1.png"}


def test_a_table_of_labels_beside_folders_of_splits(write: Write) -> None:
    names = [f"train/{file}" for file in FILES[:4]] + [f"test/{file}" for file in FILES[4:]]
    raw = read_own_images(write(names, {"labels.csv": csv(ROWS)}))
    assert sizes(raw) == {"train": 4, "test": 2}
    assert raw.found[-1] == "splits from the folders of the images"


def test_an_ambiguous_table_of_nearly_all_images_is_no_reason_to_take_their_folder_as_a_class(write: Write) -> None:
    rows = "".join(f"{i % 3},{i}.jpg,{'ab'[i % 2]}\n" for i in range(20))
    place = write([*(f"images/{i}.jpg" for i in range(20)), "doc/a.jpg"], {"legend.csv": f"user,image,mood\n{rows}"})
    with pytest.raises(LayoutError, match="several columns can hold the labels"):
        read_own_images(place)


def test_a_table_beside_class_folders(write: Write) -> None:
    names = [f"{label}/{file}" for file, label in ROWS]
    about = {"notes.csv": csv([(file, str(i)) for i, file in enumerate(FILES)], "file,width")}
    assert read_own_images(write(names, about)).found == ("class folders, without splits",)
    same = {"labels.csv": csv(ROWS)}
    assert read_own_images(write(names, same)).found == ("class folders, without splits",)
    split = {
        "labels.csv": csv([(*row, "test" if i < 2 else "train") for i, row in enumerate(ROWS)], "file,label,split")
    }
    assert sizes(read_own_images(write(names, split))) == {"train": 4, "test": 2}
    other = {"labels.csv": csv([(file, "good" if i < 3 else "bad") for i, file in enumerate(FILES)])}
    root = write(names, other)
    with pytest.raises(
        LayoutError, match=r"labels.csv and the folders say different classes: cat/0.jpg is 'good'"
    ) as caught:
        read_own_images(root)
    assert str(caught.value.with_options()).endswith("--table labels.csv takes the table, --class-depth 1 the folders")
    assert read_own_images(root, LayoutConfig(table="labels.csv")).classes == ("bad", "good")
    assert read_own_images(root, LayoutConfig(class_depth=1)).classes == ("cat", "dog")


def test_satellite_images_as_of_kaggle(write: Write) -> None:
    names = [f"EuroSAT/{label}/{label}_{i}.jpg" for label in ("Forest", "River") for i in range(4)]
    texts = {}
    for split, numbers in {"train": (0, 1), "validation": (2,), "test": (3,)}.items():
        rows = [
            (str(i), f"{label}/{label}_{i}.jpg", str(k), label)
            for k, label in enumerate(("Forest", "River"))
            for i in numbers
        ]
        texts[f"EuroSAT/{split}.csv"] = csv(rows, ",Filename,Label,ClassName")
    texts["EuroSAT/label_map.json"] = "{}"
    raw = read_own_images(write(names, texts))
    assert (raw.classes, sizes(raw)) == (("Forest", "River"), {"train": 4, "val": 2, "test": 2})


def test_a_table_is_named_by_the_end_of_its_path(write: Write, kind: str) -> None:
    texts = {"set-master/a.csv": csv(ROWS), "set-master/b.csv": csv(ROWS)}
    root = write([f"set-master/{file}" for file in FILES], texts, kind)
    assert read_own_images(root, LayoutConfig(table="b.csv")).found[0].startswith("labels from set-master/b.csv")


def test_several_tables_are_asked_for(write: Write) -> None:
    root = write(FILES, {"a.csv": csv(ROWS), "b.csv": csv(ROWS)})
    with pytest.raises(
        LayoutError, match=r"several tables name images: a.csv \(6 rows: file_name, label\), b.csv"
    ) as caught:
        read_own_images(root)
    assert str(caught.value).endswith("choose one: data.layout.table: a.csv")
    assert sizes(read_own_images(root, LayoutConfig(table="b.csv"))) == {"train": 6}


def test_a_hundred_thousand_rows(write: Write) -> None:
    names = [f"images/{i // 1000:03}/{i:06}.jpg" for i in range(100_000)]
    text = csv([(name.removeprefix("images/"), str(i % 10)) for i, name in enumerate(names)])

    class Tree:
        where = "photos"

        def __init__(self) -> None:
            self.names = sorted([*names, "labels.csv"])
            self.no_files: dict[str, LeftOut] = {}

        def read(self, name: str) -> bytes:
            return text.encode()

        def size(self, name: str) -> int:
            return len(text)

        def folders(self, below: str = "") -> list[str]:
            return []

    start = time.process_time()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read, "open_tree", lambda path: Tree())
        raw = read_own_images(Path("photos"), LayoutConfig(table="labels.csv"))
    assert sizes(raw) == {"train": 100_000}
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    "content",
    [
        b"file_name,label\r1.png,a\r2.png,b\r3.png,a\r4.png,b\r",
        b"file_name,label\n1.png,a,\n2.png,b,\n3.png,a,\n4.png,b,\n",
    ],
    ids=["lines of an old Mac", "empty cells at the end"],
)
def test_lines_end_as_they_may(tmp_path: Path, content: bytes, recwarn: pytest.WarningsRecorder) -> None:
    for i in range(1, 5):
        (tmp_path / f"{i}.png").write_bytes(b"x")
    (tmp_path / "labels.csv").write_bytes(content)
    raw = read_own_images(tmp_path)
    assert (raw.classes, raw.splits["train"].labels.tolist()) == (("a", "b"), [0, 1, 0, 1])
    assert not recwarn.list


def test_rows_longer_than_the_header_are_refused(tmp_path: Path) -> None:
    """As R writes them, with the numbers of the rows first: the numbers would be taken for the images."""
    for i in range(1, 5):
        (tmp_path / f"{i}.png").write_bytes(b"x")
    (tmp_path / "labels.csv").write_text("file_name,label\n1,4.png,a\n2,3.png,b\n3,2.png,a\n4,1.png,b\n")
    with pytest.raises(UserError, match="row 2 has 3 cells, the first one 2"):
        read_own_images(tmp_path, LayoutConfig(table="labels.csv"))


def test_a_parquet_index_is_a_column(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(4)]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    pd.DataFrame({"label": list("abab")}, index=pd.Index(names, name="file_name")).to_parquet(tmp_path / "t.parquet")
    assert read_own_images(tmp_path).splits["train"].labels.tolist() == [0, 1, 0, 1]


def test_a_folder_that_begins_with_a_blank_is_found(tmp_path: Path) -> None:
    for name in (" a", "b"):
        (tmp_path / "w" / name).mkdir(parents=True)
        for i in range(2):
            (tmp_path / "w" / name / f"{i}.png").write_bytes(b"x")
    rows = "".join(f"{name}/{i}.png,{name.strip()}\n" for name in (" a", "b") for i in range(2))
    (tmp_path / "labels.csv").write_text("file_name,label\n" + rows)
    raw = read_own_images(tmp_path, LayoutConfig(table="labels.csv"))
    assert raw.image_names("train") == ["w/ a/0.png", "w/ a/1.png", "w/b/0.png", "w/b/1.png"]
