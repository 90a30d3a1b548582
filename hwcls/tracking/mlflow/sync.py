"""Sync: delivers to MLflow what it does not have of a sweep."""

from __future__ import annotations

from collections.abc import Callable

from hwcls.errors import UserError
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.tracking.follower import Follower
from hwcls.tracking.log import log_tracking
from hwcls.tracking.media import Media
from hwcls.tracking.mlflow import Mlflow


def sync_sweep(
    sweep: SweepFolder,
    project: str,
    media: Callable[[TrialFolder], Media | None] = lambda folder: None,
    *,
    artifacts: bool = False,
) -> tuple[int, str]:
    """Deliver to MLflow whatever it does not have of a sweep's records.

    `project`, `media` and `artifacts` are those of the Follower.

    Returns:
        How many ended runs were delivered, and where to.

    Raises:
        UserError: MLflow is not installed, or did not take every run.
    """
    (tracker,) = Mlflow.open(sweep, "online")
    follower = Follower(sweep, [tracker], project, media, artifacts=artifacts)
    with log_tracking(sweep):
        while follower.poll():
            pass
        follower.close()
    if errors := follower.undelivered():
        key, error = next(iter(errors.items()))
        remedy = "run it again: what was delivered is kept"
        raise UserError(f"MLflow did not take every run ({key}: {error})", where=str(sweep.path), remedy=remedy)
    return tracker.finished_runs, str(tracker.place)
