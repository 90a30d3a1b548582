"""What `auto` is: by rule where there is nothing to share, as at the first start, else by a measurement."""

import pytest

from hwcls.config.sweep import ResourcesConfig
from hwcls.config.sweep_file import load_sweep
from hwcls.errors import UserError
from hwcls.sweep.cluster.resources import Machine
from hwcls.sweep.preflight.gpu_share.choose import GpuUse, Measurement
from hwcls.sweep.preflight.gpu_share.resolve import resolve_share, with_share
from hwcls.sweep.storage.environment import read_gpu_share, write_environment, write_gpu_share

LAPTOP, SERVER = Machine(((2.0, 0.0),)), Machine(((64.0, 4.0),))
AUTO = ResourcesConfig(gpus_per_worker="auto")


def measured():
    return Measurement("H200", 80 * 10**9, False, (GpuUse("cnn", 10**9, 0.3, 0.2),))


def refused():
    raise UserError("a model cannot be built", remedy="build another one")


def never():
    raise AssertionError("nothing is to be measured")


@pytest.mark.parametrize(
    ("config", "machine", "measure", "share", "reason"),
    [
        (AUTO, SERVER, measured, 0.3333, "3 trials share a GPU"),
        (AUTO, LAPTOP, never, 0.0, "there is no GPU"),
        (
            ResourcesConfig(gpus_per_worker="auto", workers=2),
            SERVER,
            never,
            1.0,
            "each of the 2 workers of a trial needs a GPU of its own",
        ),
        (AUTO, SERVER, refused, 1.0, "could not be measured (a model cannot be built)"),
    ],
)
def test_auto_is_resolved_with_a_reason(tmp_path, config, machine, measure, share, reason):
    found = resolve_share(config, machine, tmp_path / "none", measure)
    assert found.gpus_per_worker == share
    assert reason in found.reason
    assert found.is_measured == (measure is not never)
    assert with_share(config, found).gpus_per_worker == share
    assert with_share(config, found).workers == config.workers


@pytest.mark.parametrize("asked", [None, 0.0, 0.5, 1.0])
def test_what_the_file_says_stays(tmp_path, asked):
    config = ResourcesConfig(gpus_per_worker=asked)
    assert resolve_share(config, SERVER, tmp_path, never) is None
    assert with_share(config, None) is config


def test_a_later_start_keeps_the_share_of_the_first(tmp_path):
    write_environment(tmp_path, {})
    write_gpu_share(tmp_path, 0.25, "4 trials share a GPU")
    write_environment(tmp_path, {})  # of the next start
    assert read_gpu_share(tmp_path) == 0.25
    found = resolve_share(AUTO, SERVER, tmp_path, never)
    assert (found.gpus_per_worker, found.is_measured) == (0.25, False)
    assert "as at the first start" in found.reason
    assert resolve_share(AUTO, LAPTOP, tmp_path, never).gpus_per_worker == 0.0  # it resumes without a GPU, too


@pytest.mark.parametrize("recorded", ["[]", "{}", '{"gpus_per_worker": 7}', '{"gpus_per_worker": "much"}', "null"])
def test_a_damaged_record_is_measured_again(tmp_path, recorded):
    (tmp_path / "environment.json").write_text(f'{{"gpu_share": {recorded}}}')
    assert resolve_share(AUTO, SERVER, tmp_path, measured).is_measured


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("auot", "resources.gpus_per_worker: 'auot' is not a valid value here — did you mean 'auto'?"),
        ("full", "'full' is not a valid value here — known: auto, a number from 0 to 1"),
        ("0.5", "resources.gpus_per_worker: '0.5' is not a number — write 0.5, without quotes"),
        (True, "resources.gpus_per_worker: true is not a number"),
        (-1, "resources.gpus_per_worker: -1: input should be greater than or equal to 0"),
    ],
)
def test_a_share_is_a_number_or_auto(sweep_file, value, words):
    with pytest.raises(UserError) as raised:
        load_sweep(sweep_file(resources={"gpus_per_worker": value}))
    assert words in str(raised.value)
