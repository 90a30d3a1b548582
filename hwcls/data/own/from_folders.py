"""The rows of class folders, with or without splits."""

from __future__ import annotations

from hwcls.config.data import LayoutConfig
from hwcls.data.formats.archive import FileTree
from hwcls.data.formats.image_types import KINDS, LOOSE, LeftOut, is_image, nfc, why_not_an_image
from hwcls.data.own import folders
from hwcls.data.own.folders import HARDLY_CLASSES, Folder, class_of, decide_depth, find_splits, unwrap
from hwcls.data.own.rows import Rows
from hwcls.data.own.split_names import SPELLINGS, split_ends, split_of, splits_among
from hwcls.errors import UserError
from hwcls.format import format_count


def rows_of_folders(tree: FileTree, root: Folder, layout: LayoutConfig) -> Rows | None:
    """The images below class folders; None where the images lie in no class folders.

    Raises:
        UserError: The folders are ambiguous, or one of a class has no images.
    """
    chosen = {split: name for split in ("train", "val", "test") if (name := getattr(layout, f"{split}_folder"))}
    place, splits = find_splits(root, chosen, tree.where)
    if not splits:
        top = unwrap(root)
        if 2 * len(top.images) > top.count() or _are_splits(top):
            return None
        return _without_splits(tree, root, top, layout)
    for name in tree.folders(place.path):
        if split_of(name) and name not in place.folders:
            raise UserError("no images", where=f"{tree.where}/{place.path}{name}/", remedy="fill or remove it")
    without = tuple(split for split, folder in splits.items() if not folder.folders)
    rows = Rows(f"{tree.where}/{place.path}".rstrip("/"), without_labels=without)
    for split in without:
        _leave_out_split(splits.pop(split), split, rows)
    tops = {split: unwrap(folder) for split, folder in splits.items()}
    others = [top for split, top in tops.items() if split != "train"]
    depth = layout.class_depth or decide_depth(tops["train"], others, tree.where)
    for split, top in tops.items():
        _add(tree, top, depth, split, rows)
    _check_empty(tree, tops)
    _note_others(tree, root, place, [folder.path for folder in splits.values()], rows)
    shown = [folder.name + "/" + f" ({split})" * (folder.name != split) for split, folder in splits.items()]
    rows.found.insert(0, f"splits from the folders {', '.join(shown)}")
    _note_depth(rows, depth)
    as_named = all(folder.name in SPELLINGS[split] and tops[split] is folder for split, folder in splits.items())
    rows.plain = as_named and depth == 1 and not chosen and layout.class_depth is None
    return rows


def _are_splits(top: Folder) -> bool:
    """Whether the folders are splits without class folders; one alone, as of trains beside cars, is a class."""
    named = splits_among(top.folders)
    return len(named) > 1 and ("train" in named.values() or len(named) == len(top.folders))


def _without_splits(tree: FileTree, root: Folder, top: Folder, layout: LayoutConfig) -> Rows | None:
    rows = Rows(f"{tree.where}/{top.path}".rstrip("/"))
    if not layout.class_depth:
        for name in folders.small_others(top):
            why = LeftOut(f"images in {name}/, which is hardly a class", "rename the folder if it is one")
            rows.left_out |= dict.fromkeys(images := [*top.folders.pop(name).all_images()], why)
            rows.found.append(f"note: {name}/ is hardly a class by name and few images: left out ({len(images):,})")
        if hardly := folders.hardly_classes(top):
            if len(top.folders) == 1:
                return None
            raise folders.ask_whether_classes(top, hardly, rows.where)
    inner = {name for folder in top.folders.values() for name in folder.folders}
    splits = set(map(split_of, inner))
    if None not in splits and {"train"} < splits and not any(folder.images for folder in top.folders.values()):
        for folder in top.folders.values():  # cat/train, cat/test
            for name, part in folder.folders.items():
                _add(tree, Folder(top.path, folders={folder.name: part}), 1, split_of(name) or "", rows)
        rows.found.append(f"splits from the folders in each class: {', '.join(sorted(inner))}")
    elif not layout.class_depth and (ends := split_ends(top.folders)):  # cat, cat_test, dog, dog_test
        for name, (label, split) in ends.items():
            for image in top.folders[name].all_images():
                rows.add(image, nfc(label), split)
        other = next(name for name, (label, _) in ends.items() if name != label)
        rows.found.append(f"splits from the ends of the folders' names, such as {other}")
    else:
        depth = layout.class_depth or decide_depth(top, [], tree.where)
        _add(tree, top, depth, "", rows)
        rows.found.append(f"class folders{f' in {top.path}' if top.path else ''}, without splits")
        _note_depth(rows, depth)
    _check_photos(tree, top)
    _note_empty(tree, top, rows)
    _note_others(tree, root, top, [folder.path for folder in top.folders.values()], rows)
    return rows


