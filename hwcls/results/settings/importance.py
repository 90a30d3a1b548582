"""Which settings matter: the share of the differences between trials that each explains, against chance.

Values are ranked, as few trials of a search are normally distributed. A number explains them by its rank, linearly and
quadratically (an optimum inside its range), anything else by its values. Forward selection: the most significant
setting first, then what the others explain of the rest, since a sampler that follows good values makes settings move
together. What chance explains is known from permutations of the values; the largest of several settings counts
(Westfall and Young, Resampling-Based Multiple Testing, 1993). Interactions are not counted.

`benchmarks/verdicts.py` compares this with fANOVA and PED-ANOVA on simulated sweeps of 12 and 24 trials.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwcls.format import format_count, join_words
from hwcls.results.load import SweepResults, is_finite
from hwcls.results.settings.marginal_effects import trials_with_value, varied_settings

MIN_TRIALS = 12  # of a group
PERMUTATIONS = 500
LEVEL = 0.05  # of the verdicts, for all settings of a group together
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Importance:
    """One setting among the trials of the sweep or of an alternative."""

    name: str
    share: float  # of the variance of ranks, beyond the settings before it; 0 on average where it does nothing
    band: float  # that chance alone stays below, in 95 % of the permutations
    matters: bool  # False: these trials cannot tell


@functools.lru_cache(maxsize=1)
def setting_importances(sweep: SweepResults) -> dict[str | None, list[Importance]]:
    """The settings that all trials of a group have, the most important first, for the sweep and each alternative.

    By label, None for the sweep; groups with fewer than MIN_TRIALS are left out. Trials stopped early count with
    their best value.
    """
    labels = sweep.labels if len(sweep.labels) > 1 else []
    found = {}
    for label in (None, *labels):
        trials = trials_with_value(sweep, label)
        settings = {name: [trial.parameters.get(name) for trial in trials] for name in varied_settings(trials)}
        settings = {name: values for name, values in settings.items() if None not in values}
        if len(trials) >= MIN_TRIALS and settings:
            found[label] = rank_settings(settings, [trial.value for trial in trials if trial.value is not None])
    return found


def describe_importances(sweep: SweepResults) -> list[str]:
    """One sentence per group: the settings that matter, and those of which its trials cannot tell."""
    sentences = []
    for label, found in setting_importances(sweep).items():
        count = format_count(len(trials_with_value(sweep, label)), "trial")
        known = [(one.name, f"{100 * one.share:.0f} %") for one in found if one.matters]
        unknown = [one.name for one in found if not one.matters]
        text = f"Of the differences between {'all ' if label is None else ''}{count}{f' of {label}' if label else ''}, "
        text += (
            join_words([f"{name} explains {share}" for name, share in known])
            if known
            else "no setting explains more than chance would"
        )
        if unknown:
            text += f"; these trials cannot tell whether {join_words(unknown, 'or')} "
            text += "matters" if len(unknown) == 1 else "matter"
        sentences.append(f"{text}.")
    return sentences


def summarize_importances(sweep: SweepResults) -> list[dict[str, Any]]:
    """JSON-ready rows: label (None: the sweep), setting, share, band, matters."""
    return [
        {"label": label, "setting": one.name, "share": one.share, "band": one.band, "matters": one.matters}
        for label, found in setting_importances(sweep).items()
        for one in found
    ]


def rank_settings(settings: Mapping[str, Sequence[Any]], values: Sequence[float], seed: int = 0) -> list[Importance]:
    """The importance of each setting for the values of N trials, the most important first.

    Args:
        settings: By name, N values each.
        values: Of the metric, N.
        seed: Of the permutations.
    """
    ranks = _mean_ranks(values) - (len(values) + 1) / 2  # (N,)
    rng = np.random.default_rng(seed)
    order = np.stack([np.arange(len(ranks)), *(rng.permutation(len(ranks)) for _ in range(PERMUTATIONS))])
    chosen = np.zeros((len(ranks), 0))  # (N, D), an orthonormal basis of what is explained already
    bases, found = {name: _explaining(own) for name, own in settings.items()}, list[Importance]()
    while bases:
        rest = ranks - chosen @ (chosen.T @ ranks)
        if rest @ rest <= 1e-9 * len(ranks):  # everything is explained, or all trials are equal
            return found + [Importance(name, 0.0, 0.0, False) for name in bases]
        step = _test_settings(bases, chosen, rest[order], scale=float(rest @ rest / (ranks @ ranks)))
        if not step[0].matters:
            return found + step
        found.append(step[0])
        chosen = np.hstack([chosen, _orthonormal(bases.pop(step[0].name), chosen)])
    return found


def _test_settings(bases: Mapping[str, Floats], chosen: Floats, rest: Floats, scale: float) -> list[Importance]:
    """What each setting explains beyond `chosen`, the most significant first.

    rest: (1 + P, N), what is left of the ranks, its permutations last; scale: how much of their variance that is.
    """
    rest = rest - (rest @ chosen) @ chosen.T
    total, left = (rest**2).sum(1), rest.shape[1] - 1 - chosen.shape[1]  # (1 + P,), degrees of freedom
    shares = []
    for basis in bases.values():
        own = _orthonormal(basis, chosen)
        explained, free = ((rest @ own) ** 2).sum(1) / total, left - own.shape[1]
        shares.append(1 - (1 - explained) * left / free if free > 0 else 0 * total)  # a value for each trial: unknown
    table = np.stack(shares, axis=1)  # (1 + P, S)
    below = np.stack([np.searchsorted(np.sort(column), column) for column in table.T], axis=1)  # (1 + P, S)
    p = (len(table) - below) / len(table)  # (1 + P, S)
    smallest = p.min(1)
    limit = float(np.quantile(smallest, LEVEL, method="lower"))  # p of all settings stay above it in 95 % of cases
    step = []
    for place, name in enumerate(bases):
        adjusted = float((smallest <= p[0, place]).mean())
        band = float(np.quantile(table[1:, place], 1 - limit))
        found = Importance(name, scale * float(table[0, place]), scale * band, adjusted < LEVEL)
        step.append((float(p[0, place]), found))
    return [found for _, found in sorted(step, key=lambda row: (row[0], -row[1].share))]


def _mean_ranks(values: Sequence[float] | Floats) -> Floats:
    """Ranks from 1, (N,), equal values share their mean; scipy.stats takes longer to import than a page to write."""
    _, place, counts = np.unique(np.asarray(values, float), return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


def _explaining(values: Sequence[Any]) -> Floats:
    """The centred columns that a setting explains values by, (N, D)."""
    if all(is_finite(value) for value in values) and len(set(values)) > 2:
        rank = _mean_ranks(values)
        columns = np.stack([rank, (rank - rank.mean()) ** 2], axis=1)
    else:
        words = np.array([str(value) for value in values])
        columns = (words[:, None] == np.unique(words)[1:]).astype(float)
    return np.asarray(columns - columns.mean(0))


def _orthonormal(columns: Floats, chosen: Floats) -> Floats:
    """An orthonormal basis (N, D) of what the columns have beyond those that are chosen."""
    rest = columns - chosen @ (chosen.T @ columns)
    left, size, _ = np.linalg.svd(rest, full_matrices=False)
    return np.asarray(left[:, size > 1e-9 * np.linalg.norm(columns)])
