"""The trial that represents each alternative: its confirmed winner, or else its best trial on validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hwcls.format import format_number
from hwcls.results.confirm.plan import confirm_label, confirm_winners
from hwcls.results.load import SweepResults, TrialResult
from hwcls.results.test_comparison import compare_confirmed


@dataclass(frozen=True)
class Representative:
    """The trial of one alternative that tables, charts and weights belong to."""

    label: str | None  # of the alternative; None without `compare`
    trial: TrialResult
    confirmed: bool  # whether `trial` won the confirm runs and was scored on test
    leader: TrialResult  # the best trial on validation in the search

    @property
    def is_leader(self) -> bool:
        """Whether no trial is better on validation; values that are shown alike are equal."""
        same = format_number(self.trial.value) == format_number(self.leader.value)
        return same or self.trial.number == self.leader.number

    @property
    def is_overtaken(self) -> bool:
        """Whether another trial was better in the search than this confirmed one."""
        return self.confirmed and not self.is_leader

    @property
    def name(self) -> str:
        """In tables: the label, or "trial 7"."""
        return f"trial {self.trial.number}" if self.label is None else str(self.label)


def choose_representatives(sweep: SweepResults) -> list[Representative]:
    """One per alternative with a value: those with an interval on test by their mean, then other confirmed ones, then
    the rest, both by their leaders on validation. The order is a ranking only within each of the three."""
    leaders: dict[str | None, TrialResult] = {}
    for trial in sweep.ranked():
        if trial.value is not None and not trial.failed:
            leaders.setdefault(trial.label, trial)
    trials = {trial.number: trial for trial in sweep.trials}
    found = []
    for label, leader in leaders.items():
        number = winner_number(sweep, label)
        winner = trials.get(number) if number is not None else None
        found.append(Representative(label, winner or leader, winner is not None, leader))
    return sorted(found, key=lambda one: _rank(sweep, one))


def find_better(sweep: SweepResults, chosen: Representative) -> TrialResult | None:
    """The best trial that was better in the search than a confirmed winner and could take its place, if any."""
    best = next((trial for trial in sweep.ranked() if trial.label == chosen.label and trial.can_win), None)
    return best if best is not None and replace(chosen, leader=best).is_overtaken else None


def describe_representatives(chosen: Sequence[Representative]) -> str:
    """What the trials in charts, figures and diagnostics are, in the singular or plural."""
    each = " of each alternative" if len(chosen) > 1 else ""
    if chosen and all(one.confirmed for one in chosen):
        return f"the confirmed winner{each}"
    if any(one.confirmed for one in chosen):
        return f"the confirmed winner{each}, or its best trial on validation where none is confirmed"
    return f"the best trial{each}"


def winner_number(sweep: SweepResults, label: str | None) -> int | None:
    """The confirmed winner's trial number; None while the alternative has none."""
    return confirm_winners(sweep).get(confirm_label(label))


def _rank(sweep: SweepResults, one: Representative) -> tuple[bool, bool, float]:
    """Sorts the best first; equal keys keep the order on validation."""
    compared = compare_confirmed(sweep)
    name = confirm_label(one.label)
    known = compared is not None and name in compared.labels
    return not known, not one.confirmed, -sweep.sign * compared.estimate(name).mean if known and compared else 0.0
