"""Bayesian optimisation: a Gaussian process of the ranks says where a trial is expected to improve most."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial
from scipy.spatial.distance import cdist
from scipy.special import ndtri
from threadpoolctl import ThreadpoolController

from hwcls.config.sweep import Searched
from hwcls.sweep.search.optuna_private import drawn_or_pinned
from hwcls.sweep.search.sampling.gaussian_process import GaussianProcess, log_improvement
from hwcls.sweep.search.sampling.history import Ranked
from hwcls.sweep.search.sampling.points import Points, Rows
from hwcls.sweep.search.sampling.ranking import RankedHistory

BEST, LATEST = 50, 100  # trials that are modelled
LENGTH = -1.0  # the logarithm of the length scale that is expected of a parameter, if it were the only one
ALIKE = 0.0  # of the compared one: how much alternatives are expected to have in common
CANDIDATES, TOP, AROUND = 512, 5, 60  # points at random; of the best so many, so many neighbours
SAME = 1e-3  # nobody tries what differs by less
SCALES = (0.2, 0.1, 0.05, 0.02)  # of neighbours, round by round


class GaussianProcessSampler(BaseSampler):
    """Draws all parameters of a trial together, those of its branch, for what is pinned of it.

    Args:
        seed: Of all its draws; the same after a restart, which then continues as it would have.
        searched: The space, and what is compared.
        start: Trials of each alternative that a Latin hypercube places before the model does.
    """

    def __init__(self, seed: int, searched: Searched, start: int) -> None:
        self.seed, self.compared, self.points = seed, searched.compared, Points(searched.space)
        self.start, self.history = start, RankedHistory(self.compared)
        self._random = RandomSampler(seed=seed)
        many = 0.5 * math.log(max(1, len(self.points.columns)))  # each of many parameters matters less
        self._lengths = np.array([ALIKE if name == self.compared else LENGTH + many for name in self.points.index])
        self._scales: Rows | None = None  # of the last model, with which the next one begins
        self._blas = ThreadpoolController().select(user_api="blas")

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.points.distributions

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        pinned = drawn_or_pinned(trial)
        history, label = self.history, pinned.get(self.compared) if self.compared else None
        history.update(study.get_trials(deepcopy=False), study.direction)
        running = [drawn_or_pinned(one) for one in history.running if one.number != trial.number]
        alike = [one for one in running if self._alternative(one, pinned)]
        if history.count(label) < 2 or history.count(label) + len(alike) < self.start:
            return self._start([*(one.trial.params for one in history.best(label, self.start)), *alike], pinned)
        rng = np.random.default_rng([self.seed, trial.number])
        chosen = (*history.excerpt(BEST, LATEST), *history.best(label, TOP))
        modelled = {one.trial.number: one for one in chosen}
        with self._blas.limit(limits=1):  # more threads would wait for each other, and for cores on which trials train
            return self.points.decode(self._propose(list(modelled.values()), running[-LATEST:], pinned, rng))

    def _alternative(self, settings: Mapping[str, Any], pinned: Mapping[str, Any]) -> bool:
        """Whether settings are of the pinned alternative."""
        return self.compared is None or settings.get(self.compared) == pinned.get(self.compared)

    def _start(self, tried: list[dict[str, Any]], pinned: Mapping[str, Any]) -> dict[str, Any]:
        """The next settings of the start that were not tried; some were left out since where they are fewer."""
        found: dict[str, Any] = {}
        for number in range(len(tried), len(tried) + self.start):
            found = self.points.decode(self._hypercube(number, pinned))
            if found not in tried:
                break
        return found

    def _hypercube(self, number: int, pinned: Mapping[str, Any]) -> Rows:
        """A point of a Latin hypercube: of as many in a row as there are, every parameter has one in each part."""
        shares, count = [], self.start
        for column in self.points.columns:
            chance = random.Random(f"{self.seed} {number // count} {pinned.get(self.compared or '')} {column.name}")
            parts = chance.sample(range(count), count)
            shares.append((parts[number % count] + chance.random()) / count)
        return np.asarray(self.points.spread(np.array([shares]), pinned)[0])

    def _propose(
        self, ranked: list[Ranked], running: list[dict[str, Any]], pinned: Mapping[str, Any], rng: np.random.Generator
    ) -> Rows:
        points = self.points
        x = points.encode([one.trial.params for one in ranked])
        y = -ndtri(np.array([one.rank for one in ranked]))
        process = GaussianProcess.fit(x, y, points.labels, self._lengths, self._scales)
        self._scales = process.scales
        mean, _ = process.predict(x)
        own = np.array([self._alternative(one.trial.params, pinned) for one in ranked])
        best = float(mean[own].max())
        if running:  # as if they had ended as expected
            there = points.encode(running)
            x, y = np.concatenate([x, there]), np.concatenate([y, process.predict(there)[0]])
            process = GaussianProcess.of(x, y, points.labels, process.scales)
        top = x[: len(own)][own][np.argsort(-mean[own])[:TOP]]
        pool = points.spread(rng.random((CANDIDATES, len(points.columns))), pinned)
        scores = np.empty(0)
        for scale in SCALES:
            new = np.concatenate([pool[len(scores) :], points.near(np.repeat(top, AROUND, 0), scale, pinned, rng)])
            pool = np.concatenate([pool[: len(scores)], new])
            found = log_improvement(*process.predict(new), best)
            found[(cdist(new, x, "chebyshev") < SAME).any(1)] = -np.inf
            scores = np.concatenate([scores, found])
            top = pool[np.argsort(-scores)[:TOP]]
        return np.asarray(top[0])
