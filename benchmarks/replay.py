"""Savings and regret of early stopping, on recorded curves: python benchmarks/replay.py

Plays searches over the spaces of benchmarks/curves*.yaml through hwcls's own searcher and scheduler. Training is read
from the .npz beside each (see record_curves.py), under a virtual clock of recorded seconds on several workers. A
search chooses the trial and epoch with the best accuracy on one half of val; its regret is what the same trials, all
run to their end, would have given more on the other half, in points, the mean over the alternatives of `compare`.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median, stdev
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune.search import Searcher

from hwcls.config.sweep_file import Sweep, load_sweep
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.search.messages import JOB, EpochReport, Job
from hwcls.sweep.search.pruning import build_scheduler
from hwcls.sweep.search.searcher import FairSearch
from hwcls.sweep.search.stopping.paused import PausedTrials
from hwcls.tracking.folders import SweepFolder

HERE = Path(__file__).parent
MEMORY = Path("/dev/shm")  # the journal is written some thousand times
WORKERS, TRIALS = 4, 64  # fewer trials where the space has fewer points
MANY = 50  # searches that are worth a process for each core
METHODS = ("random", "tpe", "auto")
SPACES = ("curves", "curves_cifar10", "curves_fine_tuning")
RULES = {
    "none": "none",
    "stopping": "{type: asha, rule: stopping}",
    **{f"stopping, min_iter {first}": f"{{type: asha, rule: stopping, min_iter: {first}}}" for first in (1, 9)},
    **{f"stopping, eta {eta}": f"{{type: asha, rule: stopping, eta: {eta}}}" for eta in (2, 4)},
    "hyperband": "{type: hyperband}",
    "median": "{type: median}",
    "promotion": "{type: asha, rule: promotion}",
    **{f"promotion, min_iter {first}": f"{{type: asha, rule: promotion, min_iter: {first}}}" for first in (2, 3)},
    **{f"promotion, eta {eta}": f"{{type: asha, rule: promotion, eta: {eta}}}" for eta in (2, 4)},
}


@dataclass(frozen=True)
class Curves:
    """Recorded trainings; arrays are (configurations, epochs), NaN after a loss that was not finite."""

    space: str  # the name of its files
    settings: Sequence[dict[str, Any]]
    selection: np.ndarray  # accuracy on the images by which a search chooses
    scoring: np.ndarray  # accuracy on other images
    seconds: np.ndarray

    @classmethod
    def load(cls, space: str = SPACES[0]) -> Curves:
        with np.load(HERE / f"{space}.npz") as arrays:
            settings = [json.loads(text) for text in arrays["settings"]]
            return cls(space, settings, arrays["selection"], arrays["scoring"], arrays["seconds"])

    @property
    def trials(self) -> int:
        """Of a search."""
        return min(TRIALS, len(self.settings))

    @cached_property
    def rows(self) -> dict[frozenset[tuple[str, Any]], int]:
        return {frozenset(settings.items()): row for row, settings in enumerate(self.settings)}


@dataclass(frozen=True)
class Ended:
    """A trial of a search: a row of the curves, and how far it came."""

    label: str | None
    row: int
    epochs: int


@dataclass(frozen=True)
class Outcome:
    """What a search spent, found and missed."""

    epochs: int
    saved: float  # times fewer epochs than if every trial ran to its end
    score: float  # points of accuracy
    regret: float  # points


class Play:
    """One search from its first to its last trial, on the real search and early stopping."""

    def __init__(self, sweep: Sweep, curves: Curves, folder: Path) -> None:
        self.curves, self.last = curves, curves.selection.shape[1]
        resources = Resources(workers=1, cpus_per_worker=1, gpus_per_worker=0, concurrent=WORKERS)
        self.search = FairSearch(sweep, SweepFolder(folder), resources, sources={})
        if sweep.config.method == "random":  # which draws no setting twice where settings are continuous
            for label, points in shuffled(sweep).items():
                self.search.finite.add(label, points)
        self.stop = build_scheduler(sweep)
        self.search.paused = PausedTrials(sweep, self.stop)
        self.running: list[tuple[float, int, SimpleNamespace]] = []  # by the end of the epoch that they train
        self.begun = 0
        self.ended: dict[str, Ended] = {}  # by key: how far each came
        self.now = 0.0

    def run(self) -> list[Ended]:
        while True:
            while len(self.running) < WORKERS and self._begin():
                pass
            if not self.running:
                return list(self.ended.values())
            self.now, _, trial = heapq.heappop(self.running)
            self._epoch(trial)

    def _begin(self) -> bool:
        trial_id = f"t{self.begun}"
        config = self.search.suggest(trial_id)
        if config is None or config == Searcher.FINISHED:
            return False
        job: Job = config[JOB]
        number = int(job.key.rpartition("/")[2])
        row = self.curves.rows[frozenset(self.search.known_trials()[number].params.items())]
        epoch = self.ended[job.key].epochs if job.key in self.ended else 0  # it paused there
        trial = SimpleNamespace(trial_id=trial_id, number=self.begun, job=job, row=row, epoch=epoch)
        self.begun += 1
        self._train(trial)
        return True

    def _train(self, trial: SimpleNamespace) -> None:
        trial.epoch += 1
        seconds = float(np.nan_to_num(self.curves.seconds[trial.row, trial.epoch - 1]))
        heapq.heappush(self.running, (self.now + seconds, trial.number, trial))

    def _epoch(self, trial: SimpleNamespace) -> None:
        """An epoch has ended: what Tune does with its result."""
        values = self.curves.selection[trial.row, : trial.epoch]
        job: Job = trial.job
        report = EpochReport(trial.epoch, self.last, float(values[-1]), float(max(values)))
        if np.isnan(values[-1]):
            report = EpochReport(trial.epoch - 1, self.last, None, 0.0, failure="the loss is not finite")
        stopped = report.failure is None and self.stop and self.stop.stops(job.label, job.key, report)
        if stopped and self.stop:
            self.stop.pause(job.label, job.key)
        if not report.done and not stopped:
            self.search.on_trial_result(trial.trial_id, report.to_result())
            self._train(trial)
            return
        self.search.on_trial_complete(trial.trial_id, report.to_result())
        self.ended[job.key] = Ended(job.label, trial.row, trial.epoch)


def shuffled(sweep: Sweep) -> dict[str | None, list[dict[str, Any]]]:
    """The points of each alternative in random order."""
    pinned = {one.label: dict(one.settings) for one in sweep.alternatives} or {None: {}}
    points = {label: sweep.space.grid(settings) for label, settings in pinned.items()}
    for label in points:
        random.Random(f"{sweep.config.seed} {label}").shuffle(points[label])
    return points


def play(sweep: Sweep, curves: Curves) -> Outcome:
    """Play a search and hold it against the same trials run to their ends."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        ended = Play(sweep, curves, Path(folder)).run()
    full = [replace(trial, epochs=curves.selection.shape[1]) for trial in ended]
    labels = sorted({trial.label or "" for trial in ended})
    scores, best = (
        [chosen(curves, [trial for trial in trials if (trial.label or "") == label]) for label in labels]
        for trials in (ended, full)
    )
    epochs = sum(trial.epochs for trial in ended)
    return Outcome(epochs, sum(trial.epochs for trial in full) / epochs, mean(scores), mean(best) - mean(scores))


