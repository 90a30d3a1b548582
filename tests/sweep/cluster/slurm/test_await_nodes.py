"""The wait for the nodes of a job."""

import os
import subprocess

import pytest

from hwcls.errors import UserError
from hwcls.sweep.cluster.slurm import await_nodes
from hwcls.sweep.cluster.slurm.await_nodes import await_nodes as wait


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(await_nodes, "POLL", 0.0)


def test_it_ends_when_all_have_joined():
    counts = iter([1, 1, 3, 4])
    wait(lambda: next(counts), 4, 60, [os.getpid()])
    assert next(counts, None) is None


def test_a_node_that_does_not_come():
    with pytest.raises(UserError, match=r"^1 of 2 nodes joined Ray within 0 s — do the nodes reach each other"):
        wait(lambda: 1, 2, 0, [])


def test_a_node_whose_ray_has_ended_is_not_waited_for():
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(UserError, match=r"^1 of 2 nodes joined Ray, and it has ended on one — its reason is above"):
        wait(lambda: 1, 2, 3600, [os.getpid(), ended.pid])
