"""What every kind of figure is: data that knows its caption and draws itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class NothingToShow(Exception):
    """The results lack what a figure or table shows; the text says what, in a few words."""


class Drawable(Protocol):
    """The data of one figure."""

    @property
    def caption(self) -> str:
        """What the figure shows, in sentences for a paper."""

    def draw(self, width: str) -> Figure:
        """Draw it; `width` is a key of style.WIDTHS. Called within `style.paper_style`."""
