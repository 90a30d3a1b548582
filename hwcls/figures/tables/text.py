"""Tables as text: LaTeX with booktabs, Markdown and CSV, escaped for each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from hwcls.escape import printable
from hwcls.figures.tables.rows import Table
from hwcls.results.compare import format_csv

LATEX = {
    "\\": r"\textbackslash{}",
    **{letter: f"\\{letter}" for letter in "{}$&#_%"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",  # at the start of a row it would be an argument of the line before
    "*": "{*}",  # the same
    "−": "$-$",
    "–": "--",
    "…": r"\ldots{}",
}
_MARKDOWN = re.compile(r"[\\|*`\[\]$~]|(?<!\w)_|_(?!\w)")  # batch_size is no emphasis


def format_tables(tables: Sequence[Table], format: str, sweep: str) -> str:
    """The tables as one text in one of FORMATS; `sweep` is the name of the sweep, for labels."""
    return FORMATS[format](tables, sweep)


def escape_latex(text: str) -> str:
    """A text in which LaTeX sees no command."""
    return "".join(LATEX.get(letter, letter) for letter in printable(text))


def escape_markdown(text: str) -> str:
    """A text in a cell in which Markdown sees no markup, no HTML and no end of the cell."""
    plain = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(lambda found: f"\\{found[0]}", plain)


def _format_latex(tables: Sequence[Table], sweep: str) -> str:
    return "\n".join(["% \\usepackage{booktabs}\n", *(_latex_table(table, sweep) for table in tables)])


def _latex_table(table: Table, sweep: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", sweep.lower()).strip("-") or "sweep"
    columns = "".join("l" if place in table.words else "r" for place in range(len(table.header)))
    rows = [" & ".join(map(escape_latex, row)) + r" \\" for row in (table.header, *table.cells)]
    body = [r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule"]
    lines = [
        r"\begin{table}",
        r"  \centering",
        f"  \\caption{{{escape_latex(table.caption)}}}",
        f"  \\label{{tab:{slug}-{table.name}}}",
        f"  \\begin{{tabular}}{{{columns}}}",
        *(f"    {line}" for line in body),
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _format_markdown(tables: Sequence[Table], _: str) -> str:
    return "\n".join(map(_markdown_table, tables))


def _markdown_table(table: Table) -> str:
    ends = ["---" if place in table.words else "---:" for place in range(len(table.header))]
    header, *rows = [[escape_markdown(cell) for cell in row] for row in (table.header, *table.cells)]
    lines = [f"| {' | '.join(row)} |" for row in (header, ends, *rows)]
    return "\n".join([escape_markdown(table.caption), "", *lines]) + "\n"


def _format_csv(tables: Sequence[Table], _: str) -> str:
    """One table alone as plain CSV; several with a line `# name` before each and an empty line between them."""
    if len(tables) == 1:
        return format_csv([dict(row) for row in tables[0].records])
    return "\n".join(f"# {table.name}\n{format_csv([dict(row) for row in table.records])}" for table in tables)


FORMATS: Mapping[str, Callable[[Sequence[Table], str], str]] = {
    "latex": _format_latex,
    "markdown": _format_markdown,
    "csv": _format_csv,
}
