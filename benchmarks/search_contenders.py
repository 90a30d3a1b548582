"""Who searches in benchmarks/search.py: the search of a sweep, Optuna's samplers, and those of other packages."""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import yaml

from benchmarks.search_peers import PEERS, Peer
from benchmarks.search_problems import Problem, Settings
from hwcls.config.space import Fixed
from hwcls.config.sweep import SAMPLERS
from hwcls.config.sweep_file import Sweep, load_sweep
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.search.messages import EpochReport
from hwcls.sweep.search.searcher import FairSearch
from hwcls.tracking.folders import SweepFolder

WORKERS = 4  # trials at once


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
OWN = [f"hwcls {name}" for name, method in SAMPLERS.all().items() if method.one_metric and not method.enumerates]
CONTENDERS = (*OWN, *OTHERS, *INSTALLED)


def open_search(contender: str, problem: Problem, trials: int, seed: int, folder: Path) -> Searching:
    """A contender's search by its name; `folder` is an empty one, for what it writes."""
    if contender in OTHERS:
        sampler, joint = OTHERS[contender]
        return OptunaStudies(sampler, problem, trials, seed, joint)
    if contender in PEERS:
        return PeerSearch(PEERS[contender][1], problem, trials, seed)
    return Hwcls(contender.removeprefix("hwcls "), problem, trials, seed, folder)
