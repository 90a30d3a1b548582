"""How much each setting matters: PED-ANOVA, as Optuna computes it."""

from __future__ import annotations

import functools

from hwcls.results.load import SweepResults, TrialResult, is_finite
from hwcls.results.settings.marginal_effects import log_settings, trials_with_value, varied_settings

MIN_TRIALS = 12  # of a group


@functools.lru_cache(maxsize=1)
def setting_importances(sweep: SweepResults) -> dict[str | None, dict[str, float]]:
    """PED-ANOVA (Watanabe et al., IJCAI 2023) of the settings that all trials have, for the sweep and each alternative.

    By label, None for the sweep; groups with fewer than MIN_TRIALS are left out. Trials stopped early count with
    their best value.
    """
    labels = sweep.labels if len(sweep.labels) > 1 else []
    groups = {label: trials_with_value(sweep, label) for label in (None, *labels)}
    logs, found = log_settings(sweep), {}
    for label, trials in groups.items():
        names = [
            name for name in varied_settings(trials) if all(trial.parameters.get(name) is not None for trial in trials)
        ]
        if len(trials) >= MIN_TRIALS and names:
            found[label] = _ped_anova(trials, names, logs, sweep.goal)
    return found


def _ped_anova(trials: list[TrialResult], names: list[str], logs: set[str], goal: str) -> dict[str, float]:
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

    space: dict[str, BaseDistribution] = {}
    for name in names:
        values = [trial.parameters[name] for trial in trials]
        if all(is_finite(value) for value in values) and len(set(values)) > 2:
            low, high = float(min(values)), float(max(values))
            space[name] = FloatDistribution(low, high, log=name in logs and low > 0)
        else:
            space[name] = CategoricalDistribution(sorted({str(value) for value in values}))
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(direction="minimize" if goal == "minimize" else "maximize")
        for trial in trials:
            drawn = {
                name: float(trial.parameters[name])
                if isinstance(kind, FloatDistribution)
                else str(trial.parameters[name])
                for name, kind in space.items()
            }
            study.add_trial(optuna.trial.create_trial(params=drawn, distributions=space, value=trial.value))
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return {
            name: float(weight)
            for name, weight in optuna.importance.get_param_importances(study, evaluator=evaluator).items()
        }
    finally:
        optuna.logging.set_verbosity(before)
