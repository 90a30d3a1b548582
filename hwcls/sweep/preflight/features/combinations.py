"""The trials of a sweep that together need everything of a kind that its trials will need, as far as that is finite."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

from hwcls.config.space import Choice, Parameter, Range
from hwcls.config.sweep_file import Sweep
from hwcls.config.trial import TrialConfig

MOST_VALUES = 8  # of a range that are all tried
MOST_POINTS = 64  # combinations that are looked at

Key = Callable[[TrialConfig], Hashable]  # what a trial needs; None: nothing
Settings = dict[str, Any]


def needing_trials(sweep: Sweep, key: Key) -> list[TrialConfig]:
    """A trial for each key that trials of the sweep will have: every combination of the parameters that decide it.

    The corners of a space vary one parameter at a time; here they are combined. Left out are the keys of ranges with
    more than MOST_VALUES values, of which a search draws few, and what lies beyond MOST_POINTS combinations.
    """
    if all(key(corner) is None for corner in sweep.corners):
        return []
    found: dict[Hashable, TrialConfig] = {}
    for trial in _Combinations(sweep, key).trials():
        found.setdefault(key(trial), trial)
    found.pop(None, None)
    return list(found.values())


class _Combinations:
    def __init__(self, sweep: Sweep, key: Key) -> None:
        self.sweep, self.key = sweep, key
        every = list(sweep.space.parameters())
        self.first = {parameter.name: parameter.ends()[0] for parameter, _ in every}
        self.parameters = [one for one in every if one[0].path[0] in ("data", "model")]

    def trials(self) -> Iterator[TrialConfig]:
        """One for each combination; those of long ranges are left out."""
        deciding = self._find_deciding()
        long = [(p, under) for p, under in self.parameters if isinstance(p, Range) and p.count() > MOST_VALUES]
        for point in self._points(deciding):
            trial = self.sweep.find_trial(point)
            if trial is not None and not any(_exists(under, point) and self._decides(p, point) for p, under in long):
                yield trial

    def _find_deciding(self) -> set[str]:
        """The parameters that decide the key, alone or with others."""
        deciding: set[str] = set()
        while True:
            points = self._points(deciding)
            more = {
                name
                for parameter, under in self.parameters
                if parameter.name not in deciding and _is_short(parameter)
                if any(self._decides(parameter, {**point, **under}) for point in points)
                for name in (parameter.name, *under)
            }
            if not more - deciding or len(self._points(deciding | more)) > MOST_POINTS:
                return deciding
            deciding |= more

    def _points(self, open_: set[str]) -> list[Settings]:
        """Every combination of the values of some parameters, with the first ones of all others."""
        return self.sweep.space.grid({name: value for name, value in self.first.items() if name not in open_})

    def _decides(self, parameter: Parameter, point: Settings) -> bool:
        trials = [self.sweep.find_trial({**point, parameter.name: end}) for end in parameter.ends()]
        return len({None if trial is None else self.key(trial) for trial in trials}) > 1


def _is_short(parameter: Parameter) -> bool:
    return isinstance(parameter, Choice) or parameter.count() <= MOST_VALUES


def _exists(under: Mapping[str, str], point: Settings) -> bool:
    """Whether a parameter exists at a point."""
    return all(point.get(name) == label for name, label in under.items())
