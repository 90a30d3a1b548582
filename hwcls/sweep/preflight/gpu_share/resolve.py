"""What `gpus_per_worker: auto` is for a sweep: by rule, as at its first start, or by a measurement."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hwcls.config.sweep import AUTO, ResourcesConfig
from hwcls.errors import UserError
from hwcls.sweep.cluster.resources import Machine
from hwcls.sweep.preflight.gpu_share.choose import Measurement, Share, choose_share, host_limits
from hwcls.sweep.storage.environment import read_gpu_share

Measure = Callable[[], Measurement]


def resolve_share(config: ResourcesConfig, machine: Machine, folder: Path, measure: Measure) -> Share | None:
    """The share of a GPU that each worker gets; None where the sweep file does not say `auto`.

    Args:
        config: The resources that are asked for.
        machine: Where the trials run.
        folder: The results folder, whose record of an earlier start decides; it need not exist.
        measure: Measures the heaviest trials; where it raises UserError, each worker gets a whole GPU.
    """
    if config.gpus_per_worker != AUTO:
        return None
    if not machine.gpus:
        return Share(0.0, "there is no GPU")
    if config.workers > 1:
        return Share(1.0, f"each of the {config.workers} workers of a trial needs a GPU of its own")
    if recorded := read_gpu_share(folder):
        return Share(recorded, "as at the first start of this sweep")
    try:
        return choose_share(measure(), host_limits(config, machine))
    except UserError as error:
        why = f"a trial has a GPU of its own, as its use could not be measured ({error.what})"
        return Share(1.0, why, is_measured=True)


def with_share(config: ResourcesConfig, share: Share | None) -> ResourcesConfig:
    """The resources with a share that was chosen."""
    return config.model_copy(update={"gpus_per_worker": share.gpus_per_worker}) if share else config
