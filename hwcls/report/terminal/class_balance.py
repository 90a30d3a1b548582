"""How many images each class has, as a table with bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hwcls.format import format_count

if TYPE_CHECKING:
    from rich.console import Console

MOST, ENDS = 20, 10  # classes that are all shown; else so many of the largest and of the smallest
BAR = 30  # characters of the largest class


def print_class_balance(classes: Sequence[str], counts: Mapping[str, Sequence[int]], console: Console) -> None:
    """Print the images of each class by split, with a bar for train; of many classes the largest and the smallest."""
    from rich.table import Table
    from rich.text import Text

    train = counts["train"]
    order = list(range(len(classes)))
    left_out = len(order) - 2 * ENDS if len(order) > MOST else 0
    if left_out:
        order.sort(key=lambda place: -train[place])
        order = order[:ENDS] + order[-ENDS:]
    table = Table("class", box=None, pad_edge=False)
    for split in counts:
        table.add_column(split, justify="right")
    table.add_column("", overflow="crop", no_wrap=True)
    for row, place in enumerate(order):
        if left_out and row == ENDS:
            table.add_row(f"... {format_count(left_out, 'class')} between these")
        bar = "█" * round(BAR * train[place] / max(*train, 1))
        table.add_row(Text(classes[place]), *(f"{found[place]:,}" for found in counts.values()), bar)
    console.print(table)
