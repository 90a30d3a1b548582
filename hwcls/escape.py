"""Makes text from elsewhere (names of files or classes, errors, answers) harmless to terminals, CSV and shells."""

from __future__ import annotations

import re
import shlex

# control characters, line separators, overrides of the writing direction, and bytes of names that are not UTF-8
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# one of two slashes is left of a URL that was taken for a path
_URL = re.compile(r"(?<![\w+.-])([A-Za-z][\w+.-]*)(://?)(?!/)((?:(?!\w://)[^\s\"<>])+)")
_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "wasb", "wasbs", "az"}  # of object stores: there are no ports
REMOTE = _STORES | {"http", "https", "sftp", "ssh", "ftp", "hdfs"}
_PORT = re.compile(r"\d{1,5}(?:[/?#]|$)|[/$]")  # what follows a colon that begins no password; $ is a shell's variable
_PARAMETER = re.compile(r"([?&#])([\w.%-]+)=([^&#\s\"'`]*[^&#\s\"'`.,;:)])")
_MAYBE_KEY = re.compile("key|token|sig|secret|pass|pwd|auth|credential|session", re.IGNORECASE)  # a parameter's name
_KEY = re.compile(
    r"(?:^|[_.-])(?:((api|access|secret|private)[_-]?)?key|(access|auth|session|sas)?token|sig(nature)?|secret"
    r"|pass(word|wd)?|pwd|auth|credentials?)$",
    re.IGNORECASE,
)
_FORMULA = ("=", "+", "-", "@", "'")


def printable(text: str, keep: str = "") -> str:
    r"""A text in which nothing moves the cursor or hides text: an escape character becomes the four letters \x1b.

    `keep` has the characters to keep, such as newlines.
    """
    return _HARMFUL.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def hide_credentials(text: str) -> str:
    """A text without keys in its URLs: of s3://key:secret@bucket?token=key it leaves s3://bucket?token=***."""
    return _URL.sub(lambda found: f"{found[1]}{found[2]}{_PARAMETER.sub(_hidden, _split_user(found)[1])}", text)


def has_key(text: str) -> bool:
    """Whether a URL in a text has a password or a key; a user alone, as in sftp://user@host, is none."""
    for found in _URL.finditer(text):
        user, rest = _split_user(found)
        _, colon, password = user.partition(":")
        if colon and not password.startswith("$"):
            return True
        if any(_KEY.search(name) and not value.startswith("$") for _, name, value in _PARAMETER.findall(rest)):
            return True
    return False


def is_maybe_key(name: str) -> bool:
    """Whether a URL's parameter of this name may be a key."""
    return bool(_MAYBE_KEY.search(name))


def _hidden(found: re.Match[str]) -> str:
    return f"{found[1]}{found[2]}=***" if is_maybe_key(found[2]) else found[0]


def _split_user(url: re.Match[str]) -> tuple[str, str]:
    """The user and password of a URL, which the last @ ends, and what follows it; a slash may be in a password."""
    scheme, slashes, rest = url[1].lower(), url[2], url[3]
    host = rest.partition("/")[0]
    if slashes == ":/" and scheme not in REMOTE:
        return "", rest
    if "@" in host:
        user = host.rpartition("@")[0]
        is_container = scheme.startswith(("abfs", "wasb")) and ":" not in user
        return ("", rest) if is_container else (user, rest[len(user) + 1 :])
    is_port = scheme not in _STORES and (host.startswith("[") or _PORT.match(rest.partition(":")[2]))
    if ":" not in host or is_port or "@" not in rest:
        return "", rest
    user, _, rest = rest.rpartition("@")
    return user, rest


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
