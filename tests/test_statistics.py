"""Intervals and verdicts against simulations whose truth is known."""

from __future__ import annotations

import math
import time
from itertools import combinations
from math import erf, sqrt

import numpy as np
import pytest
import scipy.stats

from hwcls import statistics
from hwcls.metrics import metric_per_image
from hwcls.statistics import (
    bootstrap_mean,
    compare_paired,
    count_images_needed,
    cross_validated,
    expected_best,
    holm,
    range_of_most,
    smallest_difference,
    spend_alpha,
    wilson,
)


def simulate(rng, levels, *, seeds=5, images=300, seed_spread=0.0, image_spread=1.5):
    """Right or wrong by a latent normal: hard and easy images, mostly alike for all, good and bad seeds."""
    common = rng.normal(0, image_spread * sqrt(0.7), images)
    tables = []
    for level in levels:
        own = common + rng.normal(0, image_spread * sqrt(0.3), images)
        tables.append(level + rng.normal(0, seed_spread, (seeds, 1)) + own + rng.normal(0, 1, (seeds, images)) > 0)
    return tables


def expected(level, seed_spread=0.0, image_spread=1.5):
    """The accuracy that `simulate` has over all seeds and images."""
    return 0.5 * (1 + erf(level / sqrt(2 * (1 + seed_spread**2 + image_spread**2))))


def coverage(seed_spread, runs, images, draws):
    """Shares of means and differences covered, and of false verdicts, when three alternatives are equal."""
    rng = np.random.default_rng(11)
    truth = expected(1.0, seed_spread)
    means, gaps, false = [], [], []
    for run in range(runs):
        found = bootstrap_mean(simulate(rng, [1.0] * 3, images=images, seed_spread=seed_spread), draws=draws, seed=run)
        means += [e.low <= truth <= e.high for e in found.estimates]
        gaps += [d.low <= 0 <= d.high for d in found.differences]
        false.append(any(d.differs for d in found.differences))
    return np.mean(means), np.mean(gaps), np.mean(false)


def cut_coverage(own, runs=150, images=1000, seed_spread=0.03, cut_spread=0.1):
    """Shares of means covered, and of false verdicts of two equal models, over all seeds and cuts of train and val.

    `own`: each run has a cut of its own, the same ones for both models; else all runs of a model are on one.
    """
    rng = np.random.default_rng(12)
    truth, means, false = expected(1.0, math.hypot(seed_spread, cut_spread)), [], []
    for run in range(runs):
        cuts = rng.normal(0, cut_spread, 5)
        common, tables = rng.normal(0, 1.5 * sqrt(0.7), images), []
        for _ in range(2):
            effect = (cuts if own else rng.normal(0, cut_spread)) + rng.normal(0, seed_spread, 5)
            latent = 1.0 + effect[:, None] + common + rng.normal(0, 1.5 * sqrt(0.3), images)
            tables.append(latent + rng.normal(0, 1, (5, images)) > 0)
        found = bootstrap_mean(tables, draws=500, seed=run)
        means += [e.low <= truth <= e.high for e in found.estimates]
        false += [d.differs for d in found.differences]
    return np.mean(means), np.mean(false)


def test_runs_on_cuts_of_their_own_cover_the_cut_and_runs_on_one_do_not():
    means, false = cut_coverage(own=True)
    assert 0.93 <= means <= 0.99
    assert false <= 0.05
    means, false = cut_coverage(own=False)
    assert means < 0.8  # which splits are for
    assert false > 0.15


@pytest.mark.parametrize(("folds", "spread", "rounds"), [(5, 0.0, 1), (5, 0.1, 1), (10, 0.05, 1), (5, 0.05, 2)])
def test_out_of_fold_intervals_cover_the_truth(folds, spread, rounds):
    """Over images, and models that differ from fold to fold; Wilson's interval of all images knows only the first."""
    rng, covered, simple = np.random.default_rng(13), [], []
    for _ in range(400):
        easy, found = rng.normal(0, 1.5, 1000), []
        for _ in range(rounds):
            parts = np.array_split(rng.permutation(easy), folds)
            found.append([1.0 + rng.normal(0, spread) + part + rng.normal(0, 1, len(part)) > 0 for part in parts])
        one, plain = cross_validated(found), wilson(float(np.concatenate(found[0]).mean()), 1000)
        covered.append(one.low <= expected(1.0, spread) <= one.high)
        simple.append(plain.low <= expected(1.0, spread) <= plain.high)
    assert 0.93 <= np.mean(covered) <= 1
    assert np.mean(simple) < 0.9 or spread < 0.1


