"""Verdicts of simulated sweeps whose truth is known: python benchmarks/verdicts.py [--quick] [--only looks]

Training is drawn instead of run; what is measured is hwcls's own code, with the draws that a sweep would give it:

  intervals   how often the 95 % interval of a mean and of a difference on test covers the truth
  splits      the same where a cut of train and val matters too: all runs on one cut, or each on its own; and how often
              the interval of an out-of-fold accuracy covers, beside Wilson's of all images
  few errors  how often a difference is found between two equal models that are nearly perfect, and differ on few images
  looks       how often a difference is found between two equal models, when seeds are added and it is looked at again
  winner      how far the reported score of the winner of three equal candidates is too high, and how often its interval
              covers: chosen and reported on the same runs (as versions before roles did), or on other seeds
  importance  how often a setting of no effect is said to matter, and one that has an effect is found; beside fANOVA
              and PED-ANOVA of Optuna (fANOVA needs scikit-learn), which always put some setting on top

Images are hard or easy, mostly alike for all models, and seeds good or bad: a latent normal decides what is right.
"""

from __future__ import annotations

import argparse
import importlib.util
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import erf, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwcls.config.sweep import ConfirmConfig
from hwcls.results.confirm.plan import choose_winner, plan_confirm
from hwcls.results.load import PICK, ConfirmRun, SweepResults, TrialResult
from hwcls.results.settings.importance import rank_settings
from hwcls.statistics import bootstrap_mean, cross_validated, wilson

LEVEL, IMAGE_SPREAD = 1.0, 1.5  # of the latent normal: an accuracy of some 71 %
POINT = 0.0525  # latent units that change the accuracy by one point
DRAWS = 2000
Rng = np.random.Generator
Row = tuple[str, ...]


def draw_images(rng: Rng, models: int, images: int) -> NDArray[Any]:
    """How easy each image is for each model, (models, images): seven tenths of the variance are common."""
    common = rng.normal(0, IMAGE_SPREAD * sqrt(0.7), images)
    return np.asarray(common + rng.normal(0, IMAGE_SPREAD * sqrt(0.3), (models, images)))


def draw_hits(rng: Rng, easy: NDArray[Any], seeds: NDArray[Any]) -> NDArray[np.bool_]:
    """What a model with these seed effects (S,) gets right of images (N,): (S, N)."""
    return np.asarray(LEVEL + seeds[:, None] + easy + rng.normal(0, 1, (len(seeds), len(easy))) > 0)


def true_accuracy(seed_spread: float) -> float:
    """The accuracy of `draw_hits` over all seeds and images."""
    return 0.5 * (1 + erf(LEVEL / sqrt(2 * (1 + seed_spread**2 + IMAGE_SPREAD**2))))


