"""The file next to an exported model suffices: a small interpreter of it classifies photos as `hwcls predict` does.

The interpreter knows what a step's name means and takes every number from the file. It shares no code with hwcls: PIL
decodes, numpy does the rest.
"""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from hwcls.config.trial import TrialConfig
from hwcls.data.decoding.pixel_range import PixelRange
from hwcls.inspection.export import describe, description_path, export
from hwcls.inspection.image_sources import file_source
from hwcls.inspection.load_trained import load_trained, normalise_pixels
from hwcls.inspection.predictions import decode_as_trained, predict
from hwcls.inspection.preprocessing import TURNS
from hwcls.training import local

SIZE = 24
CLASSES = {"bottom": (1, 0), "left": (0, 1), "right": (0, -1), "top": (-1, 0)}  # where it is bright: rows, columns
SHAPES = ((30, 30), (30, 50), (44, 30))  # of the images it is trained on
LEVELS = 1  # of 255, by which a pixel may differ: libraries round the weights of a resize differently
TOLERANCE = 5e-3  # of a probability, therefore; 1e-4 where nothing is resized


def scene(name, height, width, seed=0):
    """(height, width, 3) uint8: a warm slope towards one side, with noise."""
    down, along = CLASSES[name]
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    slope = 0.5 + 0.4 * (down * rows + along * columns)
    noise = np.random.default_rng(seed).normal(0, 0.05, (height, width, 3))
    return (np.clip(slope[..., None] * (1, 0.8, 0.6) + noise, 0, 1) * 255).astype(np.uint8)


def grey(pixels):
    return np.asarray(Image.fromarray(pixels).convert("L"))


def write_folders(path, kind, shapes):
    """Own images: photos in colour or grey, or 12-bit pictures in 16-bit files."""
    for split, count in (("train", 30), ("test", 3)):
        for name in CLASSES:
            folder = path / split / name
            folder.mkdir(parents=True)
            for seed in range(count):
                pixels = scene(name, *shapes[seed % len(shapes)], seed)
                picture = Image.fromarray(pixels)
                if kind == "twelve":
                    picture = Image.fromarray(grey(pixels).astype(np.uint16) * 16)
                picture.save(folder / f"{seed}.png")


KINDS = ["colour", "grey", "twelve", "colour squash", "colour pad", "twelve pad"]
KINDS += ["colour crop bicubic 0.75", "grey crop bicubic 1", "colour crop bilinear 0.75", "colour squash bicubic 0.75"]
KINDS += ["twelve pad bicubic 0.75"]


@pytest.fixture(scope="module", params=KINDS)
def trained(request, tmp_path_factory):
    """A model of own images, after a second of training."""
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp(request.param)
    kind, *how = request.param.split()
    write_folders(path / "images", kind, SHAPES if how else SHAPES[:1])
    channels = 3 if kind == "colour" else 1
    data = {"name": "imagefolder", "path": str(path / "images"), "image_size": SIZE, "channels": channels}
    data |= dict(zip(("resize", "interpolation", "crop_pct"), [*how[:2], *map(float, how[2:])], strict=False))
    data |= {"mean": [0.5] * channels, "std": [0.5] * channels} if how[1:] else {}
    values = {"data": {**data, "batch_size": 32}, "model": {"name": "mlp", "width": 16, "depth": 1}, "epochs": 4}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HWCLS_CACHE", str(path / "cache"))
        config = TrialConfig.from_dict({**values, "optimizer": {"name": "adam", "lr": 0.01}})
        result = local.train(config, path / "trial", lambda line: None)
        assert result.best["val/accuracy"] == 1.0
        yield kind, load_trained(path / "trial")


