"""Faults on a real Ray with real processes: nothing lost, nothing recorded twice, as if nothing had happened."""

import json
import threading

import pytest
import ray

from hwcls.config.sweep_file import load_sweep
from hwcls.sweep.search import messages
from tests.sweep.faults import Disturbed, kill

# Ray leaves some of its files and sockets to the garbage collector
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]


@pytest.fixture(scope="module")
def undisturbed(ray_here, tmp_path_factory):
    """The records of the sweep without a fault."""
    from hwcls.sweep import driver
    from hwcls.sweep.monitor.progress import Quiet

    sweep = Disturbed(tmp_path_factory.mktemp("undisturbed"), pause=0.0)
    options = driver.Options(results=sweep.results, wandb="off")
    driver.run(load_sweep(sweep.file), options, lambda *_: Quiet())
    assert set(sweep.done_twice().values()) == {0}
    return sweep.numbers()


@pytest.fixture
def disturb(run, tmp_path, monkeypatch):
    """Runs the sweep while a thread injects a fault; returns the sweep, its outcome and its output."""
    monkeypatch.setattr(messages, "SAVE_EVERY", 0.5)

    def start(fault, **changes):
        sweep, failed = Disturbed(tmp_path, changes=changes), []

        def later():
            try:
                fault(sweep)
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=later)
        thread.start()
        outcome, output = run(load_sweep(sweep.file), results=sweep.results)
        thread.join()
        assert not failed
        groups = ray.util.placement_group_table().values()
        assert not [group for group in groups if group["state"] != "REMOVED"]
        return sweep, outcome, output

    return start


def test_a_supervisor_is_killed(disturb, undisturbed):
    def fault(sweep):
        sweep.busy_rank()
        kill(sweep.supervisors()[0])

    sweep, _, output = disturb(fault)
    assert output.count("is restarted") == 1
    sweep.check(undisturbed)


def test_a_rank_that_hangs_is_found_with_its_place(disturb, undisturbed):
    def fault(sweep):
        sweep.busy_rank()
        sweep.inject("hang")

    sweep, _, output = disturb(fault, hang_after=5)
    assert "hung: no step finished in 5.0 s; rank 0 was at" in output
    assert "counted.py:31 in forward" in output
    sweep.check(undisturbed)


@pytest.mark.heavy
def test_a_truncated_checkpoint_is_skipped_for_the_one_before_it(disturb, undisturbed):
    reached = []

    def fault(sweep):
        kept = sweep.path / "trials" / "0" / "checkpoint.json"
        sweep.wait_until(lambda: kept.exists() and len(json.loads(kept.read_text())) == 2)
        state = kept.parent / json.loads(kept.read_text())[0] / "state.pt"
        state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
        reached.append(len(sweep.numbers()[0]))
        kill(sweep.rank(0))

    sweep, _, output = disturb(fault, resources={"concurrent": 1})
    assert output.count("is restarted") == 1
    assert sweep.done_twice()[0] < reached[0]
    sweep.check(undisturbed)


def test_ranks_are_killed_and_restarts_count_in_a_row(disturb, undisturbed):
    """Two faults of one trial where a single restart is allowed: it had come further in between."""

    def fault(sweep):
        for epochs in (3, 6):
            sweep.wait_for_epochs(0, epochs)
            kill(sweep.rank())

    sweep, _, output = disturb(fault, max_restarts=1, resources={"concurrent": 1})
    assert output.count("trial 0 is restarted") == 2
    assert "a rank died" in output
    sweep.check(undisturbed)
    assert sweep.done_twice()[0] > 0  # it was in the middle
