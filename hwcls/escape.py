"""Makes text from elsewhere (names of files or classes, errors, answers) harmless to terminals, CSV and shells."""

from __future__ import annotations

import re
import shlex

# control characters, line separators, overrides of the writing direction, and bytes of names that are not UTF-8
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# before the last @, which ends a password, in which a slash may be as well; of abfss://container@account it is no user
_PASSWORD = r"[^/\s:@]*:(?:[^/\s]*|(?!\d+\W)[^\s@]*)@"
_CREDENTIALS = re.compile(
    rf"(?<![\w+.-])((?:abfs|wasb)s?://[^/\s:@]+@)(?=[^/\s@]*(?:[/\s]|$))|(?<=://)(?:{_PASSWORD}|[^/\s]+@)"
    rf"|(?<=\w\w:/){_PASSWORD}"  # of a URL that was taken for a path
)
_PARAMETER = re.compile(r"([?&#])([\w.%-]+)=([^&#\s\"'`]+)")
# in the name of a URL's parameter that may be a key
SECRET = re.compile("key|token|sig|secret|pass|pwd|auth|credential|session", re.IGNORECASE)
_FORMULA = ("=", "+", "-", "@", "'")


def printable(text: str, keep: str = "") -> str:
    r"""A text in which nothing moves the cursor or hides text: an escape character becomes the four letters \x1b.

    `keep` has the characters to keep, such as newlines.
    """
    return _HARMFUL.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def hide_credentials(text: str) -> str:
    """A text without keys in its URLs: of s3://key:secret@bucket?token=key it leaves s3://bucket?token=***."""
    text = _CREDENTIALS.sub(lambda found: found[1] or "", text)
    return _PARAMETER.sub(lambda found: f"{found[1]}{found[2]}=***" if SECRET.search(found[2]) else found[0], text)


def has_key(text: str) -> bool:
    """Whether a URL in a text has a password or a key; a user alone, as in sftp://user@host, is none."""
    return bool(re.search(f"://{_PASSWORD}", text)) or any(SECRET.search(name[2]) for name in _PARAMETER.finditer(text))


def csv_text(value: object) -> object:
    """A value as a CSV cell that no spreadsheet computes: texts like `=1+1` begin with an apostrophe, as in Excel.

    So do texts that begin with an apostrophe: the way back is to remove one apostrophe from the start of each cell.
    Numbers stay as they are, also as text.
    """
    if not isinstance(value, str):
        return value
    text = printable(value, "\n")
    return f"'{text}" if text.startswith(_FORMULA) and not _is_number(text) else text


def shell_word(value: object) -> str:
    """A path or another value as one word of a command that is to be copied."""
    return shlex.quote(str(value))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _escape(character: str) -> str:
    known = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}
    return known.get(character) or ("\\x%02x" if ord(character) < 256 else "\\u%04x") % ord(character)
