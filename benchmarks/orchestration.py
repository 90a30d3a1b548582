"""The cost of orchestrating many trials, compared with plain Optuna and plain Tune: python benchmarks/orchestration.py

The space of sweeps/quickstart.yaml is searched with a trainable that computes nothing, writes small files and is saved
after each epoch, as trials of long epochs are; search, early stopping, records, page and trackers are the real ones.
Every contender runs in a process of its own. Columns, per trial and without the start of the first:

    wall        seconds between two ends (two trials run at once)
    driver      milliseconds of the driver's CPU; `- ask` without the sampler's own part, whose median over the last
                tenth of the trials is `ask`; `first` and `last` are `- ask` over the first and the last 100 trials
    consumer    milliseconds of CPU of the process that writes the page and feeds the trackers, its start included
    memory      the driver's, MB at its peak
    again       seconds from opening the folder once more to the first trial asked for, Ray's start left out

Plain Optuna: ask and tell in one process, the same sampler, journal and number of reports, each trial pruned by its
own rule. Plain Tune: OptunaSearch and ASHA as documented, all else by default; its trials start an actor each.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

QUICKSTART = Path(__file__).parents[1] / "sweeps" / "quickstart.yaml"
COLUMNS = {  # name: digits
    "wall": 3,
    "driver": 1,
    "- ask": 1,
    "ask": 1,
    "first": 1,
    "last": 1,
    "consumer": 1,
    "memory": 0,
    "again": 2,
}
END = 100  # trials at either end


def curve(parameters: Mapping[str, Any], epoch: int) -> float:
    """A made-up accuracy: best at a learning rate of 0.003, a strong decay hurts, epochs help."""
    rate = next(value for name, value in parameters.items() if name.endswith("lr"))
    decay = next(value for name, value in parameters.items() if name.endswith("weight_decay"))
    return 0.95 - 0.05 * abs(math.log10(rate / 0.003)) - decay - 0.3 * math.exp(-epoch / 2)


def instant(epochs: int, warm: bool) -> Any:
    """The trainable: `warm` as hwcls's group reports, else as a user of Tune would write it."""
    from ray import tune

    from hwcls.sweep.search.messages import JOB, EpochReport

    class Instant(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.parameters = new_config[JOB].parameters if warm else new_config
            self.epoch = 0
            return True

        def step(self) -> dict[str, Any]:
            self.epoch += 1
            value, done = curve(self.parameters, self.epoch), self.epoch >= epochs
            result: dict[str, Any] = {"epoch": self.epoch, "value": value, "done": done, "should_checkpoint": True}
            if not warm:
                return result
            names = ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "val/macro_f1", "lr")
            line = dict.fromkeys(names, value) | {"seconds": 0.01, "images_per_second": 1e5}
            report = EpochReport(self.epoch, epochs, value, value, ({"epoch": self.epoch, **line},), seconds=0.01)
            return report.to_result() | {"should_checkpoint": True}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            Path(checkpoint_dir, "best.safetensors").write_bytes(bytes(10_000))
            Path(checkpoint_dir, "predictions.npz").write_bytes(bytes(2_000))

        def load_checkpoint(self, checkpoint: str) -> None:
            self.epoch = 0

    return Instant


class Clock:
    """Notes the wall time, the CPU time and the sampler's share of it at the end of each trial."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float, float]] = []
        self.asks: list[float] = []  # seconds of the sampler, by trial
        self.asking = 0.0  # CPU seconds of the sampler

    def mark(self) -> None:
        self.marks.append((time.monotonic(), time.process_time(), self.asking))

    def columns(self) -> dict[str, float]:
        end = min(END, len(self.marks) // 2)
        wall, driver, ask = self._between(0, -1)
        tail = self.asks[-max(1, len(self.asks) // 10) :]
        without = [1000 * (cpu - own) for _, cpu, own in (self._between(0, end), self._between(-1 - end, -1))]
        found = {"wall": wall, "driver": 1000 * driver, "- ask": 1000 * (driver - ask), "ask": 1000 * median(tail)}
        return found | {"first": without[0], "last": without[1], "memory": peak()}

    def _between(self, first: int, last: int) -> list[float]:
        """The mean per trial of each clock between two marks."""
        count = last % len(self.marks) - first % len(self.marks)
        return [(b - a) / count for a, b in zip(self.marks[first], self.marks[last], strict=True)]


class Timed:
    """A sampler whose calls are timed."""

    def __init__(self, sampler: Any, clock: Clock) -> None:
        self.sampler, self.clock = sampler, clock

    def before_trial(self, *arguments: Any) -> None:
        self.clock.asks.append(0.0)
        self.sampler.before_trial(*arguments)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.sampler, name)
        return self._timed(found) if name.startswith(("infer_", "sample_")) else found

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            wall, cpu = time.perf_counter(), time.thread_time()
            try:
                return call(*arguments)
            finally:
                self.clock.asks[-1] += time.perf_counter() - wall
                self.clock.asking += time.thread_time() - cpu

        return timed


def peak() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def children() -> float:
    """CPU seconds of the processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def loaded(trials: int, sets: list[str]) -> Any:
    from hwcls.config.sweep_file import load_sweep

    return load_sweep(QUICKSTART, sets=[f"run_cap={trials}", "parameters.epochs=5", "track=[]", *sets])


