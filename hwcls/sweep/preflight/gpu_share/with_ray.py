"""The same measurement as a task of Ray, on a GPU of this machine or of a node of a cluster."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import ray

from hwcls.errors import UserError
from hwcls.sweep.cluster.connect import alive_nodes, first_line
from hwcls.sweep.preflight.gpu_share.choose import Measurement
from hwcls.sweep.preflight.gpu_share.measure import TIMEOUT, try_measuring
from hwcls.sweep.preflight.timing import Labelled
from hwcls.sweep.storage.user_code import read_sources, write_sources

log = logging.getLogger(__name__)

KIND = "accelerator_type:"  # of the resources that Ray gives to a node with GPUs


def measure_with_ray(trials: Sequence[Labelled]) -> Measurement:
    """Measure trials on a GPU that Ray lends, in a process that ends with it.

    Raises:
        UserError: No node with a GPU runs, a model cannot be trained, or the process crashed or took too long.
    """
    if not any(gpus for _, gpus in alive_nodes()):
        raise UserError("no node with a GPU runs yet")
    if len(kinds := _kinds()) > 1:
        log.warning("this cluster has GPUs of several kinds (%s), and one of them is measured", ", ".join(kinds))
    sources = {path: content for _, trial in trials for path, content in read_sources(trial).items()}
    task = ray.remote(num_cpus=1, num_gpus=1, max_calls=1, max_retries=0)(_measure)
    found = task.remote(list(trials), sources)
    try:
        if not ray.wait([found], timeout=TIMEOUT)[0]:
            raise UserError(f"it took longer than {TIMEOUT:.0f} s")
        measured = ray.get(found)
    except ray.exceptions.RayError as error:
        raise UserError(first_line(error)) from None
    finally:
        ray.cancel(found, force=True)
    if isinstance(measured, UserError):
        raise measured
    assert isinstance(measured, Measurement)
    return measured


def _measure(trials: Sequence[Labelled], sources: Mapping[str, bytes]) -> Measurement | UserError:
    """Run on the node: an error is returned, as Ray would wrap it."""
    for _, trial in trials:
        write_sources(dict(sources), trial)
    return try_measuring(trials)


def _kinds() -> list[str]:
    """The kinds of GPUs of the live nodes, as far as Ray knows them."""
    names = {name for node in ray.nodes() if node["Alive"] for name in node["Resources"]}
    return sorted(name.removeprefix(KIND) for name in names if name.startswith(KIND))
