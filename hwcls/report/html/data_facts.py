"""The data of a sweep as lines of text: how it was read, how val and test came to be, and what every model gets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwcls.escape import printable
from hwcls.format import format_count, join_words

Facts = list[tuple[str, str]]  # (name, value)
SPLITS_FILE = "splits.csv"


def collect_data_facts(data: Mapping[str, Any], folder: Path) -> Facts:
    """The facts of data.json; what is not recorded, as by earlier versions, is left out.

    Args:
        folder: Of the sweep; splits.csv is linked where it has one.
    """
    if not data:
        return []
    return [*_counts(data), *_reading(data), *_origins(data, folder), *_images(data)]


def _counts(data: Mapping[str, Any]) -> Facts:
    parts = [str(data.get("name", "?"))]
    parts += [f"{data[split]:,} {split}" for split in ("train", "val", "test") if isinstance(data.get(split), int)]
    classes, per_class = data.get("classes"), data.get("per_class")
    if isinstance(classes, list):
        parts.append(f"{len(classes)} classes")
    found = [("Data", ", ".join(parts))]
    if isinstance(per_class, list) and len(per_class) == 2:
        low, high = per_class
        found.append(("Training images per class", f"{low:,}" if low == high else f"{low:,} to {high:,}"))
    return found


def _reading(data: Mapping[str, Any]) -> Facts:
    """How a user's own files say the classes, splits and groups."""
    found = data.get("found")
    return [("How the files were read", "; ".join(map(str, found)))] if isinstance(found, list) and found else []


def _origins(data: Mapping[str, Any], folder: Path) -> Facts:
    """How test and val came to be; an earlier version has recorded less, and its one sentence is that of the images."""
    if "test_from" not in data:
        return []
    from markupsafe import Markup, escape

    cut = [split for split in ("test", "val") if data.get(f"{split}_from") == "train"]
    parts = [_origin(data, split, cut) for split in ("test", "val")]
    if cut:
        parts.append(_together(data))
    text = escape(printable("; ".join(parts)))
    if (folder / SPLITS_FILE).is_file():
        text += Markup('. The split of each image is in <a href="{0}">{0}</a>').format(SPLITS_FILE)
    return [("Test and val", text)]


def _origin(data: Mapping[str, Any], split: str, cut: list[str]) -> str:
    if split not in cut:
        return f"{split}: as the data has it"
    share, left = data.get(f"{split}_share"), split == "val" and "test" in cut
    whole = "the images" if split == "test" else "the other images" if left else "the training images"
    amount = f"{100 * share:.3g} % of {whole}" if isinstance(share, (int, float)) else f"a part of {whole}"
    if left:
        return f"val: {amount}, in the same way"
    return f"{split}: {amount}, cut by hwcls (seed {data.get('split_seed', 0)}), stratified"


def _together(data: Mapping[str, Any]) -> str:
    """What a cut kept on one side, and how much of it there was."""
    found = data.get("together")
    known = found if isinstance(found, Mapping) else {}
    counts = {name: known[name] for name in ("copies", "groups") if isinstance(known.get(name), int)}
    near = "near copies" if data.get("duplicates") == "near" else "copies"
    words = [near, *(["groups"] if counts.get("groups") else [])]
    parts = [format_count(counts["groups"], "group")] if counts.get("groups") else []
    if copies := counts.get("copies"):
        parts.append("1 image is a copy" if copies == 1 else f"{copies:,} images are copies")
    amount = f" ({', '.join(parts)})" if parts else ""
    return f"{join_words(words)} kept together{amount}"


def _images(data: Mapping[str, Any]) -> Facts:
    """The images as every model gets them, and why in this size; of earlier versions also where val is from."""
    size, channels, origin = (data.get(key) for key in ("image_size", "channels", "val_from"))
    if not size:
        return []
    reason = f"; {data['image_size_reason']}" if data.get("image_size_reason") else ""
    if "test_from" not in data:
        reason = {"train": "; val is split off train", "val": "; val as the data set has it"}.get(str(origin), "")
    resized = {"squash": ", squashed", "pad": ", padded"}.get(str(data.get("resize")), "")
    return [("Images", f"{size} x {size}, {'grey' if channels == 1 else 'RGB'}{resized}{reason}")]
