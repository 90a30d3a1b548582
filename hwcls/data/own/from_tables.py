"""The rows of tables: the image that each names, its label, split and group, with every doubt an error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hwcls.config.data import LayoutConfig
from hwcls.data.formats.image_types import LeftOut, nfc
from hwcls.data.own.listing import Labels
from hwcls.data.own.matching import leaves
from hwcls.data.own.rows import Rows, first_of
from hwcls.data.own.split_names import split_of, splits_among
from hwcls.errors import LayoutError, UserError
from hwcls.format import format_count

USUAL = 0.9  # of a table's rows, whose images lie in one folder: there lie the others, too


def rows_of_tables(tables: Sequence[Labels], names: Sequence[str], layout: LayoutConfig) -> Rows:
    """The rows of the tables, each image once.

    Args:
        names: The images of the tree, which the tables' matches count.

    Raises:
        UserError: A path leaves the data, images are missing, one has two labels or none, or a split is unknown.
    """
    rows = Rows(" and ".join(one.table.where for one in tables))
    seen: dict[str, tuple[str, str, str, str]] = {}  # of each image: label, split, group and the row that says so
    by_table: list[str] = []
    for one in tables:
        if (labels := _labels(one)) is None:
            _leave_out(one, range(len(one.table)), _splits_of_cells(one), names, rows)
            continue
        splits = _splits_of_cells(one)
        files = _files(one, labels, splits, names)
        if not any(splits):
            splits = _splits_of_folders(files, names, layout)
        _note_missing_labels(one, labels, splits, names, rows)
        groups = one.table.columns[one.group] if one.group else [""] * len(files)
        twice = []
        for i, file in enumerate(files):
            if labels[i]:
                entry = (labels[i], splits[i], groups[i], f"{one.name} {one.table.row(i)}")
                if (before := seen.setdefault(file, entry))[:3] != entry[:3]:
                    twice.append((file, before, entry))
        if twice:
            raise _twice(one, twice)
        rows.found += _describe(one, labels, splits)
        by_table += [f"{one.name} is {one.split}"] * bool(one.split)
    if len(tables) == 1 and len(tables[0].labels) == 1:
        rows.layout = _layout(tables[0])
    if len(by_table) > 1:
        rows.found.append(f"splits by the tables: {', '.join(by_table)}")
    rows.files = list(seen)
    rows.labels, rows.splits = [row[0] for row in seen.values()], [row[1] for row in seen.values()]
    groups = [row[2] for row in seen.values()]
    rows.groups = groups if any(groups) else None
    where = " or ".join(one.name for one in tables)
    unlisted = LeftOut(f"images that are not in {where}", "add them to the table; hwcls predict classifies them")
    rows.left_out = {name: rows.left_out.get(name, unlisted) for name in names if name not in seen}
    return rows


def _layout(one: Labels) -> dict[str, str]:
    """The entries of a layout that read this table and these columns again, whatever other tables there are."""
    columns = {"image_column": one.image, "label_column": one.labels[0], "split_column": one.split_column}
    return {"table": one.name, **{key: column for key, column in columns.items() if column is not None}}


def _labels(one: Labels) -> list[str] | None:
    """The label of each row, "" where it has none; None where no row has one."""
    cells = one.table.columns
    if not one.labels:
        return None
    if len(one.labels) > 1:
        hot = [[cell.startswith("1") for cell in cells[name]] for name in one.labels]
        return [nfc(one.labels[row.index(True)]) for row in zip(*hot, strict=True)]
    found = [nfc(" ".join(cell.split())) for cell in cells[one.labels[0]]]
    return found if any(found) else None


def _splits_of_cells(one: Labels) -> list[str]:
    """The split of each row as the table says it: by its column, else by its name."""
    if one.split_column is None:
        return [one.split or ""] * len(one.table)
    cells = one.table.columns[one.split_column]
    splits = [split_of(cell) or "" for cell in cells]
    unknown = sorted({cell for cell, split in zip(cells, splits, strict=True) if not split})
    if unknown:
        shown = ", ".join(f"'{cell}'" for cell in unknown[:4])
        what = f"column {one.split_column} says {shown}, which is no split"
        remedy = "write train, val or test into each row, or name another column"
        raise LayoutError(what, where=one.table.where, remedy=lambda write: f"{remedy}: {write('split_column', '...')}")
    return splits


def _splits_of_folders(files: Sequence[str], names: Sequence[str], layout: LayoutConfig) -> list[str]:
    """The split of each image by the folders above it; "" for all where these are not train and another."""
    parts = {part for name in names for part in name.split("/")[:-1]}
    named = splits_among(parts)
    for split in ("train", "val", "test"):
        if chosen := getattr(layout, f"{split}_folder"):
            named = {name: one for name, one in named.items() if one != split} | {nfc(chosen).strip("/"): split}
    known: dict[str, str] = {}

    def split_above(file: str) -> str:
        above = file[: file.rfind("/") + 1]
        if above not in known:
            inside = [split for name, split in named.items() if f"/{name}/" in f"/{nfc(above)}"]
            known[above] = inside[0] if len(set(inside)) == 1 else ""
        return known[above]

    splits = [split_above(file) if file else "" for file in files]
    found = {split for split, file in zip(splits, files, strict=True) if file}
    return splits if "train" in found and len(found) > 1 and "" not in found else [""] * len(files)


def _files(one: Labels, labels: Sequence[str], splits: Sequence[str], names: Sequence[str]) -> list[str]:
    """The image of each row with a label, "" for other rows."""
    cells = one.table.columns[one.image]
    outside = [cell for cell in cells if leaves(cell)]
    if outside:
        what = f"'{outside[0]}' leaves the data's folder ({len(outside):,} such rows)"
        raise UserError(what, where=one.table.where, remedy="name images by their path below it")
    files, missing, usual = [], [], _usual_folder(one, names)
    for cell, label, split, found in zip(cells, labels, splits, one.match.files, strict=True):
        found = _likely(found, split, names, usual)
        if label and len(found) > 1:
            raise _several(one, cell, [names[i] for i in found])
        if label and not found:
            missing.append(cell or "(empty)")
        files.append(names[found[0]] if label and found else "")
    if missing:
        raise _missing(one, missing, sum(map(bool, labels)))
    return files


def _likely(found: tuple[int, ...], split: str, names: Sequence[str], usual: str | None) -> tuple[int, ...]:
    """Of images of the same name in several folders those in a folder of the row's split, or in the usual folder."""
    if len(found) < 2:
        return found
    in_split = tuple(i for i in found if split and split in map(split_of, names[i].split("/")[:-1]))
    return in_split or tuple(i for i in found if _folder_of(names[i]) == usual) or found


