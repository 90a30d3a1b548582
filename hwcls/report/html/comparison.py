"""Two sweeps on one page: what differs in their files, in their answers and between their winners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwcls import files
from hwcls.report.html.charts.dots import DotChart, alternatives_chart
from hwcls.report.html.page import build_environment
from hwcls.results.answer import describe_answer
from hwcls.results.best.describe import describe_best, summarize_best
from hwcls.results.compare import find_cautions, name_sweeps
from hwcls.results.load import SweepResults, load_results

Differences = list[tuple[str, Any, Any]]  # name, value in the first, value in the second


@dataclass(frozen=True)
class ComparedSweep:
    """One side of the page."""

    name: str
    answer: str
    winner: str  # with its score, in words; empty without one
    chart: DotChart | None  # of its alternatives
    page: Path


def write_comparison(first: Path, second: Path) -> Path:
    """Compare two results folders, and return the path of the page, which is in the first one.

    Raises UserError if one is not a results folder.
    """
    sweeps = load_results(first), load_results(second)
    path = first / f"comparison-{second.resolve().name}.html"
    files.write_text(path, render_comparison(*sweeps))
    return path


def render_comparison(first: SweepResults, second: SweepResults) -> str:
    """The page as HTML; all text that comes from the sweeps is escaped."""
    names = name_sweeps([first, second])
    sides = [_side(name, sweep) for name, sweep in zip(names, (first, second), strict=True)]
    winners = [(summarize_best(sweep) or {}).get("settings", {}) for sweep in (first, second)]
    values = {
        "sides": sides,
        "cautions": find_cautions([first, second]),
        "settings": find_differences(list_entries(first.settings), list_entries(second.settings)),
        "winners": find_differences(*winners),
    }
    return build_environment().get_template("comparison.html.jinja").render(values)


def list_entries(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """The entries of a sweep file by their paths: {"confirm.top": 3}; lists as text, notes (`x-...`) left out."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if key.startswith("x-") and not above:
            continue
        if isinstance(value, Mapping) and value:
            found |= list_entries(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = ", ".join(map(str, value)) if isinstance(value, list) else value
    return found


def find_differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> Differences:
    """What is not the same in both; None where one lacks it."""
    names = dict.fromkeys([*first, *second])
    pairs = [(name, first.get(name), second.get(name)) for name in names]
    return [(name, one, other) for name, one, other in pairs if one != other]


def _side(name: str, sweep: SweepResults) -> ComparedSweep:
    best = describe_best(sweep)
    winner = best[0].removeprefix("best: ") if best else ""
    page = sweep.folder.resolve() / "report.html"
    return ComparedSweep(name, describe_answer(sweep), winner, alternatives_chart(sweep), page)
