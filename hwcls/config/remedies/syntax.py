"""What is wrong with a text that is not YAML in plain words, and how to mend it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import yaml

_COLON = re.compile(r":([ \t]|$)")
_COMMENT = re.compile(r"(^|[ \t])#.*")
_CLOSING = {"[": "]", "{": "}"}
_SHOWN = 40  # characters of a line in an error

Mistake = tuple[int, str, str]  # the line, from 0, what is wrong in it, and the remedy


@dataclass(frozen=True)
class _Text:
    """A text that PyYAML could not read.

    Attributes:
        problem: What PyYAML says of it.
        begin, end: Line and column, from 0, where the part that is wrong begins, and where reading it ended.
    """

    lines: Sequence[str]
    problem: str
    begin: tuple[int, int]
    end: tuple[int, int]

    def line(self, number: int) -> str:
        """A line as an error shows it."""
        text = self.lines[number].strip()
        return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."

    def at(self, place: tuple[int, int]) -> str:
        """The character at a place; empty at the end of a line."""
        line, column = place
        return self.lines[line][column : column + 1]

    def above(self, number: int) -> int | None:
        """The last line with content above a line."""
        return next((at for at in range(number - 1, -1, -1) if _is_content(self.lines[at])), None)


def explain_syntax(text: str, error: yaml.MarkedYAMLError) -> Mistake:
    """What PyYAML's error about a text means for the one who wrote it."""
    end = error.problem_mark or error.context_mark
    begin = error.context_mark or end
    if end is None or begin is None:
        return 0, f"is not valid YAML: {error.problem}", ""
    problem = ", ".join(part for part in (error.context, error.problem) if part)
    lines = text.splitlines() or [""]
    after = (len(lines) - 1, len(lines[-1]))  # a mark may be in the line behind the last one
    found = _Text(lines, problem, min((begin.line, begin.column), after), min((end.line, end.column), after))
    for pattern, explain in _MISTAKES:
        if re.search(pattern, problem):
            return explain(found)
    return found.end[0], f"is not valid YAML: {problem}", ""


def _tab(text: _Text) -> Mistake:
    return text.end[0], "a tab is not allowed here", "indent with spaces"


def _first_character(text: _Text) -> Mistake:
    place = text.begin if re.search("scanning an? |a tag", text.problem) else text.end
    return place[0], f"a value without quotes cannot begin with '{text.at(place)}'", "put quotes around it"


def _colon(text: _Text) -> Mistake:
    """A colon where no key can be: a second one in its line, or the line continues the text of the one above."""
    line, column = text.end
    if _COLON.search(text.lines[line][:column]):
        remedy = "put quotes around a text with a colon, and each entry on its own line"
        return line, "a second ': ' in one line", remedy
    above = text.above(line)
    if above is not None and not _has_colon(text.lines[above]):
        return _no_entry(text, above)
    return _indentation(text, _indent(text.lines[line]))


def _no_colon(text: _Text) -> Mistake:
    return _no_entry(text, text.begin[0])


def _no_entry(text: _Text, line: int) -> Mistake:
    return line, f"'{text.line(line)}' is not a 'key: value' entry", "write a colon and a space after the key"


def _block(text: _Text) -> Mistake:
    """Something that cannot follow the entries above it."""
    line, column = text.end
    if "document start" in text.problem and text.lines[0].startswith("%"):  # which begins a directive
        return _first_character(replace(text, end=(0, 0)))
    if (closing := text.at(text.end)) in _CLOSING.values():
        return line, f"the '{closing}' closes nothing", "remove it"
    if text.lines[line][:column].strip(" -"):
        return line, "something follows a value in quotes or brackets", "remove it, or put quotes around the whole"
    if re.search(r"found '[-?]'", text.problem):
        what = "an item of a list ('- ...') and a 'key: value' entry have the same indentation"
        return line, what, "indent the items of a list deeper than its key, and the next entry like that key"
    above = text.above(line)
    if above is not None and column in _open_columns(text.lines[:line]) and not _has_colon(text.lines[above]):
        return _no_entry(text, above)
    return _indentation(text, column)