def _usual_folder(one: Labels, names: Sequence[str]) -> str | None:
    """The folder of nearly all images that a table names; None where there is none."""
    counts = Counter(_folder_of(names[found[0]]) for found in one.match.files if len(found) == 1)
    most = max(counts, key=lambda folder: counts[folder], default=None)
    return most if most is not None and counts[most] >= USUAL * len(one.table) else None


def _folder_of(name: str) -> str:
    return name.rpartition("/")[0]


def _several(one: Labels, cell: str, files: Sequence[str]) -> LayoutError:
    what = f"'{cell}' can be {len(files):,} images, such as {files[0]} and {files[1]}"
    remedy = f"write their folders into column {one.image}, or name another"
    return LayoutError(what, where=one.table.where, remedy=lambda write: f"{remedy}: {write('image_column', '...')}")


def _missing(one: Labels, missing: Sequence[str], count: int) -> LayoutError:
    verb = "is" if len(missing) == 1 else "are"
    which = f"{len(missing):,} of the {count:,} images that it lists in column {one.image}"
    what = f"{which} {verb} missing: {first_of(missing)}"
    remedy = "add the files or remove the rows, or name another column"
    return LayoutError(what, where=one.table.where, remedy=lambda write: f"{remedy}: {write('image_column', '...')}")


def _note_missing_labels(
    one: Labels, labels: Sequence[str], splits: Sequence[str], names: Sequence[str], rows: Rows
) -> None:
    """Leave out a test split without labels; raises UserError where other rows have none."""
    empty = [i for i, label in enumerate(labels) if not label]
    test = [i for i, split in enumerate(splits) if split == "test"]
    if empty and empty == test:
        _leave_out(one, empty, splits, names, rows)
    elif empty:
        cells = [one.table.columns[one.image][i] for i in empty]
        rows_have = f"{format_count(len(empty), 'row')} {'has' if len(empty) == 1 else 'have'}"
        what = f"{rows_have} no label in column {one.labels[0]}, such as {one.table.row(empty[0])}"
        remedy = "fill or remove them; hwcls predict classifies images without a label"
        raise UserError(f"{what} ({cells[0]})", where=one.table.where, remedy=remedy)


def _leave_out(one: Labels, numbers: Sequence[int], splits: Sequence[str], names: Sequence[str], rows: Rows) -> None:
    """Leave out the images of some rows, which have no label."""
    usual = _usual_folder(one, names)
    likely = [_likely(one.match.files[i], splits[i], names, usual) for i in numbers]
    files = [names[found[0]] for found in likely if found]
    why = LeftOut(f"images without a label in {one.name}", "hwcls predict classifies them")
    rows.left_out |= dict.fromkeys(files, why)
    rest = "; a test split is cut from the other images (data.test, --test)"
    have, are = ("has", "is") if len(numbers) == 1 else ("have", "are")
    images = format_count(len(numbers), "image")
    rows.found.append(f"{images} of {one.name} {have} no label and {are} left out{rest}")


def _twice(one: Labels, twice: Sequence[tuple[str, tuple[str, ...], tuple[str, ...]]]) -> UserError:
    """The error about images that are listed again with another label, split or group."""
    file, before, again = twice[0]
    kind = next(i for i in range(3) if before[i] != again[i])
    word = ("labels", "splits", "groups")[kind]
    images = f"{format_count(len(twice), 'image')} {'has' if len(twice) == 1 else 'have'}"
    what = f"{images} two {word}, such as {file}"
    entries = f"'{before[kind]}' in {before[3]} and '{again[kind]}' in {again[3]}"
    return UserError(f"{what}: {entries}", where=one.table.where, remedy="keep one row for each image")


def _describe(one: Labels, labels: Sequence[str], splits: Sequence[str]) -> list[str]:
    """How the table was read, in sentences."""
    hot = f"one-hot columns {first_of(one.labels)}"
    by = f"column {one.labels[0]}" if len(one.labels) == 1 else hot
    whose = f", images by column {one.image}"
    found = [f"labels from {one.name}, {by}{whose}"]
    if not one.table.has_header:
        found[0] += " (the table has no header)"
    if one.match.stripped:
        found.append(f"all names in {one.name} begin with {one.match.stripped}/, which is no folder here")
    if one.split_column:
        found.append(f"splits from {one.name}, column {one.split_column}")
    elif any(splits) and one.split is None:
        found.append("splits from the folders of the images")
    if one.group:
        found.append(f"groups from {one.name}, column {one.group}")
    return found
