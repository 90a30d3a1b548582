"""The folders that hold images: which is the root, which are splits, and how deep the classes lie.

The root is the shallowest folder with a training folder that has class folders in it. Without one, it is reached by
going down through each folder that is alone with images at its place, as archives of GitHub and Kaggle have it;
folders such as docs/ or notebooks/ beside it do not count (HARDLY_CLASSES).

A class is named by the folders between root and image. How many of them count, without `class_depth`:

1. Where images lie right in each of the first folders, these are the classes; folders in them belong to them.
2. Where each of the first folders holds one other folder alone, as cat/images/, the first are the classes.
3. Where all images lie equally deep, all folders count: Greek/character01. In a data set with splits only if each
   class of val and test is then also in train; otherwise the first folders are the classes.
4. It is ambiguous, and refused, where each folder holds folders of the same names (cat/day, cat/night, dog/day,
   dog/night), where most classes would have fewer than FEW images, and everywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median_low

from hwcls.data.formats.image_types import list_folders, nfc
from hwcls.data.own.rows import first_of
from hwcls.data.own.split_names import splits_among, splits_in_words
from hwcls.errors import LayoutError, did_you_mean
from hwcls.format import format_count

HARDLY_CLASSES = {  # beside classes left out where they hold few images, else asked for
    *("image", "images", "img", "imgs", "picture", "pictures", "photo", "photos", "data", "dataset", "test"),
    *("doc", "docs", "documentation", "figure", "figures", "figs", "assets", "static", "media", "example", "examples"),
    *("screenshot", "screenshots", "notebook", "notebooks", "src", "code", "scripts", "result", "results", "output"),
    *("outputs", "plots", "report", "reports", "logs", "models"),
}
FEW = 3  # images of a class, in the middle of all classes; with fewer, the deepest folders are hardly classes
SMALL = 0.1  # of the images of the median folder beside it
DEEPEST = 4  # folders around a training folder, at most


@dataclass
class Folder:
    """A folder with images in it or below it; `path` is "" or ends with a slash."""

    path: str
    images: list[str] = field(default_factory=list)
    folders: dict[str, Folder] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.path.rstrip("/").rpartition("/")[2]

    def all_images(self) -> Iterator[str]:
        """The images in it and below it."""
        yield from self.images
        for folder in self.folders.values():
            yield from folder.all_images()

    def count(self) -> int:
        """How many images are in it and below it."""
        return sum(1 for _ in self.all_images())

    def paths(self, depth: int) -> set[str]:
        """The first `depth` folders above each image below it, as one name."""
        return {class_of(name, self.path, depth) for name in self.all_images()}

    def depths(self) -> set[int]:
        """How many folders lie between it and its images."""
        return {name.count("/", len(self.path)) for name in self.all_images()}


def class_of(name: str, above: str, depth: int) -> str:
    """The class of an image: its first `depth` folders below the folder `above`."""
    return nfc("/".join(name[len(above) :].split("/")[:-1][:depth]))


def survey(images: Iterable[str]) -> Folder:
    """The tree of folders above images."""
    root = Folder("")
    known = {"": root}
    for name in images:
        above = name[: name.rfind("/") + 1]
        if above not in known:
            folder = root
            for part in above.split("/")[:-1]:
                folder = folder.folders.setdefault(part, Folder(f"{folder.path}{part}/"))
            known[above] = folder
        known[above].images.append(name)
    return root


def unwrap(folder: Folder) -> Folder:
    """The folder that classes lie in: down through those that are alone with folders of images."""
    while True:
        aside = small_others(folder)
        inner = [one for name, one in folder.folders.items() if name not in aside]
        if len(inner) != 1 or not inner[0].folders or len(folder.images) > inner[0].count():
            return folder
        folder = inner[0]


def small_others(folder: Folder) -> list[str]:
    """The folders in a folder that are no class by their name, and hold few images against those beside them."""
    counts = {name: one.count() for name, one in folder.folders.items()}
    small = []
    for name in hardly_classes(folder):
        others = [count for other, count in counts.items() if other != name]
        if others and counts[name] < max(FEW, SMALL * median_low(others)):
            small.append(name)
    return small


def hardly_classes(folder: Folder) -> list[str]:
    """The folders in a folder that are no class by their name."""
    return [name for name in folder.folders if name.lower() in HARDLY_CLASSES]


def find_splits(root: Folder, chosen: dict[str, str], where: str) -> tuple[Folder, dict[str, Folder]]:
    """The folder that holds the splits, and their folders; {} where there is no training folder with class folders.

    Args:
        chosen: Folders of splits as the user named them.

    Raises:
        LayoutError: Several folders hold splits, two folders are one split, or a folder is not there.
    """
    level, without_train = [root], None
    for _ in range(DEEPEST + 1):
        found = [(folder, here) for folder in level if (here := _splits_in(folder, chosen))]
        held = [(folder, here) for folder, here in found if _has_classes(here.get("train", []))]
        if held:
            place, splits = _only(held, where)
            _check_chosen(root, chosen, splits, where)
            return place, splits
        without_train = without_train or next((one for one in found if _has_no_train(*one)), None)
        level = [inner for folder in level for inner in folder.folders.values()]
    _check_chosen(root, chosen, (), where)
    if without_train:
        raise _train_is_missing(*without_train, where)
    return root, {}


def _only(held: list[tuple[Folder, dict[str, list[Folder]]]], where: str) -> tuple[Folder, dict[str, Folder]]:
    """The one folder with splits, and one folder for each; raises LayoutError where there are several."""
    if len(held) > 1:
        what = f"several folders hold a training folder: {', '.join(folder.path or './' for folder, _ in held)}"
        raise LayoutError(what, where=where, remedy=lambda _: "give one of them")
    folder, here = held[0]
    if twice := next((split for split, places in here.items() if len(places) > 1), None):
        names = [place.name for place in here[twice]]
        what = f"{' and '.join(f'{name}/' for name in names)} are both {twice}; it holds {contents(folder)}"
        raise LayoutError(
            what,
            where=f"{where}/{folder.path}".rstrip("/"),
            remedy=lambda write: f"join them, rename one, or choose one: {write(f'{twice}_folder', names[0])}",
        )
    return folder, {split: places[0] for split, places in here.items()}


def _splits_in(folder: Folder, chosen: dict[str, str]) -> dict[str, list[Folder]]:
    """The folders of each split right in a folder; a chosen one takes the place of those that are known by name."""
    named = {name: split for name, split in splits_among(folder.folders).items() if split not in chosen}
    for split, wanted in chosen.items():
        place = nfc(wanted).strip("/")
        for name, inner in folder.folders.items():
            path = nfc(inner.path).rstrip("/")
            if path == place or path.endswith(f"/{place}"):
                named[name] = split
    found: dict[str, list[Folder]] = {}
    for name, split in named.items():
        found.setdefault(split, []).append(folder.folders[name])
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def _has_classes(folders: list[Folder]) -> bool:
    return any(folder.folders for folder in folders)


def _has_no_train(folder: Folder, here: dict[str, list[Folder]]) -> bool:
    """Whether class folders lie in val or test, and nothing is train."""
    return "train" not in here and any(map(_has_classes, here.values()))


def _check_chosen(root: Folder, chosen: Mapping[str, str], found: Collection[str], where: str) -> None:
    """Raise LayoutError where a split's folder that the user named was not found."""
    if lacking := next((split for split in chosen if split not in found), None):
        top = unwrap(root)
        near = did_you_mean(chosen[lacking], top.folders)
        what = f"no folder '{chosen[lacking]}' with images beside a training folder; it holds {contents(top)}"
        raise LayoutError(what, where=where, remedy=lambda write: f"{near}: {write(f'{lacking}_folder', '...')}")


