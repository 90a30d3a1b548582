"""Every data set in its official layout, complete and damaged."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hwcls.config.data import AugmentConfig, DataConfig
from hwcls.data.catalog import DATA_SETS, list_data_sets
from hwcls.data.decoding.decode import decode_image
from hwcls.data.decoding.pixel_range import SIXTEEN_BITS
from hwcls.data.formats import digits
from hwcls.data.imageset import open_data
from hwcls.errors import UserError


@pytest.mark.parametrize("place", ["FashionMNIST/raw", "fashion_mnist"])
@pytest.mark.parametrize("gz", [False, True])
def test_idx(make: SimpleNamespace, raw: Path, place: str, gz: bool) -> None:
    arrays = make.write_idx(raw / place, gz=gz)
    data = open_data(DataConfig(name="fashion_mnist", val=0.2))
    assert (len(data.train), len(data.val), len(data.test)) == (48, 12, 20)
    assert np.array_equal(data.train.images[..., 0], arrays["train"])
    assert np.array_equal(data.test.images[data.test.rows][..., 0], arrays["t10k"])
    assert data.classes[9] == "Ankle boot"
    assert data.train.labels.tolist() == (data.train.rows % 10).tolist()
    assert data.augment.hflip


def test_idx_truncated(make: SimpleNamespace, raw: Path) -> None:
    make.write_idx(raw / "mnist")
    path = raw / "mnist" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match="truncated") as caught:
        open_data(DataConfig(name="mnist"))
    assert str(path) in str(caught.value)


def test_digits() -> None:
    data = open_data(DataConfig(name="digits"))
    assert (len(data.train), len(data.val), len(data.test)) == (1294, 144, 359)
    assert data.train.images.max() == 255
    assert np.bincount(data.test.labels).min() >= 34
    assert data.augment == AugmentConfig()


def test_digits_are_those_of_scikit_learn() -> None:
    with np.load(digits.FILE) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    assert (images.shape, labels.shape, images.dtype, labels.dtype) == ((1797, 8, 8), (1797,), np.uint8, np.uint8)
    sums = [hashlib.sha256(array.tobytes()).hexdigest() for array in (images, labels)]
    assert sums == [
        "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3",
        "8ba4f891220f5e4c9c819638d1602d74b83618f167043c6da52a2a247841ddf0",
    ]
    bunch = pytest.importorskip("sklearn.datasets").load_digits()
    assert np.array_equal(images, bunch.images)
    assert np.array_equal(labels, bunch.target)


@pytest.mark.parametrize("kind", ["zip", "deflated", "folder"])
def test_tinyimagenet(make: SimpleNamespace, raw: Path, kind: str) -> None:
    files = make.tiny_files()
    if kind == "folder":
        make.write_files(raw / "tiny-imagenet-200", files)
    else:
        compression = zipfile.ZIP_DEFLATED if kind == "deflated" else zipfile.ZIP_STORED
        make.write_zip(raw / "tiny-imagenet-200-sample.zip", files, compression)
    data = open_data(DataConfig(name="tinyimagenet", val=0.25))
    assert data.classes == ("goldfish", "crane (n02)", "crane (n03)", "bus")
    assert (len(data.train), len(data.val), len(data.test)) == (18, 6, 8)
    assert (data.image_size, data.channels) == (64, 3)
    assert data.test.labels.tolist() == [2, 0, 1, 3] * 2
    for i in range(8):
        want = np.asarray(Image.open(io.BytesIO(files[f"val/images/val_{i}.JPEG"])))
        assert np.array_equal(data.test.images[i], want)
    grey = data.train.images[data.train.rows[data.train.labels == 3]]
    assert np.array_equal(grey[..., 0], grey[..., 2])


def test_tinyimagenet_names_a_corrupt_image(make: SimpleNamespace, raw: Path, tmp_path: Path) -> None:
    files = make.tiny_files()
    files["train/n02/images/n02_3.JPEG"] = files["train/n02/images/n02_3.JPEG"][:700]
    make.write_zip(raw / "tiny-imagenet-200.zip", files)
    with pytest.raises(UserError, match=r"train/n02/images/n02_3\.JPEG: not a readable image"):
        open_data(DataConfig(name="tinyimagenet"))
    assert not list((tmp_path / "cache" / "stores").glob("**/*.npy"))  # nothing half-written


def test_zip_damaged(make: SimpleNamespace, raw: Path) -> None:
    path = raw / "tiny-imagenet-200.zip"
    make.write_zip(path, make.tiny_files())
    data = bytearray(path.read_bytes())
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="not a readable zip"):
        open_data(DataConfig(name="tinyimagenet"))
    data[data.index(b"n03_0.JPEG") + 300] ^= 255
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"n03_0.JPEG: .*checksum is wrong"):
        open_data(DataConfig(name="tinyimagenet"))


def test_tinyimagenet_val_class_that_train_lacks(make: SimpleNamespace, raw: Path) -> None:
    files = {name: data for name, data in make.tiny_files().items() if not name.startswith("train/n01")}
    make.write_zip(raw / "tiny-imagenet-200.zip", files)
    with pytest.raises(UserError, match="'n01' that train lacks"):
        open_data(DataConfig(name="tinyimagenet"))


def test_cifar10_archive(make: SimpleNamespace, raw: Path) -> None:
    images = make.write_cifar(raw / "cifar-10-binary.tar.gz")
    data = open_data(DataConfig(name="cifar10"))
    assert np.array_equal(data.train.images, images)
    assert (data.classes[3], len(data.test)) == ("cat", 20)


def test_cifar10_truncated(make: SimpleNamespace, raw: Path) -> None:
    path = raw / "cifar-10-binary.tar.gz"
    make.write_cifar(path)
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(UserError, match="not a readable tar"):
        open_data(DataConfig(name="cifar10"))


def image_folder(make: SimpleNamespace, root: Path, *splits: str) -> Path:
    for s, split in enumerate(splits):
        for c, name in enumerate(("ant", "bee")):
            for i in range(6):
                pixels = make.noise(100 * s + 10 * c + i, 16, 16, 3)
                make.write_files(
                    root, {f"{split}/{name}/{i}.jpg": make.jpeg(pixels), f"{split}/{name}/notes.txt": b"no image"}
                )
    return root


def test_imagefolder(make: SimpleNamespace, tmp_path: Path) -> None:
    both = open_data(
        DataConfig(name="imagefolder", path=str(image_folder(make, tmp_path / "both", "train", "val", "test")))
    )
    assert (len(both.train), len(both.val), len(both.test), both.image_size) == (12, 12, 12, 16)
    for held_out in ("val", "test"):
        folder = image_folder(make, tmp_path / held_out, "train", held_out)
        data = open_data(DataConfig(name="imagefolder", path=str(folder), val=0.34))
        assert (len(data.train), len(data.val), len(data.test)) == (8, 4, 12)
        assert np.bincount(data.val.labels).tolist() == [2, 2]


def test_imagefolder_mistakes(make: SimpleNamespace, tmp_path: Path) -> None:
    def fails(message: str, path: Path | None) -> None:
        with pytest.raises(UserError, match=message):
            open_data(DataConfig(name="imagefolder", path=None if path is None else str(path)))

    fails("needs a path", None)
    fails("no such folder", tmp_path / "nowhere")
    extra = image_folder(make, tmp_path / "b", "train", "val")
    make.write_files(extra, {"val/beee/0.jpg": make.jpeg(make.noise(1, 16, 16, 3))})
    fails("'beee' is in test, but not in train — did you mean 'bee'", extra)
    empty = image_folder(make, tmp_path / "c", "train", "val")
    (empty / "train" / "cow").mkdir()
    fails("cow: no images", empty)
    sizes = image_folder(make, tmp_path / "d", "train", "val")
    make.write_files(sizes, {"train/ant/wide.jpg": make.jpeg(make.noise(1, 16, 30, 3))})
    assert open_data(DataConfig(name="imagefolder", path=str(sizes), image_size=20)).image_size == 20
    corrupt = image_folder(make, tmp_path / "e", "train", "val")
    make.write_files(corrupt, {"train/ant/bad.png": b"\x89PNG not really"})
    fails("ant/bad.png: not a readable image", corrupt)


def test_imagefolder_without_images(make: SimpleNamespace, tmp_path: Path) -> None:
    def fails(message: str, path: Path) -> None:
        with pytest.raises(UserError, match=message) as caught:
            open_data(DataConfig(name="imagefolder", path=str(path)))
        assert str(path) in str(caught.value)

    (tmp_path / "empty").mkdir()
    fails("no images; it holds nothing — images lie in class folders", tmp_path / "empty")
    make.write_files(tmp_path / "flat", {"train/0.jpg": b"x", "val/0.jpg": b"x"})
    fails(r"nothing says the classes of the images; it holds train/ \(1 image\), val/ \(1 image\)", tmp_path / "flat")
    bare = image_folder(make, tmp_path / "bare", "train")
    (bare / "val").mkdir()
    fails("val/: no images", bare)
    twice = image_folder(make, tmp_path / "twice" / "a", "train", "val").parent
    image_folder(make, twice / "b", "train", "val")
    fails("several folders hold a training folder: a/, b/", twice)
    assert len(open_data(DataConfig(name="imagefolder", path=str(twice / "a"))).test) == 12
    (twice / "b" / "train").rename(twice / "b" / "other")
    assert len(open_data(DataConfig(name="imagefolder", path=str(twice))).test) == 12  # one folder deeper


def test_a_folder_of_every_kind_of_image(make: SimpleNamespace, tmp_path: Path) -> None:
    colour, grey = make.noise(0, 8, 8, 3), make.noise(1, 8, 8)
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    kinds = {
        "jpeg.JPG": make.jpeg(colour),
        "grey.png": make.png(grey),
        "wide.png": encode(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"),
        "palette.gif": encode(Image.fromarray(colour).quantize(8), "GIF"),
        "clear.png": encode(Image.fromarray(np.dstack([colour, grey])), "PNG"),
        "turned.png": encode(Image.fromarray(colour), "PNG", exif=exif),
        "plain.bmp": encode(Image.fromarray(colour), "BMP"),
    }
    for place in ("train/a", "train/b", "test/a"):
        make.write_files(tmp_path / "set", {f"{place}/{name}": data for name, data in kinds.items()})
    data = open_data(DataConfig(name="imagefolder", path=str(tmp_path / "set")))
    assert (data.channels, data.image_size, len(data.test)) == (3, 8, 7)
    found = dict(zip(sorted(kinds), data.test.images, strict=True))
    grey_three = np.repeat(grey[..., None], 3, 2)
    assert np.array_equal(found["grey.png"], grey_three)
    assert np.array_equal(found["wide.png"], grey_three)
    assert np.array_equal(found["plain.bmp"], colour)
    assert np.array_equal(found["turned.png"], colour[::-1, ::-1])
    for name in ("jpeg.JPG", "palette.gif", "clear.png"):
        assert np.array_equal(found[name], decode_image(kinds[name], 3))


@pytest.mark.parametrize("cuts", [{}, {"per_class": 5}, {"fraction": 0.5, "classes": 3}, {"classes": (1, "7", "4")}])
def test_no_image_is_in_two_splits(cuts: dict[str, Any]) -> None:
    data = open_data(DataConfig(name="digits", **cuts))
    assert not set(data.train.rows) & set(data.val.rows)
    pixels = [{part.images[row].tobytes() for row in part.rows} for part in (data.train, data.val, data.test)]
    assert [len(one) for one in pixels] == [len(part) for part in (data.train, data.val, data.test)]
    assert len(set().union(*pixels)) == sum(map(len, pixels))


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


def test_decode_every_mode(make: SimpleNamespace) -> None:
    colour, grey = make.noise(0, 9, 7, 3), make.noise(1, 9, 7)
    assert np.array_equal(decode_image(encode(Image.fromarray(colour), "PNG"), 3), colour)
    assert np.array_equal(decode_image(encode(Image.fromarray(grey), "PNG"), 3), np.repeat(grey[..., None], 3, 2))
    assert np.array_equal(decode_image(encode(Image.fromarray(grey), "PNG"), 1), grey[..., None])
    wide = grey.astype(np.uint16) * 257
    assert np.array_equal(decode_image(encode(Image.fromarray(wide), "PNG"), 1, SIXTEEN_BITS), grey[..., None])
    palette = Image.fromarray(colour).quantize(16)
    assert np.array_equal(decode_image(encode(palette, "PNG"), 3), np.asarray(palette.convert("RGB")))
    clear = np.dstack([colour, np.zeros((9, 7), np.uint8)])
    clear[0, 0, 3] = 255
    laid = decode_image(encode(Image.fromarray(clear), "PNG"), 3)
    assert np.array_equal(laid[0, 0], colour[0, 0])
    assert (laid[1:] == 255).all()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned = decode_image(encode(Image.fromarray(colour), "PNG", exif=exif), 3)
    assert np.array_equal(turned, np.rot90(colour, -1))
    rotated = decode_image(encode(Image.fromarray(colour), "JPEG", exif=exif, quality=100, subsampling=0), 3)
    assert np.abs(rotated.astype(int) - np.rot90(colour, -1)).max() < 12
    cmyk = encode(Image.fromarray(colour).convert("CMYK"), "JPEG")
    assert np.array_equal(decode_image(cmyk, 3), np.asarray(Image.open(io.BytesIO(cmyk)).convert("RGB")))


def test_fast_jpeg_is_pil_to_the_bit(make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [make.jpeg(make.noise(i, 21 + i, 30, 3)) for i in range(5)] + [make.jpeg(make.noise(9, 8, 8))]
    fast = [decode_image(file, channels) for file in files for channels in (1, 3)]
    monkeypatch.setattr("hwcls.data.decoding.opened._plain_jpeg_header", lambda data, channels: None)
    slow = [decode_image(file, channels) for file in files for channels in (1, 3)]
    assert all(np.array_equal(a, b) for a, b in zip(fast, slow, strict=True))


def test_bomb_is_refused(make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = bytearray(make.jpeg(make.noise(0, 8, 8, 3)))
    frame = claims.index(b"\xff\xc0")
    claims[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(ValueError, match="unpacks to 65535x65535 pixels"):
        decode_image(bytes(claims), 3)
    header = b"IHDR" + struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    with pytest.raises(ValueError, match="unpacks to 10000x10000 pixels"):
        decode_image(png + b"\0\0\0\0IDAT\x35\xaf\x06\x1e", 3)
    monkeypatch.setattr("hwcls.data.decoding.opened.MAX_PIXELS", 1000)
    bomb = np.zeros((40, 50, 3), np.uint8)
    for data in (make.jpeg(bomb), encode(Image.fromarray(bomb), "PNG")):
        with pytest.raises(ValueError, match="50x40"):
            decode_image(data, 3)


def test_unknown_data_set() -> None:
    with pytest.raises(UserError, match="did you mean 'cifar10'"):
        open_data(DataConfig(name="cifar-10"))


def test_list_data(make: SimpleNamespace, raw: Path) -> None:
    make.write_idx(raw / "MNIST" / "raw")
    found = {entry["name"]: entry["found"] for entry in list_data_sets()}
    assert found["mnist"] == str(raw / "MNIST" / "raw")
    assert found["digits"] == "embedded"
    assert found["cifar10"] is None


def test_list_data_sets_ignores_what_is_no_data(
    make: SimpleNamespace, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.write_files(raw, {"lost+found/x": b"", "locked/x": b"", "mine/train/a/0.png": b"x"})
    (raw / "letters").mkdir()
    with zipfile.ZipFile(raw / "letters" / "2024.zip", "w") as archive:
        archive.writestr("january.txt", "x")
    is_dir = Path.is_dir

    def refuse(path: Path) -> bool:
        if path.parent.name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", refuse)
    assert [entry["name"] for entry in list_data_sets()] == [*DATA_SETS.names(), "mine"]
    with pytest.raises(UserError, match="unknown data set 'letters'"):
        open_data(DataConfig(name="letters"))
    with pytest.raises(UserError, match="unknown data set 'locked'"):
        open_data(DataConfig(name="locked"))


def test_a_folder_of_raw_data_that_cannot_be_read(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match=r"raw: cannot be read \(Permission denied\)"):
        list_data_sets()
