"""The remedy for a key that is unknown where it stands: its right spelling, or the place where it belongs."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from hwcls.errors import did_you_mean


def unknown_key(word: str, known: Iterable[str], section: str | None) -> str:
    """The remedy for an unknown key.

    Args:
        word: The key.
        known: The keys of the section.
        section: The section's path without choices and labels: "parameters.optimizer"; "" at the top, None where it is
            not of a sweep file.
    """
    from hwcls.synonyms import other_remedy, same_name

    names = list(known)
    if same_name(word, names) or {f"{word}s", word.removesuffix("s")} & set(names):
        return did_you_mean(word, names)
    first, _, rest = word.partition(".")
    if rest and first in names:  # dotted, as in presets and --set
        return f"nest it: {first}: {{{rest.replace('.', ': {')}: ...{'}' * (rest.count('.') + 1)}"
    if section is not None and (remedy := _place_of(word, section)):
        return remedy
    return other_remedy(word) or did_you_mean(word, names)


def _place_of(word: str, section: str) -> str:
    """Where a key of this name belongs, as a remedy; "" if nowhere."""
    from hwcls.synonyms import same_name

    places = _places()
    name = same_name(word, places)
    if name is None:
        return ""
    here = [owner for path, owner in places[name] if path == section]
    if here:  # another type of this section has it
        return f"'{name}' is a key of {', '.join(dict.fromkeys(here))}"
    nearest = min((path for path, _ in places[name]), key=lambda path: (not path.startswith(section), path.count(".")))
    owners = list(dict.fromkeys(owner for path, owner in places[name] if path == nearest))
    everyone = {owner for entries in places.values() for path, owner in entries if path == nearest}
    of = "" if everyone == set(owners) else f" (a key of {', '.join(owners)})"
    return f"write it as {nearest}.{name}{of}" if nearest else f"write it as {name} at the top"


@cache
def _places() -> dict[str, list[tuple[str, str]]]:
    """For each key of a sweep file: the paths of its sections, with the type that has it where they have several."""
    from hwcls.config.reference.keys import sweep_keys

    found: dict[str, list[tuple[str, str]]] = {}
    for key in sweep_keys():
        if key.name != "name" or not key.section:
            found.setdefault(key.name, []).append((key.section, key.owner))
    return found
