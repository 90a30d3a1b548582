"""Bash breaks words at `=` and `:`, so that --set a=b are four words to it: they are joined here, and broken again."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

BREAK = re.compile(r"[=:]+")
QUOTED = re.compile(r"([^\w@%+=:,./-])")  # as shlex has it


@contextmanager
def bash_completion() -> Iterator[None]:
    """While the block runs, COMP_WORDS has whole words, and what is printed completes the last part of one."""
    if os.environ.get("_HWCLS_COMPLETE") != "complete_bash":
        yield
        return
    text = os.environ.get("COMP_WORDS", "")
    words, place = join_words(text.split("\n") if "\n" in text else text.split(), int(os.environ.get("COMP_CWORD", 0)))
    os.environ |= {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(place)}
    found = io.StringIO()
    try:
        with redirect_stdout(found):
            yield
    finally:
        word = words[place] if place < len(words) else ""
        sys.stdout.writelines(f"{last_part(line, word)}\n" for line in found.getvalue().splitlines())


def join_words(parts: list[str], place: int) -> tuple[list[str], int]:
    """Words without bash's breaks, and the place among them of the one that `place` is in.

    An `=` belongs to the words on both sides of it.
    """
    words: list[str] = []
    found, is_open = 0, False
    for number, part in enumerate(parts):
        is_break = bool(BREAK.fullmatch(part))
        if words and (is_open or (is_break and len(words) > 1)):
            words[-1] += part
        else:
            words.append(part)
        is_open = is_break
        if number <= place:
            found = len(words) - 1
    return words, found + max(0, place - len(parts) + 1)


def last_part(completion: str, word: str) -> str:
    """The part of a completion of `word` after bash's last break in the word; special characters are escaped."""
    before = word[: max(word.rfind("="), word.rfind(":")) + 1]
    known = next((place for place in range(len(before)) if completion.startswith(before[place:])), len(before))
    return QUOTED.sub(r"\\\1", completion[len(before) - known :])