def hwcls(trials: int, sets: list[str]) -> dict[str, float]:
    """A sweep as `hwcls sweep` runs it, but for the trainable; then what a second start reads."""
    from hwcls.sweep.cluster import connect, resources
    from hwcls.sweep.monitor.progress import Quiet
    from hwcls.sweep.monitor.tracking_process import TrackingProcess
    from hwcls.sweep.run import callback
    from hwcls.sweep.run import tune as tuning
    from hwcls.sweep.run.reconcile import reconcile
    from hwcls.sweep.search import pruning, searcher
    from hwcls.sweep.storage import results_folder as folder

    class Watch(Quiet):
        def ended(self, key: str, result: Any) -> None:
            clock.mark()

    clock = Clock()
    sweep = loaded(trials, sets)
    with (
        tempfile.TemporaryDirectory() as results,
        folder.open_folder(Path(results) / sweep.config.name, sweep.resolved()) as opened,
    ):
        tracking = TrackingProcess(opened.path, "offline")
        tracking.start()
        with connect.connected(None) as machine:
            each = resources.choose_resources(sweep.config.resources, machine, "")
            found = searcher.FairSearch(sweep, opened, each, {})
            found.study.sampler = Timed(found.study.sampler, clock)
            own = callback.RecordCallback(opened, sweep.config, Watch(), tracking.keep_alive)
            trainable = instant(sweep.config.parameters["epochs"], warm=True)
            tuning.tune_run(trainable, opened, found, pruning.build_scheduler(sweep), own, each, 0)
        before = children()
        tracking.finish()
        consumer = children() - before
        begin = time.monotonic()
        more = loaded(trials + 2, sets)
        known = searcher.FairSearch(more, opened, each, {})
        reconcile(more, opened, known, pruning.build_scheduler(more))
        known.suggest("first")
        again = time.monotonic() - begin
    return clock.columns() | {"consumer": 1000 * consumer / trials, "again": again}


def optuna(trials: int, sets: list[str]) -> dict[str, float]:
    """Ask and tell."""
    import optuna as plain
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    plain.logging.set_verbosity(plain.logging.ERROR)
    clock, space = Clock(), loaded(trials, sets).space
    with tempfile.TemporaryDirectory() as folder:
        storage = JournalStorage(JournalFileBackend(str(Path(folder, "journal"))))
        pruner = plain.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
        sampler: Any = plain.samplers.TPESampler(seed=0, multivariate=True, group=True, constant_liar=True)
        study = plain.create_study(storage=storage, sampler=Timed(sampler, clock), pruner=pruner, direction="maximize")
        for _ in range(trials):
            trial = study.ask()
            epochs = space.draw(trial)["epochs"]
            value, state = 0.0, plain.trial.TrialState.COMPLETE
            for epoch in range(1, epochs + 1):
                value = curve(trial.params, epoch)
                trial.report(value, epoch)
                if epoch < epochs and trial.should_prune():
                    state = plain.trial.TrialState.PRUNED
                    break
            study.tell(trial, value if state.name == "COMPLETE" else None, state=state)
            clock.mark()
    return clock.columns()


def tune(trials: int, sets: list[str]) -> dict[str, float]:
    """Tuner, OptunaSearch, ASHAScheduler."""
    import hwcls.sweep  # noqa: F401, I001  (sets the variables that Ray reads when it is imported)
    from ray import init
    from ray import tune as plain
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    class Ends(plain.Callback):  # type: ignore[misc]
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            clock.mark()

    clock, sweep = Clock(), loaded(trials, sets)
    epochs = sweep.config.parameters["epochs"]
    init(address="local", include_dashboard=False, log_to_driver=False, num_cpus=len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as folder:
        space = Space(sweep.space)
        found = OptunaSearch(space, metric="value", mode="max")
        found._ot_study.sampler = Timed(found._ot_study.sampler, clock)
        scheduler = ASHAScheduler(max_t=epochs, grace_period=1, reduction_factor=3, metric="value", mode="max")
        tuner = plain.Tuner(
            instant(epochs, warm=False),
            tune_config=plain.TuneConfig(search_alg=found, scheduler=scheduler, num_samples=trials),
            run_config=plain.RunConfig(storage_path=folder, callbacks=[Ends()]),
        )
        tuner.fit()
    return clock.columns()


class Space:
    """The define-by-run space; Tune pickles it."""

    def __init__(self, space: Any) -> None:
        self.space = space

    def __call__(self, trial: Any) -> None:
        self.space.draw(trial)


CONTENDERS = {"hwcls": hwcls, "optuna": optuna, "tune": tune}


def measured(name: str, trials: int, sets: list[str]) -> dict[str, float]:
    """One contender in a process of its own."""
    command = [sys.executable, __file__, "--one", name, "--trials", str(trials), *(f"--set={item}" for item in sets)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} with {trials} trials failed:\n{done.stderr}")
    row: dict[str, float] = json.loads(done.stdout)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[20, 200, 2000])
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--tune-most", type=int, default=200, help="trials of plain Tune, which takes seconds for each")
    parser.add_argument("--set", action="append", default=[], help="an entry of the sweep file, as `hwcls sweep --set`")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        with contextlib.redirect_stdout(io.StringIO()):  # Tune's tables
            row = CONTENDERS[options.one](options.trials[0], options.set)
        print(json.dumps(row))
        return
    rows = []
    print(f"{'':8}{'trials':>7}" + "".join(f"{name:>10}" for name in COLUMNS))
    for name in options.only:
        for trials in options.trials:
            if name == "tune" and trials > options.tune_most:
                print(f"{name:8}{trials:7}   left out: --tune-most {options.tune_most}")
                continue
            row = measured(name, trials, options.set)
            cells = [f"{row[column]:10.{digits}f}" if column in row else " " * 10 for column, digits in COLUMNS.items()]
            print(f"{name:8}{trials:7}" + "".join(cells), flush=True)
            rows.append({"name": name, "trials": trials, **row})
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