def test_out_of_fold_intervals_of_folds_that_are_alike_are_those_of_the_images():
    found = cross_validated([[np.ones(40, bool)] * 5])
    assert found == wilson(1.0, 200)
    assert found.low < 0.99
    mean = cross_validated([[np.ones(30, bool), np.zeros(10, bool)]]).mean
    assert mean == pytest.approx(0.75)  # folds of other sizes: a mean over images
    with pytest.raises(ValueError, match="two folds"):
        cross_validated([[np.ones(40, bool)]])


def test_intervals_cover_the_truth():
    means, gaps, _ = coverage(0.15, runs=300, images=120, draws=300)
    assert 0.92 <= means <= 0.98
    assert 0.92 <= gaps <= 0.98


def test_intervals_of_two_seeds_cover_the_truth():
    """A variance that is cut at zero, where both seeds happen to be alike, covers it in 92 % of the cases here."""
    rng, truth, covered = np.random.default_rng(3), expected(1.0, 0.25), []
    for run in range(400):
        tables = simulate(rng, [1.0, 1.0], seeds=2, images=360, seed_spread=0.25)
        found = bootstrap_mean(tables, draws=300, seed=run)
        covered += [one.low <= truth <= one.high for one in found.estimates]
    assert 0.95 <= np.mean(covered) <= 0.99


def test_the_interval_has_the_variance_of_the_moments():
    """Mean squares of seeds and images minus that of the rest (crossed design), over the number of values."""
    (table,) = simulate(np.random.default_rng(0), [1.0], seeds=100, images=400, seed_spread=0.3)
    seeds, images = table.shape
    rest = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
    noise = (rest**2).sum() / ((seeds - 1) * (images - 1))
    expected_variance = (images * table.mean(1).var(ddof=1) + seeds * table.mean(0).var(ddof=1) - noise) / table.size
    (estimate,) = bootstrap_mean([table], draws=20_000).estimates
    assert (estimate.high - estimate.low) / 2 == pytest.approx(1.96 * sqrt(expected_variance), rel=0.03)


@pytest.mark.slow
def test_intervals_cover_and_verdicts_are_rarely_false_whatever_varies():
    rows = [coverage(seed_spread, runs=400, images=300, draws=800) for seed_spread in (0.0, 0.15, 0.4)]
    for means, gaps, _ in rows:
        assert 0.92 <= means <= 0.98
        assert 0.92 <= gaps <= 0.98
    assert np.mean([false for *_, false in rows]) <= 0.05


def test_resampling_seeds_plainly_would_be_too_narrow():
    rng = np.random.default_rng(5)
    truth = expected(1.0, 0.8)
    plain, ours = [], []
    for run in range(120):
        table = simulate(rng, [1.0], seed_spread=0.8)[0]
        drawn = [table[rng.integers(0, 5, 5)][:, rng.integers(0, 300, 300)].mean() for _ in range(150)]
        low, high = np.percentile(drawn, [2.5, 97.5])
        plain.append(low <= truth <= high)
        estimate = bootstrap_mean([table], draws=400, seed=run).estimates[0]
        ours.append(estimate.low <= truth <= estimate.high)
    assert np.mean(plain) < 0.9 < np.mean(ours)


def test_a_real_difference_is_told_and_its_sign_is_right():
    tables = simulate(np.random.default_rng(0), [0.5, 1.5], images=2000)
    (pair,) = bootstrap_mean(tables).differences
    assert (pair.first, pair.second) == (0, 1)
    assert pair.mean == pytest.approx(tables[0].mean() - tables[1].mean())
    assert pair.low < pair.mean < pair.high < 0
    assert pair.differs
    assert pair.more_seeds is None


