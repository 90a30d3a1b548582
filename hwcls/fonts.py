"""Text in pictures: PIL's own font, and for letters that it lacks DejaVu Sans, which is shipped, or a system font.

PIL's font has about the letters of English, French and German, DejaVu Sans those of Europe and the Near East; a font of
Chinese, Japanese and Korean is many times as large as hwcls. A text is drawn in parts, each with the first font that
has its letters, so that `猫 (12)` needs no font that has everything, and a number stays right of an Arabic name.
"""

from __future__ import annotations

import logging
import os
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from PIL import ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
FOLDERS = {
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "win32": ("C:/Windows/Fonts", "~/AppData/Local/Microsoft/Windows/Fonts"),
}
OTHER_FOLDERS = ("~/.local/share/fonts", "~/.fonts", "/usr/local/share/fonts", "/usr/share/fonts")
SHIPPED = str(Path(__file__).parent / "vendor" / "DejaVuSans.ttf")
PREFERRED = ("notosans-regular", "notosanscjk-regular", "droidsansfallback", "notosans")  # how their names begin
AVOIDED = ("bold", "italic", "oblique", "mono", "serif", "condensed", "emoji", "light", "black", "thin")
ABSENT = "\uffff"  # a code point that no font has: drawn as the font's sign for missing letters

_log = logging.getLogger(__name__)
_missed: set[str] = set()  # letters that were said to be missing


def draw_text(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, colour: str, size: int) -> None:
    """Draw one line of text with its top left corner at `place`; what no font has is said once, and drawn as boxes."""
    left, top = place
    parts = list(_parts(text, size))
    base = max((_ascent(font) for font, _ in parts), default=0)
    for font, part in parts:
        draw.text((left, top + base - _ascent(font)), part, fill=colour, font=font)
        left += font.getlength(part)


def text_width(text: str, size: int) -> float:
    """The width in pixels of one line of text."""
    return sum(font.getlength(part) for font, part in _parts(text, size))


def shorten_text(text: str, size: int, width: float, end: str = "") -> str:
    """`text` and `end`; where that is wider than `width`, with less of `text` and dots after it."""
    cut = text
    while text_width(cut + end, size) > width and len(text) > 1:
        text = text[:-1]
        cut = f"{text.rstrip()}…"
    return cut + end


def find_font_files(text: str) -> list[str]:
    """The system's fonts that a text needs for letters that DejaVu Sans lacks; what no font has is said once."""
    letters = [letter for letter in dict.fromkeys(text) if not letter.isascii() and letter.isprintable()]
    return list(dict.fromkeys(path for path in map(_font_with, letters) if path != SHIPPED))


def _parts(text: str, size: int) -> Iterator[tuple[Font, str]]:
    """The text in parts, each with the font that draws it."""
    if all(letter.isascii() or _has(None, letter) for letter in text):
        yield _load(None, size), text
        return
    found: list[tuple[tuple[str, bool], str]] = []  # with the font, and whether it is written from right to left
    for letter in text:
        if found and (letter.isspace() or unicodedata.category(letter) in ("Mn", "Mc", "Me", "Cf")):
            kind = found[-1][0]  # as the letter that it belongs to
        else:
            kind = _font_with(letter), unicodedata.bidirectional(letter) in ("R", "AL")
        if found and found[-1][0] == kind:
            found[-1] = (kind, found[-1][1] + letter)
        else:
            found.append((kind, letter))
    for place in range(1, len(found)):  # a space between parts belongs to neither: drawn with the second
        (kind, part), (next_kind, next_part) = found[place - 1 : place + 1]
        kept = part.rstrip()
        found[place - 1], found[place] = (kind, kept), (next_kind, part[len(kept) :] + next_part)
    for (path, _), part in found:
        yield _load(path, size), part


@cache
def _font_with(letter: str) -> str:
    """The file of the first font that has a letter; the shipped one where none has it."""
    if _has(SHIPPED, letter):
        return SHIPPED
    for path in _system_fonts():
        if _has(path, letter):
            return path
    script = unicodedata.name(letter, "unknown").split()[0].lower()
    if script not in _missed:
        _missed.add(script)
        package = "fonts-noto-cjk" if script in ("cjk", "hiragana", "katakana", "hangul") else "fonts-noto-core"
        _log.warning(
            "no font on this machine has '%s' (%s): such letters are boxes in pictures; install one, such as %s",
            letter,
            script,
            package,
        )
    return SHIPPED


@cache
def _has(path: str | None, letter: str) -> bool:
    """Whether a font draws a letter as something else than its sign for missing ones."""
    try:
        font = _load(path, 16)
        shapes = [font.getmask(character) for character in (letter, ABSENT)]
    except (OSError, ValueError):  # no outlines, or damaged
        return False
    return (shapes[0].size, bytes(shapes[0])) != (shapes[1].size, bytes(shapes[1]))


@cache
def _load(path: str | None, size: int) -> Font:
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)


@cache
def _system_fonts() -> tuple[str, ...]:
    """The font files of this machine, plain ones of wide coverage first."""
    folders = [Path(folder).expanduser() for folder in FOLDERS.get(sys.platform, OTHER_FOLDERS)]
    found = [
        os.path.join(above, name)
        for folder in folders
        for above, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith((".ttf", ".ttc", ".otf"))
    ]

    def rank(path: str) -> tuple[int, int, str]:
        name = os.path.basename(path).lower()
        preferred = next((place for place, start in enumerate(PREFERRED) if name.startswith(start)), len(PREFERRED))
        return sum(word in name for word in AVOIDED), preferred, path

    return tuple(sorted(found, key=rank))


def _ascent(font: Font) -> int:
    """From the top of the line to its base, so that parts stand on one line."""
    return font.getmetrics()[0] if isinstance(font, ImageFont.FreeTypeFont) else 0