def write_photos(path):
    """Files of many kinds; those of more than 8 bits have 12 in 16."""
    path.mkdir()
    shapes = {"wide": (40, 90), "tall": (200, 61), "small": (9, 14), "long": (12, 400), "same": (SIZE, SIZE)}
    shapes |= {"line": (400, 12), "flat": (30, 300)}
    for name, (height, width) in shapes.items():
        Image.fromarray(scene("left", height, width)).save(path / f"{name}.png")
        Image.fromarray(scene("top", height, width)).save(path / f"{name}.jpg", quality=90)
    for value in TURNS:
        exif = Image.Exif()
        exif[0x0112] = value
        Image.fromarray(scene("left", 60, 80)).save(path / f"turned{value}.jpg", exif=exif, quality=95)
    exif[0x0112] = 6
    Image.fromarray(scene("left", 60, 80)).save(path / "turned.png", exif=exif)
    Image.fromarray(scene("left", 60, 80)).save(path / "turned.webp", exif=exif, lossless=True)
    Image.fromarray(scene("left", 60, 80)).save(path / "turned.tif", exif=exif)
    right = scene("right", 50, 70)
    alpha = scene("bottom", 50, 70)[..., :1]
    Image.fromarray(np.dstack([right, alpha])).save(path / "rgba.png")
    Image.fromarray(np.dstack([grey(right), alpha[..., 0]])).save(path / "la.png")
    Image.fromarray(grey(right)).save(path / "l.png")
    Image.fromarray(grey(right)).save(path / "l.jpg")
    Image.fromarray(right).convert("CMYK").save(path / "cmyk.jpg", quality=95)
    Image.fromarray(right).convert("CMYK").save(path / "cmyk.tif")
    Image.fromarray(right).convert("1").save(path / "one_bit.png")
    palette = Image.fromarray(right).quantize(32)
    palette.save(path / "palette.png")
    palette.save(path / "palette_clear.png", transparency=bytes(range(0, 256, 8)))
    palette.save(path / "palette.gif", transparency=3)
    wide = grey(right).astype(np.uint16)
    Image.fromarray(wide * 16).save(path / "twelve.png")
    Image.fromarray(wide * 257).save(path / "sixteen.png")
    Image.fromarray(wide * 257).save(path / "sixteen.tif")
    return sorted(path.iterdir())


