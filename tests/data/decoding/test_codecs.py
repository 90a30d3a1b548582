"""HEIC and AVIF where a decoder is installed; what other files are, in words."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, features

from hwcls.data.decoding import codecs
from hwcls.data.decoding.codecs import count_problems, describe_unknown, known_formats, remedy_for
from hwcls.data.decoding.decode import decode_image
from hwcls.data.formats.image_types import is_image


def photo(kind: str, **options: object) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    left_to_right = np.zeros((16, 32, 3), np.uint8)
    left_to_right[:, 16:] = 255
    file = io.BytesIO()
    Image.fromarray(left_to_right).save(file, kind, quality=95, **options)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_photos_of_phones_are_decoded_upright(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    assert is_image({"HEIF": "IMG_1.HEIC", "AVIF": "a.avif"}[kind])
    plain = decode_image(photo(kind), 3)
    assert plain.shape == (16, 32, 3)
    assert plain[:, :12].max() < 30
    assert plain[:, 20:].min() > 225
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decode_image(photo(kind, exif=exif.tobytes()), 3)
    assert turned.shape == (32, 16, 3)
    assert turned[:12].max() < 30


def test_without_a_decoder_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    data = photo("HEIF")
    monkeypatch.setattr(codecs, "_optional_formats", lambda: ())
    with pytest.raises(ValueError, match="HEIC without a decoder") as caught:
        decode_image(data, 3)
    assert "hwcls[heif]" in str(remedy_for(str(caught.value)))


@pytest.mark.parametrize(
    ("data", "words", "remedy"),
    [
        (b"", "is empty", None),
        (b"\0\0\0\x18ftypheic", "damaged HEIC", None),
        (b"\xff\x0a1234", "JPEG XL", "convert"),
        (b"\n<!DOCTYPE html>", "is a web page", "download it again"),
        (b"version https://git-lfs.github.com/spec/v1", "is a Git LFS pointer", "git lfs pull"),
        (b"no image", "of no known image format", None),
    ],
)
def test_what_a_file_is_instead(data: bytes, words: str, remedy: str | None) -> None:
    pytest.importorskip("pillow_heif")
    assert describe_unknown(data) == words
    with pytest.raises(ValueError, match=words):
        decode_image(data, 3)
    assert (remedy_for(words) or "").startswith(remedy or "")
    assert bool(remedy_for(words)) is bool(remedy)


def test_only_files_that_begin_like_one_are_given_to_the_decoders_of_phones() -> None:
    assert "HEIF" not in known_formats(b"\x89PNG\r\n\x1a\n")


def test_problems_are_counted_by_kind() -> None:
    bombs = [f"unpacks to {n}x{n} pixels, more than 89 million" for n in (10_000, 20_000)]
    found = count_problems([*bombs, "is empty", "a", "b"])
    assert found == "2: unpacks to more than 89 million pixels; 1: is empty; 1: a; 1: otherwise"
    assert remedy_for(bombs[0]) == "scale it to at most 89 million pixels"
