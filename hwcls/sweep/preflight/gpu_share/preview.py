"""What `gpus_per_worker: auto` would be on this machine, for a dry run."""

from __future__ import annotations

from hwcls.config.sweep_file import Sweep
from hwcls.sweep.cluster.resources import Machine
from hwcls.sweep.preflight.gpu_share.choose import Measurement, Share
from hwcls.sweep.preflight.gpu_share.measure import measure_in_process
from hwcls.sweep.preflight.gpu_share.resolve import resolve_share
from hwcls.sweep.preflight.prepare import list_heaviest
from hwcls.sweep.preflight.validate import Options


def preview_share(sweep: Sweep, options: Options, machine: Machine) -> Share | None:
    """What the start would choose for `gpus_per_worker: auto`; nothing is recorded."""

    def measure() -> Measurement:
        return measure_in_process(list_heaviest(sweep, {}))

    return resolve_share(sweep.config.resources, machine, options.results / sweep.config.name, measure)
