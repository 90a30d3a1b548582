"""The tables that say the labels of images: which they are, and by which of their columns."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from hwcls.config.data import LayoutConfig
from hwcls.data.formats.archive import FileTree
from hwcls.data.own import columns
from hwcls.data.own.matching import FileIndex, Match
from hwcls.data.own.rows import first_of
from hwcls.data.own.split_names import split_of, splits_among
from hwcls.data.own.tables import Table, is_table, read_table
from hwcls.errors import LayoutError, UserError
from hwcls.format import format_count

OWN_TABLE = "images.csv"  # which `hwcls data import` writes
OWN_HEADER = b"file_name,label"
MOST_TABLES, MOST_BYTES = 30, 1 << 26  # that are looked into, and of each, where the user names none
NOT_LABELS = re.compile("sample_?-?submission", re.IGNORECASE)


@dataclass(frozen=True)
class Labels:
    """A table that names images, and its columns.

    Attributes:
        image: The column of the images.
        labels: The column of the labels, or several one-hot ones; empty: it has none.
        split_column, group: None where it has none.
        match: The images that `image` names.
        split: Of all rows, by the name of the table or of its folder; None: that says none.
        doubt: Why `labels` is empty, where several columns can be it.
    """

    table: Table
    image: str
    labels: list[str]
    split_column: str | None
    group: str | None
    match: Match
    split: str | None = None
    doubt: LayoutError | None = None

    @property
    def name(self) -> str:
        """The table's."""
        return self.table.name

    @property
    def images(self) -> set[int]:
        """The numbers of the images that it names without doubt."""
        return {found[0] for found in self.match.files if len(found) == 1}


def find_labels(tree: FileTree, index: FileIndex, layout: LayoutConfig) -> list[Labels]:
    """The tables that say labels: one, or one for each split; [] where there is none.

    Raises:
        UserError: The layout names a table that cannot be read or names no image, or a column that is not there.
        LayoutError: Several tables could be it, or several columns.
    """
    return choose_tables(find_tables(tree, index, layout), tree)


def find_tables(tree: FileTree, index: FileIndex, layout: LayoutConfig) -> list[Labels]:
    """The tables that name images; only that of the layout or of an import, where there is one.

    Raises:
        UserError: The layout names a table that cannot be read or names no image, or a column that is not there.
    """
    if layout.table is not None:
        return [_chosen_table(tree, index, layout)]
    if has_own_table(tree) and (own := _understand(read_table(tree, OWN_TABLE), index, layout)) is not None:
        return [own]
    found = []
    for table in _tables(tree):
        if layout.image_column is not None and layout.image_column not in table.columns:
            continue
        if (one := _understand(table, index, layout)) is not None:
            found.append(one)
    return found


def find_cells(tree: FileTree, index: FileIndex, column: str) -> tuple[str, dict[str, str]] | None:
    """The first table that names images and has such a column, and its cell of each image."""
    for table in _tables(tree):
        if column in table.columns and (image := columns.image_column(table, None, index)) not in (None, column):
            assert image is not None
            rows = zip(index.match(table.columns[image]).files, table.columns[column], strict=True)
            return table.name, {index.names[i]: cell for found, cell in rows for i in found}
    return None


def _tables(tree: FileTree) -> Iterator[Table]:
    """The tables in a tree that can be read, the least deep first."""
    names = sorted((name for name in tree.names if is_table(name)), key=lambda name: (name.count("/"), name))
    for name in [name for name in names if not NOT_LABELS.search(name)][:MOST_TABLES]:
        with contextlib.suppress(UserError, OSError):  # another kind of table, as that of an experiment
            if tree.size(name) <= MOST_BYTES:
                yield read_table(tree, name)


def has_own_table(tree: FileTree) -> bool:
    """Whether an import wrote a table of labels into `tree`."""
    try:
        return OWN_TABLE in tree.names and tree.read(OWN_TABLE).startswith(OWN_HEADER)
    except OSError:
        return False


def _chosen_table(tree: FileTree, index: FileIndex, layout: LayoutConfig) -> Labels:
    assert layout.table is not None
    table = read_table(tree, layout.table)
    if (found := _understand(table, index, layout)) is None:
        first, *_ = table.columns or [""]
        cells = [f"{name} ({next(iter(column), '')[:40]})" for name, column in table.columns.items()]
        what = f"no column names images of {tree.where}; its columns are {first_of(cells, 6)}"
        remedy = "name the one with the file names"
        raise LayoutError(what, where=table.where, remedy=lambda write: f"{remedy}: {write('image_column', first)}")
    return found


def _certain(found: Labels) -> Labels:
    """A table that has labels, without doubt; raises LayoutError for another."""
    if found.doubt:
        raise found.doubt
    if not found.labels:
        what = f"has no column of labels; its columns are {first_of(list(found.table.columns), 6)}"
        raise LayoutError(
            what, where=found.table.where, remedy=lambda write: f"name it: {write('label_column', '...')}"
        )
    return found


def _understand(table: Table, index: FileIndex, layout: LayoutConfig) -> Labels | None:
    """The columns of a table that names images; None where it names none."""
    image = columns.image_column(table, layout.image_column, index)
    if image is None:
        return None
    group = columns.group_column(table, layout.group)
    split = columns.split_column(table, layout.split_column, [image, group, layout.label_column])
    labels, doubt = [], None
    try:
        labels = columns.label_columns(table, layout.label_column, [image, split, group])
    except LayoutError as error:
        doubt = error
    return Labels(table, image, labels, split, group, index.match(table.columns[image]), doubt=doubt)


def choose_tables(found: Sequence[Labels], tree: FileTree) -> list[Labels]:
    """Of tables that name images those that say labels: one, or one for each split; raises LayoutError in doubt."""
    stems = [one.name.rpartition("/")[2].rpartition(".")[0] for one in found]
    by_name = splits_among(dict.fromkeys(stems))
    folders = [(one.table.place or "").rstrip("/").rpartition("/")[2] for one in found]
    splits = [by_name.get(stem) or split_of(folder) for stem, folder in zip(stems, folders, strict=True)]
    of_splits = [replace(one, split=split) for one, split in zip(found, splits, strict=True) if split]
    train = [one for one in of_splits if one.split == "train" and (one.labels or one.doubt)]
    if train:
        for split, count in Counter(one.split for one in of_splits).items():
            if count > 1:
                raise _which_table([one for one in of_splits if one.split == split], tree)
        labels = _certain(train[0]).labels
        return [replace(one, labels=labels if set(labels) <= set(one.table.columns) else []) for one in of_splits]
    with_labels = [one for one in found if one.labels] or [one for one in found if one.doubt]
    if len(with_labels) > 1:
        raise _which_table(with_labels, tree)
    return [_certain(one) for one in with_labels]


def _which_table(found: Sequence[Labels], tree: FileTree) -> LayoutError:
    sized = [(one, format_count(len(one.table), "row")) for one in found[:4]]
    shown = ", ".join(f"{one.name} ({rows}: {first_of(list(one.table.columns), 4)})" for one, rows in sized)
    return LayoutError(
        f"several tables name images: {shown}",
        where=tree.where,
        remedy=lambda write: f"choose one: {write('table', max(found, key=lambda one: len(one.table)).name)}",
    )
