"""The cuts of train and val that confirm runs get: another one for each, or a fold of a cross-validation.

A sweep's search sees one cut of its images, and so does the winner. How much a model depends on which images it was
trained on is a part of the chance that a benchmark should cover (Bouthillier et al., MLSys 2021, arXiv 2103.03098).
Test, the subset, and what stays together are those of the search in every cut. All alternatives get the same cuts, but
are compared as if each had others: what cuts have in common for them makes intervals of differences wider than needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hwcls.config.data import DataConfig
from hwcls.config.sweep import PICK_SEEDS, ConfirmConfig

FIRST_CUT, FIRST_PICK_CUT = 10_000_000, 1_000_000_000  # of runs that report and that pick: no cut picks and reports


@dataclass(frozen=True)
class Cut:
    """Another cut of train and val; `fold` (from 1) of `folds`, or a share as in the search.

    The names are those of `DataConfig`.
    """

    val_seed: int
    folds: int | None = None
    fold: int | None = None

    def apply(self, data: DataConfig) -> DataConfig:
        """The data of a trial in this cut."""
        return data.model_copy(update=asdict(self))

    def to_record(self) -> dict[str, int]:
        """As confirm.json and result.json have it."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_record(cls, value: object) -> Cut | None:
        """Read `to_record`'s output; None where there is none, or where it is damaged."""
        if not isinstance(value, Mapping) or not all(type(number) is int for number in value.values()):
            return None
        known: dict[str, Any] = {key: value.get(key) for key in ("val_seed", "folds", "fold")}
        return None if known["val_seed"] is None else cls(**known)


def plan_cut(config: ConfirmConfig, place: int, *, picks: bool) -> Cut | None:
    """The cut of a run; None for that of the search.

    Args:
        config: Of the sweep.
        place: Among the runs of its trial that have its role, from 0.
        picks: Whether it picks a winner. Picks are no folds, as each trial has too few of them.
    """
    if config.splits is None:
        return None
    if picks:
        return Cut(FIRST_PICK_CUT + place)
    if config.fold_count is None:
        return Cut(FIRST_CUT + place)
    round_, fold = divmod(place, config.fold_count)
    return Cut(FIRST_CUT + round_, config.fold_count, fold + 1)


def list_cuts(config: ConfirmConfig | None) -> list[Cut]:
    """Every cut that confirm runs may get; none where all have that of the search."""
    if config is None or config.splits is None:
        return []
    picks = [plan_cut(config, place, picks=True) for place in range(PICK_SEEDS if config.top > 1 else 0)]
    reports = [plan_cut(config, place, picks=False) for place in range(config.seeds)]
    return [cut for cut in (*picks, *reports) if cut is not None]
