"""Heavy: every fault, injected into the command itself; a table at the end shows what each cost.

Run as root, so that a disk can be filled: pytest -m heavy tests/sweep/test_fault_table.py
"""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.sweep.faults import STEPS, Disturbed, kill

pytestmark = pytest.mark.heavy
ROOT = Path(__file__).parents[2]
SIZE = {"trials": 4, "epochs": 20, "pause": 0.25}  # 15 s a trial
SHORTEST = SIZE["trials"] / 2 * SIZE["epochs"] * STEPS * SIZE["pause"]  # seconds of two trials at once: pauses alone


class Command:
    """`hwcls sweep` of a Disturbed sweep, as a user starts it."""

    def __init__(self, sweep: Disturbed, *words: str) -> None:
        self.sweep = sweep
        self.words = [sys.executable, "-m", "hwcls", "sweep", str(sweep.file), "--results", str(sweep.results), *words]
        self.output = ""

    def start(self) -> subprocess.Popen:
        self.process = subprocess.Popen(
            self.words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        return self.process

    def end(self, expected: int = 0) -> None:
        """Wait for the end; raises unless it ends as expected."""
        self.output, _ = self.process.communicate(timeout=600)
        assert self.process.returncode == expected, self.output
        assert "Traceback" not in self.output


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The records of the sweep without a fault."""
    sweep = Disturbed(tmp_path_factory.mktemp("undisturbed"), **{**SIZE, "pause": 0.0})
    command = Command(sweep, "--wandb", "off")
    command.start()
    command.end()
    return sweep.numbers()


@pytest.fixture
def table(record_property, request):
    """Notes a row of the table."""

    def note(fault, sweep, since):
        twice = max(sweep.done_twice().values())
        again = sweep.recovered(since)
        lost = f"{twice:.1f} epochs, {twice * STEPS * sweep.pause:.1f} s"
        record_property("fault", (fault, lost, "not interrupted" if again is None else f"{again:.1f} s"))

    return note


@pytest.fixture
def started(tmp_path):
    """Starts the command; what a failed test leaves running is ended."""
    commands = []

    def start(*words, **changes):
        sweep = Disturbed(tmp_path, **SIZE, changes=changes)
        commands.append(Command(sweep, *(words or ("--wandb", "off"))))
        commands[-1].start()
        return sweep, commands[-1]

    yield start
    for command in commands:
        if command.process.poll() is None:
            os.killpg(command.process.pid, signal.SIGKILL)


@pytest.mark.parametrize("moment", range(10))
def test_the_driver_is_killed(started, undisturbed, table, moment):
    sweep, command = started()
    after = random.Random(moment).uniform(1, SHORTEST)
    try:
        command.process.wait(after)
        pytest.fail("it ended before the fault")
    except subprocess.TimeoutExpired:
        kill(command.process.pid)
    since = time.time()
    command.end(-signal.SIGKILL)
    command.start()
    command.end()
    table(f"driver: kill -9 after {after:.0f} s", sweep, since)
    sweep.check(undisturbed)


@pytest.mark.parametrize("who", ["rank", "supervisor"])
def test_a_worker_is_killed(started, undisturbed, table, who):
    sweep, command = started()
    sweep.wait_for_epochs(0, 15)  # its last checkpoint is some epochs old
    victim = sweep.rank() if who == "rank" else sweep.supervisors()[0]
    since = time.time()
    kill(victim)
    command.end()
    table(f"{who}: kill -9", sweep, since)
    sweep.check(undisturbed)
    assert command.output.count("is restarted") == 1


def test_the_process_that_feeds_wandb_is_killed(started, undisturbed, table):
    """It is started again, and every epoch arrives once."""
    sweep, command = started("--wandb", "offline", track=["wandb"])
    sweep.wait_for_epochs(0, 8)
    followers = [
        p for p in psutil.Process(command.process.pid).children() if "tracking_process" in " ".join(p.cmdline())
    ]
    since = time.time()
    followers[0].kill()
    command.end()
    table("W&B process: kill -9", sweep, since)
    sweep.check(undisturbed)
    runs = sorted((sweep.path / "wandb").glob("offline-run-*"))
    epochs = {}
    for run in runs:
        words = [Path(sys.executable).with_name("wandb"), "leet", "inspect", "--json", run]
        lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
        found = [json.loads(line) for line in lines]
        config = next(record["run"] for record in found if record["type"] == "run")["config"]["update"]
        rows = [record["history"]["item"]["epoch"] for record in found if record["type"] == "history"]
        epochs.setdefault(config["trial"], []).extend(rows)
    assert {trial: sorted(rows) for trial, rows in epochs.items()} == {n: list(range(1, 21)) for n in range(4)}


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_it_is_asked_to_stop(started, undisturbed, table, sent):
    sweep, command = started()
    sweep.wait_for_epochs(0, 10)
    since = time.time()
    command.process.send_signal(sent)
    command.end(130)
    stopped = time.time() - since
    assert "Resume with:" in command.output
    command.start()
    command.end()
    table(f"{sent.name} ({stopped:.1f} s to the end of the process)", sweep, since)
    sweep.check(undisturbed)
    if sent == signal.SIGTERM:  # what trained was saved: an epoch that had begun is all that comes again
        assert max(sweep.done_twice().values()) <= 1


def test_a_trial_raises_once(started, undisturbed, table):
    sweep, command = started()
    sweep.wait_for_epochs(0, 5)
    since = time.time()
    sweep.inject("raise")
    command.end()
    assert "broken on purpose" in command.output
    table("trial raises", sweep, since)
    sweep.check(undisturbed)


def test_a_trial_is_not_finite(started, undisturbed, table):
    """It has failed; the others are as they were."""
    sweep, command = started()
    sweep.wait_for_epochs(0, 5)
    since = time.time()
    sweep.inject("nan")
    command.end(1)
    table("loss is NaN", sweep, since)
    results = {int(p.parent.name): json.loads(p.read_text()) for p in sweep.path.glob("trials/*/result.json")}
    (failed,) = [number for number, result in results.items() if result["status"] == "failed"]
    assert "not finite" in results[failed]["error"]
    numbers = sweep.numbers()
    assert set(numbers) == set(range(4))
    assert numbers.pop(failed) == undisturbed[failed][: len(sweep.numbers()[failed])]
    assert numbers == {number: lines for number, lines in undisturbed.items() if number != failed}
    sweep.check_nothing_runs()


def test_a_trial_hangs(started, undisturbed, table):
    sweep, command = started(hang_after=3)
    sweep.wait_for_epochs(0, 5)
    since = time.time()
    sweep.inject("hang")
    command.end()
    assert "hung: no step finished in 3.0 s" in command.output
    table("trial hangs (hang_after: 3)", sweep, since)
    sweep.check(undisturbed)


def test_memory_runs_out(started, undisturbed, table):
    """The trial resumes with half the micro-batch: the same but for rounding."""
    sweep, command = started()
    sweep.wait_for_epochs(0, 5)
    since = time.time()
    sweep.inject("memory")
    command.end()
    assert "is restarted" not in command.output
    found = sweep.numbers()
    assert list(found) == list(undisturbed)
    for number, lines in found.items():
        for line, expected in zip(lines, undisturbed[number], strict=True):
            assert line == pytest.approx(expected, rel=1e-4)
    table("memory runs out", sweep, since)
    sweep.check_nothing_runs()


@pytest.mark.parametrize("then", ["rank", "driver"])
def test_a_checkpoint_is_truncated(started, undisturbed, table, then):
    """The trial resumes from the one before, or starts again where there is none."""
    sweep, command = started()
    kept = sweep.path / "trials" / "0" / "checkpoint.json"
    sweep.wait_until(kept.exists)
    state = kept.parent / json.loads(kept.read_text())[0] / "state.pt"
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    since = time.time()
    if then == "rank":
        kill(sweep.rank(0))
        command.end()
    else:
        kill(command.process.pid)
        command.end(-signal.SIGKILL)
        command.start()
        command.end()
    table(f"checkpoint truncated, then {then} killed", sweep, since)
    sweep.check(undisturbed)


def test_a_disk_fills(tmp_path, started, undisturbed, table):
    """The sweep ends with one line; with space again the same command resumes."""
    results = tmp_path / "results"
    results.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(results)], capture_output=True).returncode:
        pytest.skip("may not mount a file system")
    try:
        sweep, command = started()
        sweep.wait_for_epochs(0, 8)
        filler = results / "filler"
        with open(filler, "wb", buffering=0) as file:
            try:
                while file.write(b"\0" * 4096):
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC
        since = time.time()
        command.end(2)
        assert "the disk is full" in command.output
        assert "free some space" in command.output
        filler.unlink()
        command.start()
        command.end()
        table("disk fills (made room at once)", sweep, since)
        sweep.check(undisturbed)
    finally:
        subprocess.run(["umount", "-l", str(results)], check=False)


def test_a_node_is_lost(started, undisturbed, table):
    """Two nodes of one CPU: trials of the lost one resume on the other."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        second = cluster.add_node(num_cpus=1)
        sweep, command = started("--wandb", "off", "--address", cluster.address)
        sweep.wait_for_epochs(1, 8)
        raylet = next(p for p in second.all_processes["raylet"]).process.pid
        there = [pid for pid in {pid for _, pid, _ in sweep.steps()} if psutil.Process(pid).ppid() == raylet]
        assert there
        since = time.time()
        cluster.remove_node(second, allow_graceful=False)
        command.end()
        table("node lost", sweep, since)
        sweep.check(undisturbed)
    finally:
        cluster.shutdown()
        os.environ.pop("RAY_ADDRESS", None)
