"""What an import keeps of a layout, so that the imported set is read back without it."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from hwcls.config.data import DataConfig, LayoutConfig
from hwcls.data.imageset import open_data
from hwcls.data.importer import import_data_set
from hwcls.data.store import read_raw_data
from hwcls.errors import UserError
from hwcls.escape import csv_text
from tests.data.own.conftest import listed, sizes

NAMES = [f"{i}.png" for i in range(8)]


def write(make: SimpleNamespace, root: Path, names: list[str], table: str = "") -> Path:
    make.write_files(root, {name: make.png(make.noise(i, 8, 8)) for i, name in enumerate(names)})
    if table:
        (root / "labels.csv").write_text(table, encoding="utf-8")
    return root


def packed(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path / f"{path.name}.zip") as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist() if name.endswith(".csv")}
        return texts | {name: "" for name in archive.namelist() if name.endswith(".png")}


def test_class_folders_without_splits(make: SimpleNamespace, tmp_path: Path) -> None:
    root = write(make, tmp_path / "photos", [f"set/{label}/{name}" for label in "ba" for name in NAMES])
    done = import_data_set("mine", root)
    assert done.found == ("class folders in set/, without splits",)
    lines = packed(done.path)["images.csv"].splitlines()
    assert lines[:2] == ["file_name,label", "set/a/0.png,a"]
    mine, here = DataConfig(name="mine", image_size=8), DataConfig(name="imagefolder", path=str(root), image_size=8)
    raw = read_raw_data(mine)
    assert (raw.classes, sizes(raw)) == (("a", "b"), {"train": 16})
    assert listed(raw) == listed(read_raw_data(here))
    assert open_data(mine).test.rows.tolist() == open_data(here).test.rows.tolist()  # the cut goes by names


def test_hostile_names_are_read_back(make: SimpleNamespace, tmp_path: Path) -> None:
    names = [f"{name}{i}.png" for i in range(2) for name in ("=1+1", "-a", "'x", "a,b", 'q"', "é", "'=d")]
    labels = ["=cat", "'=dog", "-1", "a;b", '"', "é", "x y"] * 2
    table = io.StringIO()
    csv.writer(table).writerows(
        [("file_name", "label"), *zip(map(csv_text, names), map(csv_text, labels), strict=True)]
    )
    root = write(make, tmp_path / "photos", [f"img/{name}" for name in names], table.getvalue())
    wanted = {f"img/{name}": label for name, label in zip(names, labels, strict=True)}
    assert listed(read_raw_data(DataConfig(name="imagefolder", path=str(root)))) == {"train": wanted}
    import_data_set("mine", root)
    assert listed(read_raw_data(DataConfig(name="mine"))) == {"train": wanted}


@pytest.mark.parametrize("group", ["group", "^(p[0-9])"])
def test_splits_and_groups_are_kept(make: SimpleNamespace, tmp_path: Path, group: str) -> None:
    names = [f"p{i // 2}_{i}.png" for i in range(8)]
    rows = ["id,breed,Split,group"]
    for i, name in enumerate(names):
        rows.append(f"{name},{'=cat' if i % 2 else 'dog'},{'eval' if i > 5 else 'train'},p{i // 2}")
    root = write(make, tmp_path / "photos", [f"img/{name}" for name in names], "\n".join(rows))
    done = import_data_set("mine", root, layout=LayoutConfig(group=group))
    lines = packed(done.path)["images.csv"].splitlines()
    assert lines[:2] == ["file_name,label,split,group", "img/p0_0.png,dog,train,p0"]
    assert lines[2] == "img/p0_1.png,'=cat,train,p0"
    raw = read_raw_data(DataConfig(name="mine"))
    assert (raw.classes, sizes(raw)) == (("=cat", "dog"), {"train": 6, "test": 2})
    assert raw.groups is not None
    assert raw.groups["test"].tolist() == ["p3", "p3"]


def test_plain_split_folders_need_no_table(make: SimpleNamespace, tmp_path: Path) -> None:
    names = [f"{split}/{label}/{name}" for split in ("Train", "dev") for label in "ab" for name in NAMES]
    assert "images.csv" not in packed(import_data_set("mine", write(make, tmp_path / "photos", names)).path)
    assert sizes(read_raw_data(DataConfig(name="mine"))) == {"train": 16, "test": 16}


def test_a_test_split_is_cut_for_good(make: SimpleNamespace, tmp_path: Path) -> None:
    root = write(make, tmp_path / "photos", [f"{label}/{name}" for label in "ab" for name in NAMES])
    done = import_data_set("mine", root, test=0.25)
    assert done.found[-1] == "test is cut from the images: 4 of 16"
    raw, here = read_raw_data(DataConfig(name="mine")), DataConfig(name="imagefolder", path=str(root), image_size=8)
    assert sizes(raw) == {"train": 12, "test": 4}
    names = list(listed(read_raw_data(here))["train"])
    cut = open_data(here.model_copy(update={"test": 0.25}))
    assert [names[row] for row in cut.test.rows] == list(listed(raw)["test"])  # as a sweep cuts it
    with pytest.raises(UserError, match=r"--test: there is a test split of 4 images already"):
        import_data_set("again", done.path / "mine.zip", test=0.5)


def test_near_copies_stay_in_one_split(make: SimpleNamespace, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for label in "ab":
        for i in range(8):
            pixels = make.noise(100 * ord(label) + i, 4, 4).repeat(16, 0).repeat(16, 1)
            make.write_files(root, {f"{label}/{i}_0.png": make.png(pixels), f"{label}/{i}_1.jpg": make.jpeg(pixels)})
    import_data_set("mine", root, test=0.3)
    found = listed(read_raw_data(DataConfig(name="mine")))
    sides = {split: {name.split("_")[0] for name in names} for split, names in found.items()}
    assert not sides["train"] & sides["test"]


def test_a_damaged_image_does_not_prevent_the_cut(make: SimpleNamespace, tmp_path: Path) -> None:
    root = write(make, tmp_path / "photos", [f"{label}/{name}" for label in "ab" for name in NAMES])
    (root / "a" / "0.png").write_bytes(b"x")
    with pytest.raises(UserError, match=r"a/0.png"):
        import_data_set("mine", root, test=0.3)
    assert list(import_data_set("mine", root, test=0.3, skip_corrupt=True).skipped) == ["a/0.png"]
    assert set(sizes(read_raw_data(DataConfig(name="mine")))) == {"train", "test"}


def test_a_flat_folder_and_a_table(make: SimpleNamespace, tmp_path: Path) -> None:
    rows = "".join(f"{name},{'ab'[i % 2]}\n" for i, name in enumerate(NAMES))
    import_data_set("mine", write(make, tmp_path / "photos", NAMES, f"file,label\n{rows}"))
    assert sizes(read_raw_data(DataConfig(name="mine"))) == {"train": 8}


def test_images_left_out_are_not_in_the_table(make: SimpleNamespace, tmp_path: Path) -> None:
    root = write(make, tmp_path / "photos", [f"{label}/{name}" for label in "ab" for name in NAMES])
    (root / "a" / "0.png").write_bytes(b"x")
    done = import_data_set("mine", root, skip_corrupt=True)
    assert list(done.skipped) == ["a/0.png"]
    assert "a/0.png" not in packed(done.path)["images.csv"]
    assert sizes(read_raw_data(DataConfig(name="mine"))) == {"train": 15}


def test_the_store_depends_on_the_layout(make: SimpleNamespace, tmp_path: Path) -> None:
    root = write(make, tmp_path / "photos", [f"x/{i}.png" for i in range(24)])
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["file,one,two", *(f"{i}.png,{i % 2},{i % 4}" for i in range(24))]))

    def classes(column: str) -> tuple[str, ...]:
        layout = LayoutConfig(table=str(table), label_column=column)
        return open_data(DataConfig(name="imagefolder", path=str(root), layout=layout, image_size=8)).classes

    assert (classes("one"), classes("two")) == (("0", "1"), ("0", "1", "2", "3"))
    table.write_text(table.read_text().replace(",0", ",a"))
    assert classes("one") == ("1", "a")
    with pytest.raises(UserError, match=r"data.layout: digits takes no layout"):
        open_data(DataConfig(name="digits", layout=LayoutConfig(table="x.csv")))
