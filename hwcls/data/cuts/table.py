"""splits.csv: which image of a user's own is train, val and test, as `data.layout.table` takes it back."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from hwcls import files
from hwcls.config.data import DataConfig
from hwcls.data.catalog import find_data_set
from hwcls.data.imageset import ImageSet
from hwcls.data.store import read_raw_data
from hwcls.escape import csv_text, printable
from hwcls.format import join_words

SPLITS = ("train", "val", "test")
EARLIER = {"train": (), "val": ("train",), "test": ("train", "val")}  # no image of a split may have been in these
Rows = dict[str, tuple[str, str]]  # the label and the split of each image, by its name


def write_split_tables(sets: Mapping[DataConfig, ImageSet], folder: Path) -> None:
    """Write splits.csv of the user's own images, and splits_2.csv ... where there are several splits of them."""
    tables = {split_table(config, images): None for config, images in sets.items() if _is_own(config)}
    for number, table in enumerate(tables, 1):
        files.write_text(folder / (f"splits_{number}.csv" if number > 1 else "splits.csv"), table)


def has_other_splits(config: DataConfig, images: ImageSet, folder: Path) -> bool:
    """Whether the splits.csv that a training began with is of other images or splits than these."""
    try:
        begun = (folder / "splits.csv").read_text("utf-8")
    except OSError:  # of a known data set, or of an earlier version
        return False
    return _is_own(config) and begun != split_table(config, images)


def describe_changes(config: DataConfig, images: ImageSet, folder: Path, split: str) -> str | None:
    """How a split of a user's own images differs from the one in a folder's tables of splits, in a sentence.

    Args:
        config: What `images` was opened with.
        folder: Of a trial or a sweep.

    Returns:
        None where it does not differ, and where that is not known: the folder has no such table, as of known data
        sets, or several, as of a sweep that searches the splits, which need not be those of every trial.
    """
    recorded = list(folder.glob("splits*.csv"))
    before = _read_rows(recorded[0]) if len(recorded) == 1 and _is_own(config) else {}
    if not before:
        return None
    now = _parse_rows(split_table(config, images))
    has_own_cut = config.val_seed is not None or config.folds is not None  # a confirm run; the table is the search's
    parts = ("train", "val") if has_own_cut and split != "test" else (split,)
    old, new = ({name: row[0] for name, row in rows.items() if row[1] in parts} for rows in (before, now))
    relabelled = [name for name in old.keys() & new.keys() if old[name] != new[name]]
    counts = {"new": new.keys() - old.keys(), "gone": old.keys() - new.keys(), "of another class": relabelled}
    changed = [f"{len(names):,} {word}" for word, names in counts.items() if names]
    if not changed:
        return None
    text = f"{config.title}: the images of {join_words(parts)} have changed since the training ({', '.join(changed)})"
    if seen := sum(name in new and row[1] in EARLIER[split] and row[1] not in parts for name, row in before.items()):
        how = "trained or chose" if split == "test" else "trained"
        text += f"; {seen:,} of these {len(new):,} {how} the model, so the scores are too high"
    return text


def _read_rows(path: Path) -> Rows:
    """The rows of a recorded table; empty where it cannot be read."""
    try:
        return _parse_rows(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}


def _parse_rows(table: str) -> Rows:
    """The rows of a table as `split_table` writes it."""
    rows = csv.DictReader(io.StringIO(table, newline=""))
    return {
        row["file_name"]: (row["label"], row["split"]) for row in rows if row.keys() >= {"file_name", "label", "split"}
    }


def split_table(config: DataConfig, images: ImageSet) -> str:
    """The rows file_name, label, split and, where there are groups, group, of all images that a trial uses.

    Args:
        config: What `images` was opened with.
    """
    raw = read_raw_data(config)
    names = {split: raw.image_names(split) for split in raw.splits}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file_name", "label", "split", *(["group"] if raw.groups is not None else [])])
    for split in SPLITS:
        part, source = getattr(images, split), split if split in raw.splits else "train"
        for row, label in zip(part.rows.tolist(), part.labels.tolist(), strict=True):
            group = [] if raw.groups is None else [str(raw.groups[source][row])]
            cells = [names[source][row], images.classes[label], split, *group]
            writer.writerow([csv_text(cell) for cell in cells])
    return text.getvalue()


def read_test_names(folder: Path, labels: Sequence[str]) -> list[str] | None:
    """The file names of the test images, in the order of a trial's predictions.

    Args:
        folder: Of the sweep.
        labels: Of the test images, by name, in that order.

    Returns:
        None where the sweep has no such table, as of earlier versions, known data sets and several splits, or where its
        labels are others.
    """
    if (folder / "splits_2.csv").exists():
        return None
    try:
        with open(folder / "splits.csv", encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get("split") == "test"]
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
    if [row.get("label") for row in rows] != [csv_text(label) for label in labels]:
        return None
    return [printable(row.get("file_name") or "").removeprefix("'") for row in rows]


def read_names(folder: Path, train: Sequence[int], val: Sequence[int]) -> dict[int, str]:
    """The file names of the images of train and val, by row.

    Args:
        folder: Of the sweep.
        train, val: The rows of both, as its splits have them.

    Returns:
        Nothing where the sweep has no such table, as for `read_test_names`, or one of other images.
    """
    if (folder / "splits_2.csv").exists():
        return {}
    found: dict[str, list[str]] = {"train": [], "val": []}
    try:
        with open(folder / "splits.csv", encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if (split := row.get("split") or "") in found:
                    found[split].append(printable(row.get("file_name") or "").removeprefix("'"))
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    if (len(found["train"]), len(found["val"])) != (len(train), len(val)):
        return {}
    return dict(zip((*train, *val), (*found["train"], *found["val"]), strict=True))


def _is_own(config: DataConfig) -> bool:
    return find_data_set(config.name).user_files