def _train_is_missing(folder: Folder, here: dict[str, list[Folder]], where: str) -> LayoutError:
    taken = {place.name for places in here.values() for place in places}
    other = next((name for name, inner in folder.folders.items() if name not in taken and inner.folders), None)
    guess = other or next(iter(taken))
    remedy = "name it" if other else "to train on what is there"
    return LayoutError(
        f"no training folder; it holds {contents(folder)}",
        where=f"{where}/{folder.path}".rstrip("/"),
        remedy=lambda write: f"{remedy}: {write('train_folder', guess)}",
    )


def decide_depth(train: Folder, others: list[Folder], where: str) -> int:
    """How many folders name a class, by the rule at the top of this file.

    Args:
        train: The folder above the classes, or that of the training images.
        others: Those of val and test.

    Raises:
        LayoutError: It is ambiguous.
    """
    first = list(train.folders.values())
    if all(folder.images for folder in first):
        return 1
    if all(len(folder.folders) == 1 or folder.images for folder in first):
        return 1
    where = f"{where}/{train.path}".rstrip("/")
    depths = {name.count("/", len(train.path)) for folder in first for name in folder.all_images()}
    if len(depths) > 1 or any(folder.images for folder in first):
        raise _ambiguous(train, "images lie at several depths", where)
    depth = max(depths)
    if others and not all(other.paths(depth) <= train.paths(depth) for other in others):
        return 1
    inner = [frozenset(folder.folders) for folder in first]
    if len(set(inner)) == 1 and len(inner) > 1:
        raise _ambiguous(train, "each folder holds folders of the same names", where)
    counts: dict[str, int] = {}
    for name in train.all_images():
        label = class_of(name, train.path, depth)
        counts[label] = counts.get(label, 0) + 1
    if median_low(counts.values()) < FEW:
        raise _ambiguous(train, "the inner folders hold one or two images each", where)
    return depth


def _ambiguous(folder: Folder, why: str, where: str) -> LayoutError:
    depths = (1, max(folder.depths()))
    classes = {depth: sorted(folder.paths(depth) - {""}) for depth in depths}
    what = f"{why}, which can be classes or not; it holds {contents(folder)}"
    splits = splits_in_words(folder.folders)

    def remedy(write: Callable[[str, object], str]) -> str:
        ways = []
        for depth, names in classes.items():
            ways.append(f"{write('class_depth', depth)} makes {format_count(len(names), 'class')} ({first_of(names)})")
        if splits:
            by_splits = " ".join(write(f"{split}_folder", name) for split, name in splits.items())
            ways.insert(0, f"{by_splits} takes them as splits")
        return f"{'; '.join(ways)}; or give one of the folders"

    return LayoutError(what, where=where, remedy=remedy)


def ask_whether_classes(folder: Folder, names: Sequence[str], where: str) -> LayoutError:
    """The error about folders that hold many images, and are no classes by their names."""
    named = " and ".join(f"{name}/" for name in names)
    hardly = "are hardly classes" if len(names) > 1 else "is hardly a class"

    def remedy(write: Callable[[str, object], str]) -> str:
        by_folder, by_table = write("class_depth", 1), write("table", "labels.csv")
        return f"{by_folder} takes each folder as a class, {by_table} a table; or give one of the folders"

    return LayoutError(f"{named} {hardly} by name; it holds {contents(folder)}", where=where, remedy=remedy)


def contents(folder: Folder, files: Iterable[str] = ()) -> str:
    """What lies in a folder, in words: folders with their images, and other files."""
    counts = {name: inner.count() for name, inner in sorted(folder.folders.items())}
    count = len(folder.images)
    loose = [f"{count:,} image{'s' * (count > 1)} in no folder"] if count else []
    return list_folders(counts, [*loose, *files])
