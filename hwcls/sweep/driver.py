"""The driver of a sweep: prepare, search, confirm, show; at any moment it can be killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hwcls.config.sweep import ResourcesConfig
from hwcls.config.sweep_file import Sweep
from hwcls.data.disk import is_full
from hwcls.report.html.page import write_page
from hwcls.sweep.cluster.connect import connected
from hwcls.sweep.cluster.resources import choose, notes, this_machine
from hwcls.sweep.monitor.progress import Progress, duration
from hwcls.sweep.monitor.tracking_process import Consumers
from hwcls.sweep.preflight import disk_usage, validate
from hwcls.sweep.preflight.validate import Options
from hwcls.sweep.run import confirm_plan
from hwcls.sweep.run.background import Background
from hwcls.sweep.storage import results_folder as folder
from hwcls.sweep.storage.mirror import Shared
from hwcls.tracking.folders import SweepFolder

if TYPE_CHECKING:
    from hwcls.sweep.preflight.prepare import Prepared
    from hwcls.sweep.search.searcher import FairSearch

GRACE = 20.0  # seconds that SIGTERM leaves for the end of an epoch and a checkpoint: SLURM and Kubernetes kill after 30


@dataclass(frozen=True)
class Outcome:
    """How a start of a sweep ended."""

    folder: SweepFolder
    interrupted: bool  # by Ctrl-C or SIGTERM: the same command goes on
    nothing_to_do: bool  # it had already ended
    failed: tuple[str, ...]  # keys of failed trials


class ProgressFor(Protocol):
    """Opens the view of a sweep: trials in all (None: not known), those that have ended, what is left of a budget."""

    def __call__(self, total: int | None, done: int = 0, left: float | None = None) -> Progress: ...


def run(sweep: Sweep, options: Options, progress_for: ProgressFor) -> Outcome:
    """Run a sweep to its end, or go on where it was.

    Raises:
        UserError: What the file, the data, the models, the folder or the machine do not allow.
    """
    where = sweep.source.where(("resources",))
    sweep = validate.check(sweep, options)
    if options.address is None and sweep.config.resources != ResourcesConfig():  # any machine has what is left out
        choose(sweep.config.resources, this_machine(), where)
    shared = options.place.sweep(sweep.config.name) if options.place else None
    with (
        folder.open_folder(sweep, options.results) as opened,
        shared.mirrored() if shared else nullcontext(),
        _full_disk_said(opened.path),
    ):
        if _finished(sweep, opened):
            _drop_checkpoints(opened, shared)
            return Outcome(opened, interrupted=False, nothing_to_do=True, failed=_failed(opened))
        folder.write_environment(opened.path, sweep.source.changes())
        consumers = Consumers(opened.path, options.wandb)
        try:
            interrupted = _run(sweep, options, opened, shared, consumers, progress_for, where)
        finally:
            if not consumers.finish():
                write_page(opened.path)
        return Outcome(opened, interrupted=interrupted, nothing_to_do=False, failed=_failed(opened))


def _run(
    sweep: Sweep,
    options: Options,
    opened: SweepFolder,
    shared: Shared | None,
    consumers: Consumers,
    progress_for: ProgressFor,
    where: str,
) -> bool:
    say = progress_for(None).say
    ready = Background(lambda: _load(sweep, opened.path, say))  # beside Ray's start, which takes as long
    with ready.cancels(), connected(options.address) as machine, consumers.drains(), _Termination() as termination:
        prepared = ready.result()
        from hwcls.sweep.cluster.connect import home
        from hwcls.sweep.cluster.nodes import Nodes, room
        from hwcls.sweep.run import confirm_run
        from hwcls.sweep.run.callback import Recorder
        from hwcls.sweep.run.reconcile import settle
        from hwcls.sweep.run.trial_group import trainable
        from hwcls.sweep.run.tune import tune_run
        from hwcls.sweep.search import pruning
        from hwcls.sweep.search.searcher import FairSearch
        from hwcls.sweep.storage.user_code import weight_files

        if options.address:
            resources, machine = room(sweep.config.resources, where, say)
        else:
            resources = choose(sweep.config.resources, machine, where)
        for note in notes(sweep.config.resources, resources, machine):
            say(f"note: {note}")
        nodes = Nodes(prepared.data, weight_files(sweep), resources, say) if options.address else None
        if nodes:
            nodes.make_ready()
        most = disk_usage.of(sweep, prepared.weights, prepared.shape, resources.concurrent)
        free = disk_usage.check_disk(most, opened.path)
        search = FairSearch(sweep, opened, resources, prepared.sources, options.source)
        scheduler = pruning.scheduler(sweep)
        settle(sweep, opened, search, scheduler)
        place = shared.url if shared else opened.path
        say(f"{sweep.config.name}: {_extent(sweep, search)}, {resources}; results in {place}")
        say(str(most) if free is None else f"{most}\n{free}")
        ended = {f"trials/{n}": result for n, trial in opened.trials().items() if (result := trial.result())}
        progress = progress_for(search.total, len(ended), search.left)
        for key, result in ended.items():
            progress.known(key, result)
        folder.drop_leftovers(opened)
        consumers.start(progress.say)
        recorder = Recorder(opened, sweep.config, progress, consumers.keep_alive)
        termination.leave = recorder.leave
        if shared:
            shared.say = lambda text: recorder.progress.say(text)
        group = trainable(resources, home() if options.address else "", shared.url if shared else "")
        with nodes.watched(lambda text: recorder.progress.say(text)) if nodes else nullcontext():
            if not search.finished:
                if tune_run(group, opened, search, scheduler, recorder, resources, sweep.config.max_restarts):
                    return True
                folder.note_budget(opened.path, search.spent)
            if confirm_run.run(sweep, opened, group, resources, recorder, progress_for):
                return True
        _drop_checkpoints(opened, shared)
        return False


def _drop_checkpoints(opened: SweepFolder, shared: Shared | None) -> None:
    """The sweep has ended: no trial goes on from a checkpoint any more."""
    shutil.rmtree(opened.path / "tune", ignore_errors=True)
    if shared:
        shared.forget_states()


def _load(sweep: Sweep, path: Path, say: Callable[[str], None]) -> Prepared:
    """Prepare, and load Tune and Optuna, which take seconds."""
    from hwcls.sweep.preflight.prepare import prepare

    prepared = prepare(sweep, path, say)
    from hwcls.sweep.search import searcher as search  # noqa: F401

    return prepared


def _extent(sweep: Sweep, search: FairSearch) -> str:
    """How long the search goes on, and what is there of it."""
    words = [f"{search.total} trials"] if search.total is not None else []
    if search.borrowed_of is not None:
        words.append("knowing {} of {} earlier ones".format(*search.borrowed_of))
    if sweep.config.budget is not None:
        whole, left = duration(sweep.config.budget), duration(search.left or 0.0)
        words.append(f"new trials for {whole if search.count == 0 else f'{left} of {whole}'}")
    if search.count:
        words.append(f"{search.count - len(search.unfinished)} of them done before")
    return ", ".join(words)


def _finished(sweep: Sweep, opened: SweepFolder) -> bool:
    """Whether nothing is left to do, seen from the records alone: then Ray need not start."""
    ended = [trial.result() for trial in opened.trials().values()]
    if not ended or any(result is None for result in ended):
        return False
    budget = sweep.config.budget
    used_up = budget is not None and folder.budget_spent(opened.path) >= budget
    if not used_up and (sweep.total is None or len(ended) < sweep.total):
        return False
    return not confirm_plan.missing(sweep, opened)


def _failed(opened: SweepFolder) -> tuple[str, ...]:
    every = {f"trials/{n}": t for n, t in opened.trials().items()}
    every |= {f"confirm/{label}/{seed}": t for (label, seed), t in opened.confirm_runs().items()}
    results = {key: trial.result() for key, trial in every.items()}
    return tuple(key for key, result in results.items() if result and result.status == "failed")


@contextmanager
def _full_disk_said(path: Path) -> Iterator[None]:
    """A disk that fills while the block writes is one line about the results, whichever file it was."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise folder.full_disk(path) from None
        raise


class _Termination:
    """SIGTERM, which a scheduler, a shutdown or a spot notice sends: what trains is saved, then it is as Ctrl-C.

    Ray's start takes the handler away, so this one comes after it.
    """

    def __init__(self) -> None:
        self.leave: Callable[[Callable[[], None]], None] = lambda now: now()
        self.timer = threading.Timer(GRACE, self._interrupt)

    def _asked(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._interrupt)  # the second time it does not wait
        self.timer.daemon = True
        self.timer.start()
        self.leave(self._interrupt)

    def _interrupt(self, *_: object) -> None:
        self.timer.cancel()
        os.kill(os.getpid(), signal.SIGINT)

    def __enter__(self) -> _Termination:
        self.old: Any = None
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # Ray blocks it in what its jobs start
        if threading.current_thread() is threading.main_thread():
            self.old = signal.signal(signal.SIGTERM, self._asked)
        return self

    def __exit__(self, *exception: object) -> None:
        self.timer.cancel()
        if self.old is not None:
            signal.signal(signal.SIGTERM, self.old)
