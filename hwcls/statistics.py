"""Is one alternative better than another? Intervals, Holm's correction and the number of seeds needed.

A model's score on a test image depends on its training seed and on the image, both random: a crossed design.
Images are resampled: of two alternatives their differences, since both are scored on the same images (as in the
pigeonhole bootstrap, Owen, Annals of Applied Statistics 1(2), 2007). There are few seeds, and resampling few values
gives intervals that are too narrow, so the seeds' part is drawn from Student's t. Its variance is that between the
means of the seeds, and the images' part is the rest (method of moments): neither is an estimate of a small variance by
subtraction, which would often be cut at zero and then be too narrow.

Images that all agree say nothing of those that were not seen. So an image that is all right and one that is all wrong
are added to those of a mean (Agresti, Coull, American Statistician 52(2), 1998), and to those of a difference one that
each of the two alone gets right (Bonett, Price, Journal of Educational and Behavioral Statistics 37, 2012).

Metrics that are no mean of hits have a value per image as well: `metrics.metric_per_image`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
KEPT = 0.9  # the best share of values, which sets the length of an axis
STRETCH = 2.0  # unless all values make it at most so many times as long
MAX_DRAWS = 1_000_000  # of the bootstrap
MAX_RESAMPLED = 100_000  # of them by resampling images one by one
BLOCK = 10_000  # of these at a time
MAX_SEEDS = 1000  # further ones that are suggested
Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval, in the unit of the values (accuracy 0 to 1)."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Alternative `first` minus `second`, by their places in the input."""

    first: int
    second: int
    mean: float
    low: float  # of this difference alone, not adjusted
    high: float
    p: float  # two-sided, adjusted by Holm over all pairs
    differs: bool  # whether the adjusted p is below Comparison.alpha
    more_seeds: int | None  # needed by each of the two, with power 0.8; None: significant, or no number is enough


@dataclass(frozen=True)
class PairedComparison:
    """The result of `compare_paired`."""

    images: int
    first: Estimate
    second: Estimate
    difference: Estimate  # first minus second
    p: float  # two-sided


@dataclass(frozen=True)
class Comparison:
    """The result of `bootstrap_mean`."""

    level: float
    images: int
    seeds: tuple[int, ...]  # per alternative
    look: int  # how often these seeds, or fewer of them, have been tested
    alpha: float  # the adjusted p must be below it: what this look spends of 1 - level
    estimates: tuple[Estimate, ...]
    differences: tuple[Difference, ...]  # every pair, first < second