def chosen(curves: Curves, trials: Sequence[Ended]) -> float:
    """The score, in points, of the first trial and epoch with the best accuracy on the selection half."""
    seen = [np.nan_to_num(curves.selection[trial.row, : trial.epochs]) for trial in trials]
    best = max(range(len(trials)), key=lambda i: seen[i].max())
    return 100 * float(curves.scoring[trials[best].row, seen[best].argmax()])


def replay(curves: Curves, rule: str, method: str, compare: bool, seeds: Sequence[int]) -> list[Outcome]:
    """The outcomes of searches that differ by their seed alone; `rule` is early_terminate's YAML."""
    sets = [f"method={method}", f"run_cap={curves.trials}", f"early_terminate={rule}"] + ["compare=model"] * compare
    sweep = load_sweep(HERE / f"{curves.space}.yaml", sets=sets)
    searches = [replace(sweep, config=sweep.config.model_copy(update={"seed": seed})) for seed in seeds]
    if len(searches) < MANY:
        return [play(search, curves) for search in searches]
    processes = os.cpu_count() or 1
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        return list(pool.map(play, searches, repeat(curves), chunksize=-(-len(searches) // processes)))


def times_fewer(outcomes: Sequence[Outcome]) -> float:
    """Epochs of the same trials run to their ends, for each epoch that was spent."""
    return sum(outcome.epochs * outcome.saved for outcome in outcomes) / sum(outcome.epochs for outcome in outcomes)


def worst_of_20(outcomes: Sequence[Outcome]) -> float:
    """The regret of the worst of 20 searches: the median of all twenties there are, as chance decides each."""
    twenties = [outcomes[start : start + 20] for start in range(0, max(1, len(outcomes) - 19), 20)]
    return median(max(one.regret for one in twenty) for twenty in twenties)


def table(curves: Curves, method: str, compare: bool, seeds: Sequence[int]) -> None:
    """Print a row for each rule."""
    print(f"\n{curves.space}: {method}{', compare: model' * compare}, {curves.trials} trials, {len(seeds)} seeds")
    print(f"{'':22}{'fewer epochs':>14}{'score':>9}{'regret':>9}{'±':>7}{'worst of 20':>13}{'within 0.5':>13}")
    for name, rule in RULES.items():
        outcomes = replay(curves, rule, method, compare, seeds)
        regrets = [outcome.regret for outcome in outcomes]
        error = stdev(regrets) / len(regrets) ** 0.5 if len(regrets) > 1 else float("nan")
        score, within = mean(o.score for o in outcomes), mean(float(regret <= 0.5) for regret in regrets)
        row = f"{times_fewer(outcomes):13.2f}x{score:9.2f}{mean(regrets):9.3f}{error:7.3f}{worst_of_20(outcomes):13.2f}"
        print(f"{name:22}{row}{within:12.0%}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--method", action="append", choices=METHODS, help="one of them; may be repeated")
    parser.add_argument("--space", action="append", choices=SPACES, help="one of them; may be repeated")
    options = parser.parse_args()
    for space in options.space or SPACES:
        curves = Curves.load(space)
        for method in options.method or METHODS:
            for compare in (False, True):
                table(curves, method, compare, range(options.seeds))


if __name__ == "__main__":
    main()
