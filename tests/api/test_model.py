"""Models from Python: predictions of paths, PIL images and arrays, and the torch module."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import hwcls
from hwcls.api.images import list_sources
from hwcls.api.model import Model
from hwcls.data.decoding.decode import decode_image
from hwcls.data.decoding.pixel_range import SIXTEEN_BITS, PixelRange
from hwcls.models.user import trust
from tests.data.decoding.test_pixel_range import colour_png

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)


@pytest.fixture
def model(trained):
    return hwcls.load_model(trained)


def encoded(image, kind="PNG", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def test_paths_images_and_arrays_give_the_same(model, tmp_path):
    path = tmp_path / "one.png"
    Image.fromarray(PIXELS).save(path)
    found = model.predict([path, str(path), Image.open(path), PIXELS])
    assert found.classes == tuple("0123456789")
    assert found.probabilities.shape == (4, 10)
    assert np.allclose(found.probabilities.sum(1), 1)
    assert np.allclose(found.probabilities, found.probabilities[0], atol=1e-6)
    best = found.classes[found.probabilities[0].argmax()]
    assert found.labels == [best] * 4
    assert found.files == [str(path), str(path), "images[2]", "images[3]"]
    assert found[0].top[0] == (best, pytest.approx(found.probabilities[0].max()))
    assert [one.file for one in found] == [str(path), str(path), "images[2]", "images[3]"]
    assert found.frame["class"].tolist() == found.labels
    assert repr(found) == "Predictions of 4 images for 10 classes"
    assert len(model.predict(path)) == len(model.predict(PIXELS)) == 1
    assert len(model.predict(tmp_path)) == len(model.predict(str(tmp_path / "*.png"))) == 1
    batch = model.predict(np.stack([PIXELS] * 2))
    assert np.allclose(batch.probabilities, found.probabilities[:2], atol=1e-6)
    assert [one.file for one in batch] == ["images[0]", "images[1]"]


def test_no_images_give_no_rows(model):
    found = model.predict([])
    assert (found.probabilities.shape, len(found), found.labels) == ((0, 10), 0, [])
    assert list(found.frame) == ["file", "class", "probability", "margin", "entropy", "error"]
    assert model.preprocess([]).shape == (0, 1, 8, 8)


def test_an_image_that_cannot_be_decoded_stops_nothing(model, tmp_path):
    (tmp_path / "<b>.png").write_bytes(b"no image")
    found = model.predict([PIXELS, tmp_path / "<b>.png", PIXELS])
    assert [label is None for label in found.labels] == [False, True, False]
    assert np.isnan(found.probabilities).all(1).tolist() == [False, True, False]
    assert found[1].error
    assert "&lt;b&gt;.png" in found._repr_html_()
    assert "<b>" not in found._repr_html_()
    with pytest.raises(hwcls.UserError, match=r"<b>\.png: cannot be read as an image"):
        model.preprocess(tmp_path / "<b>.png")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (3, "a value of type int is no image"),
        ([b"png"], r"images\[0\]: a value of type bytes is no image"),
        ([PIXELS.astype(np.float32)], r"an array \(20, 24, 3\) of float32 is no image — give paths"),
        ([PIXELS[..., :2]], r"an array \(20, 24, 2\) of uint8 is no image"),
        ([PIXELS[..., 0].astype(np.int64)], "int64 has an unknown black and white"),
        ([np.empty((0, 4), np.uint8)], "is no image"),
        ("nowhere.png", "nowhere.png: no such file or folder"),
        ("-", "standard input: names no image"),
    ],
)
def test_what_is_no_image_is_an_error(given, words):
    with pytest.raises(hwcls.UserError, match=words):
        list_sources(given)


def test_a_missing_image_comes_with_the_nearest_name(tmp_path):
    (tmp_path / "photo.png").touch()
    with pytest.raises(hwcls.UserError, match=r"did you mean '.*/photo\.png'\?"):
        list_sources(str(tmp_path / "foto.png"))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_images_of_every_mode_are_decoded_as_files_are(mode):
    image = Image.fromarray(PIXELS).convert(mode)
    kind = "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"
    wanted = np.asarray(image.convert("RGB")) if mode in ("YCbCr", "HSV") else decode_image(encoded(image, kind), 3)
    (source,) = list_sources(image)
    assert np.array_equal(decode_image(source.read(), 3), wanted)


def test_an_image_of_a_rotated_photo_is_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(tmp_path / "turned.png", exif=exif)
    (source,), image = list_sources(tmp_path / "turned.png"), Image.open(tmp_path / "turned.png")
    assert np.array_equal(decode_image(list_sources(image)[0].read(), 3), decode_image(source.read(), 3))


def test_wide_grey_arrays_keep_their_bits():
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    (source,) = list_sources([deep], SIXTEEN_BITS)
    with Image.open(io.BytesIO(source.read())) as image:
        assert np.array_equal(np.asarray(image), deep)


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_wide_arrays_are_refused_by_a_model_of_8_bits(model, kind):
    """Their values from 0 to 255 would be nearly black of 16 bits."""
    grey = PIXELS[..., 0].astype(kind)
    words = rf"images\[0\]: an array of {grey.dtype} has an unknown black and white — .*uint8 from 0 to 255"
    for ask in (model.predict, model.preprocess):
        with pytest.raises(hwcls.UserError, match=words):
            ask([grey])


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B"])
def test_wide_images_of_pil_are_scaled_as_their_file_is(model, tmp_path, mode):
    """Whether PIL has them of a file or of an array."""
    kind = {"I": "<i4", "I;16": "<u2", "I;16B": ">u2"}[mode]
    deep = Image.fromarray((PIXELS[..., 0].astype(np.uint16) * 257).astype(kind))
    assert deep.mode == mode
    deep.save(tmp_path / "deep.tif")
    wanted = decode_image((tmp_path / "deep.tif").read_bytes(), 1, SIXTEEN_BITS)
    assert np.array_equal(wanted[..., 0], PIXELS[..., 0])
    for image in (deep, Image.open(tmp_path / "deep.tif")):
        (source,) = list_sources(image)
        assert np.array_equal(decode_image(source.read(), 1, SIXTEEN_BITS), wanted)
        assert model.predict(image).labels == model.predict(tmp_path / "deep.tif").labels


@pytest.mark.parametrize("mode", ["I", "I;16"])
def test_wide_images_of_pil_that_may_have_8_bits_are_refused(model, tmp_path, mode):
    """Their values from 0 to 255 would be nearly black of 16 bits; what a file has, its file says."""
    grey = Image.fromarray(PIXELS[..., 0]).convert(mode)
    for ask in (model.predict, model.preprocess):
        with pytest.raises(hwcls.UserError, match=rf"images\[0\]: an image of mode {mode} has .* — where 0 to 255 are"):
            ask([grey])
    assert list_sources(Image.new(mode, (8, 8)))  # black in any range
    assert list_sources(grey, PixelRange(0, 4095))
    grey.save(tmp_path / "dark.tif")
    (source,) = list_sources(Image.open(tmp_path / "dark.tif"))
    assert decode_image(source.read(), 1, SIXTEEN_BITS).max() == 1


def test_images_of_which_pil_has_lost_the_lower_bytes_are_refused_where_these_matter(tmp_path):
    path, twelve = tmp_path / "twelve.png", PixelRange(0, 4095)
    path.write_bytes(colour_png(PIXELS.astype(np.uint16) * 16))
    assert decode_image(path.read_bytes(), 3, twelve).max() > 200
    with Image.open(path) as loaded:
        loaded.load()
    for image in (Image.open(io.BytesIO(path.read_bytes())), loaded):
        with pytest.raises(hwcls.UserError, match=r"upper 8 of its file's 16 bits — give the file's path"):
            list_sources(image, twelve)
        assert list_sources(image, SIXTEEN_BITS)
    assert list_sources(Image.fromarray(PIXELS), twelve)


def test_floats_that_pil_has_opened_are_read_as_their_file(tmp_path):
    levels, path = PixelRange(0, 100, "float"), tmp_path / "floats.tif"
    Image.fromarray(np.linspace(0, 100, 64, dtype=np.float32).reshape(8, 8)).save(path)
    expected = decode_image(path.read_bytes(), 1, levels)
    with Image.open(path) as loaded:
        loaded.load()
    for image in (Image.open(path), loaded):
        (source,) = list_sources(image, levels)
        assert np.array_equal(decode_image(source.read(), 1, levels), expected)


def test_the_module_gives_the_same_probabilities(model, tmp_path):
    module, inputs = model.model(), model.preprocess([PIXELS, PIXELS[::-1]])
    assert not module.training
    assert inputs.shape == (2, 1, 8, 8)
    with torch.no_grad():
        found = module(inputs).softmax(1)
    assert np.allclose(found, model.predict([PIXELS, PIXELS[::-1]]).probabilities, atol=1e-5)
    assert module is not model.model()
    about = model.describe()
    assert [step["step"] for step in about["preprocessing"]["steps"]][-1] == "normalise"
    assert about["classes"] == list(model.classes)


def test_a_model_without_weights_says_so(results, tmp_path):
    sweep = results.sweep(tmp_path)
    results.trial(sweep.trial(0), [0.5])
    best = hwcls.load_results(tmp_path).best
    assert (best.trial, best.label, best.settings["lr"]) == (0, "resnet", 0.01)
    with pytest.raises(hwcls.UserError, match="no weights were kept"):
        best.predict(PIXELS)
    with pytest.raises(hwcls.UserError, match="is a sweep's folder, not a trial's") as refused:
        hwcls.load_model(tmp_path)
    assert refused.value.remedy == f"load_results('{tmp_path}').best is its best model"


@pytest.mark.parametrize("views", [0, -1])
def test_an_image_has_a_view_or_more(tmp_path, views):
    with pytest.raises(hwcls.UserError, match=f"^views: {views} views of an image — write 1 or more"):
        Model(tmp_path).predict(PIXELS, views=views)


def test_trust_is_given_for_the_loading_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(trust, "state_file", lambda: tmp_path / "trusted")
    for before in (None, "abc"):
        monkeypatch.delenv(trust.VARIABLE) if before is None else monkeypatch.setenv(trust.VARIABLE, before)
        with trust.all_accepted(True):
            assert os.environ[trust.VARIABLE] == trust.ALL
            trust.require("own.py", "sum", "build", ["own.py"])
        assert os.environ.get(trust.VARIABLE) == before
        with trust.all_accepted(False):
            assert os.environ.get(trust.VARIABLE) == before
    trust.require("own.py", "sum", "build", ["own.py"])  # it is remembered
    with pytest.raises(hwcls.UserError, match="which no sweep on this machine has run"):
        trust.require("own.py", "other", "build", ["own.py"])


def test_a_damaged_file_is_one_error(trained, tmp_path):
    import shutil

    copy = shutil.copytree(trained, tmp_path / "copy")
    (copy / "best.safetensors").write_bytes(b"damaged")
    code = f"import hwcls; hwcls.load_model({str(copy)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "UserError" in done.stderr.splitlines()[-1]
    assert "best.safetensors" in done.stderr.splitlines()[-1]
