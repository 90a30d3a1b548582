"""How test and val came to be, in words, from what data.json records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwcls.format import format_count, join_words


def describe_origins(data: Mapping[str, Any]) -> list[str]:
    """A phrase for test, one for val, and one for what was kept together; none where an earlier version recorded less.

    Args:
        data: As `ImageSet.facts` has it.
    """
    if "test_from" not in data:
        return []
    cut = [split for split in ("test", "val") if data.get(f"{split}_from") == "train"]
    found = [_origin(data, split, cut) for split in ("test", "val")]
    return [*found, _together(data)] if cut else found


def describe_shares(shares: Mapping[str, float]) -> str:
    """The splits that are cut from train with their shares: "test (20%) and val (10% of the rest) are cut from train".

    Args:
        shares: As `Origin` has them; the phrase is empty where there are none.
    """
    of = " of the rest" if "test" in shares else ""
    parts = [f"{split} ({100 * share:.3g}%{of if split == 'val' else ''})" for split, share in shares.items()]
    return f"{join_words(parts)} {'are' if len(parts) > 1 else 'is'} cut from train" if parts else ""


def _origin(data: Mapping[str, Any], split: str, cut: list[str]) -> str:
    if split not in cut:
        return f"{split}: as the data has it"
    share, left = data.get(f"{split}_share"), split == "val" and "test" in cut
    whole = "the images" if split == "test" else "the other images" if left else "the training images"
    amount = f"{100 * share:.3g} % of {whole}" if isinstance(share, (int, float)) else f"a part of {whole}"
    seed = data.get("split_seed", 0)
    own = data.get("val_seed") if split == "val" else None
    if split == "val" and "fold" in data:
        amount = f"fold {data['fold']} of {data.get('folds')} of {whole}"
    if left:
        return f"val: {amount}, in the same way" + ("" if own is None else f" (seed {own})")
    return f"{split}: {amount}, cut by hwcls (seed {seed if own is None else own}), stratified"


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