def _add(tree: FileTree, top: Folder, depth: int, split: str, rows: Rows) -> None:
    """Add the images below a folder of classes; loose ones are left out."""
    rows.left_out |= dict.fromkeys(top.images, LOOSE)
    for folder in top.folders.values():
        for name in folder.all_images():
            rows.add(name, class_of(name, top.path, depth), split)


def _note_depth(rows: Rows, depth: int) -> None:
    if depth > 1:
        deepest = max(rows.labels, key=lambda label: label.count("/"))
        rows.found.append(f"class folders {depth} deep: a class is named by its path, such as {deepest}")


def _leave_out_split(folder: Folder, split: str, rows: Rows) -> None:
    """Leave out a split's images that lie in no class folder."""
    why = LeftOut(f"images without a class in {folder.name}/", "hwcls predict classifies them")
    rows.left_out |= dict.fromkeys(folder.images, why)
    cut = "; a test split is cut from train (data.test, --test)" if split == "test" else ""
    images = f"{format_count(len(folder.images), 'image')} {'is' if len(folder.images) == 1 else 'are'}"
    rows.found.append(f"{folder.name}/ has no class folders: its {images} left out{cut}")


def _check_empty(tree: FileTree, tops: dict[str, Folder]) -> None:
    """Raise UserError where a class folder of a split has no image."""
    for top in tops.values():
        filled = set(map(nfc, top.folders))
        for folder in tree.folders(top.path):
            if nfc(folder) not in filled and folder.lower() not in HARDLY_CLASSES:
                raise _no_images(tree, f"{top.path}{folder}")


def _check_photos(tree: FileTree, top: Folder) -> None:
    """Raise UserError where a folder beside those of classes has only images that cannot be read here, as HEIC."""
    for folder in sorted(set(tree.folders(top.path)) - set(top.folders)):
        below = f"{top.path}{folder}/"
        if any(why_not_an_image(name) in KINDS.values() for name in tree.names if name.startswith(below)):
            raise _no_images(tree, below.rstrip("/"))


def _note_empty(tree: FileTree, top: Folder, rows: Rows) -> None:
    """Note folders beside those of classes that hold nothing at all."""
    others = sorted(set(map(nfc, tree.folders(top.path))) - set(map(nfc, top.folders)))
    empty = [one for one in others if not any(nfc(name).startswith(f"{nfc(top.path)}{one}/") for name in tree.names)]
    if empty:
        rows.found.append(f"note: nothing is in {', '.join(f'{name}/' for name in empty[:3])}, so it is no class")


def _no_images(tree: FileTree, folder: str) -> UserError:
    inside = [why_not_an_image(name) for name in tree.names if nfc(name).startswith(nfc(f"{folder}/"))]
    what, remedy = "no images in this class folder", "fill or remove it"
    if inside:
        what, remedy = f"{what}, but {inside[0].what} ({len(inside):,})", inside[0].remedy
    return UserError(what, where=f"{tree.where}/{folder}", remedy=remedy)


def _note_others(tree: FileTree, root: Folder, place: Folder, read: list[str], rows: Rows) -> None:
    """Note what is left out: the other files below the folders `read`, and the images outside of these."""
    below = tuple(read)
    rows.left_out |= {
        name: why_not_an_image(name) for name in tree.names if not is_image(name) and name.startswith(below)
    }
    rows.left_out |= {name: why for name, why in tree.no_files.items() if name.startswith(place.path)}
    known = set(rows.files) | set(rows.left_out)
    for name in root.all_images():
        folder, slash, _ = name[len(place.path) :].partition("/")
        if name in known:
            continue
        if not name.startswith(place.path):
            rows.left_out[name] = LeftOut(
                f"images outside of {place.path}", "move them into the folders of the classes"
            )
        elif slash:
            why = "move them into train/, val/ or test/, or name it as one of these (data.layout, --test-folder)"
            rows.left_out[name] = LeftOut(f"images in {folder}/, which is no split", why)
        else:
            rows.left_out[name] = LOOSE
