"""The sizes of a data set's image files, and the side to decode them to where they have none in common."""

from __future__ import annotations

from statistics import median_low

USUAL, LEAST = 64, 4  # pixels: a side that trains fast and still shows what a photo is of; the least that data takes


class ImageSizes:
    """Collects (width, height) of images; may be shared by threads."""

    def __init__(self) -> None:
        self._found: list[tuple[int, int]] = []

    def add(self, size: tuple[int, int]) -> None:
        """Count an image of (width, height) pixels."""
        self._found.append(size)

    @property
    def shared_side(self) -> int | None:
        """The side of the squares that all images are; None where they are not."""
        sides = {side for size in set(self._found) for side in size}
        return sides.pop() if len(sides) == 1 else None

    @property
    def suggested_side(self) -> int:
        """A side for images without a shared one: 64, or the power of 2 that the median short side still has."""
        short = max(median_low(map(min, self._found or [(USUAL, USUAL)])), LEAST)
        return min(USUAL, 1 << (short.bit_length() - 1))
