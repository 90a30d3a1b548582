"""Sync: uploads to W&B what it lacks of a sweep."""

from __future__ import annotations

from collections.abc import Callable

from hwcls.errors import UserError
from hwcls.tracking.folders import SweepFolder, TrialFolder
from hwcls.tracking.follower import Follower
from hwcls.tracking.log import log_tracking
from hwcls.tracking.media import Media
from hwcls.tracking.tracker import SweepSummary
from hwcls.tracking.wandb.login import require_login
from hwcls.tracking.wandb.tracker import WandbTracker


def sync_sweep(
    sweep: SweepFolder,
    project: str,
    media: Callable[[TrialFolder], Media | None] = lambda folder: None,
    *,
    artifacts: bool = False,
    summary: SweepSummary | None = None,
) -> int:
    """Upload to W&B whatever it lacks of a sweep; returns how many ended runs were uploaded.

    `media` and `artifacts` are those of the Follower, and `summary` is what the sweep has found.

    Raises:
        UserError: no good credentials, no server, or W&B did not take all of it.
    """
    require_login()
    tracker = WandbTracker(sweep, online=True)
    follower = Follower(sweep, [tracker], project, media, artifacts=artifacts)
    with log_tracking(sweep):
        while follower.poll():
            pass
        problems = [] if follower.undelivered() or summary is None else tracker.conclude(summary)
        follower.close()
    remedy = "run it again: what was uploaded is kept"
    if errors := follower.undelivered():
        key, error = next(iter(errors.items()))
        raise UserError(f"W&B did not take every run ({key}: {error})", where=str(sweep.path), remedy=remedy)
    if problems:
        raise UserError("; ".join(problems), where=str(sweep.path), remedy=remedy)
    return tracker.finished_runs