class Interpreter:
    """Carries out the steps of a preprocessing file."""

    def __init__(self, description):
        assert description["preprocessing"]["version"] in (1, 2, 3)
        self.steps = description["preprocessing"]["steps"]

    def __call__(self, file):
        found = file
        for step in self.steps:
            found = getattr(self, step["step"])(step, found)
        return found.transpose(2, 0, 1).astype(np.float32)

    def decode(self, step, file):
        """(H, W, 1 to 4), integers; grey has 1, alpha comes last."""
        with Image.open(file) as image:
            image.seek(step["frame"])
            image.load()
            self.orientation = image.getexif().get(274, 1)  # 1 where PIL has applied it, as in TIFF
            self.bits = 16 if image.mode.startswith("I") else 8
            return self.pixels(image)

    def pixels(self, image):
        if image.mode == "P":
            image = image.convert("RGBA" if "transparency" in image.info else "RGB")
        if image.mode == "1":
            image = image.convert("L")
        pixels = np.asarray(image).astype(np.int64)
        if image.mode == "CMYK":
            return np.rint((255 - pixels[..., :3]) * (255 - pixels[..., 3:]) / 255).astype(np.int64)
        return pixels[..., None] if pixels.ndim == 2 else pixels

    def scale_range(self, step, pixels):
        assert step["kind"] == "integer"
        if self.bits == 8:
            return pixels
        low, high = int(step["low"]), int(step["high"])
        return ((pixels.clip(low, high) - low) * 255 + (high - low) // 2) // (high - low)

    def orient(self, step, pixels):
        turn = step["by_value"][str(self.orientation)]
        pixels = pixels.transpose(1, 0, 2) if turn["transpose"] else pixels
        pixels = pixels[::-1] if turn["reverse_rows"] else pixels
        return pixels[:, ::-1] if turn["reverse_columns"] else pixels

    def background(self, step, pixels):
        if pixels.shape[2] in (1, 3):
            return pixels
        colours, alpha = pixels[..., :-1], pixels[..., -1:]
        colours = np.repeat(colours, 3, 2) if colours.shape[2] == 1 else colours
        return np.rint((colours * alpha + np.array(step["colour"]) * (255 - alpha)) / 255).astype(np.int64)

    def channels(self, step, pixels):
        pixels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1]
        if step["to"] == "RGB":
            return np.repeat(pixels, 3, 2) if pixels.shape[2] == 1 else pixels
        return pixels if pixels.shape[2] == 1 else (pixels @ step["weights"] + 32768)[..., None] // 65536

    def crop_long_side(self, step, pixels):
        short, long = sorted(pixels.shape[:2])
        if long <= step["max_aspect"] * short:
            return pixels
        kept = min(long, 2 * short + long % 2)
        start = (long - kept) // 2
        return pixels[start : start + kept] if pixels.shape[0] == long else pixels[:, start : start + kept]

    def resize(self, step, pixels):
        size, rows_first = list(pixels.shape[:2]), False
        if "height" in step:
            target = [step["height"], step["width"]]
            rows_first = size[0] > step["max_aspect"] * size[1]
        elif isinstance(step["long_side"], int):
            target = [max(1, round(side * step["long_side"] / max(size))) for side in size]
        else:
            target = [max(step["short_side"], round(side * step["short_side"] / min(size))) for side in size]
        for axis in (0, 1) if rows_first else (1, 0):
            if size[axis] != target[axis]:
                kernel = keys(step["a"]) if step.get("interpolation") == "bicubic" else triangle
                weights = antialiased(kernel, size[axis], target[axis])
                found = np.moveaxis(np.tensordot(weights, pixels, (1, axis)), 0, axis)
                pixels = np.floor(found + 0.5).clip(0, 255)
        return pixels

    def pad(self, step, pixels):
        height, width = pixels.shape[:2]
        top, left = (step["size"] - height) // 2, (step["size"] - width) // 2
        found = np.empty((step["size"], step["size"], pixels.shape[2]))
        found[:] = step["colour"]
        found[top : top + height, left : left + width] = pixels
        return found

    def crop_centre(self, step, pixels):
        top, left = (max(0, (side - step["size"]) // 2) for side in pixels.shape[:2])
        return pixels[top : top + step["size"], left : left + step["size"]]

    def normalise(self, step, pixels):
        return (pixels / step["scale"] - step["mean"]) / step["std"]


def triangle(distance):
    return np.maximum(0, 1 - distance)


def keys(a):
    """The bicubic filter with this coefficient."""

    def kernel(x):
        near, far = ((a + 2) * x - (a + 3)) * x**2 + 1, a * (((x - 5) * x + 8) * x - 4)
        return np.where(x < 1, near, np.where(x < 2, far, 0))

    return kernel


def antialiased(kernel, old, new):
    """(new, old): the weights of a filter that is widened by the factor by which it shrinks."""
    factor = old / new
    centre = (np.arange(new)[:, None] + 0.5) * factor
    weights = kernel(np.abs(np.arange(old) + 0.5 - centre) / max(factor, 1))
    return weights / weights.sum(1, keepdims=True)


def run_exported(path):
    """From images (N, C, S, S) to probabilities, by the exported file alone."""
    if path.suffix == ".onnx":
        session = pytest.importorskip("onnxruntime").InferenceSession(str(path))
        call = lambda images: session.run(["logits"], {"images": images})[0]  # noqa: E731
    else:
        module = torch.export.load(path).module()
        call = lambda images: module(torch.from_numpy(images)).detach().numpy()  # noqa: E731

    def run(images):
        logits = call(np.stack(images))
        powers = np.exp(logits - logits.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)

    return run


def by_hwcls(trained, files):
    """(N, K): the probabilities of `hwcls predict`, in the order of the classes."""
    found = {}
    for one in predict(trained, list(map(file_source, files)), k=len(CLASSES)):
        assert one.error is None, one
        found[one.file] = dict(one.top)
    return np.array([[found[str(file)][name] for name in trained.inputs.classes] for file in files])


@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_the_file_alone_classifies_photos_as_predict_does(trained, kind, tmp_path):
    if kind == "onnx":
        pytest.importorskip("onnxscript")
    (which, opened), path = trained, tmp_path / {"torch": "m.pt2", "onnx": "m.onnx"}[kind]
    export(opened, path, kind)
    description = json.loads(description_path(path).read_text())
    files, run = write_photos(tmp_path / "photos"), run_exported(path)
    inputs = [Interpreter(description)(file) for file in files]
    found, expected = run(inputs), by_hwcls(opened, files)
    assert found.argmax(1).tolist() == expected.argmax(1).tolist()
    assert np.abs(found - expected).max() < TOLERANCE
    spread = 255 * np.array(opened.inputs.std)[:, None, None]
    for file, image, one, other in zip(files, inputs, found, expected, strict=True):
        pixels = decode_as_trained(file.read_bytes(), opened.inputs)
        exact = normalise_pixels(opened.inputs, pixels[None], torch.device("cpu"))[0].numpy()
        assert np.abs((image - exact) * spread).max() < LEVELS + 0.01, file
        assert file.stem != "same" or opened.inputs.crop_pct < 1 or np.abs(one - other).max() < 1e-4
    assert len({*expected.argmax(1)}) == len(CLASSES)
    assert (opened.inputs.pixel_range is None) == (which != "twelve")


@pytest.mark.parametrize(
    ("step", "needs", "careless"),
    [
        ("orient", "turned6.jpg", lambda pixels: pixels),
        ("background", "rgba.png", lambda pixels: pixels),
        ("background", "la.png", lambda pixels: pixels),
        ("scale_range", "BITS.png", lambda pixels: pixels.clip(0, 255)),
    ],
)
def test_a_step_that_is_left_out_gives_another_class(trained, tmp_path, step, needs, careless):
    """Else the test above would prove little."""
    which, opened = trained
    whole, partial = (Interpreter(describe(opened)) for _ in range(2))
    setattr(partial, step, lambda step, pixels: careless(pixels))
    write_photos(tmp_path / "photos")
    file = tmp_path / "photos" / needs.replace("BITS", "twelve" if which == "twelve" else "sixteen")
    with torch.no_grad():
        classes = opened.model(torch.from_numpy(np.stack([whole(file), partial(file)]))).argmax(1).tolist()
    assert classes[0] != classes[1]


def test_the_numbers_are_those_of_the_data_set(trained):
    steps = {step["step"]: step for step in describe(trained[1])["preprocessing"]["steps"]}
    inputs = trained[1].inputs
    assert steps["normalise"]["mean"] == list(inputs.mean)
    cropped = ["crop_centre"] if inputs.crop_pct < 1 else []
    expected = {
        "crop": ["crop_long_side", "resize", "crop_centre"],
        "squash": ["resize", *cropped],
        "pad": ["resize", *cropped, "pad"],
    }[inputs.resize]
    assert list(steps)[5:-1] == expected
    key = {"crop": "short_side", "squash": "height", "pad": "long_side"}[inputs.resize]
    assert steps["resize"][key] == SIZE / inputs.crop_pct
    assert {steps[name]["size"] for name in expected if "size" in steps[name]} <= {SIZE}
    version = 3 if inputs.interpolation == "bicubic" else 1 if inputs.resize == "crop" else 2
    assert describe(trained[1])["preprocessing"]["version"] == version
    assert inputs.interpolation == "bilinear" or inputs.mean == (0.5,) * inputs.channels
    levels = inputs.pixel_range or PixelRange(0, 65535)
    assert (steps["scale_range"]["low"], steps["scale_range"]["high"]) == (levels.low, levels.high)
    assert json.loads(json.dumps(steps)) == steps
