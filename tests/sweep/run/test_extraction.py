"""Workers that compute features before the first trial: who ends, dies, fails or leaves."""

import itertools
import logging
from types import SimpleNamespace

import pytest

from hwcls.errors import UserError
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.run import extraction
from hwcls.sweep.run.extraction import Place, State, list_places, run_workers

DONE, DEAD = State(ended=True), State(lost="killed")


class Scripted:
    """A worker that is in one state after the other, and stays in the last one."""

    def __init__(self, states):
        self.states, self.killed = list(states), False

    def look(self):
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def kill(self):
        self.killed = True


class Node:
    """A place whose workers follow a script each."""

    def __init__(self, *scripts, slots=1, name="", there=True):
        self.scripts, self.workers = list(scripts), []
        self.place = Place(name, self.start, slots, lambda: there)

    def start(self):
        self.workers.append(Scripted(self.scripts.pop(0)))
        return self.workers[-1]


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(extraction, "POLL", 0.0)


def run(*nodes, restarts=1):
    run_workers([node.place for node in nodes], 100, restarts)


def test_the_first_worker_of_a_node_that_finds_nothing_missing_ends_it():
    """Another one may still wait for its CPUs."""
    node = Node([State(images=50), DONE], [State()], slots=2)
    run(node)
    assert all(worker.killed for worker in node.workers)


def test_every_node_computes_its_own():
    first, second = Node([DONE]), Node([State(images=1), State(images=99), DONE])
    run(first, second)
    assert second.workers[0].states == [DONE]


def test_a_worker_that_is_killed_is_replaced_and_restarts_count_in_a_row():
    node = Node([State(images=10), DEAD], [State(images=20), DEAD], [State(images=30), DEAD], [DONE])
    run(node, restarts=1)
    assert len(node.workers) == 4


def test_workers_that_die_again_and_again_end_the_sweep():
    node = Node([State(images=10), DEAD], [State(images=10), DEAD], [DONE], name="node 10.0.0.1")
    with pytest.raises(UserError, match=r"node 10.0.0.1: .*died 2 times in a row \(killed\) — its memory may be full"):
        run(node, restarts=1)


def test_an_error_ends_the_sweep_with_its_place_and_every_worker():
    error = UserError("the disk is full", where="/cache", remedy="free some space")
    failing, other = Node([State(ended=True, error=error)], name="node a"), Node([State()], name="node b")
    with pytest.raises(UserError, match="node a, /cache: the disk is full — free some space"):
        run(other, failing)
    assert other.workers[0].killed


def test_an_interrupt_ends_every_worker(monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(extraction, "time", SimpleNamespace(sleep=interrupt))
    node = Node([State()], [State()], slots=2)
    with pytest.raises(KeyboardInterrupt):
        run(node)
    assert [worker.killed for worker in node.workers] == [True, True]


def test_a_node_that_leaves_is_no_error():
    """Trials run on the others, or wait for one that computes what it lacks."""
    run(Node([State(images=5), DEAD], there=False, name="node a"), Node([State(), DONE]))


def test_a_node_that_is_busy_with_other_work_is_not_waited_for(monkeypatch, caplog):
    """None of its workers gets a CPU; once one has started, the node is waited for."""
    caplog.set_level(logging.INFO, "hwcls")
    now = itertools.count(step=30.0)
    monkeypatch.setattr(extraction, "time", SimpleNamespace(sleep=lambda seconds: None, monotonic=lambda: next(now)))
    busy, slow = Node([State()], name="node a"), Node([State(images=0)] + [State()] * 50 + [DONE], name="node b")
    run(busy, slow, Node([DONE]))
    assert busy.workers[0].killed
    assert slow.workers[0].states == [DONE]
    assert [record.getMessage() for record in caplog.records] == [
        "features: no worker could start on node a; trials there compute what they need"
    ]


def test_each_node_gets_as_many_workers_as_ranks_of_trials_that_fit(monkeypatch):
    nodes = [
        {"NodeID": "a", "NodeManagerAddress": "1", "Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}},
        {"NodeID": "b", "NodeManagerAddress": "2", "Alive": True, "Resources": {"CPU": 8.0}},
        {"NodeID": "c", "NodeManagerAddress": "3", "Alive": False, "Resources": {"CPU": 8.0, "GPU": 8.0}},
        {"NodeID": "d", "NodeManagerAddress": "4", "Alive": True, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    monkeypatch.setattr(extraction.ray, "nodes", lambda: nodes)
    found = list_places(Resources(2, 2, 1.0, 3), (), cluster=True)
    assert [(place.name, place.slots) for place in found] == [("node 1", 2), ("node 4", 6)]
    assert [place.is_there() for place in found] == [True, True]
    nodes[0]["Alive"] = False
    assert [place.is_there() for place in found] == [False, True]
    assert [place.name for place in list_places(Resources(1, 1, 0.0, 1), (), cluster=False)] == ["", ""]


def test_progress_is_logged_now_and_then(monkeypatch, caplog):
    caplog.set_level(logging.INFO, "hwcls")
    clock = itertools.count(step=5.0)
    now = [next(clock)]
    monkeypatch.setattr(extraction, "time", SimpleNamespace(sleep=lambda seconds: now.__setitem__(0, next(clock))))
    monkeypatch.setattr("hwcls.sweep.monitor.extraction.time", SimpleNamespace(monotonic=lambda: now[0]))
    run(Node([State(images=count) for count in (None, 0, 10, 20, 30, 40, 50)] + [DONE]))
    assert [record.getMessage() for record in caplog.records] == [
        "features: 0 of 100 images",
        "features: 20 of 100 images, 2 images/s, 40 s left",
        "features: 40 of 100 images, 2 images/s, 30 s left",
    ]


def test_what_a_node_had_before_is_no_progress(monkeypatch, caplog):
    """The second node answers late, and has nearly everything from an earlier start."""
    caplog.set_level(logging.INFO, "hwcls")
    now = [0.0]
    monkeypatch.setattr(
        extraction, "time", SimpleNamespace(sleep=lambda seconds: now.__setitem__(0, now[0] + 5.0), monotonic=None)
    )
    monkeypatch.setattr("hwcls.sweep.monitor.extraction.time", SimpleNamespace(monotonic=lambda: now[0]))
    first = Node([State(images=count) for count in (0, 10, 20, 30, 40)] + [DONE])
    run(first, Node([State(images=count) for count in (None, None, None, 90)] + [DONE]))
    assert [record.getMessage() for record in caplog.records] == [
        "features: 10 of 200 images",
        "features: 120 of 200 images, 2 images/s, 40 s left",
    ]