def _indentation(text: _Text, column: int) -> Mistake:
    """A line whose entry begins at a column at which none of the entries above it does."""
    line = text.end[0]
    above = _open_columns(text.lines[:line])
    if not above or column in above:  # something else is wrong
        return line, f"'{text.line(line)}' does not fit the lines above", "check the colons, quotes and spaces there"
    columns = _either(map(str, sorted(above)))
    what = f"'{text.line(line)}' is indented by {_spaces(column)}, the entries above by {columns}"
    return line, what, "indent it like the other entries of its section"


def _open_columns(lines: Sequence[str]) -> set[int]:
    """Where the entries begin to which a further line could belong: the last one, and those that contain it."""
    columns: set[int] = set()
    for line in filter(_is_content, reversed(lines)):
        within = min(columns, default=len(line))
        columns |= {column for column in _columns(line) if column < within}
    return columns


def _columns(line: str) -> Iterator[int]:
    """Where the entries of a line begin: `- - a` has three, as an entry may be in an item of a list."""
    column = _indent(line)
    yield column
    while line[column : column + 2] == "- ":
        column += 2 + _indent(line[column + 2 :])
        yield column


def _flow(text: _Text) -> Mistake:
    """Brackets that are not closed, or entries in them without a comma."""
    opening, found = text.at(text.begin), text.at(text.end)
    closing = _CLOSING.get(opening, "")
    if found in _CLOSING.values():
        return text.end[0], f"the '{opening}' is closed by '{found}'", f"write '{closing}'"
    what = f"the '{opening}' is not closed, or a comma is missing between its entries"
    return text.begin[0], what, f"close it with '{closing}', and write a comma between two entries"


def _no_value(text: _Text) -> Mistake:
    if not text.at(text.end):
        return text.end[0], "a bracket is not closed", "close it with ] or }"
    return text.end[0], f"a value is missing before '{text.at(text.end)}'", "write it, or remove the comma"


def _open_quote(text: _Text) -> Mistake:
    quote = text.at(text.begin)
    return text.begin[0], f"the quote {quote} is never closed", f"close it with {quote}"


def _backslash(text: _Text) -> Mistake:
    return text.end[0], "a backslash in double quotes has a meaning of its own", "use single quotes"


def _alias(text: _Text) -> Mistake:
    what = f"'*' refers to an anchor, and no '&{text.problem.rpartition('alias ')[2].strip(chr(39))}' is above"
    return text.end[0], what, "put quotes around a text that begins with *"


def _list_item(text: _Text) -> Mistake:
    return (
        text.end[0],
        "an item of a list ('- ...') cannot begin here",
        "write each item on a line of its own, or [a, b]",
    )


def _document(text: _Text) -> Mistake:
    return text.end[0], "'---' begins a second document", "remove it: a file has one document"


_MISTAKES: tuple[tuple[str, Callable[[_Text], Mistake]], ...] = (  # the first whose pattern PyYAML's problem has
    (r"'\\t'", _tab),
    (r"any token|scanning an? (anchor|alias|directive|block scalar|tag)|parsing a tag", _first_character),
    (r"parsing a block node|mapping keys", _first_character),
    (r"mapping values", _colon),
    (r"could not find expected ':'", _no_colon),
    (r"expected <block end>|expected '<document start>'", _block),
    (r"parsing a flow (sequence|mapping)", _flow),
    (r"parsing a flow node", _no_value),
    (r"quoted scalar, found unexpected (end|document)", _open_quote),
    (r"double-quoted scalar", _backslash),
    (r"undefined alias", _alias),
    (r"sequence entries", _list_item),
    (r"single document", _document),
)


def _has_colon(line: str) -> bool:
    return _COLON.search(_COMMENT.sub("", line).rstrip(" ")) is not None


def _is_content(line: str) -> bool:
    return not line.strip().startswith("#") and bool(line.strip())


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _spaces(count: int) -> str:
    return "1 space" if count == 1 else f"{count} spaces"


def _either(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
