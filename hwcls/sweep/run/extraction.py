"""The features of frozen backbones, computed by all workers of a sweep before its first trial.

A worker is a Ray actor with the resources of a rank. On each node the workers share the work through the files of the
cache, in which every row that was computed counts: what is killed is started again and resumes there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hwcls.config.trial import TrialConfig
from hwcls.errors import UserError
from hwcls.format import format_count
from hwcls.sweep.cluster.connect import first_line
from hwcls.sweep.cluster.resources import Machine, Resources
from hwcls.sweep.monitor.extraction import ExtractionPace

log = logging.getLogger(__name__)

POLL = 0.5  # seconds between two looks at the workers
PATIENCE = 120.0  # seconds
MEMORY = "its memory may be full: set data.image_size lower, or resources.concurrent"


@dataclass(frozen=True)
class State:
    """What is known of a worker."""

    ended: bool = False  # all features are there, or there is an error
    error: UserError | None = None
    lost: str | None = None  # how its process died
    images: int | None = None  # whose features are there on its node; None: it does not answer


class Worker(Protocol):
    """A process that computes features."""

    def look(self) -> State: ...
    def kill(self) -> None: ...


@dataclass(frozen=True)
class Place:
    """A node, and the workers that fit on it."""

    name: str  # for errors; empty where there is no other one
    start: Callable[[], Worker]
    slots: int
    is_there: Callable[[], bool] = lambda: True


class FeatureWorker:
    """Computes the features of some trials; torch is imported only here.

    Args:
        threads: Of torch.
        gpu: Whether it computes on one.
    """

    def __init__(self, threads: int, gpu: bool) -> None:
        from hwcls.training.threads import configure_threads

        configure_threads(threads)
        self.threads, self.gpu = threads, gpu

    def compute(self, trials: tuple[TrialConfig, ...]) -> UserError | None:
        """Compute what is missing, together with the other workers of this node; an error that no retry mends."""
        import torch

        from hwcls.data.imageset import open_data
        from hwcls.training.distributed import default_device
        from hwcls.training.features.extract import compute_features
        from hwcls.training.gpu import require_gpu

        torch.set_num_threads(self.threads)
        try:
            if self.gpu:
                require_gpu()
            for trial in trials:
                compute_features(trial, open_data(trial.data), default_device(gpu=self.gpu))
        except UserError as error:
            return error
        return None

    def count_images(self, trials: tuple[TrialConfig, ...]) -> int:
        """The images whose features are there on this node."""
        from hwcls.data.imageset import open_data
        from hwcls.training.features.rows import list_rows

        found = list_rows(trials, open_data)
        return sum(len(rows) - file.count_pending(rows) for file, rows in found)


class RayWorker:
    """A FeatureWorker on a node, at work from the start."""

    def __init__(self, node: str, resources: Resources, trials: tuple[TrialConfig, ...]) -> None:
        cpus, gpus = resources.cpus_per_worker, resources.gpus_per_worker
        options = {"num_cpus": cpus, "num_gpus": gpus, "max_concurrency": 2, "max_restarts": 0}
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        actor = ray.remote(FeatureWorker).options(scheduling_strategy=there, **options)
        self.actor, self.trials = actor.remote(cpus, gpus > 0), trials
        self.call = self.actor.compute.remote(trials)
        self.count: Any = None  # a call that is under way

    def look(self) -> State:
        try:
            if ray.wait([self.call], timeout=0)[0]:
                return State(ended=True, error=ray.get(self.call))
            self.count = self.count or self.actor.count_images.remote(self.trials)
            if not ray.wait([self.count], timeout=0)[0]:
                return State()
            found, self.count = ray.get(self.count), None
            return State(images=found)
        except ray.exceptions.RayTaskError as error:
            cause = getattr(error, "cause", None) or error
            return State(ended=True, error=UserError(f"features: {type(cause).__name__}: {first_line(cause)}"))
        except ray.exceptions.RayError as error:  # its process or its node died
            return State(lost=first_line(error))

    def kill(self) -> None:
        ray.kill(self.actor)


def list_places(resources: Resources, trials: tuple[TrialConfig, ...], *, cluster: bool) -> list[Place]:
    """The nodes on which trials can run, each with as many workers as ranks of trials at once."""
    places = []
    for node in ray.nodes():
        found, node_id = node["Resources"], node["NodeID"]
        machine = Machine(((found.get("CPU", 0.0), found.get("GPU", 0.0)),))
        slots = machine.slots(resources.cpus_per_worker, resources.gpus_per_worker)
        slots = min(slots, resources.concurrent * resources.workers)
        if not node["Alive"] or not slots:
            continue

        def start(node_id: str = node_id) -> Worker:
            return RayWorker(node_id, resources, trials)

        def is_there(node_id: str = node_id) -> bool:
            return any(one["NodeID"] == node_id and one["Alive"] for one in ray.nodes())

        places.append(Place(f"node {node['NodeManagerAddress']}" if cluster else "", start, slots, is_there))
    return places


def run_workers(places: Sequence[Place], total: int, max_restarts: int) -> None:
    """Have each place compute all features; it is done when one of its workers has found nothing missing.

    A place where no worker could start is not waited for longer than PATIENCE after the others: it has other work.

    Args:
        total: Images whose features every place is to have.
        max_restarts: Of the workers of a place in a row, without an image between them.

    Raises:
        UserError: The features cannot be computed, or workers die again and again.
    """
    pace = ExtractionPace(total * len(places))
    every = [_PlaceAtWork(place, total, max_restarts) for place in places]
    left = list(every)
    waiting: float | None = None  # since when only for places where none has started
    try:
        for one in left:
            one.start()
        while left:
            time.sleep(POLL)
            for one in list(left):
                if one.look():
                    left.remove(one)
                    one.kill()
            pace.update(sum(one.images or 0 for one in every), sum(one.before for one in every))
            if not left or len(left) == len(every) or any(one.images is not None for one in left):
                continue
            waiting = waiting or time.monotonic()
            if time.monotonic() - waiting > PATIENCE:
                names = ", ".join(one.place.name for one in left)
                log.info("features: no worker could start on %s; trials there compute what they need", names)
                return
    finally:
        for one in left:
            one.kill()


class _PlaceAtWork:
    """The workers of a place."""

    def __init__(self, place: Place, total: int, max_restarts: int) -> None:
        self.place, self.total, self.max_restarts = place, total, max_restarts
        self.workers: list[Worker] = []
        self.images: int | None = None  # whose features are there; None: no worker has said so yet
        self.before = 0  # of them, those that were there at the first answer
        self.restarts = 0  # since the last new image

    def start(self) -> None:
        self.workers = [self.place.start() for _ in range(self.place.slots)]

    def look(self) -> bool:
        """Whether nothing is left to do here; dead workers are replaced."""
        for number, worker in enumerate(self.workers):
            state = worker.look()
            if state.error is not None:
                raise self._located(state.error)
            if state.ended:
                self.before = self.total if self.images is None else self.before
                self.images = self.total
                return True
            if state.images is not None:
                self._count(min(state.images, self.total))
            if state.lost is not None:
                if not self.place.is_there():
                    log.info("%s is lost while it computes features", self.place.name)
                    self.images = self.before = 0
                    return True
                self._replace(number, state.lost)
        return False

    def _count(self, images: int) -> None:
        if self.images is None:
            self.before = images
        if images > (self.images or 0):
            self.restarts = 0
        self.images = max(images, self.images or 0)

    def _replace(self, number: int, why: str) -> None:
        self.restarts += 1
        if self.restarts > self.max_restarts:
            what = f"a process that computes features died {format_count(self.restarts, 'time')} in a row ({why})"
            raise self._located(UserError(what, remedy=MEMORY))
        log.info("a process that computes features is restarted: %s", why)
        self.workers[number] = self.place.start()

    def _located(self, error: UserError) -> UserError:
        where = ", ".join(filter(None, [self.place.name, error.where]))
        return UserError(error.what, where=where, remedy=error.remedy)

    def kill(self) -> None:
        for worker in self.workers:
            worker.kill()
