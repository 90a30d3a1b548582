"""The sizes of a data set's image files, and the side to decode them to."""

from __future__ import annotations

from statistics import median_low

USUAL, LEAST = 64, 4  # pixels: a side that trains fast and still shows what a photo is of; the least that data takes
KEPT = 128  # squares of one size are kept up to this side: four times the work of USUAL, and nothing is resampled


class ImageSizes:
    """Collects (width, height) of images; may be shared by threads."""

    def __init__(self) -> None:
        self._found: list[tuple[int, int]] = []

    def add(self, size: tuple[int, int]) -> None:
        """Count an image of (width, height) pixels."""
        self._found.append(size)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def shared_side(self) -> int | None:
        """The side of the squares that all images are; None where they are not."""
        sides = {side for size in set(self._found) for side in size}
        return sides.pop() if len(sides) == 1 else None

    @property
    def median(self) -> tuple[int, int] | None:
        """(width, height) of a typical image: the medians of the long and the short sides; None without an image."""
        if not self._found:
            return None
        short, long = median_low(map(min, self._found)), median_low(map(max, self._found))
        tall = sum(height > width for width, height in self._found)
        return (short, long) if 2 * tall > len(self._found) else (long, short)

    @property
    def short_side(self) -> int:
        """The median of the short sides; USUAL without an image."""
        return median_low(self.short_sides) if self._found else USUAL

    @property
    def side_from_scratch(self) -> int:
        """The side for models that are trained from scratch: that of all images, USUAL, or what small images have."""
        if (shared := self.shared_side) is not None and shared <= KEPT:
            return max(shared, LEAST)
        short = self.short_side
        return min(USUAL, short // 8 * 8) if short >= 8 else max(short, LEAST)

    @property
    def short_sides(self) -> list[int]:
        """The short side of each image, ascending."""
        return sorted(map(min, self._found))
