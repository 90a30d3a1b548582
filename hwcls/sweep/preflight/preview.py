"""What the start of a sweep would refuse, found out without starting it."""

from __future__ import annotations

from dataclasses import replace

from hwcls.config.sweep_file import Sweep
from hwcls.data.progress import ProgressReporter
from hwcls.format import format_count
from hwcls.sweep.cluster.resources import choose_resources, require_usable_gpus, this_machine
from hwcls.sweep.preflight.disk_usage import check_results_disk, estimate_disk_usage
from hwcls.sweep.preflight.dry_run import check_data_names, missing_data
from hwcls.sweep.preflight.prepare import Prepared, check_content, with_features
from hwcls.sweep.preflight.validate import Options, check_sweep
from hwcls.temporary import temporary_folder
from hwcls.tracking.folders import SweepFolder


def check_start(sweep: Sweep, options: Options, progress: ProgressReporter) -> tuple[Sweep, Prepared | None]:
    """Check a sweep as its start does, in the same order; data is decoded, nothing else is written.

    Returns:
        The sweep under the name that it would run by, and what is known of it; None where data is still to be fetched.

    Raises:
        UserError: What the start would refuse.
    """
    sweep = check_sweep(sweep, options)
    path = options.results / sweep.config.name
    resources = None
    if options.address is None:  # the nodes of a cluster are known when it is joined
        require_usable_gpus(sweep.config.resources)
        resources = choose_resources(sweep.config.resources, this_machine(), sweep.source.where(("resources",)))
    if missing_data(check_data_names(sweep.corners, sweep.source)):
        return sweep, None
    with temporary_folder() as folder:
        prepared = check_content(sweep, path, folder, progress)
    prepared = with_features(prepared, sweep)
    prepared = replace(prepared, notes=[*prepared.notes, *_notes_on_finished(SweepFolder(path))])
    if resources is not None:
        usage = estimate_disk_usage(sweep, prepared.models, prepared.data_size, resources.concurrent)
        check_results_disk(usage, path)
    return sweep, prepared


def _notes_on_finished(folder: SweepFolder) -> list[str]:
    """A note for a sweep that will be resumed, since the plan and its estimate are those of all of its runs."""
    runs = {"trial": [*folder.trials().values()], "confirm run": [*folder.confirm_runs().values()]}
    found = {noun: sum(run.result() is not None for run in known) for noun, known in runs.items()}
    words = [format_count(count, noun) for noun, count in found.items() if count]
    if not words:
        return []
    return [
        f"{folder.path} has {' and '.join(words)} already; they are not run again, but the plan and the time count them"
    ]
