"""The model that stands for a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hwcls.api.html import escape_html
from hwcls.api.model import Model
from hwcls.errors import UserError
from hwcls.results.best.choose import choose_best
from hwcls.results.load import SweepResults


@dataclass(frozen=True, eq=False, kw_only=True)
class Best(Model):
    """A sweep's confirmed winner, or else its best trial on validation: what `hwcls predict results/<sweep>` uses.

    Attributes:
        trial: Its number.
        label: The alternative; None without `compare`.
        seed: Of the confirm run whose weights these are; None: the trial's own.
        why: Which run it is, how it was chosen, and its score, in words.
        settings: What was drawn, by name.
        metrics: Of its best epoch: val/accuracy and so on.
        test: Of this run on test; empty where it was not scored there.
    """

    trial: int
    label: str | None
    seed: int | None
    why: str
    settings: Mapping[str, Any]
    metrics: Mapping[str, Any]
    test: Mapping[str, float]

    def __repr__(self) -> str:
        return f"Best({self.why}; in {self.folder})"

    def _repr_html_(self) -> str:
        return f"<p>{escape_html(self.why)}<br>{escape_html(self.folder)}</p>"


def find_best(sweep: SweepResults, trust_code: bool) -> Best:
    """The best model of a sweep; raises UserError where no trial has a value."""
    found = choose_best(sweep)
    if found is None:
        raise UserError("no trial has a value yet", where=str(sweep.folder), remedy="wait for its first epoch")
    return Best(
        folder=found.weights or found.run.folder,
        trust_code=trust_code,
        trial=found.run.number,
        label=found.label,
        seed=found.seed,
        why=found.why,
        settings=dict(found.run.parameters),
        metrics=dict(found.run.best or {}),
        test=dict(found.test),
    )
