"""Text in pictures is drawn in letters, whatever the script, where this machine has a font."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, features

from hwcls import fonts
from hwcls.fonts import draw_text, shorten_text, text_width


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    cached = (fonts._font_with, fonts._system_fonts)

    def clear():
        for one in cached:
            one.cache_clear()

    clear()
    monkeypatch.setattr(fonts, "_missed", set())
    yield
    clear()


def drawn(text, size=20):
    sheet = Image.new("L", (300, 40), 255)
    draw_text(ImageDraw.Draw(sheet), (2, 2), text, 0, size)
    return np.asarray(sheet)


def boxes(text, path=fonts.SHIPPED):
    sheet = Image.new("L", (300, 40), 255)
    ImageDraw.Draw(sheet).text((2, 2), fonts.ABSENT * len(text), 0, fonts._load(path, 20))
    return np.asarray(sheet)


@pytest.mark.parametrize("text", ["été 98%", "Straße", "łódź", "gås", "кошка", "γάτα", "قطة", "חתול"])
def test_letters_of_europe_and_the_near_east_need_no_font_of_this_machine(monkeypatch, text):
    monkeypatch.setattr(fonts, "_system_fonts", lambda: pytest.fail("looked for fonts"))
    shapes = [drawn(letter) for letter in text]
    assert not any(np.array_equal(shape, boxes(".", path)) for shape in shapes for path in (None, fonts.SHIPPED))
    assert len({shape.tobytes() for shape in shapes}) == len(set(text))


@pytest.mark.parametrize("text", ["猫", "고양이", "แมว"])
def test_letters_of_a_font_of_this_machine_are_no_boxes(text):
    if not any(fonts._has(path, text[0]) for path in fonts._system_fonts()):
        pytest.skip("no font here has them")
    assert not np.array_equal(drawn(text), boxes(text))
    assert not np.array_equal(drawn(text), drawn(text[::-1] if len(text) > 1 else "犬"))


def test_letters_that_no_font_has_are_said_once_for_each_script(monkeypatch, caplog):
    monkeypatch.setattr(fonts, "_system_fonts", lambda: ())
    for text in ("猫 cat", "犬", "猫", "고양이"):
        drawn(text)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "no font on this machine has '猫' (cjk)",
        "no font on this machine has '고' (hangul)",
    ]
    assert "fonts-noto-cjk" in caplog.text


def test_each_part_has_the_font_with_its_letters(monkeypatch):
    monkeypatch.setattr(fonts, "_has", lambda path, letter: (path == "cjk" and letter in "猫犬") or letter == "é")
    monkeypatch.setattr(fonts, "_system_fonts", lambda: ("other", "cjk"))
    monkeypatch.setattr(fonts, "_load", lambda path, size: path)
    shipped = fonts.SHIPPED
    assert list(fonts._parts("a猫犬 éb", 12)) == [(shipped, "a"), ("cjk", "猫犬"), (shipped, " éb")]
    assert list(fonts._parts("aéb", 12)) == [(None, "aéb")]
    assert list(fonts._parts("猫 犬\u0301", 12)) == [("cjk", "猫 犬\u0301")]


def test_spaces_between_parts_are_kept():
    assert [part for _, part in fonts._parts("a  ש 2 b", 12)] == ["a", "  ש", " 2 b"]


def test_text_is_shortened_to_a_width():
    short = shorten_text("abcdefghijklmnop" * 9, 12, 100, " 98%")
    assert short.endswith("… 98%")
    assert 80 < text_width(short, 12) <= 100
    assert shorten_text("abc", 12, 100, " 98%") == "abc 98%"


def test_a_number_stays_right_of_an_arabic_name():
    if not features.check("raqm"):
        pytest.skip("this Pillow cannot lay out Arabic")
    alone, both = drawn("قطة"), drawn("قطة 29%")
    width = int(text_width("قطة", 20))
    assert np.array_equal(alone[:, :width], both[:, :width])
    assert (both[:, width:] < 255).any()


def test_parts_stand_beside_each_other():
    assert text_width("ab", 12) == text_width("a", 12) + text_width("b", 12)
    assert (drawn("ab")[:, int(text_width("ab", 20)) + 4 :] == 255).all()


def test_the_readme_names_the_version_of_the_shipped_font():
    folder = Path(fonts.SHIPPED).parent
    assert "Version 2.37".encode("utf-16-be") in Path(fonts.SHIPPED).read_bytes()
    assert "2.37" in (folder / "README.md").read_text("utf-8")
    assert "Tavmjong Bah" in (folder / "DejaVuSans.LICENSE.txt").read_text("utf-8")


def test_a_plot_gets_the_fonts_that_dejavu_sans_lacks_letters_for(monkeypatch):
    monkeypatch.setattr(fonts, "_font_with", lambda letter: "cjk.ttc" if letter in "猫犬" else fonts.SHIPPED)
    assert fonts.find_font_files("café 猫犬 Ω\u200b") == ["cjk.ttc"]
    assert fonts.find_font_files("plain") == []
