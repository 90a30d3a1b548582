"""Tables as text."""

from __future__ import annotations

import csv
import io

import pytest

from hwcls.figures.tables.rows import Table
from hwcls.figures.tables.text import escape_latex, escape_markdown, format_tables

TABLE = Table(
    "confirmed",
    "Models of a_b & c: 95 % intervals.",
    ("model", "accuracy (%), 95 % interval"),
    frozenset({0}),
    (("wide_resnet|50", "98.3 (−1.2 to 99.2)"), ("[a]", "–")),
    ({"model": "wide_resnet|50", "mean": 0.983456}, {"model": "=1+1", "mean": None}),
)


def test_latex():
    assert (
        format_tables([TABLE], "latex", "My sweep_2")
        == r"""% \usepackage{booktabs}

\begin{table}
  \centering
  \caption{Models of a\_b \& c: 95 \% intervals.}
  \label{tab:my-sweep-2-confirmed}
  \begin{tabular}{lr}
    \toprule
    model & accuracy (\%), 95 \% interval \\
    \midrule
    wide\_resnet\textbar{}50 & 98.3 ($-$1.2 to 99.2) \\
    {[}a] & -- \\
    \bottomrule
  \end{tabular}
\end{table}
"""
    )


def test_markdown():
    assert format_tables([TABLE], "markdown", "s") == (
        "Models of a_b &amp; c: 95 % intervals.\n"
        "\n"
        "| model | accuracy (%), 95 % interval |\n"
        "| --- | ---: |\n"
        "| wide_resnet\\|50 | 98.3 (−1.2 to 99.2) |\n"
        "| \\[a\\] | – |\n"
    )


def test_csv_has_the_unrounded_values():
    assert format_tables([TABLE], "csv", "s") == "model,mean\nwide_resnet|50,0.983456\n'=1+1,\n"


def test_several_tables():
    assert format_tables([TABLE, TABLE], "latex", "s").count(r"\usepackage") == 1
    assert format_tables([TABLE, TABLE], "markdown", "s").count("\n\n| model") == 2
    parts = format_tables([TABLE, TABLE], "csv", "s").split("\n\n")
    assert [part.splitlines()[0] for part in parts] == ["# confirmed"] * 2
    assert next(csv.DictReader(io.StringIO(parts[0].partition("\n")[2])))["mean"] == "0.983456"


@pytest.mark.parametrize(
    ("text", "latex", "markdown"),
    [
        ("50% & #1_x", r"50\% \& \#1\_x", "50% &amp; #1_x"),
        ("a\\b{c}$d", r"a\textbackslash{}b\{c\}\$d", "a\\\\b{c}\\$d"),
        ("~^<>", r"\textasciitilde{}\textasciicircum{}\textless{}\textgreater{}", "\\~^&lt;&gt;"),
        ("*x* _y_ `z`", "{*}x{*} \\_y\\_ `z`", "\\*x\\* \\_y\\_ \\`z\\`"),
        ("a\nb\x1b[0m", r"a\textbackslash{}nb\textbackslash{}x1b{[}0m", "a\\\\nb\\\\x1b\\[0m"),
    ],
)
def test_special_characters(text, latex, markdown):
    assert escape_latex(text) == latex
    assert escape_markdown(text) == markdown
