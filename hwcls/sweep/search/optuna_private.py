"""Everything that hwcls uses of Optuna's private API: check it when Optuna is upgraded."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

WRITTEN_FOR = "5.0"  # the Optuna release; tests/sweep/search/test_optuna_private.py compares it with the installed one


class StudyView(optuna.Study):
    """A study of which a sampler sees some trials only."""

    def __init__(self, study: optuna.Study, trials: list[FrozenTrial]) -> None:
        vars(self).update(vars(study))
        self._visible = trials

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        return [trial for trial in self._visible if states is None or trial.state in states]


def resume_trial(study: optuna.Study, frozen: FrozenTrial) -> Trial:
    """A running trial of an earlier start, to continue with."""
    return Trial(study, frozen._trial_id)


def drawn_or_pinned(trial: FrozenTrial) -> dict[str, Any]:
    """The settings drawn for a trial; before they are drawn, those pinned by `enqueue_trial`."""
    return {**trial.system_attrs.get("fixed_params", {}), **trial.params}
