"""What folders, tables and cells of a split are called."""

from __future__ import annotations

import re
from collections.abc import Iterable

SPLIT_NAMES = {
    "train": ("train", "training", "trainset"),
    "val": ("val", "valid", "validation", "dev", "valset"),
    "test": ("test", "testing", "eval", "evaluation", "testset"),
}  # in any case
SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names}
SPELLINGS = {  # of the folders of a split, by which an import is found again without reading it
    split: tuple(form for name in names for form in (name, name.capitalize(), name.upper()))
    for split, names in SPLIT_NAMES.items()
}
_FILLERS = frozenset(
    ("set", "data", "dataset", "images", "image", "imgs", "img", "split", "folder", "photos", "files", "samples")
)


def split_of(name: str) -> str | None:
    """The split that a name such as `Train`, `training_set` or `test-images` says; None for others."""
    words = _words(name)
    return SPLIT_OF.get(words[0]) if len(words) == 1 else None


def splits_among(names: Iterable[str]) -> dict[str, str]:
    """The names that say a split, with it; also such as seg_train and seg_test, which have one word in common."""
    names = list(names)
    found = {name: split for name in names if (split := split_of(name))}
    families: dict[tuple[str, ...], dict[str, str]] = {}
    for name in names:
        words = _words(name)
        known = [word for word in words if word in SPLIT_OF]
        if len(words) > 1 and len(known) == 1:
            families.setdefault(tuple(word for word in words if word not in SPLIT_OF), {})[name] = SPLIT_OF[known[0]]
    if not found:
        for family in families.values():
            if "train" in family.values() and len(set(family.values())) > 1:
                return family
    return found


def splits_in_words(names: Iterable[str]) -> dict[str, str]:
    """The first name for each split that ends in it, as TrainData and NonAugmentedTrain do; {} without train."""
    found: dict[str, str] = {}
    for name in names:
        split = split_of(_words(re.sub("([a-z])([A-Z])", r"\1 \2", name))[-1])
        if split:
            found.setdefault(split, name)
    return found if "train" in found and len(found) > 1 else {}


def split_ends(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The class and the split of each name where each class is a pair such as `indoor` and `indoor_test`; else {}."""
    found: dict[str, tuple[str, str]] = {}
    for name in names:
        match = re.fullmatch(r"(.+)[\W_]+([A-Za-z]+)", name)
        split = SPLIT_OF.get(match[2].lower()) if match else None
        found[name] = (match[1], split) if match and split else (name, "train")
    classes: dict[str, set[str]] = {}
    for label, split in found.values():
        classes.setdefault(split, set()).add(label)
    same = len(classes) > 1 and all(labels == classes.get("train") for labels in classes.values())
    return found if same and len(classes["train"]) > 1 else {}


def _words(name: str) -> list[str]:
    words = [word for word in re.split(r"[\W_]+", name.lower()) if word]
    return [word for word in words if word not in _FILLERS] or words
