"""From the drawn settings of a trial to its job, which its folder keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hwcls.config.space import Fixed
from hwcls.config.sweep_file import Sweep
from hwcls.config.trial import TrialConfig
from hwcls.data.augment.defaults import spell_out
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.search.messages import Job
from hwcls.sweep.storage.user_code import with_copied_source
from hwcls.tracking.folders import SweepFolder


class JobBuilder:
    """Makes the jobs of a search.

    Args:
        sweep: The sweep.
        folder: Its results folder.
        resources: Of each trial.
        sources: For each model name in the sweep file that is a user's file the name of the copy in the results.
    """

    def __init__(self, sweep: Sweep, folder: SweepFolder, resources: Resources, sources: dict[str, str]) -> None:
        self.sweep, self.folder, self.resources, self.sources = sweep, folder, resources, sources

    def build(self, number: int, settings: dict[str, Any], sync: Callable[[], None]) -> Job:
        """The job of a trial; its config.yaml is written where there is none, after `sync` has saved the study.

        Raises:
            pydantic.ValidationError: The settings are a combination that cannot be trained.
        """
        sweep, folder = self.sweep, self.folder.trial(number)
        if (folder.path / "config.yaml").exists():
            config = spell_out(folder.config(), earlier=True)
        else:
            config = self._new_config(number, settings)
            sync()  # no trial has a folder that the study does not know
            folder.write_config(config)
        return Job(
            key=f"trials/{number}",
            label=sweep.alternative_label(settings),
            parameters=sweep.space.flat_settings(settings),
            config=config,
            resources=self.resources,
            keep=sweep.config.keep,
            hang_after=sweep.config.hang_after,
            checkpoints=tuple(folder.checkpoints()),
            saved_in=self.folder.saved_in(f"trials-{number}"),
        )

    def _new_config(self, number: int, settings: dict[str, Any]) -> TrialConfig:
        sweep, cpus = self.sweep, self.resources.cpus_per_worker
        seed = sweep.config.seed + number
        config = sweep.trial(Fixed(settings), seed=seed, workers=self.resources.workers, threads=cpus)
        return spell_out(with_copied_source(config, self.sources), earlier=sweep.earlier)
