"""`trackers: {mlflow: ...}` of a sweep file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from hwcls.config.sweep import TrackerSettings
from hwcls.format import split_credentials
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.tracker import read_tracker_settings

SQLITE = "sqlite:///"


def check_uri(uri: str) -> str:
    """The address of a server, or a SQLite database; raises ValueError, never with a password in it."""
    shown, _ = split_credentials(uri)
    if uri.startswith(SQLITE) and uri.removeprefix(SQLITE).strip("/"):
        return uri
    try:
        parts = urlsplit(shown)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        known = False
    if not known:
        remedy = "write http://HOST:PORT, https://HOST or sqlite:////FOLDER/mlflow.db"
        if uri.startswith("file:") or "://" not in uri:
            remedy += " (MLflow itself has given up folders of files)"
        raise ValueError(f"'{shown}' is not a place where MLflow keeps runs — {remedy}")
    if shown != uri:
        remedy = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment"
        raise ValueError(f"'{shown}' has a user or password in it, which this file would keep — {remedy}")
    return uri


class MlflowSettings(TrackerSettings):
    """Where the runs go."""

    uri: Annotated[str, AfterValidator(check_uri)] | None = Field(
        None,
        description="The MLflow server. By default a database in the results folder.",
        examples=["http://127.0.0.1:5000"],
        json_schema_extra={"pattern": "^(https?://|sqlite:///)."},
    )


def read_settings(sweep: SweepFolder) -> MlflowSettings:
    """The settings in a sweep's folder; the defaults where it has none, or where they are damaged."""
    return read_tracker_settings(sweep, "mlflow", MlflowSettings)


def database_of(uri: str) -> Path | None:
    """The file of a SQLite address; None for a server."""
    return Path(uri.removeprefix(SQLITE)).absolute() if uri.startswith(SQLITE) else None
