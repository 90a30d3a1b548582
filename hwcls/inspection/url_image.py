"""Images behind http(s) URLs: bounded in size and time, and no key of a URL in a name or an error."""

from __future__ import annotations

import base64
import time
from http import HTTPStatus
from http.client import HTTPException
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from hwcls.escape import is_maybe_key

TIMEOUT = 10.0  # seconds without a byte
DEADLINE = 60.0  # seconds for one image
MAX_BYTES = 64 << 20  # of one image
BLOCK = 1 << 18
KEPT = "%/:=&?~#+!$,;'@()*[]"  # characters of a URL that are not escaped


class _Redirects(HTTPRedirectHandler):
    """Follows redirects to http and https alone."""

    def redirect_request(self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str) -> Any:
        """The request for `newurl`; raises OSError for another scheme."""
        fp.close()  # else its body, of any length, would be read
        if urlsplit(newurl).scheme.lower() not in ("http", "https"):
            raise OSError("redirects to what is neither http nor https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def read_url(url: str) -> bytes:
    """The bytes behind a URL; raises OSError with the reason, in which no part of the URL appears."""
    try:
        with build_opener(_Redirects).open(_request(url), timeout=TIMEOUT) as answer:
            return _read_bounded(answer, int(answer.headers.get("Content-Length") or 0))
    except HTTPError as error:
        error.close()
        raise OSError(_describe_status(error.code)) from None
    except (HTTPException, ValueError):  # what they say has parts of the URL
        raise OSError("not a valid URL, or no answer of HTTP") from None
    except OSError as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise OSError(_describe(reason)) from None


def hide_secrets(url: str) -> str:
    """A URL without its user and password, and without the values of parameters that may be keys."""
    parts = _split(url)
    query, fragment = ("&".join(map(_hide_value, part.split("&"))) for part in (parts.query, parts.fragment))
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=query, fragment=fragment))


def _hide_value(pair: str) -> str:
    name, mark, _ = pair.partition("=")
    return f"{name}=***" if mark and is_maybe_key(name) else pair


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # a bracket in the host
        scheme, _, rest = url.partition("://")
        host, slash, path = rest.partition("?")[0].rpartition("@")[2].partition("/")
        return SplitResult(scheme, host, slash + path, "", "")


def _request(url: str) -> Request:
    """The request for a URL; its user and password are sent to its own host alone."""
    parts = urlsplit(url)
    userinfo, _, host = parts.netloc.rpartition("@")
    request = Request(quote(urlunsplit(parts._replace(netloc=host)), KEPT), headers={"User-Agent": "hwcls"})
    if userinfo:
        token = base64.b64encode(unquote(userinfo).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return request


def _read_bounded(answer: IO[bytes], length: int) -> bytes:
    """The whole answer; raises OSError where it is too large, too slow, or ends before `length` bytes (0: unknown)."""
    too_large = OSError(f"has more than {MAX_BYTES >> 20} MB")
    if length > MAX_BYTES:
        raise too_large
    blocks, have, end = [], 0, time.monotonic() + DEADLINE
    while block := answer.read(BLOCK):
        blocks.append(block)
        have += len(block)
        if have > MAX_BYTES:
            raise too_large
        if time.monotonic() > end:
            raise OSError(f"took more than {DEADLINE:.0f} s")
    if have < length:
        raise OSError(f"the connection ended after {have:,} of {length:,} bytes")
    return b"".join(blocks)


def _describe_status(code: int) -> str:
    try:
        phrase = HTTPStatus(code).phrase
    except ValueError:
        phrase = "unknown"
    where = ": redirects to what is neither http nor https, or in a circle" if 300 <= code < 400 else ""
    return f"HTTP {code}, {phrase.lower()}{where}"


def _describe(reason: object) -> str:
    """Why nothing was received, in a few words."""
    if isinstance(reason, TimeoutError):
        return f"no answer within {TIMEOUT:.0f} s"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror.lower()
    return str(reason) or type(reason).__name__