def test_images_are_paired():
    rng = np.random.default_rng(3)
    hard = rng.random(400) < 0.6
    first = np.tile(hard, (3, 1))
    second = first.copy()
    second[:, :12] = True  # better on a few images, the same on all others
    found = bootstrap_mean([first, second])
    widths = [e.high - e.low for e in found.estimates]
    (pair,) = found.differences
    assert pair.high - pair.low < min(widths) / 2


def test_the_power_estimate_is_about_right():
    rng = np.random.default_rng(2)
    levels, spread = [1.0, 1.4], 0.25
    undecided = []
    while len(undecided) < 30:
        (pair,) = bootstrap_mean(simulate(rng, levels, seed_spread=spread, images=800), draws=500).differences
        if not pair.differs and pair.mean < 0 and pair.more_seeds:
            undecided.append(pair.more_seeds)
    total = 5 + int(np.median(undecided))
    told = [
        bootstrap_mean(simulate(rng, levels, seeds=total, seed_spread=spread, images=800), draws=500)
        .differences[0]
        .differs
        for _ in range(30)
    ]
    assert np.mean(told) >= 0.7


def test_looks_share_the_error_of_one():
    spent = [spend_alpha(look) for look in range(1, 40)]
    assert spent[:3] == pytest.approx([0.05 * 2 / 3, 0.05 * 2 / 9, 0.05 * 2 / 27])
    assert sum(spent) == pytest.approx(0.05)


def test_a_later_look_needs_more():
    tables = simulate(np.random.default_rng(4), [1.0, 1.6], seed_spread=0.15)
    first, third = (bootstrap_mean(tables, look=look) for look in (1, 3))
    ((one,), (other,)) = first.differences, third.differences
    assert (first.look, first.alpha, third.look) == (1, pytest.approx(0.1 / 3), 3)
    assert 0.1 / 27 < other.p < first.alpha
    assert (one.differs, other.differs) == (True, False)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.002)  # intervals are of 95 % at any look
    assert other.more_seeds > 1


@pytest.mark.parametrize("look", [5, 30])
def test_a_late_look_takes_neither_minutes_nor_gigabytes(look, monkeypatch):
    sizes = []
    drawn = statistics._seed_draws
    monkeypatch.setattr(
        statistics, "_seed_draws", lambda v, s, draws, rng: sizes.append(draws) or drawn(v, s, draws, rng)
    )
    monkeypatch.setattr(statistics, "BLOCK", 1000)
    tables = simulate(np.random.default_rng(4), [1.0, 1.2, 3.0], images=300)
    started = time.monotonic()
    found = bootstrap_mean(tables, look=look)
    assert time.monotonic() - started < 20
    assert set(sizes) == {min(1_000_000, math.ceil(5 / spend_alpha(look)) * 3)}
    assert [pair.differs for pair in found.differences] == ([False, True, True] if look == 5 else [False] * 3)
    assert look == 5 or {pair.more_seeds for pair in found.differences} == {None}
    early = bootstrap_mean(tables)
    for one, other in zip(early.differences, found.differences, strict=True):
        assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.004)


def test_blocks_of_draws_change_nothing(monkeypatch):
    tables = simulate(np.random.default_rng(4), [1.0, 1.2], images=300)
    whole = bootstrap_mean(tables)
    monkeypatch.setattr(statistics, "BLOCK", 999)
    assert bootstrap_mean(tables) == whole


def looked_at(runs, draws, looks=4):
    """The share of two equal models of 360 images that a look of several tells apart, with and without paying."""
    rng, paid, unpaid = np.random.default_rng(6), 0, 0
    for run in range(runs):
        tables = simulate(rng, [1.0, 1.0], seeds=5 * looks, images=360, seed_spread=0.15)
        found = [
            bootstrap_mean([table[: 5 * look] for table in tables], draws=draws, seed=run, look=look).differences[0]
            for look in range(1, looks + 1)
        ]
        paid += any(pair.differs for pair in found)
        unpaid += any(pair.p < 0.05 for pair in found)
    return paid / runs, unpaid / runs