def bootstrap_mean(
    values: Sequence[NDArray[Any]],
    *,
    most: float = 1.0,
    level: float = 0.95,
    look: int = 1,
    draws: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Intervals of every alternative's mean and of every difference, over seeds and test images.

    Args:
        values: Per alternative the results of each seed on each image, (S_k, N): booleans, whether it is right, or
            numbers of `metrics.metric_per_image`; the same N images for all, S_k >= 2.
        most: The highest possible mean; the lowest is 0.
        level: Of the intervals; verdicts of all looks err in at most 1 - level of cases without a difference (Holm).
        look: 1 for the first verdict, 2 after seeds were added to it, and so on: see `spend_alpha`.
        draws: Of the bootstrap; more, MAX_DRAWS at most, where no p could fall below Holm's first threshold with fewer.
            Where even these are too few, as from the eighth look at six alternatives on, nothing is significant.
        seed: Same seed, same result.

    Raises:
        ValueError: When there are fewer than two seeds or images, or the images differ in number.
    """
    hits = all(np.asarray(table).dtype == np.bool_ for table in values)
    tables = _check_tables(values)
    pairs = list(combinations(range(len(tables)), 2))
    alpha, next_alpha = spend_alpha(look, 1 - level), spend_alpha(look + 1, 1 - level)
    draws = min(max(draws, math.ceil(5 / alpha) * len(pairs)), MAX_DRAWS)
    rng = np.random.default_rng(seed)
    by_image = np.stack([table.mean(0) for table in tables], axis=1)  # (N, K)
    means = [float(table.mean()) for table in tables]
    seeds = [len(table) for table in tables]
    spread = [float(table.mean(1).var(ddof=1)) / len(table) for table in tables]  # of each mean
    noise = [_noise(table) / table.size for table in tables]  # part of it that comes from the number of images
    image_draws = partial(_image_draws, most=most, hits=hits, draws=draws, rng=rng)
    tails = [50 * (1 - level), 50 * (1 + level)]

    def interval(mean: float, deviations: Floats) -> tuple[float, float]:
        low, high = np.percentile(deviations, tails)
        return mean + float(low), mean + float(high)

    estimates = []
    for k, mean in enumerate(means):
        own = image_draws(by_image[:, k], 0.0, noise[k])
        low, high = interval(mean, own + _seed_draws([spread[k]], [seeds[k]], draws, rng))
        estimates.append(Estimate(mean, max(0.0, low), min(most, high)))
    gaps = [
        image_draws(by_image[:, i] - by_image[:, j], -most, noise[i] + noise[j])
        + _seed_draws([spread[i], spread[j]], [seeds[i], seeds[j]], draws, rng)
        for i, j in pairs
    ]  # deviations of each difference, (draws,) each
    p_values = holm([_two_sided(means[i] - means[j], gap) for (i, j), gap in zip(pairs, gaps, strict=True)])
    can_differ = 2 / (MAX_DRAWS + 1) * len(pairs) < next_alpha  # the smallest p that a further look could find
    differences = []
    for (i, j), gap, p in zip(pairs, gaps, p_values, strict=True):
        mean, differs, (low, high) = means[i] - means[j], p < alpha, interval(means[i] - means[j], gap)
        more = None if differs or not can_differ else _more_seeds(tables[i], tables[j], next_alpha / len(pairs), most)
        differences.append(Difference(i, j, mean, max(-most, low), min(most, high), p, differs, more))
    return Comparison(level, len(by_image), tuple(seeds), look, alpha, tuple(estimates), tuple(differences))


def compare_paired(first: NDArray[Any], second: NDArray[Any], *, most: float = 1.0) -> PairedComparison:
    """Two models on the same test images, one training each: 95 % intervals, and whether they differ.

    The seed's part is not in it: another training of either may score otherwise. Of hits the intervals are Wilson's
    (Journal of the American Statistical Association 22, 1927) and for the difference Bonett and Price's (Journal of
    Educational and Behavioral Statistics 37, 2012), p is of McNemar's exact test; of other values all are normal.

    Args:
        first, second: (N,) of each image: booleans, whether it is right, or numbers of `metrics.metric_per_image`.
        most: The highest possible mean; the lowest is 0.

    Raises:
        ValueError: When there are fewer than two images, or they differ in number.
    """
    images = len(first)
    if images < 2 or first.shape != second.shape:
        raise ValueError("both models must be scored on the same images, two or more")
    if first.dtype == second.dtype == np.bool_:
        won, lost = int((first & ~second).sum()), int((second & ~first).sum())
        difference = _hit_difference(won, lost, images)
        return PairedComparison(
            images,
            wilson(float(first.mean()), images),
            wilson(float(second.mean()), images),
            difference,
            _mcnemar(won, lost),
        )
    one, other = first.astype(np.float64), second.astype(np.float64)
    gap = _normal_mean(one - other, -most, most)
    error = (gap.high - gap.mean) / Z
    p = 2 * NormalDist().cdf(-abs(gap.mean) / error) if error else float(gap.mean == 0)
    return PairedComparison(images, _normal_mean(one, 0.0, most), _normal_mean(other, 0.0, most), gap, p)


def cross_validated(rounds: Sequence[Sequence[NDArray[np.bool_]]]) -> Estimate:
    """The accuracy on images that were held out in turn, and its 95 % interval.

    The folds of a round have other images and other models, so that the spread of their accuracies has all chance in
    it: that of images, of seeds, of training images, and of groups, which no fold divides. Few folds are a small
    sample, hence Student's t. That they share training images is neglected, as in the central limit theorem of Bayle
    et al. (NeurIPS 2020, arXiv 2007.12671). Rounds share all images: their variances are averaged, not divided.
    Where the folds happen to be more alike than as many images can be, the interval is Wilson's.

    Args:
        rounds: Of each round the hits of each fold, (N_f,); two folds or more.

    Raises:
        ValueError: A round has fewer than two folds.
    """
    from scipy.special import stdtrit

    means, variances, images = [], [], 0
    for folds in rounds:
        sizes, hits = (np.array([float(f(fold)) for fold in folds]) for f in (len, np.sum))  # (folds,) each
        if len(folds) < 2 or not sizes.all():
            raise ValueError("a round needs two folds with images")
        mean = float(hits.sum() / sizes.sum())
        deviations = (hits - sizes * mean) / sizes.sum()  # what each fold adds to the mean
        means.append(mean)
        variances.append(len(folds) / (len(folds) - 1) * float((deviations**2).sum()))
        images = max(images, int(sizes.sum()))
    share = float(np.mean(means))
    half = float(stdtrit(min(map(len, rounds)) - 1, 0.975)) * math.sqrt(float(np.mean(variances)))
    least = wilson(share, images)
    return Estimate(share, max(0.0, min(least.low, share - half)), min(1.0, max(least.high, share + half)))


def wilson(share: float, images: int) -> Estimate:
    """Wilson's interval of a share of hits among so many images, 95 %."""
    centre = (share + Z**2 / (2 * images)) / (1 + Z**2 / images)
    half = Z * math.sqrt(share * (1 - share) / images + Z**2 / (4 * images**2)) / (1 + Z**2 / images)
    return Estimate(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def _hit_difference(won: int, lost: int, images: int) -> Estimate:
    """Bonett and Price's interval, from the images that one of two models gets right and the other wrong."""
    up, down = (won + 1) / (images + 2), (lost + 1) / (images + 2)
    half = Z * math.sqrt((up + down - (up - down) ** 2) / (images + 2))
    return Estimate((won - lost) / images, max(-1.0, up - down - half), min(1.0, up - down + half))


def _mcnemar(won: int, lost: int) -> float:
    """McNemar's exact test: the probability of so uneven a share of the images that one alone gets right."""
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(won, lost), won + lost, 0.5))) if won + lost else 1.0


