"""Three ways to a square: crop, squash and pad, of whole images and of strips, with little memory."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from hwcls.config.data import DataConfig, Interpolation, Resize
from hwcls.data.decoding import resize
from hwcls.data.decoding.decode import decode_to_size
from hwcls.data.decoding.resizing import Resizing
from hwcls.data.imageset import ImageSet, InputSpec, open_data
from hwcls.data.importer import import_data_set
from hwcls.data.store import open_pixel_store
from hwcls.training.image_size import size_data

HOW: tuple[Resize, ...] = ("crop", "squash", "pad")


def stripes(height: int, width: int) -> np.ndarray:
    """(H, W, 1): the left half 0, the right half 200."""
    pixels = np.zeros((height, width, 1), np.uint8)
    pixels[:, width // 2 :] = 200
    return pixels


def whole(pixels: np.ndarray, size: int, how: Resize | Resizing) -> np.ndarray:
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    resizing = how if isinstance(how, Resizing) else Resizing(how)
    return resize.resize_batch(batch, size, resizing)[0].permute(1, 2, 0).numpy()


FILTERS: dict[Interpolation, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("side", [64, 73, 224, 500])
def test_a_square_is_resized_as_pil_does_it(side: int, interpolation: Interpolation) -> None:
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    pixels[: side // 2] = 255 * (pixels[: side // 2] > 128)  # edges, over which a bicubic filter shoots
    for size, crop_pct in ((160, 1.0), (112, 0.875)):
        resizing = Resizing("crop", interpolation, crop_pct)
        scaled = resizing.scaled_side(size)
        assert scaled == {160: 160, 112: 128}[size]
        wanted = np.asarray(Image.fromarray(pixels).resize((scaled, scaled), FILTERS[interpolation])).astype(int)
        start = (scaled - size) // 2
        found = whole(pixels, size, resizing)
        difference = np.abs(found - wanted[start : start + size, start : start + size])
        assert difference.max() <= (1 if interpolation == "bilinear" else 2)
        assert (difference > 1).mean() < 1e-4


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("shape", [(30, 90), (90, 30), (40, 40), (20, 400)])
def test_the_centre_of_a_larger_square_is_kept(how: Resize, shape: tuple[int, int]) -> None:
    """As if it had been resized to the larger side first, and then cropped."""
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    larger = whole(pixels, 40, Resizing(how))
    assert (whole(pixels, 32, Resizing(how, crop_pct=0.8)) == larger[4:36, 4:36]).all()
    assert (whole(pixels, 40, Resizing(how, "bicubic")) != larger).any() == (shape != (40, 40))


def test_what_each_way_keeps() -> None:
    pixels = np.full((20, 60, 1), 100, np.uint8)
    pixels[:, :15], pixels[:, 45:] = 0, 200  # what lies at the ends
    assert whole(pixels, 20, "crop")[10, [0, -1], 0].tolist() == [100, 100]
    squashed = whole(pixels, 20, "squash")[10, :, 0]
    assert (squashed[:4].tolist(), squashed[-4:].tolist()) == ([0] * 4, [200] * 4)
    padded = whole(pixels, 20, "pad")[:, :, 0]
    assert (padded[:6] == resize.FILL).all()
    assert (padded[13:] == resize.FILL).all()
    assert padded[6:13, [0, 10, -1]].tolist() == [[0, 100, 200]] * 7
    square = whole(pixels[:, :20], 10, "crop")
    for how in HOW:
        assert (whole(pixels[:, :20], 10, how) == square).all()  # a square is the same in all of them


EVERY = [*map(Resizing, HOW), *(Resizing(how, "bicubic", 0.8) for how in HOW)]


@pytest.mark.parametrize("how", EVERY, ids=str)
@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (7, 300), (300, 7), (9, 12), (5, 5), (1, 50), (50, 1), (16, 16)])
def test_strips_give_what_the_whole_image_gives(
    how: Resizing, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    expected = whole(pixels, 16, how)
    assert expected.shape == (16, 16, 3)

    def read(box: resize.Box) -> np.ndarray:
        return pixels[box[0] : box[2], box[1] : box[3]]

    for strip in (1 << 20, 64):
        monkeypatch.setattr(resize, "STRIP", strip)
        assert (resize.resize_pixels(read, *shape, 16, how) == expected).all()


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("shape", [(1, 3_000_000), (3_000_000, 1)])
def test_a_line_of_millions_of_pixels_takes_little_memory(
    how: Resize, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scaled in the wrong order it would take 200 MB and more at once."""
    largest, scale = [0], resize._scale

    def watched(pixels: torch.Tensor, target: tuple[int, int], resizing: Resizing) -> torch.Tensor:
        found = scale(pixels, target, resizing)
        largest[0] = max(largest[0], found.numel())
        return found

    monkeypatch.setattr(resize, "_scale", watched)
    line = np.full((*shape, 1), 50, np.uint8)
    found = resize.resize_pixels(lambda box: line[box[0] : box[2], box[1] : box[3]], *shape, 64, Resizing(how))
    assert found.shape == (64, 64, 1)
    assert set(np.unique(found)) <= {50, resize.FILL}
    assert largest[0] <= 3_000_000