def intervals(runs: int) -> Iterator[Row]:
    """Coverage by seeds, test images and how far seeds differ."""
    yield (
        "seeds",
        "images",
        "seeds differ by",
        "a mean is covered",
        "a difference is covered",
        "half-width of a difference",
    )
    for images in (360, 4000):
        for seeds in (2, 3, 5, 10):
            for points in (0.0, 0.5, 2.0, 5.0):
                rng, spread = np.random.default_rng(1), points * POINT
                truth, means, gaps, widths = true_accuracy(spread), list[bool](), list[bool](), list[float]()
                for run in range(runs if images < 1000 else runs // 2):
                    tables = [
                        draw_hits(rng, easy, rng.normal(0, spread, seeds)) for easy in draw_images(rng, 2, images)
                    ]
                    found = bootstrap_mean(tables, draws=DRAWS, seed=run)
                    means += [one.low <= truth <= one.high for one in found.estimates]
                    (gap,) = found.differences
                    gaps.append(gap.low <= 0 <= gap.high)
                    widths.append(50 * (gap.high - gap.low))
                yield (
                    f"{seeds}",
                    f"{images:,}",
                    f"{points} points",
                    share(means),
                    share(gaps),
                    f"{np.mean(widths):.2f} points",
                )


def splits(runs: int) -> Iterator[Row]:
    """Coverage over cuts of train and val with 5 runs of each of two equal models, and of 5 folds."""
    yield "seeds, cuts differ by", "images", "runs", "a mean is covered", "false verdicts", "out-of-fold", "Wilson's"
    for images in (1000, 4000):
        for seed_points, cut_points in ((0.5, 0.0), (0.5, 0.5), (0.5, 2.0)):
            for own in (False, True):
                covered, false, folds, simple = (list[bool]() for _ in range(4))
                for run in range(runs):
                    rng = np.random.default_rng([5, run])
                    found, truth, hits = cut_runs(rng, images, seed_points * POINT, cut_points * POINT, own)
                    compared = bootstrap_mean(found, draws=DRAWS, seed=run)
                    covered += [one.low <= truth <= one.high for one in compared.estimates]
                    false += [one.differs for one in compared.differences]
                    plain = wilson(float(np.concatenate(hits).mean()), images)
                    for kind, one in ((folds, cross_validated([hits])), (simple, plain)):
                        kind.append(one.low <= truth <= one.high)
                name = f"{seed_points}, {cut_points} points", f"{images:,}", "own cuts" if own else "one cut"
                yield *name, share(covered), share(false), share(folds), share(simple)


def cut_runs(
    rng: Rng, images: int, seed_spread: float, cut_spread: float, own: bool
) -> tuple[list[NDArray[np.bool_]], float, list[NDArray[np.bool_]]]:
    """Hits of five runs of two equal models on test, (5, images) each, the accuracy that they have over all seeds and
    cuts, and the hits of five folds of as many other images.

    Args:
        own: Whether each run has a cut of its own, the same ones for both models; else there is one for each model.
    """
    common = rng.normal(0, cut_spread, 5)
    effects = [common if own else np.full(5, rng.normal(0, cut_spread)) for _ in range(2)]
    found = [
        draw_hits(rng, easy, effect + rng.normal(0, seed_spread, 5))
        for easy, effect in zip(draw_images(rng, 2, images), effects, strict=True)
    ]
    truth = true_accuracy(float(np.hypot(seed_spread, cut_spread)))
    easy = np.array_split(draw_images(rng, 1, images)[0], 5)
    spread = float(np.hypot(seed_spread, cut_spread))
    return found, truth, [draw_hits(rng, part, rng.normal(0, spread, 1))[0] for part in easy]


def few_errors(runs: int) -> Iterator[Row]:
    """False verdicts of two equal models with 5 seeds each: every model has some hard images of its own."""
    yield "images", "a model's errors", "a seed is lucky", "false verdicts", "a difference is covered"
    for images, errors, luck in (
        (50, 0.02, 0.0),
        (100, 0.02, 0.1),
        (200, 0.015, 0.0),
        (300, 0.025, 0.3),
        (5000, 4e-4, 0),
    ):
        false, covered = list[bool](), list[bool]()
        for run in range(runs):
            rng = np.random.default_rng([6, run])
            hard = rng.random((2, 1, images)) < errors / (1 - luck)
            hits = ~hard | (rng.random((2, 5, images)) < luck)  # (2, 5, N)
            (gap,) = bootstrap_mean(list(hits), draws=DRAWS, seed=run).differences
            false.append(gap.differs)
            covered.append(gap.low <= 0 <= gap.high)
        yield f"{images:,}", f"{100 * errors:g} %", f"{100 * luck:g} %", share(false), share(covered)


def looks(runs: int) -> Iterator[Row]:
    """False verdicts up to each look at equal models, five seeds more each time."""
    yield "images", "seeds differ by", "verdicts", "look 1", "2", "3", "4"
    for images, points in ((360, 0.0), (360, 1.0), (360, 3.0), (4000, 0.5)):
        count = runs if images < 1000 else runs // 4
        paid, fixed = np.zeros((count, 4), bool), np.zeros((count, 4), bool)
        for run in range(count):
            rng, spread = np.random.default_rng([2, run]), points * POINT
            tables = [draw_hits(rng, easy, rng.normal(0, spread, 20)) for easy in draw_images(rng, 2, images)]
            for look in range(4):
                (gap,) = bootstrap_mean(
                    [table[: 5 * look + 5] for table in tables], look=look + 1, draws=DRAWS, seed=run
                ).differences
                paid[run, look], fixed[run, look] = gap.differs, gap.p < 0.05
        for name, found in (("hwcls's", paid), ("p < 0.05 each time", fixed)):
            ever = np.maximum.accumulate(found, axis=1)
            yield f"{images:,}", f"{points} points", name, *(share(ever[:, look]) for look in range(4))


def winner(runs: int) -> Iterator[Row]:
    """The reported score of the winner of three candidates that are equally good."""
    yield "seeds differ by", "confirm runs", "too high by", "its interval covers"
    for points in (0.3, 1.0, 2.0):
        for name, same in (("chosen and reported on the same 5", True), ("chosen on 2, reported on 5 others", False)):
            truth, excess, covered = true_accuracy(points * POINT), list[float](), list[bool]()
            for run in range(runs):
                hits = report_winner(np.random.default_rng([3, run]), points * POINT, same)
                (found,) = bootstrap_mean([hits], draws=DRAWS, seed=run).estimates
                excess.append(100 * (found.mean - truth))
                covered.append(found.low <= truth <= found.high)
            error = np.std(excess, ddof=1) / sqrt(runs)
            yield f"{points} points", name, f"{np.mean(excess):+.2f} ± {error:.2f} points", share(covered)


def report_winner(rng: Rng, spread: float, same: bool, images: int = 2000) -> NDArray[np.bool_]:
    """What the winner's five reporting runs get right of the test images, (5, images).

    Three candidates are retrained as hwcls plans it and chosen by accuracy on 1,000 validation images; `same`: as
    versions before roles did, with five runs of each.
    """
    config = ConfirmConfig(top=3, seeds=5)
    val, test = draw_images(rng, 3, 1000), draw_images(rng, 3, images)
    sweep, scored = simulated_sweep([trial(number, 0.9 - number / 100) for number in range(3)]), {}

    def train(number: int, seed: int, role: str | None) -> ConfirmRun:
        effect = rng.normal(0, spread, 1)
        value = float(draw_hits(rng, val[number], effect).mean())
        scored[seed] = draw_hits(rng, test[number], effect)[0]
        return ConfirmRun("best", seed, trial(number, value), None if role == PICK else {"test/accuracy": 0.0}, role)

    if same:
        confirmed = [train(number, 1000 * number + seed, None) for number in range(3) for seed in range(5)]
        number = choose_winner(with_confirm(sweep, confirmed), "best", range(3))
        return np.stack([scored[run.seed] for run in confirmed if run.run.number == number])
    while True:
        plan = plan_confirm(sweep, config)
        known = {run.seed for run in sweep.confirm}
        todo = [run for run in plan.runs if run.seed not in known]
        if not todo:
            return np.stack([scored[run.seed] for run in plan.runs if run.role != PICK])
        sweep = with_confirm(sweep, [*sweep.confirm, *(train(run.trial, run.seed, run.role) for run in todo)])


def trial(number: int, value: float) -> TrialResult:
    """A complete trial with this value."""
    best = {"epoch": 1, "val/accuracy": value}
    return TrialResult(number, Path(), None, "complete", (best,), best, value, {"lr": float(number)}, 1.0, None, {})


def simulated_sweep(trials: Sequence[TrialResult]) -> SweepResults:
    """Results with these trials and no confirm run."""
    kept: dict[str, Any] = {"folder": Path(), "name": "simulated", "settings": {}, "metric": "val/accuracy"}
    kept |= {"goal": "maximize", "compare": None, "data": None, "same_models": (), "environment": None}
    return SweepResults(**kept, trials=tuple(trials), confirm=())


def with_confirm(sweep: SweepResults, runs: Sequence[ConfirmRun]) -> SweepResults:
    """The same results with these confirm runs."""
    return SweepResults(**{**vars(sweep), "confirm": tuple(runs)})


EFFECTS: dict[str, tuple[str, Callable[[Mapping[str, Any]], float]]] = {
    "none": ("", lambda drawn: 0.0),
    "lr, best inside": ("lr", lambda drawn: -2 * (np.log10(drawn["lr"]) + 2) ** 2),
    "lr, best at an end": ("lr", lambda drawn: 2 * np.log10(drawn["lr"])),
    "optimizer": ("optimizer", lambda drawn: 3.0 * (drawn["optimizer"] == "adam")),
}  # the noise has a standard deviation of 1


def importance(runs: int) -> Iterator[Row]:
    """One setting of five has an effect, or none."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    importances = optuna.importance
    rivals: dict[str, Any] = {"PED-ANOVA, 0.1": importances.PedAnovaImportanceEvaluator(target_quantile=0.1)}
    if importlib.util.find_spec("sklearn"):
        rivals["fANOVA"] = importances.FanovaImportanceEvaluator(n_trees=32, seed=0)
    yield (
        "trials",
        "sampler",
        "effect of",
        "hwcls: on top",
        "matters",
        "another matters",
        *(f"{n}: on top" for n in rivals),
    )
    for trials in (12, 24):
        for sampler in ("random", "tpe"):
            for name, (target, effect) in EFFECTS.items():
                tops, found, others = list[bool](), list[bool](), list[bool]()
                rival: dict[str, list[bool]] = {key: [] for key in rivals}
                for run in range(runs):
                    study = simulated_study(trials, sampler, effect, run)
                    settings = {key: [one.params[key] for one in study.trials] for key in study.trials[0].params}
                    ranked = rank_settings(settings, [one.value for one in study.trials])
                    tops.append(ranked[0].name == target)
                    found.append(any(one.matters for one in ranked if one.name == target))
                    others.append(any(one.matters for one in ranked if one.name != target))
                    for key, evaluator in rivals.items() if run < runs // 3 else ():
                        weights = importances.get_param_importances(study, evaluator=evaluator)
                        rival[key].append(max(weights, key=weights.__getitem__) == target)
                known = [share(tops), share(found)] if target else ["–", "–"]
                theirs = [share(values) if target else "always one" for values in rival.values()]
                yield f"{trials}", sampler, name, *known, share(others), *theirs


def simulated_study(trials: int, sampler: str, effect: Callable[[Mapping[str, Any]], float], seed: int) -> Any:
    """A search over five settings, whose values are their effect and noise."""
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    space = {
        "lr": FloatDistribution(1e-4, 1.0, log=True),
        "dropout": FloatDistribution(0.0, 0.5),
        "decay": FloatDistribution(1e-6, 1e-2, log=True),
        "width": CategoricalDistribution([32, 64, 128]),
        "optimizer": CategoricalDistribution(["adam", "sgd"]),
    }
    samplers = optuna.samplers
    chosen = samplers.RandomSampler(seed) if sampler == "random" else samplers.TPESampler(seed=seed, multivariate=True)
    study, rng = optuna.create_study(direction="maximize", sampler=chosen), np.random.default_rng([4, seed])
    for _ in range(trials):
        drawn = study.ask(space)
        study.tell(drawn, effect(drawn.params) + rng.normal())
    return study


def share(values: Sequence[bool] | NDArray[np.bool_]) -> str:
    """A share with its standard error, in percent."""
    mean = float(np.mean(values))
    return f"{100 * mean:.1f} ± {100 * sqrt(mean * (1 - mean) / len(values)):.1f} %"


PARTS: dict[str, tuple[Callable[[int], Iterator[Row]], int]] = {  # and simulated sweeps of each row
    "intervals": (intervals, 300),
    "splits": (splits, 300),
    "few errors": (few_errors, 400),
    "looks": (looks, 400),
    "winner": (winner, 400),
    "importance": (importance, 100),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the simulated sweeps")
    parser.add_argument("--only", choices=PARTS, action="append")
    options = parser.parse_args()
    for name in options.only or PARTS:
        part, runs = PARTS[name]
        print(f"\n{name}: {(part.__doc__ or '').splitlines()[0]}", flush=True)
        head: Row = ()
        for row in part(runs // 10 if options.quick else runs):
            head = head or row
            print("  ".join(f"{cell:>{len(title)}}" for cell, title in zip(row, padded(head), strict=True)), flush=True)


def padded(head: Row) -> Row:
    """The column titles, each as wide as its cells may be."""
    return tuple(f"{title:>19}" for title in head)


if __name__ == "__main__":
    main()
