import pytest

from hwcls.config.sweep import ResourcesConfig
from hwcls.errors import UserError
from hwcls.sweep.resources import Machine, Resources, choose

LAPTOP = Machine(((2.0, 0.0),))
SERVER = Machine(((64.0, 8.0),))
CLUSTER = Machine(((2.0, 0.0), (16.0, 4.0), (16.0, 4.0)))


@pytest.mark.parametrize(
    ("config", "machine", "expected"),
    [
        ({}, LAPTOP, Resources(1, 1, 0.0, 2)),
        ({"workers": 2}, LAPTOP, Resources(2, 1, 0.0, 1)),
        ({"cpus_per_worker": 2}, LAPTOP, Resources(1, 2, 0.0, 1)),
        ({"concurrent": 1}, LAPTOP, Resources(1, 1, 0.0, 1)),
        ({"concurrent": 9}, LAPTOP, Resources(1, 1, 0.0, 2)),
        ({}, SERVER, Resources(1, 8, 1.0, 8)),
        ({"workers": 4}, SERVER, Resources(4, 8, 1.0, 2)),
        ({"gpus_per_worker": 0.5}, SERVER, Resources(1, 4, 0.5, 16)),
        ({"gpus_per_worker": 0}, SERVER, Resources(1, 1, 0.0, 64)),
        ({}, CLUSTER, Resources(1, 4, 1.0, 8)),
        ({"workers": 8}, CLUSTER, Resources(8, 4, 1.0, 1)),
    ],
)
def test_what_is_left_out_is_chosen_from_the_machine(config, machine, expected):
    assert choose(ResourcesConfig(**config), machine, "") == expected


@pytest.mark.parametrize(
    ("config", "machine", "message"),
    [
        ({"workers": 3}, LAPTOP, "a trial needs 3 x 1 CPU, but there are 2 CPUs and 0 GPUs"),
        ({"gpus_per_worker": 1.0}, LAPTOP, "and 1 GPU"),
        ({"cpus_per_worker": 65}, SERVER, "65 CPU"),
        ({"workers": 9}, SERVER, "9 x"),
    ],
)
def test_the_impossible_is_refused_with_what_there_is(config, machine, message):
    if config == {"workers": 9}:
        config = {"workers": 9, "gpus_per_worker": 1.0}
    with pytest.raises(UserError) as raised:
        choose(ResourcesConfig(**config), machine, "s.yaml:3: resources")
    assert message in str(raised.value)
    assert str(raised.value).startswith("s.yaml:3: resources")
