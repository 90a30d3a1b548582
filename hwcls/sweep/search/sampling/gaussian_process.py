"""A Gaussian process over the rows of a space: Matérn 5/2, a length scale for each column, the likeliest ones.

Their priors are log-normal; length scales grow with the square root of the number of parameters, as in Hvarfner et al.,
Vanilla Bayesian Optimization Performs Great in High Dimensions (2024). The numbers are chosen by hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.special import log_ndtr, ndtr

from hwcls.sweep.search.sampling.points import Mask, Rows

STEPS = 20  # of the search for the likeliest scales
LENGTH_SPREAD, NOISE, NOISE_SPREAD, SIGNAL_SPREAD = 1.0, -6.0, 1.0, 0.5  # of the logarithms
BOUNDS = (-4.0, 7.0), (-2.0, 2.0), (-10.0, 0.0)  # of log length scales, signal and noise variance


def _squares(a: Rows, b: Rows, labels: Mask) -> Rows:
    """Squared distances of each column, (columns, len(a), len(b)); of labels 1 where they differ."""
    gaps = a.T[:, :, None] - b.T[:, None, :]
    gaps[labels] = gaps[labels] != 0
    return np.square(gaps)


def _matern(squared: Rows) -> tuple[Rows, Rows]:
    """The correlation at a squared distance, and its derivative by that."""
    distance = np.sqrt(5.0 * squared)
    decay = np.exp(-distance)
    return (1.0 + distance + 5.0 / 3.0 * squared) * decay, -5.0 / 6.0 * (1.0 + distance) * decay


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted process; `scales` are logarithms: length scales, signal variance, noise variance."""

    x: Rows
    labels: Mask
    scales: Rows
    factor: Rows  # of the covariance of the observations
    weights: Rows

    @classmethod
    def fit(cls, x: Rows, y: Rows, labels: Mask, lengths: Rows, start: Rows | None = None) -> GaussianProcess:
        """The process with the likeliest scales.

        Args:
            x: Rows.
            y: What was observed there, about standard normal.
            labels: Which columns are labels.
            lengths: The logarithm of the length scale that is expected of each column.
            start: The scales to begin with.
        """
        prior = np.array([*lengths, 0.0, NOISE])
        spread = np.array([*[LENGTH_SPREAD] * x.shape[1], SIGNAL_SPREAD, NOISE_SPREAD])
        squares = _squares(x, x, labels).reshape(x.shape[1], -1)

        def loss(scales: Rows) -> tuple[float, Rows]:
            inverse = np.exp(-2.0 * scales[:-2])
            correlation, slope = _matern((inverse @ squares).reshape(len(x), len(x)))
            signal, noise = np.exp(scales[-2:])
            factor = cholesky(signal * correlation + (noise + 1e-8) * np.eye(len(x)), lower=True)
            weights = cho_solve((factor, True), y)
            outer = np.outer(weights, weights) - cho_solve((factor, True), np.eye(len(x)))  # d likelihood / d cov, x 2
            deviation = (scales - prior) / spread
            lengths = -signal * inverse * (squares @ (outer * slope).ravel())
            gradient = np.array([*lengths, 0.5 * signal * (outer * correlation).sum(), 0.5 * noise * outer.trace()])
            value = 0.5 * y @ weights + np.log(factor.diagonal()).sum() + 0.5 * deviation @ deviation
            return float(value), deviation / spread - gradient

        bounds = [BOUNDS[0]] * x.shape[1] + list(BOUNDS[1:])
        begin = prior if start is None or len(start) != len(prior) else start
        found = minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS})
        return cls.of(x, y, labels, found.x)

    @classmethod
    def of(cls, x: Rows, y: Rows, labels: Mask, scales: Rows) -> GaussianProcess:
        """The process with given scales."""
        covariance = _covariance(x, x, labels, scales) + (math.exp(scales[-1]) + 1e-8) * np.eye(len(x))
        factor = cholesky(covariance, lower=True)
        return cls(x, labels, scales, factor, cho_solve((factor, True), y))

    def predict(self, x: Rows) -> tuple[Rows, Rows]:
        """Mean and standard deviation at rows, without the noise of an observation."""
        covariance = _covariance(self.x, x, self.labels, self.scales)
        reduced = solve_triangular(self.factor, covariance, lower=True)
        variance = math.exp(self.scales[-2]) - np.einsum("ij,ij->j", reduced, reduced)
        return covariance.T @ self.weights, np.sqrt(np.maximum(variance, 1e-12))


def _covariance(a: Rows, b: Rows, labels: Mask, scales: Rows) -> Rows:
    inverse = np.exp(-scales[:-2])
    numbers = ~labels
    left, right = a[:, numbers] * inverse[numbers], b[:, numbers] * inverse[numbers]
    squared = np.maximum((left**2).sum(1)[:, None] + (right**2).sum(1) - 2.0 * left @ right.T, 0.0)
    for at in np.flatnonzero(labels):
        squared += inverse[at] ** 2 * (a[:, at, None] != b[None, :, at])
    return np.asarray(math.exp(scales[-2]) * _matern(squared)[0])


def log_improvement(mean: Rows, deviation: Rows, best: float) -> Rows:
    """The logarithm of the expected improvement on `best`, to a constant."""
    u = (mean - best) / deviation
    above, below = np.maximum(u, 0.0), np.minimum(u, 0.0)
    ratio = np.exp(log_ndtr(below) + 0.5 * np.square(below)) * math.sqrt(2 * math.pi)
    close = -0.5 * np.square(below) + np.log(np.maximum(1.0 + below * ratio, 1e-300))
    far = -0.5 * np.square(below) - 2.0 * np.log(np.maximum(-below, 1.0))  # as of -1,000 the difference above is lost
    better = np.log(np.exp(-0.5 * np.square(above)) + above * ndtr(above) * math.sqrt(2 * math.pi))
    return np.asarray(np.log(deviation) + np.where(u > 0, better, np.where(u > -1e3, close, far)))
