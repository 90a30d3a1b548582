"""MLflow as a tracker. This file is imported often, so that mlflow itself is imported inside functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwcls.config.sweep import TRACKERS, TrackerSettings, TrackerSpec
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.mlflow import place
from hwcls.tracking.mlflow.settings import MlflowSettings

if TYPE_CHECKING:
    from hwcls.tracking.mlflow.tracker import MlflowTracker


@TRACKERS.register("mlflow")
class Mlflow(TrackerSpec):
    """One MLflow run per trial, in a database in the sweep's folder or on a server; `mode` is not for it."""

    settings = MlflowSettings
    package = "mlflow"
    extra = "mlflow"
    waits_for_server = True
    secrets = place.SECRETS
    sync_command = "hwcls mlflow sync"

    @classmethod
    def open(cls, sweep: SweepFolder, mode: str) -> list[MlflowTracker]:
        cls.check_installed("track: mlflow")
        from hwcls.tracking.mlflow.tracker import MlflowTracker

        return [MlflowTracker(sweep, place.find_place(sweep))]

    @classmethod
    def disk_bytes(cls, epochs: int) -> int:
        return 300_000 + epochs * 5_000

    @classmethod
    def describe_environment(cls, project: str | None = None) -> str:
        return place.describe()

    @classmethod
    def check_trusted(cls, settings: TrackerSettings, where: str) -> None:
        assert isinstance(settings, MlflowSettings)
        place.require_trusted(settings.uri, where)

    @classmethod
    def check_login(cls, mode: str) -> None:
        place.uri_of_environment()
