"""`hwcls figures` and `hwcls tables`: a sweep's results for a paper."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwcls.cli.completion.completer import words
from hwcls.cli.console import app, echo, print_to_stderr
from hwcls.cli.options import AsJson, Overwrite, ResultsFolder, check_overwrite
from hwcls.errors import UserError, did_you_mean
from hwcls.files import check_writable_folder
from hwcls.format import format_count

if TYPE_CHECKING:
    from hwcls.results.load import SweepResults

BEST = 10  # trials of a leaderboard in LaTeX and Markdown


@app.command()
def figures(
    folder: ResultsFolder,
    format: Annotated[str, typer.Option(help="svg, pdf or png.", autocompletion=words("svg", "pdf", "png"))] = "pdf",
    out: Annotated[
        Path | None, typer.Option(help="The folder to write to; by default figures/ there.", show_default=False)
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="test, curves, confusion, slices, importance or budget. Repeatable.",
            show_default=False,
            autocompletion=words("test", "curves", "confusion", "slices", "importance", "budget"),
        ),
    ] = None,
    width: Annotated[
        str, typer.Option(help="Columns of a page: one (3.3 in) or two (6.9 in).", autocompletion=words("one", "two"))
    ] = "one",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Draw a sweep's figures for a paper. They show test scores, curves, confusion, slices, importance, budget.

    Needs: pip install 'hwcls[figures]'

    Example: hwcls figures results/quickstart --format svg
    """
    from hwcls.data.cache.working_copies import refuse_working_copy
    from hwcls.figures.style import WIDTHS
    from hwcls.figures.write import FORMATS, find_foreign, plan_figures, write_figures

    _check_word("--format", format, FORMATS)
    _check_word("--width", width, WIDTHS)
    sweep, to = _load(folder), folder / "figures" if out is None else out
    refuse_working_copy(to, remedy="name another folder: --out FOLDER")
    check_writable_folder(to)
    planned, left_out = plan_figures(sweep, only or [], to, format)
    check_overwrite(find_foreign(sweep, planned, to), overwrite)
    write_figures(sweep, planned, width)
    if as_json:
        written = {one.name: {"file": str(one.path), "caption": one.figure.caption} for one in planned}
        echo(json.dumps({"figures": written, "left_out": left_out}, indent=2))
        return
    for one in planned:
        echo(f"{one.name}: {one.path}")
    _print_notes(sweep, left_out)


@app.command()
def tables(
    folder: ResultsFolder,
    format: Annotated[
        str, typer.Option(help="latex, markdown or csv.", autocompletion=words("latex", "markdown", "csv"))
    ] = "markdown",
    out: Annotated[
        Path | None, typer.Option(help="The file to write; by default they are printed.", show_default=False)
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="leaderboard, confirmed, comparisons or settings. Repeatable.",
            show_default=False,
            autocompletion=words("leaderboard", "confirmed", "comparisons", "settings"),
        ),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            min=1, help=f"Trials in the leaderboard; {BEST} by default, in CSV and JSON all.", show_default=False
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON with the unrounded rows instead of --format.")] = False,
) -> None:
    """Print a sweep's tables for a paper. They have the leaderboard, confirmed models, comparisons, settings.

    Example: hwcls tables results/quickstart --format latex --only confirmed
    """
    from hwcls import files
    from hwcls.figures.tables.rows import TABLES, build_tables
    from hwcls.figures.tables.text import FORMATS, format_tables
    from hwcls.figures.write import choose_names, nothing_to_show

    _check_word("--format", format, FORMATS)
    names, sweep = choose_names(only or [], TABLES), _load(folder)
    check_overwrite([out] if out else [], overwrite)
    most = rows or (None if as_json or format == "csv" else BEST)
    built, left_out = build_tables(sweep, names, most)
    if not built:
        raise nothing_to_show("table", left_out, sweep)
    if as_json:
        rows_by_name = {one.name: {"caption": one.caption, "rows": one.records} for one in built}
        text = json.dumps({"tables": rows_by_name, "left_out": left_out}, indent=2, default=str) + "\n"
    else:
        text = format_tables(built, format, sweep.name)
    if out is None:
        echo(text, nl=False)
    else:
        files.write_text(out, text)
        print_to_stderr(f"tables: {out}")
    _print_notes(sweep, left_out)


def _load(folder: Path) -> SweepResults:
    from hwcls.results.load import load_results, mark_running
    from hwcls.tracking.folders import is_in_use

    used = is_in_use(folder)  # before the records are read: a trial may end meanwhile
    found = load_results(folder)
    return mark_running(found) if used else found


def _print_notes(sweep: SweepResults, left_out: Mapping[str, str]) -> None:
    """What is missing, and whether more is to come."""
    if waiting := sum(not trial.ended for trial in sweep.trials):
        verb = "has" if waiting == 1 else "have"
        print_to_stderr(f"note: {format_count(waiting, 'trial')} {verb} not ended: this is what is recorded now")
    for name, reason in left_out.items():
        print_to_stderr(f"left out: {name}, as {reason}")


def _check_word(option: str, word: str, known: Iterable[str]) -> None:
    if word not in known:
        raise UserError(f"unknown word '{word}'", where=option, remedy=did_you_mean(word, known))
