"""Copies among a user's images: what is found, what is not, and that it is found once."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from scipy.ndimage import gaussian_filter

from hwcls.config.data import DataConfig
from hwcls.data.cuts import features, near
from hwcls.data.cuts.index import describe_copies, has_index, open_index
from hwcls.data.imageset import is_prepared, open_data

SIDE = 64


@cache
def photo(seed: int) -> Image.Image:
    """An image with structure at all scales, as a photo has it."""
    random = np.random.default_rng(seed)
    layers = [gaussian_filter(random.normal(size=(SIDE, SIDE, 3)), (scale, scale, 0)) * scale for scale in (1, 3, 9)]
    pixels = sum(layers)
    return Image.fromarray(np.clip(128 + 60 * pixels / pixels.std(), 0, 255).astype(np.uint8))


def encode(image: Image.Image, kind: str = "JPEG", quality: int = 90) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, quality=quality)
    return file.getvalue()


def stamped(image: Image.Image) -> Image.Image:
    copy = image.copy()
    ImageDraw.Draw(copy).text((2, SIDE - 12), "2021-03", fill="white")
    return copy


def turned(image: Image.Image) -> bytes:
    """Stored on its side, with the EXIF tag that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(file, "JPEG", quality=90, exif=exif)
    return file.getvalue()


COPIES: dict[str, Callable[[Image.Image], bytes]] = {
    "same": encode,
    "quality 50": lambda image: encode(image, quality=50),
    "png": lambda image: encode(image, "PNG"),
    "smaller": lambda image: encode(image.resize((40, 40))),
    "larger": lambda image: encode(image.resize((200, 200))),
    "brighter": lambda image: encode(ImageEnhance.Brightness(image).enhance(1.2)),
    "less contrast": lambda image: encode(ImageEnhance.Contrast(image).enhance(0.8)),
    "grey": lambda image: encode(image.convert("L")),
    "cropped": lambda image: encode(image.crop((1, 1, SIDE - 1, SIDE - 1))),
    "stamped": lambda image: encode(stamped(image)),
    "mirrored": lambda image: encode(ImageOps.mirror(image)),
    "turned": turned,
}


@pytest.fixture
def photos(tmp_path: Path) -> DataConfig:
    """120 photos of three classes in train and test; each kind of copy of two of the first is in train."""
    for i in range(120):
        split, label = ("test", "train")[i % 4 > 0], "abc"[i % 3]
        write(tmp_path / "mine" / split / label / f"{i:03d}.jpg", encode(photo(i)))
    for kind, change in COPIES.items():
        for i in (0, 1):
            write(tmp_path / "mine" / "train" / "abc"[i % 3] / f"{kind} {i}", change(photo(i)), suffix=".png")
    return DataConfig(name="imagefolder", path=str(tmp_path / "mine"))


