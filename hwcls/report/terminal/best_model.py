"""The last lines of a sweep: the best model and what to do with it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from hwcls.errors import install_extra
from hwcls.results.best.describe import describe_best, describe_weights, list_commands
from hwcls.results.load import SweepResults

if TYPE_CHECKING:
    from rich.console import Console


def print_best(sweep: SweepResults, console: Console) -> None:
    """Print who won, its settings in one line, where its weights are, and the commands that use it."""
    from rich.text import Text

    from hwcls.report.terminal.columns import fill_lines

    name, *settings = describe_best(sweep) or [""]
    if not name:
        return
    console.print(Text(name, style="bold"))
    for line in settings:
        for part in fill_lines(line.split(), console.width - 2, " "):
            console.print(Text(f"  {part}"))
    if weights := describe_weights(sweep):
        console.print(Text(f"  weights: {weights}"))
    for command in list_commands(sweep):
        lacks = command.startswith("hwcls export") and not find_spec("onnxruntime")
        needs = f"  # needs {install_extra('export')}" if lacks else ""
        console.print(Text(f"  {command}{needs}"), soft_wrap=True)  # a line break would cut what is copied
