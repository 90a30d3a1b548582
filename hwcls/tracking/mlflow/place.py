"""Where runs go: MLFLOW_TRACKING_URI, or else the sweep file's uri, or else a database in the sweep's folder.

Credentials are in environment variables alone. What is kept, logged or shown has an address without them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from hwcls.errors import UserError
from hwcls.escape import hide_credentials
from hwcls.format import split_credentials
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.mlflow.settings import SQLITE, check_uri, database_of, read_settings

VARIABLE = "MLFLOW_TRACKING_URI"
USER, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
SECRETS = (VARIABLE, USER, PASSWORD, "MLFLOW_TRACKING_TOKEN")
SENT = (USER, PASSWORD, "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4")  # to any address
ANSWER_SECONDS = 10  # to wait for an answer of the server
OWN = {  # no telemetry, no progress bars; a database file is opened for each access, as it may be created again
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}
LIMITS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(ANSWER_SECONDS), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
_SILENT = {"ReadTimeout", "ConnectTimeout", "ReadTimeoutError", "ConnectTimeoutError"}


@dataclass(frozen=True)
class Place:
    """Where the runs of a sweep go."""

    uri: str  # without credentials
    folder: Path  # <sweep>/mlflow, with the cursor
    is_own: bool  # whether it is the database in this folder

    @property
    def cursor(self) -> Path:
        """The file of the cursor: each place has its own, however its address is spelled."""
        if self.is_own:
            return self.folder / "cursor.jsonl"
        plain = plain_address(self.uri)
        kept = self._cursor_of(plain)
        earlier = (self._cursor_of(spelling) for spelling in (self.uri, f"{plain}/"))  # as 0.2.0 named it
        return next((file for file in (*earlier, kept) if file.is_file()), kept)

    def _cursor_of(self, spelling: str) -> Path:
        digest = hashlib.blake2b(spelling.encode(), digest_size=6).hexdigest()
        return self.folder / f"cursor-{digest}.jsonl"

    @property
    def database(self) -> Path | None:
        """The SQLite file; None on a server."""
        return database_of(self.uri)

    def artifacts(self, experiment: str) -> str | None:
        """The folder of an experiment's artifacts; None: the server has one."""
        if self.is_own:
            return str(self.folder / "artifacts")
        return str(self.database.parent / "mlartifacts" / experiment) if self.database else None

    def __str__(self) -> str:
        return str(self.database) if self.database else self.uri


def plain_address(uri: str) -> str:
    """One spelling of a server's address: no slash at its end, the host in lower case; a database's as it is."""
    if uri.startswith(SQLITE):
        return uri
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.lower(), path=parts.path.rstrip("/")))


def uri_of_environment() -> str | None:
    """MLFLOW_TRACKING_URI without credentials; raises UserError where it is no place for runs."""
    uri, _ = split_credentials(os.environ.get(VARIABLE, ""))
    try:
        return check_uri(uri) if uri else None
    except ValueError as error:
        what, _, remedy = str(error).partition(" — ")
        raise UserError(what, where=VARIABLE, remedy=remedy) from None


def require_trusted(uri: str | None, where: str) -> None:
    """Raise UserError where credentials would go to an address of a results folder, which may come from elsewhere.

    Args:
        uri: The address in its sweep.yaml.
        where: The place of the address, for the error.
    """
    if uri is None or uri.startswith(SQLITE) or uri_of_environment():
        return
    if any(os.environ.get(name) for name in SENT) or Path("~/.mlflow/credentials").expanduser().exists():
        what = f"your MLflow credentials would go to {uri}, which this results folder names"
        raise UserError(what, where=where, remedy=f"set {VARIABLE}={uri} if it is yours, or pass --trust-code")


def find_place(sweep: SweepFolder) -> Place:
    """The place of a sweep's runs; raises UserError where MLFLOW_TRACKING_URI is none."""
    folder = (sweep.path / "mlflow").resolve()  # the same one through a symbolic link
    uri = uri_of_environment() or read_settings(sweep).uri
    return Place(uri or f"{SQLITE}{folder / 'mlflow.db'}", folder, uri is None)


def find_servers(sweep: SweepFolder) -> list[str]:
    """The addresses of the servers that have runs of a sweep, of those that its file and the environment name."""
    named = {read_settings(sweep).uri}
    with contextlib.suppress(UserError):
        named.add(uri_of_environment())
    uris = sorted(uri for uri in named if uri and not uri.startswith(SQLITE))
    places = [Place(uri, sweep.path / "mlflow", is_own=False) for uri in uris]
    return sorted({place.cursor: place.uri for place in places if place.cursor.is_file()}.values())


def describe() -> str:
    """Where runs go by the environment, in words; empty if it says nothing."""
    uri, _ = split_credentials(os.environ.get(VARIABLE, ""))
    return f"server {uri} ({VARIABLE})" if uri else ""


def prepare() -> None:
    """Set what MLflow reads from the environment when it is imported; credentials leave the address."""
    os.environ.update(OWN)
    for name, value in LIMITS.items():
        os.environ.setdefault(name, value)
    uri, credentials = split_credentials(os.environ.get(VARIABLE, ""))
    user, _, password = credentials.partition(":")
    for name, part in ((USER, user), (PASSWORD, password)):
        if part:
            os.environ.setdefault(name, unquote(part))
    if uri:
        os.environ[VARIABLE] = uri


@contextlib.contextmanager
def plain_errors(place: Place) -> Iterator[None]:
    """Any error of the block becomes a ConnectionError of one line."""
    try:
        yield
    except Exception as error:  # of mlflow, requests, SQLAlchemy, or the disk
        raise ConnectionError(_reason(error, place)) from None


def _reason(error: BaseException, place: Place) -> str:
    """What went wrong at a place, by the error and those that caused it."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    names = {type(one).__name__ for one in chain}
    text = hide_credentials(" ".join(str(error).split()))
    if names & _SILENT:
        return f"MLflow at {place} gave no answer in {os.environ.get('MLFLOW_HTTP_REQUEST_TIMEOUT')} s"
    if "ConnectionRefusedError" in names:
        return f"MLflow at {place} refuses the connection"
    if "gaierror" in names:
        return f"there is no server '{urlsplit(place.uri).hostname}' (DNS)"
    if re.search(r"error code 40[13]\b", text):
        return f"MLflow at {place} does not accept the credentials: set {USER} and {PASSWORD}, or MLFLOW_TRACKING_TOKEN"
    return f"MLflow at {place}: {text[:300]}"
