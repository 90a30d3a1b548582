"""Rich's console, without markup and harmless: text from elsewhere cannot move the cursor or hide text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hwcls.escape import printable

if TYPE_CHECKING:
    from rich.console import Console


def terminal_console(**options: Any) -> Console:
    """Rich's console without markup, in which text from elsewhere is escaped; `options` are those of Console."""
    from rich.console import Console
    from rich.segment import Segment

    class Escaping(Console):
        def render(self, renderable: Any, options: Any = None) -> Any:
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else printable(text, "\n"), style, control)

        def on_broken_pipe(self) -> None:
            raise  # the BrokenPipeError that is being handled; Rich would end the process

    return Escaping(markup=False, emoji=False, highlight=False, **options)