def test_adding_seeds_until_it_tells_errs_no_more_often():
    paid, unpaid = looked_at(runs=100, draws=400)
    assert paid <= 0.05 < unpaid


def test_no_number_of_seeds_tells_equal_ones_apart():
    table = np.random.default_rng(0).random((4, 100)) < 0.8
    (pair,) = bootstrap_mean([table, table.copy()]).differences
    assert pair.p > 0.99
    assert not pair.differs
    assert pair.more_seeds is None


def test_a_perfect_score_is_no_certainty():
    (estimate,) = bootstrap_mean([np.ones((5, 60), dtype=bool)]).estimates
    assert estimate.mean == estimate.high == 1
    assert 0.93 < estimate.low < 0.99


@pytest.mark.parametrize(("images", "errors", "luck"), [(50, 0.02, 0.0), (100, 0.02, 0.1), (300, 0.015, 0.0)])
def test_a_handful_of_errors_is_no_verdict(images, errors, luck):
    """Two equal models that are nearly perfect, each with hard images of its own, which luck of a seed gets right."""
    rng, false = np.random.default_rng(3), []
    for run in range(150):
        hard = rng.random((2, 1, images)) < errors / (1 - luck)
        tables = ~hard | (rng.random((2, 5, images)) < luck)
        false.append(bootstrap_mean(list(tables), draws=2000, seed=run).differences[0].differs)
    assert np.mean(false) < 0.05


@pytest.mark.parametrize(("wrong", "differs"), [(1, False), (3, False), (7, True)])
def test_images_that_every_seed_of_one_model_gets_wrong(wrong, differs):
    """As McNemar's test of one training each: p 1, .25 and .016."""
    right, other = np.ones((2, 5, 50), bool)
    other[:, :wrong] = False
    (found,) = bootstrap_mean([right, other]).differences
    assert found.differs is differs
    assert (found.low > 0) is differs
    assert found.more_seeds is None  # seeds that all agree say nothing more


@pytest.mark.parametrize("kind", [bool, float])
def test_equal_perfect_scores_are_neither_certain_nor_decided_by_more_seeds(kind):
    one = np.ones((5, 50), kind)
    found = bootstrap_mean([one, one])
    (gap,) = found.differences
    assert gap.mean == 0
    assert gap.low < 0 < gap.high
    assert not gap.differs
    assert gap.more_seeds is None
    assert all(estimate.low < 0.97 for estimate in found.estimates)
    paired = compare_paired(one[0], one[0])
    assert paired.first.low < 0.97
    assert paired.difference.low < 0 < paired.difference.high


def test_no_interval_leaves_the_scale():
    tables = [np.array([[0.0, 0.4], [0.9, 1.7]])]
    (estimate,) = bootstrap_mean(tables, most=2.0).estimates
    assert (estimate.low, estimate.high) == (0.0, 2.0)


def test_the_same_seed_gives_the_same_result():
    tables = simulate(np.random.default_rng(0), [1.0, 1.1, 0.9], seed_spread=0.1)
    assert bootstrap_mean(tables, seed=4) == bootstrap_mean(tables, seed=4)
    assert bootstrap_mean(tables, seed=4) != bootstrap_mean(tables, seed=5)


def test_unequal_numbers_of_seeds_are_compared():
    rng = np.random.default_rng(0)
    found = bootstrap_mean([*simulate(rng, [1.0], seeds=3), *simulate(rng, [1.0], seeds=8)])
    assert found.seeds == (3, 8)
    assert found.images == 300


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("tables", [[], [np.ones((1, 9))], [np.ones((2, 9)), np.ones((2, 8))], [np.ones(9)]])
def test_what_cannot_be_compared_is_refused(tables):
    with pytest.raises(ValueError):
        bootstrap_mean(tables)


