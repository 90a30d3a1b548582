"""A results folder from Python."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwcls.api import frames
from hwcls.api.best import Best, find_best
from hwcls.api.html import render_results
from hwcls.api.objects import Objects, build_objects
from hwcls.api.user_errors import as_python_errors
from hwcls.format import format_count
from hwcls.reading import forget_reports
from hwcls.results.answer import describe_answer
from hwcls.results.compare import build_summary
from hwcls.results.load import SweepResults, mark_running
from hwcls.results.load import load_results as read_folder
from hwcls.tracking.folders import is_in_use

if TYPE_CHECKING:
    import pandas as pd


class Results:
    """What a sweep found, as it was when `load_results` read it; a sweep that runs can be loaded again and again.

    A notebook shows its answer and the top of its leaderboard. Trials that are left out (`hwcls trials exclude`) are in
    `leaderboard` alone.
    """

    def __init__(self, sweep: SweepResults, trust_code: bool = False) -> None:
        self._sweep, self._trust_code = sweep, trust_code

    @property
    def path(self) -> Path:
        """The results folder."""
        return self._sweep.folder

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self._sweep.name

    @property
    def metric(self) -> str:
        """The metric that trials are ranked by, such as val/accuracy."""
        return self._sweep.metric

    @property
    def goal(self) -> str:
        """maximize or minimize."""
        return self._sweep.goal

    @property
    def running(self) -> bool:
        """Whether the sweep ran when the results were read."""
        return self._sweep.running

    @cached_property
    def answer(self) -> str:
        """What the sweep found, in a few sentences."""
        return describe_answer(self._sweep)

    @property
    def settings(self) -> list[str]:
        """The columns of `trials` that are settings."""
        return list(frames.setting_columns(self._sweep).values())

    @cached_property
    def trials(self) -> pd.DataFrame:
        """A row a trial, by number: state, metrics of the best epoch, seconds, cost (`cost/...`), settings."""
        return frames.trial_frame(self._sweep)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """A row a trial and epoch: every recorded metric, lr, seconds, images_per_second."""
        return frames.curve_frame(self._sweep)

    @cached_property
    def leaderboard(self) -> pd.DataFrame:
        """The rows of leaderboard.csv: trials, best first, failed ones and those left out last."""
        return frames.leaderboard_frame(self._sweep)

    @cached_property
    def confirmed(self) -> pd.DataFrame:
        """A row a winner that was scored on test, best first: seeds, mean, 95 % interval (`low`, `high`)."""
        return frames.confirmed_frame(self._sweep, self.objects.confirmed)

    @cached_property
    def confirm_runs(self) -> pd.DataFrame:
        """A row a retraining of `confirm`: trial, seed, role (pick or report), metrics on validation and test."""
        return frames.confirm_run_frame(self._sweep)

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """A row a pair of winners: the lead of the better one on test, its 95 % interval, p (Holm), `differs`."""
        return frames.comparison_frame(self.objects.comparisons)

    @cached_property
    def objects(self) -> Objects:
        """The same tables as frozen dataclasses; needs no pandas."""
        return build_objects(self._sweep)

    @cached_property
    def best(self) -> Best:
        """The confirmed winner, or else the best trial on validation; raises UserError where no trial has a value."""
        with as_python_errors():
            return find_best(self._sweep, self._trust_code)

    def to_dict(self) -> dict[str, Any]:
        """Answer and tables as JSON-ready values: those of `hwcls compare --json`."""
        return build_summary(self._sweep)

    def __repr__(self) -> str:
        return f"Results of {self.name}, {format_count(len(self._sweep.trials), 'trial')}: {self.answer}"

    def _repr_html_(self) -> str:
        return render_results(self._sweep)


def load_results(path: str | os.PathLike[str], *, trust_code: bool = False) -> Results:
    """Read a results folder, whether its sweep has ended, runs, or was interrupted.

    A file that is damaged is named in the log, and the rest is read.

    Args:
        path: The folder, such as results/quickstart.
        trust_code: Let `best` run the code of a model of the user's own that no sweep on this machine has run; it is
            remembered.

    Raises:
        UserError: It is no results folder, or its sweep.yaml is damaged.
    """
    folder = Path(path).expanduser()
    forget_reports()
    with as_python_errors():
        in_use = is_in_use(folder)  # before the records are read: a trial may end meanwhile
        found = read_folder(folder)
    return Results(mark_running(found) if in_use else found, trust_code)
