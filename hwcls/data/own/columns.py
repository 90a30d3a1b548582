"""Which columns of a table hold the images, the labels, the splits and the groups."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from hwcls.data.own.matching import FileIndex
from hwcls.data.own.split_names import split_of
from hwcls.data.own.tables import Table
from hwcls.errors import LayoutError, did_you_mean
from hwcls.format import format_count

# as letters and digits in lower case; the first that is there
IMAGE = (
    *("filename", "imagepath", "filepath", "imagefile", "path", "image", "file", "imagename", "img", "imgpath"),
    *("imageid", "imgid", "id", "photo", "picture", "name", "images", "files"),
)
LABEL = (
    *("label", "labels", "class", "classes", "target", "category"),
    *("classname", "labelname", "categoryname", "species"),
)
NUMBERS = ("labelid", "classid", "targetid", "categoryid", "labelindex", "classindex", "y")  # where no LABEL is there
SPLIT = ("split", "subset", "partition", "set", "usage", "phase", "dataset")
GROUP = "group"
SAMPLE = 300  # cells looked at to see whether a column holds images
_WORDS_OF_OTHERS = {"id", "path", "file", "filename", "image", "url"}
PLAIN = re.compile(r"[01](\.0*)?")


def image_column(table: Table, chosen: str | None, index: FileIndex) -> str | None:
    """The column whose cells name images; None where no column does.

    Raises:
        LayoutError: There is no column `chosen`.
    """
    if chosen is not None:
        return _named(table, chosen, "image_column")
    known = _known(table, IMAGE)
    step = max(1, len(table) // SAMPLE)
    share: dict[str, float] = {}
    for name in [*known, *(name for name in table.columns if name not in known)]:
        cells = [cell for cell in table.columns[name][::step] if cell]
        if not cells or (name not in known and len(set(cells)) < 0.9 * len(cells)):
            continue
        share[name] = index.match(cells).found / len(cells)
        if share[name] == 1:
            return name
    best = max(share, key=lambda name: share[name], default=None)
    return best if best is not None and share[best] >= (0.05 if best in known else 0.5) else None


def label_columns(table: Table, chosen: str | None, others: Sequence[str | None]) -> list[str]:
    """The column of the labels, or the one-hot columns of one class each; [] where no column can be it.

    Args:
        others: The columns of images, splits and groups.

    Raises:
        LayoutError: There is no column `chosen`, or several columns can be it.
    """
    if chosen is not None:
        return [_named(table, chosen, "label_column")]
    free = [name for name in table.columns if name not in others and _plain(name) != GROUP]
    if known := _known(table, LABEL, free) or _known(table, NUMBERS, free):
        if len(known) == 1 or _same_classes(table, known):
            return known[:1] if len(known) == 1 else [min(known, key=lambda name: _is_numeric(table.columns[name]))]
        raise _which(table, known)
    if len(free) == 1:
        return free
    if len(free) > 1 and (hot := _one_hot(table, free)):
        return hot
    if not free:
        return []
    raise _which(table, free)


def split_column(table: Table, chosen: str | None, others: Sequence[str | None]) -> str | None:
    """The column that says the split, in any spelling of it: by its name, or as it says train and another split."""
    if chosen is not None:
        return _named(table, chosen, "split_column")
    free = [name for name in table.columns if name not in others]
    known = _known(table, SPLIT, free)
    for name in [*known, *(name for name in free if name not in known and not is_label_name(name))]:
        splits = {split_of(value) for value in set(table.columns[name]) if value}
        if splits and None not in splits and (name in known or {"train"} < splits):
            return name
    return None


def group_column(table: Table, chosen: str | None) -> str | None:
    """The column of the groups: the one chosen, if there is such a column, or else one called `group`."""
    if chosen is not None:
        return chosen if chosen in table.columns else None
    return next(iter(_known(table, (GROUP,))), None)


def is_label_name(name: str) -> bool:
    """Whether a column is called as columns of labels are."""
    return _plain(name) in LABEL or _plain(name) in NUMBERS


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _known(table: Table, words: Sequence[str], among: Iterable[str] | None = None) -> list[str]:
    """The columns with one of these names, in the order of the names."""
    plain = {name: _plain(name) for name in (table.columns if among is None else among)}
    return sorted((name for name in plain if plain[name] in words), key=lambda name: words.index(plain[name]))


def _named(table: Table, chosen: str, key: str) -> str:
    if chosen not in table.columns:
        near = did_you_mean(chosen, table.columns)
        raise LayoutError(
            f"no column '{chosen}'", where=table.where, remedy=lambda write: f"name one by {write(key, '...')}; {near}"
        )
    return chosen


def _which(table: Table, names: Sequence[str]) -> LayoutError:
    """The error that asks for the column of the labels."""
    counts = {name: len(set(table.columns[name])) for name in names}
    shown = ", ".join(f"{name} ({format_count(count, 'value')})" for name, count in list(counts.items())[:6])
    more = f" and {len(names) - 6:,} more" if len(names) > 6 else ""
    others = {name for name in names if _WORDS_OF_OTHERS & set(re.split("[^a-z]+", name.lower()))}  # ids and files
    unlikely = {name: (counts[name] < 2, name in others, _is_numeric(table.columns[name])) for name in names}
    likely = min(names, key=lambda name: (unlikely[name], counts[name]))
    return LayoutError(
        f"several columns can hold the labels: {shown}{more}",
        where=table.where,
        remedy=lambda write: f"name it: {write('label_column', likely)}",
    )


def _same_classes(table: Table, names: Sequence[str]) -> bool:
    """Whether the columns say the same classes, each in its own words."""
    counts = {len(set(table.columns[name])) for name in names}
    together = set(zip(*(table.columns[name] for name in names), strict=True))
    return counts == {len(together)}


def _is_numeric(values: Sequence[str]) -> bool:
    return all(re.fullmatch(r"[-+]?\d+(\.\d*)?", value) for value in values if value)


def _one_hot(table: Table, names: Sequence[str]) -> list[str]:
    """The columns of one class each, of which every row has a single 1; [] where there are none."""
    hot = [name for name in names if all(PLAIN.fullmatch(cell) for cell in table.columns[name])]
    if len(hot) < 2:
        return []
    sums = {row.count(True) for row in zip(*([c.startswith("1") for c in table.columns[n]] for n in hot), strict=True)}
    return hot if sums == {1} else []
