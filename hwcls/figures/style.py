"""One style for all figures: the sizes of columns, Okabe and Ito's colours, embedded fonts; no user's own settings.

matplotlib is an extra and takes half a second to load: it is imported where a figure is drawn.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hwcls.errors import UserError, install_extra
from hwcls.escape import printable
from hwcls.fonts import find_font_files
from hwcls.results.load import SweepResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTHS = {"one": 3.3, "two": 6.9}  # inches: a column of a page of two, and the whole page
BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE, BLACK, GREY = "#56B4E9", "#CC79A7", "#000000", "#767676"
COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE, BLACK)  # Okabe and Ito's without yellow, pale on white
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")  # 8 with 7 colours: 56 alternatives that look different
LINES = ("-", "--", ":")  # the second and third time that a colour is used
MAX_NAME = 22  # letters of a name in a legend or at an axis
HANDLE, LETTER, LEGEND_ROW = 0.4, 0.056, 0.16  # inches, in a legend
TITLE_LETTER = 0.06  # inches, of the name of an axis
DOTS = 300  # per inch, of PNG

STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.5,
    "axes.formatter.useoffset": False,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 1.2,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "pdf.fonttype": 42,  # TrueType: what journals ask for
    "svg.fonttype": "path",
    "svg.hashsalt": "hwcls",  # else the ids of each file are random
    "savefig.dpi": DOTS,
    "figure.dpi": DOTS,
}


@contextmanager
def paper_style(texts: Iterable[str] = ()) -> Iterator[None]:
    """The style while a figure is drawn and saved; `texts` are what it may show, for letters that DejaVu Sans lacks.

    Raises UserError where matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib import font_manager
    except ImportError:
        remedy = install_extra("figures")
        raise UserError("matplotlib is not installed", where="hwcls figures", remedy=remedy) from None
    families = list(STYLE["font.family"])
    for path in find_font_files("".join(texts)):
        font_manager.fontManager.addfont(path)
        families.append(font_manager.FontProperties(fname=path).get_name())
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # find_font_files has said it in plain words
        matplotlib.rcdefaults()
        style: Any = {**STYLE, "font.family": families}
        matplotlib.rcParams.update(style)
        yield


def new_figure(width: str, height: float, names: Sequence[str] = ()) -> Figure:
    """An empty figure: `width` is a key of WIDTHS, `height` in inches without the legend that `names` will get."""
    from matplotlib.figure import Figure

    rows = -(-len(names) // _legend_columns(WIDTHS[width], names)) if len(names) > 1 else 0
    return Figure(figsize=(WIDTHS[width], height + LEGEND_ROW * rows), layout="constrained")


def assign_looks(sweep: SweepResults) -> dict[str | None, dict[str, Any]]:
    """Colour, marker and line of each alternative, the same in every figure."""
    return {
        label: {
            "color": COLOURS[place % len(COLOURS)],
            "marker": MARKERS[place % len(MARKERS)],
            "linestyle": LINES[place // len(COLOURS) % len(LINES)],
        }
        for place, label in enumerate(sweep.labels)
    }


def short_name(text: object, most: int = MAX_NAME) -> str:
    """A name from elsewhere in one line of at most `most` letters, the end of a longer one dots."""
    name = printable(str(text))
    return name if len(name) <= most else f"{name[: most - 1]}…"


def add_legend(figure: Figure, handles: Sequence[Any], names: Sequence[str]) -> None:
    """A legend above the axes, in as many columns as fit; none for a single name."""
    if len(names) > 1:
        columns = _legend_columns(figure.get_figwidth(), names)
        figure.legend(handles, list(map(short_name, names)), loc="outside upper center", ncols=columns)


def _legend_columns(inches: float, names: Sequence[str]) -> int:
    longest = max(len(short_name(name)) for name in names)
    columns = max(1, int(inches / (HANDLE + LETTER * longest)))
    rows = -(-len(names) // columns)
    return -(-len(names) // rows)  # two rows of three rather than of five and one


def label_shared_axis(figure: Figure, title: str) -> None:
    """Name the y axis that all panels share, once, in as many lines as the figure's height needs."""
    letters = max(1, int(figure.get_figheight() / TITLE_LETTER))
    figure.supylabel(textwrap.fill(title, letters, break_long_words=False), fontsize=8)


def count_on_axis(axes: Axes) -> None:
    """Whole numbers on the x axis."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