def _normal_mean(values: Floats, least: float, most: float) -> Estimate:
    spread = float(_add_extremes(values, least, most).std(ddof=1))
    mean, half = float(values.mean()), Z * spread / math.sqrt(len(values))
    return Estimate(mean, max(least, mean - half), min(most, mean + half))


def _check_tables(values: Sequence[NDArray[Any]]) -> list[Floats]:
    """The results of each alternative as numbers, (S_k, N)."""
    tables = [np.asarray(table, dtype=np.float64) for table in values]
    if not tables or any(table.ndim != 2 or min(table.shape) < 2 for table in tables):
        raise ValueError("every alternative needs at least 2 seeds and 2 images")
    if len({table.shape[1] for table in tables}) > 1:
        raise ValueError("all alternatives must be scored on the same images")
    return tables


def spend_alpha(look: int, total: float = 0.05) -> float:
    """The error that a look at a verdict may spend when seeds are added until it tells: total * 2 / 3**look.

    Each look spends two thirds of what those before it left: 3.3 %, 1.1 %, 0.4 % of 5 %, so that all of them together
    spend `total`, however many follow. By Bonferroni's inequality they then err with at most `total`, however they
    depend on each other; a fixed level at each look would err more often with every one (Armitage, McPherson, Rowe,
    Journal of the Royal Statistical Society A 132, 1969; alpha spending: Lan, DeMets, Biometrika 70, 1983).

    Args:
        look: From 1.
        total: Of all looks together.
    """
    return float(total * 2 / 3**look)


