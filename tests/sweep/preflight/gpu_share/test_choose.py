"""How many trials share a GPU: a table of what was measured and what follows."""

import pytest

from hwcls.config.sweep import ResourcesConfig
from hwcls.sweep.cluster.resources import Machine, choose_resources
from hwcls.sweep.preflight.gpu_share.choose import (
    MOST,
    GpuUse,
    Limit,
    Measurement,
    Share,
    choose_share,
    host_limits,
    share_of,
)

GB = 10**9
CPUS = [Limit(16, "CPUs")]


def measured(*uses, memory=80, mps=False):
    """Trials of so many GB each, with their busy and occupied shares."""
    found = [GpuUse(label, int(size * GB), busy, occupied) for label, size, busy, occupied in uses]
    return Measurement("H200", memory * GB, mps, tuple(found))


@pytest.mark.parametrize(
    ("uses", "others", "trials"),
    [
        ([("cnn", 2, 0.25, 0.1)], CPUS, 4),
        ([("cnn", 2, 0.01, 0.01)], CPUS, MOST),
        ([("cnn", 2, 1.0, 0.1)], CPUS, 1),
        ([("cnn", 2, 0.7, 0.1)], CPUS, 1),  # two would gain less than half
        ([("cnn", 2, 0.6, 0.1)], CPUS, 2),
        ([("cnn", 0, 0.0, 0.0)], CPUS, MOST),
        ([("cnn", 16, 0.1, 0.1)], CPUS, 4),  # a fifth of the memory is left free
        ([("cnn", 16.1, 0.1, 0.1)], CPUS, 3),
        ([("cnn", 70, 0.1, 0.1)], CPUS, 1),  # it trains alone already
        ([("cnn", 2, 0.1, 0.1)], [Limit(3, "CPUs")], 3),
        ([("cnn", 2, 0.1, 0.1)], [Limit(0, "CPUs")], 1),
        ([("cnn", 2, 0.1, 0.1)], [*CPUS, Limit(2, "concurrent: 2")], 2),
        ([("mlp", 1, 0.1, 0.1), ("resnet", 2, 0.5, 0.5)], CPUS, 2),  # any of them may run beside any other
        ([("alexnet", 30, 0.1, 0.1), ("resnet", 2, 0.3, 0.3)], CPUS, 2),
    ],
)
def test_the_smallest_limit_decides(uses, others, trials):
    found = choose_share(measured(*uses), others)
    assert found.gpus_per_worker == share_of(trials)
    assert found.is_measured


def test_mps_counts_the_multiprocessors_that_kernels_fill():
    """Without it kernels of several processes take turns, however small they are."""
    use = ("cnn", 2, 0.9, 0.2)
    assert choose_share(measured(use), CPUS).gpus_per_worker == 1.0
    assert choose_share(measured(use, mps=True), CPUS).gpus_per_worker == 0.2


def test_the_reasons_are_one_line():
    uses = ("mlp", 2.5, 0.1, 0.05), ("cnn", 2, 0.24, 0.1)
    assert str(choose_share(measured(*uses), CPUS)) == (
        "gpus_per_worker: auto is 0.25: 4 trials share a GPU by time slices (see docs/how-to/share_a_gpu.md): "
        "4 by time (cnn 24 %), 25 by memory (mlp 2.5 GB of 80 GB), 16 by CPUs, 8 at most; measured on H200"
    )
    assert "8 trials share a GPU by MPS: 10 by computing (cnn fills 10 %)" in str(
        choose_share(measured(*uses, mps=True), CPUS)
    )
    assert str(choose_share(measured(("cnn", 70, 0.1, 0.1)), CPUS)).startswith(
        "gpus_per_worker: auto is 1: a trial has a GPU of its own: 10 by time (cnn 10 %), 0 by memory"
    )
    assert str(Share(0.0, "there is no GPU")) == "gpus_per_worker: auto is 0: there is no GPU"


@pytest.mark.parametrize(
    ("config", "nodes", "expected"),
    [
        ({}, ((16.0, 1.0),), [16]),
        ({}, ((64.0, 8.0), (6.0, 2.0), (99.0, 0.0)), [3]),  # the node with the fewest CPUs beside each GPU
        ({"cpus_per_worker": 3}, ((16.0, 1.0),), [5]),
        ({"concurrent": 3}, ((16.0, 2.0),), [8, 2]),
        ({"concurrent": 3}, ((16.0, 1.0),), [16, 3]),
        ({}, ((2.0, 4.0),), [0]),
    ],
)
def test_cpus_and_the_trials_asked_for_limit_it(config, nodes, expected):
    limits = host_limits(ResourcesConfig(gpus_per_worker="auto", **config), Machine(nodes))
    assert [limit.trials for limit in limits] == expected


@pytest.mark.parametrize("trials", range(1, MOST + 1))
def test_so_many_trials_are_placed_on_a_gpu_and_no_more(trials):
    """Ray counts in ten-thousandths: shares are rounded down, so that they never exceed the GPU."""
    share = share_of(trials)
    assert trials * share <= 1
    chosen = choose_resources(ResourcesConfig(gpus_per_worker=share), Machine(((64.0, 2.0),)), "")
    assert chosen.concurrent == 2 * trials
