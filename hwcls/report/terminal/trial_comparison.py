"""Two trials compared, as terminal tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwcls.format import format_count, format_number, format_points
from hwcls.results.explain import TrialComparison

if TYPE_CHECKING:
    from rich.console import Console


def print_trial_comparison(found: TrialComparison, names: tuple[str, str], console: Console, rows: int = 10) -> None:
    """Print a comparison; of long lists only the first `rows`."""
    from rich.table import Table
    from rich.text import Text

    a, b = names
    table = Table(title=Text("settings that differ", style="bold"), title_justify="left", box=None, pad_edge=False)
    for name in ("setting", a, b):
        table.add_column(Text(name))
    for name, (one, two) in found.settings.items():
        table.add_row(*(Text("–" if value is None else format_number(value)) for value in (name, one, two)))
    console.print(table if found.settings else Text("The settings are the same."))
    gap = found.accuracy[1] - found.accuracy[0]
    one, two = map(format_number, found.accuracy)
    summary = f"val/accuracy {one} and {two}: {format_points(gap)} points; "
    summary += f"{format_count(len(found.only_a), 'image')} right only in {a}, {len(found.only_b)} only in {b}."
    console.print(Text(f"\n{summary}\n"))
    _print_classes(found, names, console, rows)
    for title, images in ((f"right only in {a}", found.only_a), (f"right only in {b}", found.only_b)):
        if images:
            console.print(Text(f"\n{title}", style="bold"))
        for image in images[:rows]:
            guesses = f"{a} predicts {image['a']}, {b} predicts {image['b']}"
            console.print(Text(f"  image {image['image']}, class {image['class']}: {guesses}"))
        if len(images) > rows:
            console.print(Text(f"  … and {len(images) - rows} more (--json lists all)"))


def _print_classes(found: TrialComparison, names: tuple[str, str], console: Console, rows: int) -> None:
    from rich.table import Table
    from rich.text import Text

    changed = [row for row in found.classes if row["gain"]]
    shown = changed if len(changed) <= rows else [*changed[: rows // 2], *changed[-(rows - rows // 2) :]]
    table = Table(title=Text("recall by class", style="bold"), title_justify="left", box=None, pad_edge=False)
    for name in ("class", "images", *names, "points"):
        table.add_column(Text(name), justify="left" if name == "class" else "right")
    for row in shown:
        values = [
            row["class"],
            str(row["images"]),
            format_number(row["a"]),
            format_number(row["b"]),
            format_points(row["gain"]),
        ]
        table.add_row(*map(Text, values))
    console.print(table if shown else Text("Every class has the same recall in both trials."))
