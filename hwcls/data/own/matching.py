"""Finds the image that a table's cell names: by its path, the end of it, or its name without an ending."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from hwcls.data.formats.image_types import is_image, nfc


@dataclass(frozen=True)
class Match:
    """The images that the cells of a column name.

    Attributes:
        files: For each cell the numbers of the images that fit; empty where there is none.
        stripped: The beginning of all cells that is no folder here, such as /home/ann/data/.
    """

    files: list[tuple[int, ...]]
    stripped: str = ""

    @property
    def found(self) -> int:
        """How many cells name an image."""
        return sum(map(bool, self.files))


class FileIndex:
    """The images of a tree by the end of their path, with and without their ending."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._ends: dict[tuple[int, bool], dict[str, list[int]]] = {}

    def match(self, cells: Sequence[str]) -> Match:
        """The images that the cells of a column name; what all cells begin with is dropped as far as it must be."""
        places = [normalise(cell) for cell in cells]
        shared = _shared_folders([place for place in places if place])
        best = Match([])
        for drop in range(len(shared) + 1):
            match = Match([self._find(place, drop) for place in places], "/".join(shared[:drop]))
            if not best.files or match.found > best.found:
                best = match
            if best.found == sum(map(bool, places)):
                break
        return best

    def _find(self, place: str, drop: int) -> tuple[int, ...]:
        if not place:
            return ()
        parts = place.split("/")[drop:]
        end = "/".join(parts)
        for key, without_ending in ((end, False), (end.casefold(), False), (end.casefold(), True)):
            if found := self._by_end(len(parts), without_ending).get(key):
                return tuple(found)
        return ()

    def _by_end(self, count: int, without_ending: bool) -> dict[str, list[int]]:
        """The images by the last `count` parts of their path: as they are and in small letters, or without ending."""
        key = (count, without_ending)
        if key not in self._ends:
            ends = self._ends[key] = {}
            for i, name in enumerate(self.names):
                parts = nfc(name).split("/")
                if len(parts) >= count:
                    end = "/".join(parts[-count:]).strip()  # as cells are
                    folded = end.casefold()
                    if without_ending:
                        ends.setdefault(folded.rpartition(".")[0], []).append(i)
                    else:
                        ends.setdefault(end, []).append(i)
                        if folded != end:
                            ends.setdefault(folded, []).append(i)
        return self._ends[key]


def normalise(cell: str) -> str:
    """A cell as a path: slashes forward, without ./ and drive letter; one that leaves its folder begins with `..`."""
    place = nfc(cell.strip()).replace("\\", "/")
    if "://" in place:  # a URL
        place = place.partition("://")[2]
    place = posixpath.normpath(re.sub("^[A-Za-z]:", "", place)) if place else ""
    return place.lstrip("/")


def leaves(cell: str) -> bool:
    """Whether a path leaves the folder it is relative to."""
    return normalise(cell).startswith("../") and is_image(cell)


def _shared_folders(places: Sequence[str]) -> list[str]:
    """The folders that all paths begin with."""
    if not places:
        return []
    low, high = min(places).split("/")[:-1], max(places).split("/")[:-1]
    count = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    return low[:count]
