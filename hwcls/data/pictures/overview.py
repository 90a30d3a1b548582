"""Two small charts over a picture of a data set: how many images each class has, and how large the files are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from PIL import ImageDraw

from hwcls.fonts import draw_text, shorten_text, text_width
from hwcls.format import format_count

BARS, CAPTION, TEXT = 44, 16, 12  # pixels: of the bars, of a line of text, of a letter
HEIGHT = BARS + 2 * CAPTION + 8
NARROWEST = 640  # of both charts together
BAR, MARK = "#4c78a8", "#e45756"
BINS = 24  # of the sizes, on a logarithmic axis


def draw_overview(
    draw: ImageDraw.ImageDraw,
    width: int,
    classes: Sequence[str],
    counts: Sequence[int],
    sides: Sequence[int],
    size: int,
) -> None:
    """Draw both charts into the upper `HEIGHT` pixels.

    Args:
        width: Of the picture, NARROWEST at least.
        classes, counts: The classes and the images of each.
        sides: The short sides of the files, ascending; empty where there are no files.
        size: The side that the images are decoded to.
    """
    half = (width - 24) // 2 if sides else width - 8
    _draw_balance(draw, 4, half, classes, counts)
    if sides:
        _draw_sizes(draw, 4 + half + 16, half, sides, size)


def describe_balance(classes: Sequence[str], counts: Sequence[int]) -> str:
    """The numbers of images in words: "10 classes of 5 (dog) to 500 (cat) images"."""
    least, most = min(counts), max(counts)
    if least == most:
        return f"{len(classes):,} classes of {format_count(most, 'image')}"
    first, last = (classes[list(counts).index(count)] for count in (least, most))
    return f"{len(classes):,} classes of {least:,} ({first}) to {most:,} ({last}) images"


def describe_sizes(sides: Sequence[int], size: int) -> str:
    """The sizes of the files in words, and what becomes of them."""
    seen = f"training sees {size} x {size}"
    if sides[0] == sides[-1]:
        return f"{seen}; short sides of the files: {sides[0]:,} pixels"
    middle = sides[len(sides) // 2]
    return f"{seen}; short sides of the files: {sides[0]:,} to {sides[-1]:,} pixels, {middle:,} at the middle"


def _draw_balance(
    draw: ImageDraw.ImageDraw, left: int, width: int, classes: Sequence[str], counts: Sequence[int]
) -> None:
    """A bar for each class, the largest first; where there are more classes than pixels, for some of them."""
    _write(draw, left, 0, width, describe_balance(classes, counts))
    ordered = sorted(counts, reverse=True)
    if len(ordered) > width:
        ordered = [ordered[place * len(ordered) // width] for place in range(width)]
    each = min(width / len(ordered), 48.0)
    gap = 1 if each >= 4 else 0
    _draw_bars(draw, left, each, gap, ordered)
    right = left + round(each * len(ordered))
    _write(draw, left, BARS + CAPTION + 4, width, f"{ordered[0]:,}")
    last = f"{ordered[-1]:,}"
    if right - left > text_width(f"{ordered[0]:,}  {last}", TEXT):
        draw_text(draw, (right - text_width(last, TEXT), BARS + CAPTION + 4), last, "grey", TEXT)


def _draw_sizes(draw: ImageDraw.ImageDraw, left: int, width: int, sides: Sequence[int], size: int) -> None:
    """How many files have which short side; the bar of the decoded size is marked."""
    _write(draw, left, 0, width, describe_sizes(sides, size))
    if sides[0] == sides[-1] == size:
        return
    low, high = math.log(min(sides[0], size)), math.log(max(sides[-1], size) + 1)

    def bin_of(side: int) -> int:
        return min(BINS - 1, int((math.log(side) - low) / (high - low) * BINS))

    found = Counter(map(bin_of, sides))
    each = width / BINS
    _draw_bars(draw, left, each, 1, [found[place] for place in range(BINS)])
    at = left + round((bin_of(size) + 0.5) * each)
    draw.line([(at, CAPTION), (at, CAPTION + BARS + 2)], fill=MARK, width=2)
    below = BARS + CAPTION + 4
    ends = [f"{round(math.exp(low)):,}", f"{round(math.exp(high)) - 1:,}"]
    draw_text(draw, (left, below), ends[0], "grey", TEXT)
    draw_text(draw, (left + width - text_width(ends[1], TEXT), below), ends[1], "grey", TEXT)
    mark = f"{size:,}"
    first = left + text_width(ends[0] + "  ", TEXT)
    last = left + width - text_width("  " + ends[1] + mark, TEXT)
    place = at - text_width(mark, TEXT) / 2
    if first <= place <= last:
        draw_text(draw, (place, below), mark, MARK, TEXT)


def _draw_bars(draw: ImageDraw.ImageDraw, left: int, each: float, gap: int, values: Sequence[int]) -> None:
    base, most = CAPTION + BARS + 2, max(*values, 1)
    for place, value in enumerate(values):
        if value:
            first = left + round(place * each)
            last = max(first, left + round((place + 1) * each) - 1 - gap)
            draw.rectangle([(first, base - max(1, round(BARS * value / most))), (last, base)], fill=BAR)


def _write(draw: ImageDraw.ImageDraw, left: int, top: int, width: int, text: str) -> None:
    draw_text(draw, (left, top + 1), shorten_text(text, TEXT, width), "grey", TEXT)