def expected_best(values: Sequence[float | None], counts: Sequence[int], goal: str) -> list[float]:
    """The expected best of k of n trials in random order, for each k of `counts`.

    The mean over all choices of k trials without replacement, unbiased (Tang et al., arXiv 2004.13705, after Dodge et
    al., arXiv 1909.03004), given that one of the k has a value. It ignores the order of the search: it measures the
    search space, not how fast the search found its best trial.

    Args:
        values: One per trial, at least one a number; None for a failed trial, which counts as a trial without a result.
        counts: From 1 to n.
        goal: "maximize" or "minimize".
    """
    ordered = np.array(
        sorted((v for v in values if v is not None), reverse=goal == "minimize")
    )  # (M,), the worst first
    before = len(values) - len(ordered) + np.arange(len(ordered))  # (M,), how many are worse, including failed ones
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, len(values) + 1)))])
    found = []
    for k in counts:
        able = before >= k - 1  # can be the best of k
        others = before[able]
        log_ways = log_factorial[others] - log_factorial[others - k + 1]  # up to a common factor
        weights = np.exp(log_ways - log_ways.max())
        found.append(float(weights @ ordered[able] / weights.sum()))
    return found


def count_images_needed(
    difference: float,
    *,
    accuracy: float | None = None,
    disagreement: float | None = None,
    alpha: float = 0.05,
    power: float = 0.8,
) -> int:
    """The test images on which a true difference in accuracy between two models is found with probability `power`.

    Both models are scored on the same images (paired, McNemar's test), so that what counts is how often one is right
    and the other wrong: Connor, Biometrics 43(1), 1987. Where that is not known, their errors count as independent,
    which needs more images: the formula of two samples, Fleiss, Levin, Paik, Statistical Methods for Rates and
    Proportions, 3rd edition, 4.2, without its correction for continuity.

    Args:
        difference: Of the two accuracies, from 0 to 1.
        accuracy: Of the better model; used without `disagreement`.
        disagreement: The share of images that one of the two gets right and the other wrong; at least `difference`.

    Raises:
        ValueError: Neither `accuracy` nor `disagreement` is given.
    """
    if disagreement is not None:
        null = max(disagreement, difference)
        actual = null - difference**2
    elif accuracy is not None:
        better, worse = max(accuracy, difference), max(accuracy, difference) - difference
        mean = (better + worse) / 2
        null, actual = 2 * mean * (1 - mean), better * (1 - better) + worse * (1 - worse)
    else:
        raise ValueError("accuracy or disagreement is needed")
    normal = NormalDist()
    apart = normal.inv_cdf(1 - alpha / 2) * math.sqrt(null) + normal.inv_cdf(power) * math.sqrt(max(0.0, actual))
    return math.ceil((apart / difference) ** 2)


def smallest_difference(images: int, *, accuracy: float | None = None, disagreement: float | None = None) -> float:
    """The smallest difference in accuracy that `images` are enough for, in steps of 0.001; 1 where none is."""
    sizes = np.arange(1e-3, 1, 1e-3)  # rising: the larger the difference, the fewer images it needs
    enough = (n for n in sizes if count_images_needed(n, accuracy=accuracy, disagreement=disagreement) <= images)
    return float(next(enough, 1.0))


