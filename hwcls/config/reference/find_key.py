"""Find a key of a sweep file by the name that a user gives it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from hwcls.config.reference.keys import DRAWN, Key, sweep_keys
from hwcls.errors import NEAREST, UserError, ask_for, nearest_names


def find_keys(name: str) -> list[Key]:
    """The keys that a dotted name means, one for each type that has it; raises UserError, as `explain_key`."""
    words = [word for word in name.split(".") if word != "choice"]
    exact = [key for key in sweep_keys() if words in (_short(key), list(key.path))]
    words = words[1:] if words[:1] == [DRAWN] else words
    of_type = [key for key in sweep_keys() if key.owner and [*_short(key)[:1], key.owner, *_short(key)[1:]] == words]
    ending = [key for key in sweep_keys() if _short(key)[-len(words) :] == words]
    if found := exact or of_type or (ending if len({key.path for key in ending}) == 1 else []):
        return found
    if ending:
        raise UserError(f"more than one key '{name}'", remedy=_did_you_mean(words, {_dotted(key) for key in ending}))
    raise UserError(f"no key '{name}'", remedy=_did_you_mean(words, _of_like_name(words[-1])))


def _short(key: Key) -> list[str]:
    """The path as a user would name it."""
    return list(key.path[1:] if key.path[0] == DRAWN and key.path[1:] else key.path)


def _dotted(key: Key) -> str:
    return ".".join(_short(key))


def _of_like_name(word: str) -> set[str]:
    """The keys whose last part is the word in another spelling or another tool's language, or else nearest to it."""
    from hwcls.synonyms import same_name

    names = {key.name for key in sweep_keys()}
    same = same_name(word, names)
    near = [same] if same else nearest_names(word, sorted(names))
    return {_dotted(key) for key in sweep_keys() if key.name in near}


def _did_you_mean(words: Sequence[str], names: set[str]) -> str:
    """The remedy: of the names those nearest to the user's, or where there are none, all at the top."""
    if not names:
        return (
            f"known at the top: {', '.join(dict.fromkeys(_dotted(key) for key in sweep_keys() if not _short(key)[1:]))}"
        )
    return ask_for(difflib.get_close_matches(".".join(words), sorted(names), n=NEAREST, cutoff=0.0))
