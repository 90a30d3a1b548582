"""The error that users see: what is wrong, where, and the remedy."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from hwcls.escape import REMOTE, hide_credentials, printable, shell_word

NEAREST = 3  # names in an error, at most


class UserError(Exception):
    """Bad usage, file or data: the command line prints it as one line and exits with 2.

    Args:
        what: What is wrong, in a few words.
        where: The file, line and key path, if known.
        remedy: How the user can fix it, if known.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        super().__init__(what, where, remedy)

    def __reduce__(self) -> tuple[Callable[..., UserError], tuple[()]]:
        """Makes it picklable: `where` and `remedy` are keyword arguments."""
        return partial(UserError, self.what, where=self.where, remedy=self.remedy), ()

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        text = f"{text} — {self.remedy}" if self.remedy else text
        text = " ".join(text.split())  # one line, even where a library's message has several
        return printable(hide_credentials(text))

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class LayoutError(UserError):
    """An error about a user's own data that a setting mends: a key of a sweep file, an option on the command line.

    Args:
        what, where: As of UserError.
        remedy: Gets a function that writes a setting, such as ("label_column", "species"), and returns the remedy.
    """

    def __init__(self, what: str, *, where: str, remedy: Callable[[Callable[[str, object], str]], str]) -> None:
        super().__init__(what, where=where, remedy=remedy(_as_key))
        self._option_remedy = remedy(_as_option)

    def with_options(self) -> UserError:
        """The same error for the command line."""
        return UserError(self.what, where=self.where, remedy=self._option_remedy)


def _as_key(name: str, value: object) -> str:
    return f"data.{name}: {value}" if name == "test" else f"data.layout.{name}: {value}"


def _as_option(name: str, value: object) -> str:
    return f"--{name.replace('_', '-')} {shell_word(value)}"


def install_extra(extra: str) -> str:
    """The remedy where a package of one of hwcls's extras is missing; right for a checkout too (pip install -e .)."""
    return f"pip install 'hwcls[{extra}]'"


def unreadable(error: OSError, where: object) -> UserError:
    """The error of a file or folder that the operating system does not let us read."""
    remedy = "make it readable" if isinstance(error, PermissionError) else ""
    return UserError(f"cannot be read ({error.strerror or error})", where=str(where), remedy=remedy)


def wrong_folder(folder: str | Path, what: str, remedy: str) -> UserError:
    """The error where a command needs another folder: `folder` is missing, or `what` is wrong with it."""
    path = Path(folder)
    if path.exists():
        return UserError(what, where=str(folder), remedy=remedy)
    scheme, mark, rest = str(folder).partition(":/")
    if mark and scheme in REMOTE and not rest.startswith("/"):  # a path keeps one slash of a URL
        remedy = "download it, and name that copy"
        return UserError("is no folder of this machine", where=f"{scheme}://{rest}", remedy=remedy)
    return UserError("there is no such folder", where=str(folder), remedy=nearest_path(path, remedy))


def nearest_path(path: Path, otherwise: str = "") -> str:
    """The remedy where a file or folder is missing: the nearest names in the same folder, or else `otherwise`."""
    try:
        names = sorted(os.listdir(path.parent))
    except OSError:
        return otherwise
    return ask_for(str(path.with_name(near)) for near in nearest_names(path.name, names)) or otherwise


def did_you_mean(word: object, known: Iterable[str], otherwise: str | None = None) -> str:
    """The remedy for an unknown word: the same name in its right spelling, or else the nearest ones.

    Args:
        word: The word.
        known: The names that there are.
        otherwise: The remedy where none is near; all names where it is left out.
    """
    from hwcls.synonyms import is_other_thing, same_name

    names = [str(name) for name in known]
    if (same := same_name(word, names)) is not None:
        return ask_for([same])
    if not is_other_thing(word) and (near := nearest_names(str(word), names)):
        return ask_for(near)
    if otherwise is not None:
        return otherwise
    return f"known: {', '.join(names)}" if names else ""


def ask_for(names: Iterable[str]) -> str:
    """The question whether one of these names was meant; empty without any."""
    *others, last = [f"'{name}'" for name in names] or [""]
    return f"did you mean {', '.join(others)}{' or ' if others else ''}{last}?" if last else ""


def nearest_names(word: str, names: Iterable[str]) -> list[str]:
    """The names that are spelled most alike, whatever their case: up to 3 that are equally near."""
    lower = {name.casefold(): name for name in reversed(list(names))}
    found = difflib.get_close_matches(word.casefold(), lower, n=NEAREST, cutoff=0.6)
    unlike = [_unlike_letters(word.casefold(), name) for name in found]
    near = sorted(name for name, count in zip(found, unlike, strict=True) if count == min(unlike))
    return [lower[name] for name in near]


def _unlike_letters(one: str, other: str) -> int:
    """The letters of the longer word that the other does not have in the same order."""
    blocks = difflib.SequenceMatcher(None, one, other).get_matching_blocks()
    return max(len(one), len(other)) - sum(block.size for block in blocks)
