"""Which settings figures and tables show, the most important first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hwcls.format import order_by_difference
from hwcls.results.load import SweepResults, TrialResult
from hwcls.results.settings.importance import setting_importances
from hwcls.results.settings.marginal_effects import varied_settings


def order_settings(sweep: SweepResults, trials: Sequence[TrialResult]) -> list[str]:
    """The settings that vary among `trials`: those that explain most first, then those with the most values.

    What `compare` names is left out: it is the name of an alternative.
    """
    named = {name for name in varied_settings(list(trials)) if name != sweep.compared}
    shares: Counter[str] = Counter()
    for rows in setting_importances(sweep).values():
        shares.update({one.name: max(0.0, one.share) for one in rows if one.matters})
    order = [name for name in order_by_difference([trial.parameters for trial in trials]) if name in named]
    return sorted(order, key=lambda name: -shares[name])