def range_of_most(values: Sequence[float], sign: int, shown: Sequence[float] = ()) -> tuple[float, float] | None:
    """The lowest and the highest value of an axis on which a few bad values do not hide how the others differ.

    Args:
        values: Of which the worst tenth may be left out.
        sign: 1 where more is better, -1 where less is.
        shown: Those that are on the axis in any case.

    Returns:
        None where the axis can show all.
    """
    best_first = sorted(values, key=lambda value: -sign * value)
    kept, every = [*shown, *best_first[: max(1, round(KEPT * len(values)))]], [*shown, *values]
    if not every or max(every) - min(every) <= STRETCH * (max(kept) - min(kept)) or max(kept) == min(kept):
        return None
    return min(kept), max(kept)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values, in the order given (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _without_noise(moved: Floats, noise: float) -> Floats:
    """The images' deviations (draws,), shrunk by the variance that is already part of the seeds' own."""
    variance = float(moved.var())
    return moved * math.sqrt(max(0.0, 1 - noise / variance)) if variance > 0 else moved


def _noise(table: Floats) -> float:
    """Residual mean square that neither seed nor image explains, (S, N) -> share squared."""
    seeds, images = table.shape
    rest = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
    return float((rest**2).sum() / ((seeds - 1) * (images - 1)))


def _image_draws(
    values: Floats, least: float, noise: float, *, most: float, hits: bool, draws: int, rng: np.random.Generator
) -> Floats:
    """Deviations (draws,) of a mean due to its images (N,), without the part that the seeds' own has: `noise`."""
    padded = _add_extremes(values, least, most)  # (N + 2,)
    moved = (_hit_draws if hits else _mean_draws)(padded, len(values), draws, rng)
    return _without_noise(moved, noise)


def _add_extremes(values: Floats, least: float, most: float) -> Floats:
    """The values of N images and of two more, at either end of the scale where it has ends: (N,) -> (N + 2,)."""
    return np.append(values, [least, most]) if math.isfinite(most) else values


def _hit_draws(values: Floats, images: int, draws: int, rng: np.random.Generator) -> Floats:
    """Deviations (draws,) of a mean when `images` images are drawn from `values`, shares of hits or their differences.

    Beyond MAX_RESAMPLED draws, which only late looks need, they are normal with the same variance.
    """
    if draws > MAX_RESAMPLED:
        return _mean_draws(values, images, draws, rng)
    kinds, counts = np.unique(values, return_counts=True)  # (U,) each: few, so many draws are cheap
    blocks = [min(BLOCK, draws - start) for start in range(0, draws, BLOCK)]  # all at once would take gigabytes
    drawn = [rng.multinomial(images, counts / len(values), size=size) @ kinds for size in blocks]
    moved = np.concatenate(drawn) / images - values.mean()  # (draws,)
    return np.asarray(moved * math.sqrt(images / (images - 1)))


def _mean_draws(values: Floats, images: int, draws: int, rng: np.random.Generator) -> Floats:
    """The same for any numbers: their mean over many images is normally distributed."""
    return rng.normal(0, float(values.std(ddof=1)) / math.sqrt(images), draws)


def _seed_draws(variances: list[float], seeds: list[int], draws: int, rng: np.random.Generator) -> Floats:
    """Deviations of a sum of means from its expectation due to few seeds, (draws,).

    Student's t with Welch's degrees of freedom (Biometrika 34, 1947), as the variances may differ.
    """
    total = sum(variances)
    if total == 0:
        return np.zeros(draws)
    freedom = total**2 / sum(v**2 / (s - 1) for v, s in zip(variances, seeds, strict=True))
    return rng.standard_t(freedom, size=draws) * math.sqrt(total)


def _two_sided(gap: float, deviations: Floats) -> float:
    below = (1 + np.count_nonzero(deviations <= -gap)) / (1 + len(deviations))
    above = (1 + np.count_nonzero(deviations >= -gap)) / (1 + len(deviations))
    return float(min(1.0, 2 * min(below, above)))


def _more_seeds(first: Floats, second: Floats, alpha: float, most: float, power: float = 0.8) -> int | None:
    """Further seeds for each of two alternatives that make the observed difference significant; None beyond MAX_SEEDS.

    Assumes that the observed difference is the true one, and detects it with probability `power`. `most`: the highest
    possible mean.
    """
    from scipy.special import stdtrit

    gap = abs(first.mean() - second.mean())
    if not gap:
        return None
    seeds = (len(first) + len(second)) / 2
    images = first.shape[1]
    apart = _add_extremes(first.mean(0) - second.mean(0), -most, most)  # (N + 2,)
    own_noise = _noise(first) / len(first) + _noise(second) / len(second)
    images_part = max(0.0, float(apart.var(ddof=1)) - own_noise) / images
    seeds_part = sum(max(float(table.mean(1).var(ddof=1)), _noise(table) / images) for table in (first, second))
    more = np.arange(1, MAX_SEEDS + 1)
    error = np.sqrt(images_part + seeds_part / (seeds + more))  # (MAX_SEEDS,), of the difference
    freedom = 2 * (seeds + more - 1)
    needed = (stdtrit(freedom, 1 - alpha / 2) + stdtrit(freedom, power)) * error  # the smallest detectable difference
    enough = np.flatnonzero(needed <= gap)
    return int(more[enough[0]]) if len(enough) else None
