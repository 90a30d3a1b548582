"""A search space as rows of numbers, for models: each parameter is a column, also those that other branches have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from hwcls.config.space import Choice, Parameter, Range, Space, Values

Rows = np.ndarray[Any, np.dtype[np.float64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
FINE = 1000  # more steps than these are as good as a continuous range
NEUTRAL, NONE = 0.5, -1.0  # of a number, of a label, in a row in whose branch the parameter does not exist


class Column:
    """A parameter: a number is its place between the ends, from 0 to 1; of a label it is its index.

    Args:
        parameter: The parameter.
        under: The choices under which it exists.
    """

    def __init__(self, parameter: Parameter, under: Mapping[str, str]) -> None:
        self.parameter, self.under = parameter, under
        self.name = parameter.name
        self.options: list[Any] | None = None  # in the order of their places; None: too many
        self.is_label = not isinstance(parameter, Range) and not _is_ordered(parameter)
        if isinstance(parameter, Range):
            self.distribution = _distribution(parameter)
            if parameter.count() <= FINE:
                self.options = parameter.grid()
                self.places = np.array([self._place(option) for option in self.options])
        else:
            choices = parameter.grid()
            self.distribution = CategoricalDistribution(choices)
            self.options = choices if self.is_label else sorted(choices)
            count = len(choices)
            self.places = np.arange(count) if self.is_label else (np.arange(count) + 0.5) / count

    def _place(self, value: float) -> float:
        assert isinstance(self.parameter, Range)
        low, high = self.parameter.low, self.parameter.high
        if self.parameter.log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return (value - low) / (high - low) if high > low else NEUTRAL

    def place(self, value: Any) -> float:
        """The number of a value."""
        if self.options is None or isinstance(self.parameter, Range):
            return min(1.0, max(0.0, self._place(value)))
        return float(self.places[self.options.index(value)])

    def snap(self, numbers: Rows) -> Rows:
        """The nearest numbers that a value has; of labels those of shares of 1."""
        if self.options is None:
            return np.clip(numbers, 0.0, 1.0)
        if self.is_label:
            return np.clip(np.floor(numbers * len(self.places)), 0, len(self.places) - 1)
        return np.asarray(self.places[np.abs(numbers[:, None] - self.places).argmin(1)], dtype=np.float64)

    def value(self, number: float) -> Any:
        """The value of a number."""
        if self.options is not None:
            return self.options[int(np.abs(self.places - number).argmin())]
        assert isinstance(self.parameter, Range)
        low, high = self.parameter.low, self.parameter.high
        if self.parameter.log:
            found = math.exp(math.log(low) + number * (math.log(high) - math.log(low)))
        else:
            found = low + number * (high - low)
        if step := self.parameter.step or (1 if self.parameter.integer else None):
            found = low + round((found - low) / step) * step
        found = min(max(found, low), high)
        return round(found) if self.parameter.integer else found


class Points:
    """The rows of a space.

    Args:
        space: The space.
    """

    def __init__(self, space: Space) -> None:
        self.columns = [Column(parameter, under) for parameter, under in space.parameters()]
        self.index = {column.name: at for at, column in enumerate(self.columns)}
        self.labels = np.array([column.is_label for column in self.columns], dtype=bool)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Of all parameters, by name."""
        return {column.name: column.distribution for column in self.columns}

    def encode(self, settings: Sequence[Mapping[str, Any]]) -> Rows:
        """Rows (len(settings), columns)."""
        rows = np.where(self.labels, NONE, NEUTRAL) + np.zeros((len(settings), 1))
        for row, drawn in zip(rows, settings, strict=True):
            for name, value in drawn.items():
                if name in self.index:
                    at = self.index[name]
                    row[at] = self.columns[at].place(value)
        return rows

    def decode(self, row: Rows) -> dict[str, Any]:
        """The settings of a row, without those that do not exist in its branch."""
        exist = self._exist(row[None])[0]
        return {
            column.name: column.value(float(number))
            for column, number, there in zip(self.columns, row, exist, strict=True)
            if there
        }

    def spread(self, shares: Rows, pinned: Mapping[str, Any]) -> Rows:
        """Points from numbers between 0 and 1, of which equal shares of all are equal parts of each parameter."""
        rows = np.stack([column.snap(shares[:, at]) for at, column in enumerate(self.columns)], 1)
        return self._completed(rows, pinned)

    def near(self, rows: Rows, scale: float, pinned: Mapping[str, Any], rng: np.random.Generator) -> Rows:
        """A neighbour of each row: some parameters moved, numbers by about `scale`; what is new in it is anywhere."""
        shape: tuple[int, ...] = rows.shape
        change = rng.random(shape) < max(0.25, 1.5 / len(self.columns))
        change[np.arange(len(rows)), rng.integers(rows.shape[1], size=len(rows))] = True
        moved, noise, drawn = rows.copy(), rng.normal(size=shape), rng.random(shape)
        existed = self._exist(rows)
        for at, column in enumerate(self.columns):
            if column.is_label:
                new = column.snap(drawn[:, at])
            else:  # one step at least
                least = 0.0 if column.options is None else 1.0 / max(1, len(column.options) - 1)
                new = column.snap(rows[:, at] + noise[:, at] * max(scale, least))
            moved[:, at] = np.where(change[:, at], new, rows[:, at])
            moved[:, at] = np.where(existed[:, at], moved[:, at], column.snap(drawn[:, at]))
        return self._completed(moved, pinned)

    def _completed(self, rows: Rows, pinned: Mapping[str, Any]) -> Rows:
        """With what is pinned, and without what does not exist."""
        for name, value in pinned.items():
            if name in self.index:
                rows[:, self.index[name]] = self.columns[self.index[name]].place(value)
        for at, column in enumerate(self.columns):  # a choice comes before what exists under it
            if column.under:
                neutral = NONE if column.is_label else NEUTRAL
                rows[:, at] = np.where(self._exists(rows, column), rows[:, at], neutral)
        return rows

    def _exists(self, rows: Rows, column: Column) -> Mask:
        there = np.ones(len(rows), dtype=bool)
        for choice, label in column.under.items():
            at = self.index[choice]
            there &= rows[:, at] == self.columns[at].place(label)
        return there

    def _exist(self, rows: Rows) -> Mask:
        return np.stack([self._exists(rows, column) for column in self.columns], 1)


def _is_ordered(parameter: Values | Choice) -> bool:
    """Whether the values are numbers, three or more, whose order says something."""
    if isinstance(parameter, Choice):
        return False
    choices = parameter.choices()
    numbers = all(isinstance(choice, (int, float)) and not isinstance(choice, bool) for choice in choices)
    return numbers and len(set(choices)) == len(choices) > 2


def _distribution(parameter: Range) -> BaseDistribution:
    """As Optuna stores it when the space is drawn."""
    if parameter.integer:
        low, high, step = int(parameter.low), int(parameter.high), int(parameter.step or 1)
        return IntDistribution(low, high, log=parameter.log, step=step)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
