"""Tables of a user's own: CSV, TSV, JSON lines or Parquet as columns of text, read by pandas."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from hwcls.data.formats.archive import FileTree, read_limited
from hwcls.data.formats.image_types import is_image
from hwcls.errors import UserError, unreadable

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")  # .txt and .json only where they are named
DELIMITERS = ",;\t| "
LINES = 30  # looked at to find the delimiter
_FORMULA = re.compile(r"'(?=[=+\-@'])")  # as hwcls and Excel write texts that are no formulas


@dataclass(frozen=True)
class Table:
    """A table: for each column a text in each row, "" where there is none.

    Attributes:
        where: Its path, for errors.
        place: The folder it lies in, in the tree: "" or "a/b/"; None: it is elsewhere.
        has_header: Whether the columns have names; else they are called 1, 2, ...
        first_row: The number of the first row in the file.
    """

    where: str
    name: str
    place: str | None
    columns: dict[str, list[str]]
    has_header: bool = True
    first_row: int = 2

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def row(self, index: int) -> str:
        """A row as errors name it."""
        return f"row {index + self.first_row}"


def read_table(tree: FileTree, name: str) -> Table:
    """A table by its name or the end of it in the tree, else by its path; raises UserError where it cannot be read."""
    inside = [one for one in tree.names if one == name] or [one for one in tree.names if one.endswith(f"/{name}")]
    if len(inside) == 1:
        [name] = inside
        where, place = f"{tree.where}/{name}", name[: name.rfind("/") + 1]
        try:
            data = tree.read(name)
        except OSError as error:
            raise UserError(f"cannot be read ({error})", where=where, remedy="get it again") from None
    else:
        where, place = name, None
        try:
            data = read_limited(Path(name))
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                tables = [one for one in tree.names if is_table(one)]
                remedy = f"it holds {', '.join(tables[:5])}" if tables else ""
                raise UserError("no such table in the data or elsewhere", where=name, remedy=remedy) from None
            raise unreadable(error, name) from None
    columns, has_header = _parse(data, name.lower(), where)
    return Table(where, name, place, columns, has_header, 2 if has_header else 1)


def is_table(name: str) -> bool:
    """Whether a file's ending is that of a table."""
    return name.lower().endswith(ENDINGS)


def _parse(data: bytes, name: str, where: str) -> tuple[dict[str, list[str]], bool]:
    """The columns, and whether they have names."""
    import pandas as pd

    has_header = True
    try:
        if name.endswith(".parquet"):
            from pyarrow import parquet

            frame = parquet.read_table(io.BytesIO(data)).to_pandas()
            frame = frame.reset_index() if any(frame.index.names) else frame
        elif name.endswith((".jsonl", ".ndjson", ".json")):
            lines = not data.lstrip().startswith(b"[")
            frame = pd.read_json(io.BytesIO(data), lines=lines, dtype=False, convert_dates=False, convert_axes=False)
        else:
            text = _decode(data)
            delimiter = _delimiter(text, "\t" if name.endswith(".tsv") else ",")
            has_header = _has_header(text, delimiter)
            with warnings.catch_warnings():  # that empty cells at the end of rows are left out
                warnings.simplefilter("ignore", pd.errors.ParserWarning)
                frame = pd.read_csv(
                    io.StringIO(text),
                    sep=r"\s+" if delimiter == " " else delimiter,
                    header=0 if has_header else None,
                    dtype=str,
                    keep_default_na=False,
                    skipinitialspace=True,
                    index_col=False,
                )
            _check_widths(text, delimiter, frame.shape[1])
    except (ValueError, KeyError, ImportError, OSError, csv.Error) as error:  # pandas raises several of them
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"is no readable table ({what})", where=where, remedy="one row for each image") from None
    names = [str(name).strip() for name in frame.columns] if has_header else map(str, range(1, frame.shape[1] + 1))
    return {name: _texts(frame.iloc[:, i]) for i, name in enumerate(names)}, has_header


def _check_widths(text: str, delimiter: str, width: int) -> None:
    """Raise ValueError where one of the first rows has more cells than there are columns: pandas drops the last."""
    if delimiter == " ":
        return
    lines = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    for number, cells in enumerate(islice(lines, LINES), 1):
        if any(cell.strip() for cell in cells[width:]):
            raise ValueError(f"row {number} has {len(cells)} cells, the first one {width}")


def _texts(column: Any) -> list[str]:
    """A column as texts: "" is none, and whole numbers have no fraction, which gaps give them."""
    values = [_text(value) for value in column.astype(object).where(column.notna(), None).tolist()]
    if all(value.endswith(".0") or not value for value in values):
        values = [value.removesuffix(".0") for value in values]
    return values


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, dict) and isinstance(value.get("path"), str):  # an image of Hugging Face
        return str(value["path"])
    text = str(value).strip()
    return _FORMULA.sub("", text, count=1) if text.startswith("'") else text


def _decode(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252", "replace")
    return text if "\n" in text else text.replace("\r", "\n")  # Excel's "CSV (Macintosh)"


def _delimiter(text: str, usual: str) -> str:
    """The delimiter that splits nearly all of the first lines into equally many cells, and most; at a tie `usual`."""
    lines = [line for line in text[: 1 << 16].splitlines()[:LINES] if line.strip()]
    best, most = usual, 1
    for delimiter in usual + DELIMITERS.replace(usual, ""):
        try:
            widths = Counter(map(len, csv.reader(lines, delimiter=delimiter, skipinitialspace=True)))
        except csv.Error:
            continue
        [(width, often)] = widths.most_common(1) or [(0, 0)]
        if often >= 0.9 * len(lines) and width > most and not (delimiter == " " and most > 1):
            best, most = delimiter, width
    return best


def _has_header(text: str, delimiter: str) -> bool:
    """Whether the first line names columns: no cell of it is an image's name."""
    first = next(csv.reader([text[: 1 << 16].lstrip("\n").split("\n", 1)[0]], delimiter=delimiter), [])
    return not any(is_image(cell.strip()) for cell in first)
