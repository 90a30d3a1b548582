"""Images of more than 8 bits: one range for a whole set, recorded, and used wherever its images are read."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from hwcls.config.data import DataConfig
from hwcls.data import store
from hwcls.data.decoding.decode import check_image, decode_image
from hwcls.data.decoding.opened import has_wide_pixels
from hwcls.data.decoding.pixel_range import SIXTEEN_BITS, PixelRange, RangeMeter, UnknownRangeError
from hwcls.data.imageset import ImageSet, InputSpec, open_data
from hwcls.data.importer import import_data_set
from hwcls.errors import UserError


def encode(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def colour_png(pixels: np.ndarray) -> bytes:
    """(H, W, 2, 3 or 4) uint16, which PIL cannot write."""
    height, width, channels = pixels.shape
    rows = np.concatenate(
        [np.zeros((height, 1), np.uint8), pixels.astype(">u2").view(np.uint8).reshape(height, -1)], 1
    ).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def colour_tiff(
    pixels: np.ndarray, order: str, extra: int | None = None, *, kind: int = 2, packed: bool = False, planes: int = 1
) -> bytes:
    """(H, W, 3 or 4) uint16 in one strip, in a byte order; `extra` is TIFF's ExtraSamples: 0 unused, 1 or 2 alpha.

    `kind` is TIFF's PhotometricInterpretation (5: CMYK), `packed` is deflate, `planes` 2 says that the colours lie in
    planes of their own.
    """
    height, width, channels = pixels.shape
    data = pixels.astype(order + "u2").tobytes()
    data = zlib.compress(data) if packed else data
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, 200), (259, 3, 1, 8 if packed else 1),
            (262, 3, 1, kind), (273, 4, 1, 256), (277, 3, 1, channels), (278, 4, 1, height), (279, 4, 1, len(data)),
            (284, 3, 1, planes), *([(338, 3, 1, extra)] if extra is not None else [])]  # fmt: skip
    found = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    for tag, field, count, value in tags:
        content = struct.pack(order + "HH", value, 0) if (field, count) == (3, 1) else struct.pack(order + "I", value)
        found += struct.pack(order + "HHI", tag, field, count) + content
    found = (found + bytes(4)).ljust(200, b"\0") + struct.pack(order + "H" * channels, *[16] * channels)
    return found.ljust(256, b"\0") + data


def open_set(make: SimpleNamespace, root: Path, images: list[bytes], ending: str = "png", **others: bytes) -> ImageSet:
    """Class folders whose test images are the training images; `others` are further training images."""
    places = [(split, kind) for split in ("train", "test") for kind in "ab"]
    files = {f"{split}/{kind}/{i}.{ending}": data for split, kind in places for i, data in enumerate(2 * images)}
    make.write_files(root, files | {f"train/b/{name}.{ending}": data for name, data in others.items()})
    return open_data(DataConfig(name="imagefolder", path=str(root)))


TWELVE_BITS = np.linspace(0, 4095, 256).round().astype(np.uint16).reshape(16, 16)


def test_twelve_bits_keep_every_level(make: SimpleNamespace, tmp_path: Path) -> None:
    data = open_set(make, tmp_path / "set", [encode(TWELVE_BITS)])
    assert data.pixel_range == PixelRange(0, 4095)
    assert np.array_equal(data.test.images[0, ..., 0].ravel(), np.arange(256))
    assert InputSpec.from_dict(json.loads(json.dumps(data.to_dict()))).pixel_range == data.pixel_range
    assert InputSpec.from_dict({**data.to_dict(), "pixel_range": None}).pixel_range is None


def test_eight_bits_have_no_range(make: SimpleNamespace, tmp_path: Path) -> None:
    assert open_set(make, tmp_path / "set", [make.png(make.noise(0, 8, 8))]).pixel_range is None


def test_sixteen_bits_are_read_as_they_were(make: SimpleNamespace, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(900, 60_000, (16, 16), np.uint16)
    data = open_set(make, tmp_path / "set", [encode(pixels)])
    assert data.pixel_range == SIXTEEN_BITS
    assert np.array_equal(data.test.images[0, ..., 0], (pixels.astype(int) * 255 + 32767) // 65535)


@pytest.mark.parametrize(
    ("pixels", "want"),
    [
        (np.arange(256, dtype=np.int32) * 5000 - 70_000, PixelRange(-70_000, 1_205_000)),
        (np.arange(256, dtype=np.float32) / 1024, PixelRange(0, 255 / 1024, "float")),
        (np.arange(256, dtype=np.int32) + 5, PixelRange(5, 260)),
    ],
)
def test_32_bits_are_not_clipped(make: SimpleNamespace, tmp_path: Path, pixels: np.ndarray, want: PixelRange) -> None:
    data = open_set(make, tmp_path / "set", [encode(pixels.reshape(16, 16), "TIFF")], "tif")
    assert data.pixel_range == want
    assert np.array_equal(data.test.images[0, ..., 0].ravel(), np.arange(256))


def test_unsigned_32_bits() -> None:
    file = encode(np.array([[0, -1], [1 << 30, 7]], np.int32), "TIFF")
    signed, unsigned = struct.pack("<HHIHH", 339, 3, 1, 2, 0), struct.pack("<HHIHH", 339, 3, 1, 1, 0)
    assert file.count(signed) == 1
    meter = RangeMeter()
    check_image(file.replace(signed, unsigned), meter)
    assert meter.range() == PixelRange(0, (1 << 32) - 1)


@pytest.mark.parametrize("write", [colour_png, lambda p: colour_tiff(p, "<"), lambda p: colour_tiff(p, ">")])
def test_both_bytes_of_16_bit_colour_are_read(write: object) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (9, 7, 3), np.uint16)
    found = decode_image(write(pixels), 3, PixelRange(0, 4095))  # type: ignore[operator]
    assert np.array_equal(found, (pixels.astype(int) * 255 + 2047) // 4095)


def test_16_bit_colour_with_alpha_is_laid_on_white() -> None:
    pixels = np.zeros((2, 2, 4), np.uint16)
    pixels[..., 1], pixels[0, :, 3] = 4095, 65535
    assert decode_image(colour_png(pixels), 3, PixelRange(0, 4095)).tolist() == [[[0, 255, 0]] * 2, [[255] * 3] * 2]


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_grey_with_alpha_is_scaled_by_the_range(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (9, 7, 2), np.uint16)
    pixels[..., 1] = 65535
    pixels[0, :, 1] = 0
    file = colour_png(pixels)
    assert has_wide_pixels(file)
    grey = (pixels[1:, :, :1].astype(int) * 255 + 2047) // 4095
    found = decode_image(file, channels, PixelRange(0, 4095))
    assert np.array_equal(found[1:], np.repeat(grey, channels, 2))
    assert (found[0] == 255).all()  # transparent pixels on white
    meter = RangeMeter()
    check_image(file, meter)
    measured = meter.range()
    assert measured is not None
    assert measured.high <= 4096


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("extra", [0, 2])
def test_16_bit_tiff_with_a_fourth_channel_is_scaled_by_the_range(order: str, extra: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (9, 7, 4), np.uint16)
    pixels[..., 3] = 65535
    file = colour_tiff(pixels, order, extra)
    assert has_wide_pixels(file)
    found = decode_image(file, 3, PixelRange(0, 4095))
    assert np.array_equal(found, (pixels[..., :3].astype(int) * 255 + 2047) // 4095)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
def test_16_bit_tiff_with_premultiplied_alpha_keeps_its_lower_bytes(order: str, packed: bool) -> None:
    generator = np.random.default_rng(0)
    colours, alpha = generator.integers(0, 4096, (9, 7, 3)), generator.integers(20_000, 65536, (9, 7, 1))
    alpha[0] = 65535
    stored = np.concatenate([(colours * alpha + 32767) // 65535, alpha], 2).astype(np.uint16)
    file = colour_tiff(stored, order, 1, packed=packed)
    assert has_wide_pixels(file)
    found = decode_image(file, 3, PixelRange(0, 4095)).astype(int)
    shares = (alpha >> 8) / 255
    assert np.abs(found - (colours / 4095 * shares + 1 - shares) * 255).max() <= 2
    meter = RangeMeter()
    check_image(file, meter)
    measured = meter.range()
    assert measured is not None
    assert 4000 < measured.high <= 4097
    stored[..., 3] = 0
    assert (decode_image(colour_tiff(stored, order, 1, packed=packed), 3, SIXTEEN_BITS) == 255).all()


@pytest.mark.parametrize("packed", [False, True])
def test_16_bit_cmyk_is_read_in_full(packed: bool) -> None:
    """Its inks span all 16 bits."""
    pixels = np.random.default_rng(0).integers(0, 65536, (9, 7, 4), np.uint16)
    pixels[..., 3] = 0
    found = decode_image(colour_tiff(pixels, "<", kind=5, packed=packed), 3)
    assert np.abs(found - (255 - pixels[..., :3] / 257)).max() <= 1


def test_16_bit_colours_in_separate_planes_are_refused_by_name(make: SimpleNamespace, tmp_path: Path) -> None:
    """PIL reads each byte of them as a pixel, or the upper bytes twice."""
    file = colour_tiff(np.zeros((9, 7, 3), np.uint16), "<", planes=2)
    words = r"planes\.tif: not a readable image \(has 16 bits per colour in separate planes\) — .*tiffcp -p contig"
    with pytest.raises(UserError, match=words):
        open_set(make, tmp_path / "set", [encode(TWELVE_BITS, "TIFF")], "tif", planes=file)


def test_a_hot_pixel_does_not_darken_a_set(make: SimpleNamespace, tmp_path: Path) -> None:
    hot = np.tile(TWELVE_BITS, (8, 8))
    hot[5, 5] = 65535
    data = open_set(make, tmp_path / "set", [encode(hot)])
    assert data.pixel_range is not None
    assert 4095 <= data.pixel_range.high <= 4095 * 1.02
    assert data.test.images[0, 5, 5, 0] == 255
    assert len(np.unique(data.test.images)) > 250


def test_the_test_images_do_not_set_the_range(make: SimpleNamespace, tmp_path: Path) -> None:
    make.write_files(tmp_path / "set", {"test/a/bright.png": encode(TWELVE_BITS * 3)})
    assert open_set(make, tmp_path / "set", [encode(TWELVE_BITS)]).pixel_range == PixelRange(0, 4095)


def test_integers_beside_floats_are_refused(make: SimpleNamespace, tmp_path: Path) -> None:
    floats = encode(TWELVE_BITS.astype(np.float32), "TIFF")
    with pytest.raises(UserError, match="some images have integer and some floating-point pixels"):
        open_set(make, tmp_path / "set", [encode(TWELVE_BITS)], other=floats)


def test_without_a_range_nothing_is_guessed() -> None:
    with pytest.raises(UnknownRangeError):
        decode_image(encode(TWELVE_BITS), 1)
    with pytest.raises(ValueError, match="has float pixels of unknown black and white"):
        decode_image(encode(TWELVE_BITS.astype(np.float32), "TIFF"), 1, SIXTEEN_BITS)


def test_nan_is_black_and_infinity_is_clipped() -> None:
    meter, values = RangeMeter(), np.array([np.nan, -np.inf, 1, 3, np.inf], np.float32)
    meter.add(values)
    assert meter.range() == PixelRange(1, 3, "float")
    assert PixelRange(1, 3, "float").scale(values).tolist() == [0, 0, 0, 255, 255]


def test_one_value_only() -> None:
    meter = RangeMeter()
    meter.add(np.full(9, 7, np.uint16))
    assert meter.range() == PixelRange(7, 8)


def test_import_says_the_range_that_the_store_has(make: SimpleNamespace, tmp_path: Path) -> None:
    open_set(make, tmp_path / "set", [encode(TWELVE_BITS)])
    done = import_data_set("mine", tmp_path / "set")
    assert done.pixel_range == open_data(DataConfig(name="mine")).pixel_range == PixelRange(0, 4095)


def test_a_store_of_an_earlier_version_is_rebuilt_with_a_word(
    make: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(store, "USER_FORMAT", 2)
        open_set(make, tmp_path / "set", [encode(TWELVE_BITS)])
    said: list[str] = []
    data = open_data(DataConfig(name="imagefolder", path=str(tmp_path / "set")), said.append)
    assert data.pixel_range == PixelRange(0, 4095)
    [line] = [line for line in said if "is decoded again" in line]
    assert "whether it has any is not recorded in " in line
    assert sum("0 to 4095 (of the training images) become 0 to 255" in line for line in said) == 1