@pytest.mark.parametrize(("goal", "best"), [("maximize", max), ("minimize", min)])
def test_the_best_of_k_is_the_mean_over_all_choices_of_k(goal, best):
    values = [0.3, None, 0.9, 0.5, None, 0.7, 0.5]
    for k in range(1, 8):
        known = [[v for v in chosen if v is not None] for chosen in combinations(values, k)]
        by_hand = np.mean([best(chosen) for chosen in known if chosen])
        assert expected_best(values, [k], goal) == pytest.approx([by_hand])


def test_the_best_of_thousands():
    values = list(np.random.default_rng(0).random(5000))
    expected = expected_best(values, [1, 9, 5000], "maximize")
    assert expected == pytest.approx([np.mean(values), 0.9, max(values)], abs=0.01)


def models(rng, alternatives, seeds, images):
    """Labels and the probabilities of some equal models, (A, S, N, 4): hard and easy images, good and bad seeds."""
    labels = rng.choice(4, images, p=[0.4, 0.3, 0.2, 0.1])
    easy = rng.normal(1, 1.5, (1, 1, images)) + rng.normal(0, 0.2, (alternatives, seeds, 1))
    logits = rng.normal(0, 1, (alternatives, seeds, images, 4))
    logits += easy[..., None] * np.eye(4)[labels]
    return labels, np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


@pytest.mark.parametrize(("metric", "most"), [("macro_f1", 1.0), ("loss", math.inf)])
def test_intervals_of_other_metrics_cover_the_truth(metric, most):
    rng = np.random.default_rng(7)
    labels, scores = models(rng, 1, 400, 2000)
    truth = np.mean([metric_per_image(metric, labels, one).mean() for one in scores[0]])
    means, gaps = [], []
    for run in range(150):
        labels, scores = models(rng, 2, 5, 300)
        tables = [np.stack([metric_per_image(metric, labels, one) for one in seeds]) for seeds in scores]
        found = bootstrap_mean(tables, most=most, draws=400, seed=run)
        means += [e.low <= truth <= e.high for e in found.estimates]
        gaps += [d.low <= 0 <= d.high for d in found.differences]
    assert 0.9 <= np.mean(means) <= 0.99
    assert 0.9 <= np.mean(gaps) <= 0.99


def test_many_alternatives_can_still_differ_significantly():
    """The smallest p that the draws allow lies below Holm's threshold for the first of 300 pairs."""
    rng = np.random.default_rng(0)
    tables = [rng.random((10, 200)) < (0.9 if k == 7 else 0.3) for k in range(25)]
    found = bootstrap_mean(tables)
    assert all(pair.differs for pair in found.differences if 7 in (pair.first, pair.second))


def power_of(images, only_first, only_second, runs=4000, seed=0):
    """How often McNemar's test at 5 % tells two models apart, by the shares that only one of them gets right."""
    shares = [only_first, only_second, 1 - only_first - only_second]
    found = np.random.default_rng(seed).multinomial(images, shares, size=runs)
    first, second = found[:, 0], found[:, 1]
    return float((np.abs(first - second) > 1.959964 * np.sqrt(first + second)).mean())


@pytest.mark.parametrize(("difference", "disagreement"), [(0.05, 0.1), (0.05, 0.2), (0.05, 0.3), (0.1, 0.3)])
def test_so_many_images_tell_a_difference_with_80_percent(difference, disagreement):
    images = count_images_needed(difference, disagreement=disagreement)
    assert 0.78 <= power_of(images, (disagreement + difference) / 2, (disagreement - difference) / 2) <= 0.83
    assert count_images_needed(difference, disagreement=disagreement, power=0.9) > 1.3 * images


@pytest.mark.parametrize("accuracy", [0.5, 0.7, 0.9, 0.95])
def test_without_predictions_the_errors_count_as_independent(accuracy):
    images, other = count_images_needed(0.05, accuracy=accuracy), accuracy - 0.05
    assert 0.78 <= power_of(images, accuracy * (1 - other), other * (1 - accuracy)) <= 0.83


