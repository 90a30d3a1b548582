"""The images that a command is given: files, folders, patterns, archives, URLs, and names on standard input."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO
from urllib.request import url2pathname

from hwcls.data.formats.archive import FileTree, FolderTree, is_archive, open_tree, read_limited, walk_all_files
from hwcls.data.formats.image_types import DANGLING, SPECIAL, LeftOut, is_image, summarise, why_not_an_image
from hwcls.errors import UserError, nearest_path
from hwcls.inspection.url_image import hide_secrets, read_url

STDIN = "-"
PICTURES = (b"\xff\xd8\xff", b"\x89PNG")  # how a JPEG and a PNG begin, and no file name
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True)
class ImageSource:
    """One encoded image.

    Attributes:
        name: The file, the archive and its member, or the URL, without passwords.
        read: Its bytes, safe to call from several threads; raises OSError where they cannot be read.
        size: About how many bytes `read` gives; raises OSError.
        is_remote: It comes from the network.
    """

    name: str
    read: Callable[[], bytes]
    size: Callable[[], int]
    is_remote: bool = False


@dataclass
class FoundImages:
    """The images in the order given, each once, and the files that are not read, with the reason."""

    images: list[ImageSource] = field(default_factory=list)
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)

    def add(self, key: str, source: ImageSource) -> None:
        """Add an image unless one of the same `key` is there."""
        if key not in self._known:
            self._known.add(key)
            self.images.append(source)


def find_images(arguments: Iterable[str], stdin: BinaryIO | None = None) -> FoundImages:
    """The images that `arguments` name.

    An argument is a file, a folder or archive (all images below it, by name), a pattern such as `photos/**/*.jpg`, an
    http(s) or file URL of an image, or `-`: names on `stdin`, one a line or ended by NUL. A file that exists is never
    read as a pattern, nor is a name on `stdin`; one that is missing there, or beside other arguments, is an image that
    cannot be read.

    Raises:
        UserError: An argument names nothing, no image, or what cannot be read as images.
    """
    found, arguments = FoundImages(), list(arguments)
    for argument in arguments:
        if argument == STDIN:
            _add_names(found, stdin)
        elif _SCHEME.match(argument):
            _add_url(found, argument)
        elif glob.has_magic(argument) and not os.path.lexists(argument):
            _add_pattern(found, argument)
        elif len(arguments) > 1 and not os.path.lexists(argument):
            _add_file(found, Path(argument))
        else:
            _add_path(found, Path(argument))
    if not found.images:  # standard input named pipes alone
        raise UserError(f"no image, but {summarise(found.left_out)[0]}", where="standard input")
    return found


def file_source(path: Path) -> ImageSource:
    """A file on this machine."""
    return ImageSource(str(path), partial(read_limited, path), lambda: path.stat().st_size)


def _add_names(found: FoundImages, stdin: BinaryIO | None) -> None:
    """The names on standard input; raises UserError where there is none."""
    content = stdin.read().removeprefix(b"\xef\xbb\xbf") if stdin else b""
    where = "standard input"
    if content.startswith(PICTURES):
        raise UserError("holds an image, not the names of images", where=where, remedy="save it as a file and name it")
    lines = content.split(b"\0") if b"\0" in content else content.splitlines()
    names = [os.fsdecode(line) for line in lines if line.strip()]
    if not names:
        raise UserError("names no image", where=where, remedy="for example: find photos -name '*.jpg' | hwcls ... -")
    for name in names:
        if _SCHEME.match(name):
            _add_url(found, name)
        elif os.path.isdir(name) or is_archive(Path(name)):
            _add_tree(found, Path(name))
        elif os.path.lexists(name) and not os.path.isfile(name):
            found.left_out[name] = SPECIAL if os.path.exists(name) else DANGLING
        else:
            _add_file(found, Path(name))


def _add_url(found: FoundImages, url: str) -> None:
    """A URL; raises UserError for one that is neither http, https nor file."""
    scheme, _, rest = url.partition("://")
    if scheme.lower() in ("http", "https"):
        found.add(url, ImageSource(hide_secrets(url), partial(read_url, url), lambda: 0, is_remote=True))
    elif scheme.lower() != "file":
        what, remedy = f"{scheme}:// is not read", "copy the images here, or give http(s) URLs"
        raise UserError(what, where=hide_secrets(url), remedy=remedy)
    elif not rest.startswith(("/", "localhost/")):
        what, remedy = "names a file of another machine", "file:///path is one of this machine"
        raise UserError(what, where=hide_secrets(url), remedy=remedy)
    else:
        _add_path(found, Path(url2pathname(rest.removeprefix("localhost"))))


def _add_pattern(found: FoundImages, pattern: str) -> None:
    """The images among the files that a pattern matches; raises UserError where there is none."""
    matched = sorted(glob.glob(pattern, recursive=True))
    files = [name for name in matched if os.path.isfile(name)]
    images = [name for name in files if is_image(name)]
    others = {name: why_not_an_image(name) for name in files if not is_image(name)}
    if not images:
        what, remedy = "matches no file", ""
        if others:
            what = f"matches no image, but {summarise(others)[0]}"
        elif matched:
            what = f"matches folders alone, such as {matched[0]}"
            remedy = f"for the images in them: '{os.path.join(pattern, '*')}'"
        raise UserError(what, where=f"'{pattern}'", remedy=remedy)
    for name in images:
        _add_file(found, Path(name))
    found.left_out |= others


def _add_path(found: FoundImages, path: Path) -> None:
    """A file, a folder or an archive; raises UserError where it is none of them."""
    if path.is_dir() or is_archive(path):
        _add_tree(found, path)
    elif path.is_file():
        _add_file(found, path)
    elif path.exists():
        raise UserError("is a pipe, a device or a socket", where=str(path), remedy="name a regular file")
    else:
        what = "is a link to nothing" if path.is_symlink() else "no such file or folder"
        raise UserError(what, where=str(path), remedy=nearest_path(path))


def _add_file(found: FoundImages, path: Path) -> None:
    found.add(os.path.abspath(path), file_source(path))


def _add_tree(found: FoundImages, path: Path) -> None:
    """Every image in a folder or an archive; raises UserError where there is none."""
    tree: FileTree = FolderTree(path, walk_all_files) if path.is_dir() else open_tree(path)
    names = [name for name in tree.names if is_image(name)]
    others = {name: why_not_an_image(name) for name in tree.names if not is_image(name)} | dict(tree.no_files)
    left_out = {str(path / name): why for name, why in others.items()}
    if not names:
        kind = "folder" if path.is_dir() else "archive"
        what = f"no image in this {kind}" + (f", but {summarise(left_out)[0]}" if left_out else "")
        raise UserError(what, where=str(path), remedy="" if left_out else "name image files or their folder")
    place = os.path.abspath(path)
    for name in names:
        source = ImageSource(str(path / name), partial(tree.read, name), partial(tree.size, name))
        found.add(os.path.join(place, name), source)
    found.left_out |= left_out
