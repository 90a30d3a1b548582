"""Weights & Biases as a tracker. This file is imported often, so that wandb itself is imported inside functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwcls.config.sweep import TRACKERS, LoginProblem, TrackerSpec
from hwcls.errors import UserError
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.json_lines import read_lines
from hwcls.tracking.wandb import environment
from hwcls.tracking.wandb.settings import WandbSettings

if TYPE_CHECKING:
    from hwcls.tracking.wandb.tracker import WandbTracker


@TRACKERS.register("wandb")
class Wandb(TrackerSpec):
    """One W&B run per trial, online or offline."""

    settings = WandbSettings
    package = "wandb"
    waits_for_server = True
    secrets = ("WANDB_API_KEY",)
    login_command = "wandb login"
    sync_command = "hwcls wandb sync"

    @classmethod
    def open(cls, sweep: SweepFolder, mode: str) -> list[WandbTracker]:
        """See TrackerSpec. With "auto" it is online if the login succeeds, else offline, and logs why.

        It never asks for credentials, and waits some ten seconds for a server that is down.
        """
        cls.check_installed("track: wandb")
        from hwcls.tracking.wandb.tracker import open_wandb

        return open_wandb(sweep, mode)

    @classmethod
    def disk_bytes(cls, epochs: int) -> int:
        return 250_000 + epochs * 2_000

    @classmethod
    def login_problem(cls) -> LoginProblem | None:
        from hwcls.tracking.wandb.login import login_problem

        return login_problem()

    @classmethod
    def describe_environment(cls, project: str | None = None) -> str:
        return environment.describe(project)

    @classmethod
    def check_login(cls, mode: str) -> None:
        environment.project_name("hwcls")
        environment.entity_name(None)
        if mode == "online":
            from hwcls.tracking.wandb.login import login_problem

            problem = login_problem()
            if problem and not problem.passing:
                remedy = f"{problem.remedy}, or pass --wandb offline"
                raise UserError(problem.what, where="--wandb online", remedy=remedy)


def read_run_urls(sweep: SweepFolder) -> dict[str, str]:
    """The address of each run at W&B, by run key; a run that was never online has none."""
    changes = read_lines(sweep.path / "wandb" / "cursor.jsonl")
    entries = [(change.get("run"), change.get("entry")) for change in changes]
    urls = {str(run): str(entry["url"]) for run, entry in entries if isinstance(entry, dict) and entry.get("url")}
    return {run: url for run, url in urls.items() if url.startswith(("https://", "http://"))}


def read_project_urls(sweep: SweepFolder) -> list[str]:
    """The address of each W&B project that has runs of the sweep."""
    return sorted({url.partition("/runs/")[0] for url in read_run_urls(sweep).values()})
