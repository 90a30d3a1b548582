"""Images of a user's own, in the layouts that people have, in a folder or an archive.

Class folders with or without splits, also with folders around them, or a table that names the images and their labels;
`read_own_images` says which it takes. Rules: `folders` for folders, `listing` and `columns` for tables.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from hwcls.config.data import LayoutConfig
from hwcls.data.catalog import DATA_SETS, DataSetSpec
from hwcls.data.formats.archive import ARCHIVES, FileTree, FolderTree, may_contain, open_tree
from hwcls.data.formats.image_types import is_image, list_folders, why_not_an_image
from hwcls.data.formats.raw import RawData
from hwcls.data.own.columns import is_label_name
from hwcls.data.own.folders import Folder, contents, survey, unwrap
from hwcls.data.own.from_folders import rows_of_folders
from hwcls.data.own.from_tables import rows_of_tables
from hwcls.data.own.listing import (
    OWN_TABLE,
    Labels,
    choose_tables,
    find_cells,
    find_labels,
    find_tables,
    has_own_table,
)
from hwcls.data.own.matching import FileIndex
from hwcls.data.own.rows import Rows, build, find_masks
from hwcls.data.own.split_names import SPELLINGS
from hwcls.data.own.tables import is_table
from hwcls.errors import LayoutError, UserError
from hwcls.format import format_count

LAYOUT = (
    "images lie in class folders, as photos/cat/1.jpg, with or without train/, val/ and test/ above the classes,"
    " or a table names them and their labels"
)
MOSTLY = 0.9  # of the images in class folders: a table that names fewer is about something else
MOST = 0.5  # of all images: a table that names as many is about them, whatever the folders are
LOOKED_AT = 50  # entries of a folder, to see whether it holds class folders


def read_own_images(path: Path, layout: LayoutConfig | None = None) -> RawData:
    """The images at `path`, a folder or an archive.

    A table of the layout, or the one that an import wrote, says the labels; else class folders do; else a table that is
    found. Where only one of val and test is there, it is the test split; where none is, all is train.

    Raises:
        UserError: Nothing says the classes, what does is ambiguous, or images are missing or contradict each other.
    """
    layout = layout or LayoutConfig()
    tree = open_tree(path)
    names = [name for name in tree.names if is_image(name)]
    if not names:
        raise _no_images(tree)
    index = FileIndex(names)
    columns = layout.image_column or layout.label_column or layout.split_column
    tables = find_labels(tree, index, layout) if layout.table or columns or has_own_table(tree) else []
    if tables:
        rows = rows_of_tables(tables, names, layout)
    elif columns:
        raise _no_table(tree, columns)
    else:
        rows = _read_as_found(tree, index, layout)
    if layout.group and rows.groups is None:
        rows.groups = _groups_by_table(tree, index, layout.group, rows) or _groups(rows, layout.group, tree.where)
        rows.plain = False
    return build(tree, rows)


def _read_as_found(tree: FileTree, index: FileIndex, layout: LayoutConfig) -> Rows:
    """The rows of class folders; of tables where these say more, or where the folders are no classes.

    They are none where a table names most images and all of these lie in one folder, as in images/ beside more/.

    Raises:
        UserError: It is ambiguous, or the one folder is no class and the table beside it names none of the images.
    """
    by_user = layout.class_depth or layout.train_folder or layout.val_folder or layout.test_folder
    masks, rows, doubt = find_masks(index.names), None, None
    root = survey(name for name in index.names if name not in masks)
    try:
        rows = rows_of_folders(tree, root, layout)
    except LayoutError as error:
        doubt = error
    if rows is not None:
        rows.leave_out_masks(masks)
    if by_user and rows is not None:
        return rows
    found = [] if layout.class_depth else find_tables(tree, index, layout)
    most = [one for one in found if len(one.images) >= MOST * len(index.names)]
    if rows is not None and any(_lie_in_one_class(one, rows, index) for one in most):
        rows = None
    tables: list[Labels] = []
    try:
        tables = choose_tables(found, tree)
    except LayoutError:
        if (rows is None or len(set(rows.labels)) < 2) and (most or not doubt):
            raise
    whole = rows is not None and len(set(rows.labels)) > 1 and not rows.without_labels
    if tables and (rows is None or not whole):
        return rows_of_tables(tables, index.names, layout)
    one_folder = not doubt and not root.images and (rows is None or len(set(rows.labels)) < 2)
    if one_folder and (unread := [name for name in tree.names if is_table(name)]):
        find_labels(tree, index, layout.model_copy(update={"table": unread[0]}))  # raises: it names no image
    if rows is None:
        raise doubt or _no_classes(tree, root)
    if tables and _have_new_splits(tables, rows, index, tree.where):
        return _call_as_folders(rows_of_tables(tables, index.names, layout), rows)
    return rows


def _call_as_folders(rows: Rows, folders: Rows) -> Rows:
    """The rows of tables; where these only number the classes of folders, the classes are called as the folders."""
    of = dict(zip(folders.files, folders.labels, strict=True))
    if all(label.isdecimal() for label in rows.labels) and set(rows.files) <= set(of):
        labels = [of[file] for file in rows.files]
        rows.found += ["classes are called as their folders, not by number"] * (labels != rows.labels)
        rows.labels = labels
    return rows


def _lie_in_one_class(one: Labels, rows: Rows, index: FileIndex) -> bool:
    """Whether all images that a table names are of one class by their folders, and others are of another."""
    named = {index.names[i] for i in one.images}
    labels = {label for file, label in zip(rows.files, rows.labels, strict=True) if file in named}
    return len(labels) == 1 < len(set(rows.labels))


def _have_new_splits(tables: Sequence[Labels], rows: Rows, index: FileIndex, where: str) -> bool:
    """Whether tables beside class folders say a split that these do not, of the same classes.

    Raises:
        LayoutError: They say other classes of the same images.
    """
    pairs: dict[str, tuple[str, str]] = {}
    of = dict(zip(rows.files, rows.labels, strict=True))
    for one in tables:
        if len(one.labels) == 1 and is_label_name(one.labels[0]):
            for found, label in zip(one.match.files, one.table.columns[one.labels[0]], strict=True):
                if len(found) == 1 and (name := index.names[found[0]]) in of:
                    pairs[name] = (of[name], label)
    if len(pairs) < MOSTLY * len(of):
        return False
    same = set(pairs.values())
    if len(same) == len({folder for folder, _ in same}) == len({label for _, label in same}):
        return any(one.split_column or one.split for one in tables) and not any(rows.splits)
    name, (folder, label) = next(
        ((name, pair) for name, pair in pairs.items() if pair[0] != pair[1]), next(iter(pairs.items()))
    )
    depth, table = max(1, folder.count("/") + 1), tables[0].name
    raise LayoutError(
        f"{table} and the folders say different classes: {name} is '{label}' in the table and '{folder}' by its folder",
        where=where,
        remedy=lambda write: f"{write('table', table)} takes the table, {write('class_depth', depth)} the folders",
    )


def _groups_by_table(tree: FileTree, index: FileIndex, column: str, rows: Rows) -> list[str] | None:
    """The group of each image by the first table that has such a column; None where there is none."""
    found = find_cells(tree, index, column)
    if found is None:
        return None
    table, cells = found
    groups = [cells.get(name, "") for name in rows.files]
    rows.found.append(f"groups from {table}, column {column}" + _describe_alone(groups))
    return groups


def _groups(rows: Rows, pattern: str, where: str) -> list[str]:
    """The group of each image: what the pattern finds in its name, or in its path where the pattern has a slash."""
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        what = f"'{pattern}' is no column of a table, and no regular expression ({error})"
        raise LayoutError(what, where=where, remedy=lambda write: f"such as {write('group', '^([^_]+)_')}") from None
    texts = rows.files if "/" in pattern else [name.rpartition("/")[2] for name in rows.files]
    found = [wanted.search(text) for text in texts]
    groups = [(match[1] if wanted.groups else match[0]) or "" if match else "" for match in found]
    if not any(groups):
        what = f"'{pattern}' is no column of a table, and finds nothing in the images' names, such as {texts[0]}"
        raise LayoutError(what, where=where, remedy=lambda write: f"such as {write('group', '^([^_]+)_')}")
    count = format_count(len(set(groups) - {""}), "group")
    rows.found.append(f"{count} by the pattern {pattern}, such as {groups[0]}{_describe_alone(groups)}")
    return groups


def _describe_alone(groups: Sequence[str]) -> str:
    """How many images have no group, as the rest of a sentence."""
    alone = sum(not group for group in groups)
    return f"; {format_count(alone, 'image')} {'has' if alone == 1 else 'have'} none" if alone else ""


def _no_images(tree: FileTree) -> UserError:
    """The error of a place without images: what lies there instead."""
    kinds: dict[str, tuple[int, str]] = {}
    for name in tree.names:
        why = why_not_an_image(name)
        kinds[why.what] = (kinds.get(why.what, (0, ""))[0] + 1, why.remedy)
    top = list_folders(dict.fromkeys(tree.folders(), 0), [name for name in tree.names if "/" not in name])
    if archives := _name_archives(tree):
        return UserError(f"no images; {archives}", where=tree.where, remedy="give one of these")
    most = max(kinds, key=lambda kind: kinds[kind][0], default=None)
    what = f"no images; it holds {top}" + (f"; {most} ({kinds[most][0]:,})" if most else "")
    return UserError(what, where=tree.where, remedy=kinds[most][1] if most else LAYOUT)


def _no_classes(tree: FileTree, root: Folder) -> LayoutError:
    """The error of images that lie in no class folders, and that no table names."""
    top = unwrap(root)
    tables = [name for name in tree.names if is_table(name)]
    what = f"nothing says the classes of the images; it holds {contents(top, tables[:3])}"
    if archives := _name_archives(tree):
        return LayoutError(f"{what}; {archives}", where=tree.where, remedy=lambda _: f"give one of these; or {LAYOUT}")
    name = next(top.all_images()).rpartition("/")[2]
    by_name = f"is the class in the file names ({name})? then write a table of file_name,label"
    return LayoutError(
        what,
        where=tree.where,
        remedy=lambda write: f"{LAYOUT}; {by_name}; a table elsewhere: {write('table', 'labels.csv')}",
    )


def _name_archives(tree: FileTree) -> str:
    """The archives that lie in a folder, in words."""
    archives = [name for name in tree.names if name.lower().endswith(ARCHIVES)] if isinstance(tree, FolderTree) else []
    more = f" and {len(archives) - 3:,} more" if len(archives) > 3 else ""
    return f"archives lie there: {', '.join(archives[:3])}{more}" if archives else ""


def _no_table(tree: FileTree, column: str) -> LayoutError:
    """The error of a layout that names a column where no table has it."""
    tables = [name for name in tree.names if is_table(name)]
    what = f"no table with a column '{column}' that names the images"
    shown = f"; it holds {', '.join(tables[:4])}" if tables else ""
    return LayoutError(
        f"{what}{shown}",
        where=tree.where,
        remedy=lambda write: f"name the table: {write('table', tables[0] if tables else 'labels.csv')}",
    )


def may_be_own_images(path: Path) -> bool:
    """Whether `path` may hold a user's data set, found without reading it.

    An archive with an imported table or a training folder; a folder with one of these, or with two class folders.
    """
    if not path.is_dir():
        return may_contain(path, OWN_TABLE, *(form + slash for form in SPELLINGS["train"] for slash in "/\\"))
    with os.scandir(path) as entries:
        folders = [Path(entry.path) for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    if any((place / form).is_dir() for place in (path, *folders) for form in SPELLINGS["train"]):
        return True
    return (path / OWN_TABLE).is_file() or len([*islice(filter(_has_image, folders), 2)]) == 2


def _has_image(folder: Path) -> bool:
    """Whether one of the first entries of a folder is an image."""
    with os.scandir(folder) as entries:
        return any(is_image(entry.name) for entry in islice(entries, LOOKED_AT))


DATA_SETS.register("imagefolder")(
    DataSetSpec(
        "images of your own, at data.path",
        read_own_images,
        may_be_own_images,
        expects=f"a folder or an archive: {LAYOUT}",
        needs_path=True,
        user_files=True,
        read_layout=read_own_images,
    )
)