@pytest.mark.parametrize("how", HOW)
def test_every_decoder_resizes_alike(how: Resize) -> None:
    """simplejpeg, PIL with a turn by EXIF, grey, alpha, palette and 16 bits."""
    pixels = np.repeat(stripes(30, 90), 3, 2)
    expected = whole(pixels, 24, how).astype(int)
    files = {name: io.BytesIO() for name in ("jpg", "turned", "png", "rgba", "grey", "palette")}
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(files["jpg"], "JPEG", quality=100, subsampling=0)
    image.transpose(Image.Transpose.ROTATE_90).save(files["turned"], "JPEG", quality=100, subsampling=0, exif=exif)
    image.save(files["png"], "PNG")
    image.convert("RGBA").save(files["rgba"], "PNG")
    image.convert("L").save(files["grey"], "PNG")
    image.quantize(4).save(files["palette"], "PNG")
    for name, file in files.items():
        found = decode_to_size(file.getvalue(), 24, 3, None, Resizing(how))
        assert np.abs(found.astype(int) - expected).max() <= 3, name
    wide, file = io.BytesIO(), stripes(30, 90)[..., 0].astype(np.uint16) * 257
    Image.fromarray(file).save(wide, "PNG")
    found = decode_to_size(wide.getvalue(), 24, 1, resize_range(), Resizing(how))
    assert np.abs(found.astype(int) - expected[..., :1]).max() <= 1


def resize_range() -> object:
    from hwcls.data.decoding.pixel_range import SIXTEEN_BITS

    return SIXTEEN_BITS


def folder_of(make: SimpleNamespace, path: Path) -> DataConfig:
    """Own images of several sizes, in colour, grey and with alpha."""
    for split in ("train", "test"):
        for name in ("a", "b"):
            (path / split / name).mkdir(parents=True)
            for i, shape in enumerate(((30, 90, 3), (90, 30), (40, 40, 4))):
                (path / split / name / f"{i}.png").write_bytes(make.png(make.noise(i, *shape)))
    return DataConfig(name="imagefolder", path=str(path), image_size=24)


def test_mixed_images_open_in_every_way(make: SimpleNamespace, tmp_path: Path) -> None:
    config = folder_of(make, tmp_path / "set")
    opened: dict[str, ImageSet] = {}
    folders = set()
    for how in HOW:
        asked = config.model_copy(update={"resize": how})
        opened[how] = open_data(asked)
        folders.add(open_pixel_store(asked).folder)
        assert (opened[how].image_size, opened[how].channels, opened[how].resize) == (24, 3, how)
        assert opened[how].facts()["resize"] == how
        again = InputSpec.from_dict(opened[how].to_dict())
        assert (again.resize, again.image_size) == (how, 24)
    assert len(folders) == 3
    bicubic = open_data(config.model_copy(update={"interpolation": "bicubic", "crop_pct": 0.8}))
    assert bicubic.resizing == Resizing("crop", "bicubic", 0.8)
    assert InputSpec.from_dict(bicubic.to_dict()).resizing == bicubic.resizing
    assert (bicubic.test.images != opened["crop"].test.images).any()
    first = [opened[how].test.images[0] for how in HOW]
    assert (first[2][:8] == resize.FILL).all()
    assert (first[2][8:16] != resize.FILL).any()
    assert not (first[0] == first[1]).all()
    third = [opened[how].test.images[2] for how in HOW]  # a square
    assert (third[0] == third[1]).all()
    assert (third[0] == third[2]).all()


def photo(kind: str, number: int) -> bytes:
    """A photo of one kind; the numbers differ in size and shape."""
    height, width = ((50, 80), (80, 50), (64, 64), (30, 200))[number % 4]
    pixels = np.random.default_rng(number).integers(0, 256, (height, width, 4), np.uint8)
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    if kind == "16 bit":
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(file, "PNG")
    elif kind == "alpha":
        Image.fromarray(pixels).save(file, "PNG")
    elif kind == "turned":
        Image.fromarray(pixels[..., :3]).save(file, "JPEG", exif=exif)
    elif kind == "grey":
        Image.fromarray(pixels[..., 0]).save(file, "JPEG")
    else:
        Image.fromarray(pixels[..., :3]).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("kinds", "channels"),
    [
        (("colour",), 3),
        (("grey",), 1),
        (("grey", "colour"), 3),
        (("alpha", "turned"), 3),
        (("16 bit",), 1),
        (("16 bit", "grey", "colour", "alpha", "turned"), 3),
    ],
)
def test_photos_of_every_kind_from_import_to_open(kinds: tuple[str, ...], channels: int, tmp_path: Path) -> None:
    for split, count in (("train", 10), ("test", 5)):
        for name in ("a", "b"):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{i}.img.png").write_bytes(photo(kinds[i % len(kinds)], i))
    import_data_set("mine", tmp_path / "photos")
    for how in HOW:
        data, chosen = size_data(DataConfig(name="mine", resize=how))
        assert chosen is not None
        opened = open_data(data)
        assert (opened.image_size, opened.channels, opened.resize) == (chosen.side, channels, how)
        assert len(opened.train) + len(opened.val) + len(opened.test) == 30
        assert opened.train.images.shape[1:] == (chosen.side, chosen.side, channels)
        assert min(image.std() for image in opened.train.images) > 2  # none is blank


def test_stores_and_weights_of_earlier_versions_are_cropped(make: SimpleNamespace, tmp_path: Path) -> None:
    config = folder_of(make, tmp_path / "set")
    meta = open_data(config).to_dict()
    del meta["resize"]
    assert InputSpec.from_dict(meta).resize == "crop"
    del meta["interpolation"], meta["crop_pct"]
    assert InputSpec.from_dict(meta).resizing == Resizing()
    with pytest.raises(ValueError, match="unknown interpolation 'lanczos'"):
        InputSpec.from_dict({**meta, "interpolation": "lanczos"})
    with pytest.raises(ValueError, match="unknown resize 'stretch'"):
        InputSpec.from_dict({**meta, "resize": "stretch"})
