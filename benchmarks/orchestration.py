"""The cost of orchestrating many trials, compared with plain Optuna and plain Tune: python benchmarks/orchestration.py

hwcls's driver runs the space of sweeps/quickstart.yaml as `hwcls sweep` does: preparation, search, early stopping,
records, page and tracking process are the real ones. Only trainings and the tracker are made up (made_up.py).
Every contender runs in a process of its own. `--scale` is one run of 10,000 trials, 256 of them at once, with early
stopping by promotion; `--trials 500 --at-once 64` with it is a small one. Columns, per trial between the first and the
last start:

    wall        seconds
    driver      milliseconds of the driver's CPU; `- ask` without the drawing of settings, whose median over the last
                tenth of the trials is `ask` (`--json` also has that of its CPU); `first` and `last` are `- ask` over
                the first and the last 100 trials
    consumer    milliseconds of CPU of the process that writes the page and feeds the trackers, its start included
    memory      the driver's, MB at its peak

Of hwcls alone, as a whole:

    epochs/s    epochs that went through the driver in a second of its CPU; `of wall` in a second of time
    again       seconds from the start after a kill -9, with all those trials on record, to the first trial that runs
    page        MB of report.html; `write` and `open`: seconds to write it, and for Chromium to draw it

Plain Optuna: ask and tell in one process, the same sampler, journal and number of reports, each trial pruned by its
own rule. Plain Tune: OptunaSearch and ASHA as documented, all else by default; its trials start an actor each.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

from filelock import FileLock
from made_up import DOUBLE, curve, made_up_trainings

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
    "epochs/s": 0,
    "of wall": 0,
    "again": 1,
    "page": 1,
    "write": 1,
    "open": 1,
}
END = 100  # trials at either end
EPOCHS = 5  # of each trial
SCALE = ["early_terminate.rule=promotion", "parameters.epochs=27"]  # entries of the sweep file
SCALE_TRIALS, SCALE_AT_ONCE = 10_000, 256
PATIENCE = 600.0  # seconds for a start to run its first trials, and for the tracking process to end


class Clock:
    """Notes the wall time, the CPU time and the part of `ask` in it at the start of each trial."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float, float]] = []
        self.asks: list[tuple[float, float]] = []  # seconds, and of CPU, in which the settings of a trial were drawn
        self.asking = 0.0  # CPU seconds of all of them
        self.epochs, self.last = 0, (0.0, 0.0)  # until now, and when the last one came: wall, CPU

    def mark(self) -> None:
        self.marks.append((time.monotonic(), time.process_time(), self.asking))

    def epoch(self) -> None:
        self.epochs, self.last = self.epochs + 1, (time.monotonic(), time.process_time())

    def ask(self, wall: float, cpu: float) -> None:
        """The settings of the latest trial, or some of them, were drawn in so many seconds."""
        before = self.asks[-1]
        self.asks[-1] = before[0] + wall, before[1] + cpu
        self.asking += cpu

    def columns(self) -> dict[str, float]:
        end = min(END, len(self.marks) // 2)
        wall, driver, ask = self._between(0, -1)
        tail = self.asks[-max(1, len(self.asks) // 10) :]
        without = [1000 * (cpu - own) for _, cpu, own in (self._between(0, end), self._between(-1 - end, -1))]
        found = {"wall": wall, "driver": 1000 * driver, "- ask": 1000 * (driver - ask)}
        found |= {"ask": 1000 * median(wall for wall, _ in tail), "ask CPU": 1000 * median(cpu for _, cpu in tail)}
        found |= {"first": without[0], "last": without[1], "memory": peak()}
        if self.epochs:
            spent = [after - before for before, after in zip(self.marks[0], self.last, strict=False)]
            found |= {"of wall": self.epochs / spent[0], "epochs/s": self.epochs / spent[1]}
        return found

    def _between(self, first: int, last: int) -> list[float]:
        """The mean per trial of each clock between two marks."""
        count = last % len(self.marks) - first % len(self.marks)
        return [(b - a) / count for a, b in zip(self.marks[first], self.marks[last], strict=True)]


class Timed:
    """A sampler whose calls are timed."""

    def __init__(self, sampler: Any, clock: Clock) -> None:
        self.sampler, self.clock = sampler, clock

    def before_trial(self, *arguments: Any) -> None:
        self.clock.asks.append((0.0, 0.0))
        self.sampler.before_trial(*arguments)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.sampler, name)
        return self._timed(found) if name.startswith(("infer_", "sample_")) else found

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                return call(*arguments)
            finally:
                self.clock.ask(time.perf_counter() - wall, time.process_time() - cpu)

        return timed


def peak() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def children() -> float:
    """CPU seconds of the processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def loaded(options: Any) -> Any:
    from hwcls.config.sweep_file import load_sweep

    epochs = [f"parameters.epochs={EPOCHS}", f"track=[{DOUBLE}]", f"resources.concurrent={options.at_once}"]
    return load_sweep(QUICKSTART, sets=[f"run_cap={options.trials[0]}", *epochs, *options.set])


@contextmanager
def timed_draws(clock: Clock) -> Iterator[None]:
    """The time in which the block draws the settings of new trials goes to the clock; not that of writing them."""
    from hwcls.sweep.search.job_builder import JobBuilder
    from hwcls.sweep.search.searcher import FairSearch

    suggest, build = FairSearch.suggest, JobBuilder.build

    writing = [0.0, 0.0]  # seconds, and of CPU

    def timed_suggest(search: Any, trial_id: str) -> Any:
        count, writing[:] = search.count, (0.0, 0.0)
        wall, cpu = time.perf_counter(), time.process_time()
        found = suggest(search, trial_id)
        if search.count > count:  # else a paused trial continues, or there is none
            clock.asks.append((0.0, 0.0))
            clock.ask(time.perf_counter() - wall - writing[0], time.process_time() - cpu - writing[1])
        return found

    def timed_build(jobs: Any, *arguments: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        found = build(jobs, *arguments)
        writing[:] = time.perf_counter() - wall, time.process_time() - cpu
        return found

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(FairSearch, "suggest", timed_suggest))
        stack.enter_context(mock.patch.object(JobBuilder, "build", timed_build))
        yield


def hwcls(options: Any) -> dict[str, float]:
    """`hwcls sweep`, but for the trainings and the tracker; each start of a trial is a line of `options.events`."""
    from hwcls.sweep import driver
    from hwcls.sweep.monitor.progress import Lines
    from hwcls.sweep.monitor.tracking_process import TrackingProcess
    from hwcls.sweep.preflight.validate import Options

    clock, sweep, consumer = Clock(), loaded(options), 0.0
    finish = TrackingProcess.finish

    class Watch(Lines):
        def started(self, key: str, label: Any, parameters: Any, epoch: int, *facts: Any) -> None:
            super().started(key, label, parameters, epoch, *facts)
            if epoch == 0:
                clock.mark()
            events.write(f"{key}\n")

        def epoch(self, key: str, line: dict[str, Any]) -> None:
            super().epoch(key, line)
            clock.epoch()

    def timed_finish(tracking: Any) -> bool:
        nonlocal consumer
        before = children()
        done = finish(tracking, PATIENCE)
        consumer = children() - before
        return done

    with (
        open(options.events, "a", buffering=1, encoding="utf-8") as events,
        made_up_trainings(options.at_once, saved_each=options.saved == "each"),
        timed_draws(clock),
        mock.patch.object(TrackingProcess, "finish", timed_finish),
    ):
        driver.run(sweep, Options(options.results, wandb="offline"), lambda *facts: Watch(sweep.config.metric, *facts))
    return clock.columns() | {"consumer": 1000 * consumer / options.trials[0]}


def page(options: Any) -> dict[str, float]:
    """Write the page of a results folder, and have Chromium draw it where it is installed."""
    from hwcls.report.html.page import write_page

    begin = time.monotonic()
    path = write_page(next(options.results.iterdir()))
    found = {"write": time.monotonic() - begin, "page": path.stat().st_size / 2**20}
    if browser := shutil.which("chromium") or shutil.which("google-chrome"):
        empty = path.with_name("empty.html")
        empty.write_text("<!doctype html><title>empty</title>", "utf-8")
        found["open"] = drawn(browser, path) - drawn(browser, empty)
    return found


def drawn(browser: str, path: Path) -> float:
    """Seconds in which a browser starts and draws a page."""
    with tempfile.TemporaryDirectory() as folder:
        picture = f"--screenshot={folder}/page.png"
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={folder}",
            "--window-size=1400,3000",
        ]
        begin = time.monotonic()
        subprocess.run([browser, *options, picture, path.resolve().as_uri()], capture_output=True, check=True)
        return time.monotonic() - begin


def plain_trainable(epochs: int) -> Any:
    """A trainable as a user of Tune would write it."""
    from ray import tune

    class Plain(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.parameters, self.epoch = new_config, 0
            return True

        def step(self) -> dict[str, Any]:
            self.epoch += 1
            value, done = curve(self.parameters, self.epoch), self.epoch >= epochs
            return {"epoch": self.epoch, "value": value, "done": done, "should_checkpoint": True}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            Path(checkpoint_dir, "best.safetensors").write_bytes(bytes(10_000))
            Path(checkpoint_dir, "predictions.npz").write_bytes(bytes(2_000))

        def load_checkpoint(self, checkpoint: str) -> None:
            self.epoch = 0

    return Plain


def optuna(options: Any) -> dict[str, float]:
    """Ask and tell."""
    import optuna as plain
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    plain.logging.set_verbosity(plain.logging.ERROR)
    clock, trials, space = Clock(), options.trials[0], loaded(options).space
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


def tune(options: Any) -> dict[str, float]:
    """Tuner, OptunaSearch, ASHAScheduler."""
    import hwcls.sweep  # noqa: F401, I001  (sets the variables that Ray reads when it is imported)
    from ray import init
    from ray import tune as plain
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    class Ends(plain.Callback):  # type: ignore[misc]
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            clock.mark()

    clock, trials, sweep = Clock(), options.trials[0], loaded(options)
    epochs = sweep.config.parameters["epochs"]
    init(address="local", include_dashboard=False, log_to_driver=False, num_cpus=len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as folder:
        space = Space(sweep.space)
        found = OptunaSearch(space, metric="value", mode="max")
        found._ot_study.sampler = Timed(found._ot_study.sampler, clock)
        scheduler = ASHAScheduler(max_t=epochs, grace_period=1, reduction_factor=3, metric="value", mode="max")
        tuner = plain.Tuner(
            plain_trainable(epochs),
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


def command(name: str, trials: int, options: Any, *more: str) -> list[str]:
    """Runs one contender in a process of its own."""
    own = [sys.executable, __file__, "--one", name, "--trials", str(trials), "--at-once", str(options.at_once)]
    return [*own, "--saved", options.saved, *(f"--set={item}" for item in options.set), *more]


def child(*arguments: Any) -> dict[str, float]:
    """The figures of a command."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{arguments[0]} with {arguments[1]} trials failed:\n{done.stderr}")
    row: dict[str, float] = json.loads(done.stdout)
    return row


def measured(name: str, trials: int, options: Any) -> dict[str, float]:
    """The figures of one contender."""
    if name != "hwcls":
        return child(name, trials, options)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        results, events = Path(folder, "results"), Path(folder, "events")
        more = ("--results", str(results), "--events", str(events))
        row = child(name, trials, options, *more) | child("page", trials, options, *more)
        start = command(name, trials + options.at_once, options, *more)
        killed_after(start, options.at_once, events)
        row["again"] = killed_after(start, 1, events)
        with FileLock(next(results.iterdir()) / ".tracking.lock", PATIENCE):  # it delivers what is left
            return row


def killed_after(start: Sequence[str], count: int, events: Path) -> float:
    """Kill a start of the driver once so many trials run; seconds until they do."""
    begin, before = time.monotonic(), count_lines(events)
    with subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while count_lines(events) < before + count:
            if process.poll() is not None or time.monotonic() - begin > PATIENCE:
                raise SystemExit(f"the driver did not come to its first trials: {' '.join(start)}")
            time.sleep(0.05)
        seconds = time.monotonic() - begin
        process.kill()
    return seconds


def count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def parse() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS)
    parser.add_argument("--at-once", type=int, help="trials of hwcls that run at once")
    parser.add_argument("--saved", choices=("each", "asked"), help="after each epoch, or as the driver asks for it")
    parser.add_argument("--scale", action="store_true", help=f"{SCALE_TRIALS} trials, {SCALE_AT_ONCE} of them at once")
    parser.add_argument("--tune-most", type=int, default=200, help="trials of plain Tune, which takes seconds for each")
    parser.add_argument("--set", action="append", default=[], help="an entry of the sweep file, as `hwcls sweep --set`")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--folder", type=Path, help="for the results meanwhile, on the disk to be measured")
    parser.add_argument("--one", choices=[*CONTENDERS, "page"], help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--events", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.set = [*SCALE, *options.set] if options.scale else options.set
    options.trials = options.trials or ([SCALE_TRIALS] if options.scale else [20, 200, 2000])
    options.at_once = options.at_once or (SCALE_AT_ONCE if options.scale else 2)
    options.only = options.only or (["hwcls"] if options.scale else list(CONTENDERS))
    options.saved = options.saved or ("asked" if options.scale else "each")
    return options


def main() -> None:
    options = parse()
    if options.one:
        with contextlib.redirect_stdout(io.StringIO()):  # Tune's tables
            row = {**CONTENDERS, "page": page}[options.one](options)
        print(json.dumps(row))
        return
    rows = []
    print(f"{'':8}{'trials':>7}" + "".join(f"{name:>10}" for name in COLUMNS))
    for name in options.only:
        for trials in options.trials:
            if name == "tune" and trials > options.tune_most:
                print(f"{name:8}{trials:7}   left out: --tune-most {options.tune_most}")
                continue
            row = measured(name, trials, options)
            cells = [f"{row[column]:10.{digits}f}" if column in row else " " * 10 for column, digits in COLUMNS.items()]
            print(f"{name:8}{trials:7}" + "".join(cells), flush=True)
            rows.append({"name": name, "trials": trials, **row})
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
