"""What image files may hold, and what becomes of extreme ones."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from hwcls.config.data import DataConfig
from hwcls.data.decoding.decode import decode_image
from hwcls.data.decoding.opened import _plain_jpeg_header
from hwcls.data.decoding.resize import resize_batch
from hwcls.data.imageset import open_data
from hwcls.errors import UserError


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


def folder_of(make: SimpleNamespace, root: Path, odd: bytes) -> DataConfig:
    """Class folders of plain images; `odd` is the first of them."""
    files = {f"{split}/{kind}/{i}.png": make.png(make.noise(i, 8, 8)) for split in ("train", "val") for kind in "ab"
             for i in range(1, 3)}  # fmt: skip
    make.write_files(root, files | {"train/a/0.png": odd})
    return DataConfig(name="imagefolder", path=str(root), image_size=1024)


@pytest.mark.parametrize("shape", [(10, 200), (200, 10), (9, 301)])
def test_the_centre_of_a_long_image(make: SimpleNamespace, shape: tuple[int, int]) -> None:
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    pixels = torch.from_numpy((y + x).astype(np.uint8))[None, None]  # (1, 1, H, W)
    scaled_size = [round(side * 7 / min(shape)) for side in shape]
    scaled = torch.nn.functional.interpolate(pixels, scaled_size, mode="bilinear", antialias=True)
    top, left = (scaled_size[0] - 7) // 2, (scaled_size[1] - 7) // 2
    want = scaled[..., top : top + 7, left : left + 7].int()
    assert (resize_batch(pixels, 7).int() - want).abs().max() <= 1


def test_a_line_of_pixels_takes_no_more_memory_than_others(make: SimpleNamespace, tmp_path: Path) -> None:
    line = np.zeros((1, 3_000_000), np.uint8)
    line[0, 1_400_000:1_600_000] = 200
    data = open_data(folder_of(make, tmp_path / "set", make.png(line)))  # scaled uncropped it takes three terabytes
    assert (data.train.images[0] == 200).all()


def test_an_image_that_takes_all_memory_is_named(
    make: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> torch.Tensor:
        raise RuntimeError("you tried to allocate 737280000000 bytes.\nframe #0: ...")

    monkeypatch.setattr("hwcls.data.decoding.decode.resize_pixels", full)
    with pytest.raises(UserError, match=r"set/.*\.png: not a readable image \(you tried to allocate \d+ bytes\.\)"):
        open_data(folder_of(make, tmp_path / "set", make.png(make.noise(0, 8, 8))))


@pytest.mark.parametrize("kind", ["EPS", "ICO", "TGA", "ICNS"])
def test_formats_that_are_not_opened(make: SimpleNamespace, tmp_path: Path, kind: str) -> None:
    data = encode(Image.fromarray(make.noise(0, 32, 32, 3)), kind)
    with pytest.raises(ValueError, match="of no known image format"):
        decode_image(data, 3)
    config = folder_of(make, tmp_path / "set", data)
    for changed in ({}, {"image_size": None}):  # by its pixels, and by its header
        with pytest.raises(UserError, match=r"train/a/0\.png: not a readable image \(of no known image format\)"):
            open_data(config.model_copy(update=changed))


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "BMP", "DIB", "WEBP", "PPM", "GIF", "TIFF"])
def test_formats_that_are_opened(make: SimpleNamespace, kind: str) -> None:
    pixels = np.full((9, 7, 3), 100, np.uint8)
    assert np.abs(decode_image(encode(Image.fromarray(pixels), kind), 3).astype(int) - pixels).max() <= 2


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def test_a_jpeg_is_upright_wherever_its_orientation_is_stored(make: SimpleNamespace) -> None:
    plain = make.jpeg(make.noise(0, 40, 60, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned, xmp = segment(0xE1, exif.tobytes()), b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation=%s/>"
    profile = segment(0xE2, b"ICC_PROFILE\0\1\1" + b"\xff\xda" * 3000)
    want = np.rot90(decode_image(plain, 3), -1)
    for before in (turned, profile + turned, b"\xff" + turned, segment(0xE1, xmp % b'"6"'), profile + profile + turned):
        found = decode_image(plain[:2] + before + plain[2:], 3)
        assert found.shape == want.shape
        assert np.array_equal(found, want)
    untold = plain[:2] + profile + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>") + plain[2:]
    assert _plain_jpeg_header(untold, 3) is not None  # nothing keeps it from the fast way