def test_the_number_of_images_is_that_of_the_formulas():
    assert count_images_needed(0.05, disagreement=0.2) == 626  # (1.95996 √0.2 + 0.84162 √(0.2 - 0.05²))² / 0.05²
    assert count_images_needed(0.05, accuracy=0.9) == 686  # 0.9 and 0.85: 2 · 0.875 · 0.125, 0.09 + 0.1275
    assert count_images_needed(0.05, disagreement=0.01) == count_images_needed(0.05, disagreement=0.05) == 155
    assert count_images_needed(0.05, accuracy=0.02) == count_images_needed(0.05, accuracy=0.05)
    with pytest.raises(ValueError, match="accuracy or disagreement"):
        count_images_needed(0.05)


def test_the_smallest_difference_is_one_that_the_images_are_enough_for():
    for images in (10, 40, 626, 10_000):
        least = smallest_difference(images, disagreement=0.2)
        assert count_images_needed(least, disagreement=0.2) <= images
        assert count_images_needed(least - 1e-3, disagreement=0.2) > images
    assert smallest_difference(1, accuracy=0.8) == 1.0


def test_paired_hits_by_the_definitions():
    rng = np.random.default_rng(0)
    first, second = rng.random(200) < 0.9, rng.random(200) < 0.8
    found = compare_paired(first, second)
    won, lost = int((first & ~second).sum()), int((second & ~first).sum())
    tail = sum(math.comb(won + lost, k) for k in range(min(won, lost) + 1)) / 2 ** (won + lost)
    assert found.p == pytest.approx(2 * tail)
    assert (found.first.mean, found.second.mean) == (first.mean(), second.mean())
    assert found.difference.mean == pytest.approx(first.mean() - second.mean())
    wilson = scipy.stats.binomtest(int(first.sum()), 200).proportion_ci(method="wilson")
    assert (found.first.low, found.first.high) == pytest.approx((wilson.low, wilson.high))
    swapped = compare_paired(second, first)
    assert swapped.p == found.p
    assert (swapped.difference.low, swapped.difference.high) == pytest.approx(
        (-found.difference.high, -found.difference.low)
    )


def test_paired_hits_that_agree_still_have_an_interval():
    hits = np.ones(50, bool)
    found = compare_paired(hits, hits)
    assert found.p == 1
    assert found.difference.low < 0 < found.difference.high
    assert found.first.low < 1 == found.first.high


def test_paired_intervals_cover_the_true_difference():
    rng = np.random.default_rng(1)
    covered = significant = 0
    for _ in range(400):
        hard = rng.random(150)
        first, second = hard + 0.3 * rng.random(150) < 0.9, hard + 0.3 * rng.random(150) < 0.9
        found = compare_paired(first, second)
        covered += found.difference.low <= 0 <= found.difference.high
        significant += found.p < 0.05
    assert covered / 400 >= 0.93
    assert significant / 400 <= 0.06


def test_paired_losses_by_scipy():
    rng = np.random.default_rng(2)
    first, second = rng.exponential(1.0, 500), rng.exponential(1.2, 500)
    found = compare_paired(first, second, most=math.inf)
    error = (first - second).std(ddof=1) / math.sqrt(500)
    assert found.difference.mean == pytest.approx(first.mean() - second.mean())
    assert found.difference.high - found.difference.mean == pytest.approx(1.959964 * error)
    assert found.p == pytest.approx(2 * scipy.stats.norm.sf(abs(found.difference.mean) / error))
    with pytest.raises(ValueError, match="same images"):
        compare_paired(first, second[:-1])


@pytest.mark.parametrize(
    ("values", "sign", "shown", "ends"),
    [
        ([0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.1], 1, [], (0.9, 0.98)),
        ([0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.1], -1, [], None),  # the best one is far off
        ([0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.8], 1, [], (0.9, 0.98)),
        ([0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.85], 1, [], None),  # not twice as long
        ([0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 0.1], 1, [0.5], None),
        ([0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, -9], 1, [0.5], (0.5, 0.98)),
        ([0.5] * 9 + [0.1], 1, [], None),  # the others do not differ
        ([0.5, 0.1], 1, [], None),
        ([], 1, [0.1, 0.9], None),
        ([], 1, [], None),
    ],
)
def test_a_few_bad_values_do_not_set_an_axis(values, sign, shown, ends):
    assert range_of_most(values, sign, shown) == ends