def write(path: Path, data: bytes, suffix: str = "") -> None:
    path = path.with_name(path.name + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def test_every_kind_of_copy_is_found_and_nothing_else(photos: DataConfig) -> None:
    index = open_index(photos)
    original = {
        int(Path(name).stem): copies for name, copies in zip(index.names, index.copies, strict=True) if is_digit(name)
    }
    for name, copies in zip(index.names, index.copies, strict=True):
        if not is_digit(name):
            assert copies == original[int(Path(name).stem[-1])], name
    assert len(set(original.values())) == 120
    assert len(index.conflicts) == 0


def is_digit(name: str) -> bool:
    return Path(name).stem.isdigit()


def test_it_is_made_once_whatever_the_size(photos: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not has_index(photos)
    made = open_index(photos)
    monkeypatch.setattr(features, "reduce_images", None)
    again = open_index(photos.model_copy(update={"image_size": 32, "val": 0.3, "channels": 1}))
    assert again.counts == made.counts == {"train": 90 + 24, "test": 30}
    for field in ("names", "classes", "copies", "conflicts"):
        assert np.array_equal(getattr(again, field), getattr(made, field))
    assert made.groups is again.groups is None


def test_a_damaged_index_is_made_again(photos: DataConfig, tmp_path: Path) -> None:
    made = open_index(photos)
    (path,) = (tmp_path / "cache" / "index").glob("*.npz")
    for content in (b"", path.read_bytes()[:-100], b"PK\x03\x04"):
        path.write_bytes(content)
        assert np.array_equal(open_index(photos).copies, made.copies)
    assert not list(path.parent.glob("*.tmp"))


def test_copies_with_other_labels_and_across_splits_are_named(photos: DataConfig) -> None:
    folder = Path(photos.path or "")
    write(folder / "train" / "c" / "conflict.jpg", encode(photo(1), quality=60))
    write(folder / "train" / "c" / "left.jpg", encode(ImageOps.mirror(photo(2 + 3))))  # a left turn is no right turn
    index = open_index(photos)
    assert {tuple(sorted(index.classes[pair])) for pair in index.conflicts} == {("b", "c")}
    conflicts, across = index.describe()
    count = len(index.conflicts)  # also those of copies of the image
    assert 5 < count <= 13
    first = "train/b/001.jpg (b) and train/c/conflict.jpg (c)"
    assert conflicts == f"near copies with different labels: {count} pairs, such as {first}"
    assert across == (
        "near copies of training images in test: 1 of 30, such as test/a/000.jpg of train/a/brighter 0.png"
    )
    named = index.named_pairs()
    assert named["across"] == [["test/a/000.jpg", "train/a/brighter 0.png"]]
    assert {"train/c/conflict.jpg"} == set.intersection(*map(set, named["conflicts"]))
    command = f"hwcls data verify imagefolder --path {folder}"
    expected = tuple(f"{line}; `{command}` names them" for line in (conflicts, across))
    assert open_data(photos).origin.notes == expected == describe_copies(photos)
    resized = photos.model_copy(update={"interpolation": "bicubic", "crop_pct": 0.8})
    assert open_data(resized).origin.notes == expected  # a sweep that has both says it once


def test_near_copies_are_in_one_split(photos: DataConfig, tmp_path: Path) -> None:
    index = open_index(photos)
    for seed in range(3):
        assert not is_prepared(photos) or seed
        opened = open_data(photos.model_copy(update={"val": 0.3, "split_seed": seed}))
        train, val = (set(index.copies[index.rows("train")][part.rows]) for part in (opened.train, opened.val))
        assert not train & val
        assert len(opened.val) == pytest.approx(0.3 * 114, abs=6)
    assert opened.origin.facts()["duplicates"] == "near"
    assert opened.origin.copies == 11 + 12  # photo 0 itself is in test
    assert is_prepared(photos)
    for path in (tmp_path / "cache" / "index").glob("*.npz"):
        path.unlink()
    assert not is_prepared(photos)
    assert is_prepared(photos.model_copy(update={"duplicates": "exact"}))


def test_images_that_look_alike_need_to_be_more_alike() -> None:
    random = np.random.default_rng(0)
    base = random.normal(size=256)
    labels = np.arange(1000) % 2

    def described(spread: float) -> np.ndarray:
        found = base + spread * random.normal(size=(1000, 256))
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)

    assert near.find_threshold(described(10.0), labels) == near.LEAST
    assert near.find_threshold(described(0.3), labels) is None  # nothing tells a copy
    alike = described(0.5)
    threshold = near.find_threshold(alike, labels)
    assert threshold is not None
    assert 0.95 < threshold <= near.MOST
    assert len(near.find_pairs(alike, threshold)[0]) == 0
    alike[1] = alike[0]
    assert near.find_pairs(alike, threshold)[0].tolist() == [[0, 1]]


def test_the_search_finds_what_comparing_all_pairs_finds() -> None:
    random = np.random.default_rng(1)
    made = random.normal(size=(1500, 256))
    made[1000:] = made[:500] + random.uniform(0.1, 0.8, (500, 1)) * random.normal(size=(500, 256))
    made = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
    alike = np.triu(made @ made.T, 1)
    every = set(map(tuple, np.argwhere(alike >= 0.8).tolist()))
    pairs, found = near.find_pairs(made, 0.8)
    assert set(map(tuple, pairs.tolist())) <= every
    assert len(pairs) >= 0.98 * len(every) > 400
    assert found == pytest.approx(alike[pairs[:, 0], pairs[:, 1]], abs=1e-5)


def test_chains_of_look_alikes_do_not_become_one_set() -> None:
    pairs = np.stack([np.arange(999), np.arange(1, 1000)], 1)
    some = near.join_copies(1000, pairs, np.linspace(0.9, 0.95, 999, dtype=np.float32))
    assert np.unique(some, return_counts=True)[1].max() == near.LARGE
    same = near.join_copies(1000, pairs, np.full(999, 0.999, np.float32))
    assert len(set(same)) == 1


def test_images_of_one_colour_are_alike_only_as_files(tmp_path: Path) -> None:
    for i in range(12):
        write(
            tmp_path / "mine" / "train" / "ab"[i % 2] / f"{i}.png",
            encode(Image.new("RGB", (8, 8), (20 * i, 0, 0)), "PNG"),
        )
        write(tmp_path / "mine" / "test" / "ab"[i % 2] / f"{i}.png", encode(photo(i), "PNG"))
    write(tmp_path / "mine" / "train" / "a" / "again.png", encode(Image.new("RGB", (8, 8)), "PNG"))
    index = open_index(DataConfig(name="imagefolder", path=str(tmp_path / "mine")))
    assert len(set(index.copies)) == 24


def test_a_camera_that_never_moves_gives_few_pairs() -> None:
    """Each of its images is a near copy of all others."""
    random = np.random.default_rng(0)
    frames = np.clip(random.integers(0, 256, (16, 16)) + random.normal(0, 4, (800, 16, 16)), 0, 255).astype(np.uint8)
    pairs, alike = near.find_pairs(features.describe_images(frames), 0.8)
    assert alike.min() > 0.95
    partners = np.bincount(pairs.ravel(), minlength=800)
    assert 20 < partners.min() <= partners.mean() < near.MANY + 2 * near.REACH
    assert len(np.unique(pairs, axis=0)) == len(pairs)


@pytest.mark.parametrize("classes", ["ab", "a"])
def test_frames_of_one_camera_do_not_swallow_a_class(tmp_path: Path, classes: str) -> None:
    """They hardly differ, so that all would be one set of copies; equal ones stay together, and a note says so."""
    scenes = {name: np.random.default_rng(i).integers(0, 256, (32, 32)) for i, name in enumerate("ab")}
    random = np.random.default_rng(9)
    for i in range(60):
        for name in "ab":
            noise = random.normal(0, 4, (32, 32))
            pixels = scenes[name] + noise if name in classes else random.integers(0, 256, (32, 32))
            frame = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            write(tmp_path / "mine" / name / f"{i:02d}.png", encode(frame, "PNG"))
            if i < 5:
                write(tmp_path / "mine" / name / f"{i:02d} again.png", encode(frame, "PNG"))
    config = DataConfig(path=str(tmp_path / "mine"), image_size=16)
    opened = open_data(config)
    assert opened.counts()["test"] == pytest.approx([13, 13], abs=2)
    index = open_index(config)
    assert index.exact.startswith("too many of the images look alike")
    assert len(np.unique(index.copies)) == 120
    assert any(index.exact in note for note in opened.origin.notes)


def test_a_set_of_half_a_class_is_parted_but_for_equal_images() -> None:
    copies, labels = np.array([0] * 30 + list(range(30, 60))), np.array([0] * 40 + [1] * 20)
    same = np.arange(60)
    same[1] = 0
    parted, count = near.part_large(copies, same, labels)
    assert (len(np.unique(parted)), count) == (59, 30)
    assert parted[0] == parted[1]
    kept, none = near.part_large(copies, same, np.zeros(60, np.int64))
    assert (len(np.unique(kept)), none) == (31, 0)


def test_of_small_images_and_crowds_only_exact_copies_count(tmp_path: Path) -> None:
    """Strokes that differ a little, as handwritten ones do; two files hold the same pixels."""
    crowded = "too many of the images look alike; name what belongs together by data.layout.group"
    for side, why in ((28, "the images are too small for them (28 pixels)"), (64, crowded)):
        for i in range(60):
            image = Image.new("L", (64, 64))
            ImageDraw.Draw(image).line((30 + i % 4, 8, 32 + i // 20, 50 + i % 7), fill=200 + i % 50, width=4 + i % 3)
            write(tmp_path / str(side) / "ab"[i % 2] / f"{i:02d}.png", encode(image.resize((side, side)), "PNG"))
        write(
            tmp_path / str(side) / "a" / "again.tif", encode(Image.open(tmp_path / str(side) / "a" / "00.png"), "TIFF")
        )
        config = DataConfig(name="imagefolder", path=str(tmp_path / str(side)))
        index = open_index(config)
        assert (
            [sorted(map(str, index.names[index.copies == copies])) for copies in set(index.copies.tolist())].count(
                ["a/00.png", "a/again.tif"]
            )
            == len(index.names) - len(set(index.copies))
            == 1
        )
        expected = f"near copies are not looked for, only exact ones: {why}"
        assert describe_copies(config) == open_index(config).listing(config).notes == (expected,)
        assert open_data(config).origin.facts()["duplicates"] == "exact"
        assert index.describe() == [expected]


def test_descriptions_are_the_same_on_every_cpu() -> None:
    """Sums of products are exact, whatever their order; the numbers themselves are pinned."""
    reduced = np.random.default_rng(0).integers(0, 256, (50, 16, 16)).astype(np.uint8)
    described = features.describe_images(reduced)
    assert np.array_equal(described * features.STEPS, np.rint(described * features.STEPS))
    exact = described.astype(np.float64) @ described.T.astype(np.float64)
    assert np.array_equal(described @ described.T, exact)
    assert np.array_equal(np.einsum("ij,kj->ik", described[:, ::-1], described[:, ::-1]), exact)
    assert np.diag(exact) == pytest.approx(1, abs=2e-3)
    assert hashlib.blake2b(described.astype("<f4").tobytes(), digest_size=8).hexdigest() == "145b933d1c7396ea"
