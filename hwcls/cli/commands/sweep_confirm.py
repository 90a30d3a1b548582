"""`hwcls sweep` and `hwcls confirm`: run a sweep or resume it, and retrain its winners on more seeds."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from hwcls.cli.completion.folders import sweeps
from hwcls.cli.console import app, echo, echo_wrapped, print_to_stderr, table_console
from hwcls.cli.interrupt import acknowledged
from hwcls.cli.options import Budget, Cluster, New, Preset, ResultOnly, Sets, SweepFile, TrustCode, Wandb, check_wandb
from hwcls.report.terminal.console import terminal_console

if TYPE_CHECKING:
    from hwcls.config.sweep_file import Sweep
    from hwcls.sweep.driver import Outcome
    from hwcls.sweep.preflight.validate import Options


@app.command()
def sweep(
    file: SweepFile,
    preset: Preset = None,
    sets: Sets = None,
    results: Annotated[
        str, typer.Option(help="The folder for the folders of all sweeps, or s3://bucket/prefix.")
    ] = "results",
    new: New = False,
    wandb: Wandb = "auto",
    address: Cluster = None,
    budget: Budget = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Results of another sweep to warm-start from.",
            show_default=False,
            autocompletion=sweeps,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run, without starting it.")] = False,
    probe: Annotated[bool, typer.Option("--probe/--no-probe", help="Whether a dry run times a few steps.")] = True,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the pages of all sweeps in the results meanwhile; see hwcls serve.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result.")] = False,
    trust_code: TrustCode = False,
    as_json: ResultOnly = False,
) -> None:
    """Run a sweep, or resume it. The same command again never loses or repeats a finished trial.

    Example: hwcls sweep sweeps/quickstart.yaml
    """
    from hwcls.config.sweep_file import load_sweep

    check_wandb(wandb)
    checked = load_sweep(file, preset, sets or (), budget)
    from hwcls.sweep.preflight.validate import Options
    from hwcls.sweep.storage.mirror import locate_results

    local, shared = locate_results(results)
    options = Options(local, new, wandb, address, source, shared)
    if dry_run:
        _print_dry_run(checked, options, probe, as_json)
        return
    with _served(options.results) if serve else nullcontext():
        _run(checked, options, quiet, as_json)


@app.command()
def confirm(
    folder: Annotated[
        str,
        typer.Argument(
            help="A sweep's results folder, or s3://bucket/prefix/name.", show_default=False, autocompletion=sweeps
        ),
    ],
    add_seeds: Annotated[
        int, typer.Option("--add-seeds", min=0, max=900, help="How many seeds to add to those that ran.")
    ] = 0,
    wandb: Wandb = "auto",
    address: Cluster = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the result.")] = False,
    trust_code: TrustCode = False,
    as_json: ResultOnly = False,
) -> None:
    """Train a sweep's winners on more seeds, compared on test. Without --add-seeds it trains the runs that are missing.

    Example: hwcls confirm results/quickstart --add-seeds 5
    """
    from hwcls.sweep.run import confirm_plan
    from hwcls.sweep.storage.mirror import locate_results
    from hwcls.sweep.storage.object_store import is_url, split_url

    check_wandb(wandb)
    from hwcls.sweep.preflight.validate import Options

    if is_url(folder):
        parent, name = split_url(folder)
    else:
        path = Path(folder) if Path(folder).name not in ("", "..") else Path(folder).resolve()
        parent, name = str(path.parent), path.name
    local, shared = locate_results(parent)
    if shared and name in shared.sweep_names():
        shared.mirror(name).download()
    checked = confirm_plan.add_seeds(local / name, add_seeds, folder)
    if add_seeds and confirm_plan.waits_for_missing(local / name):
        print_to_stderr("note: confirm runs are missing and are trained first; then the same command adds the seeds")
    _run(checked, Options(results=local, wandb=wandb, address=address, shared=shared), quiet, as_json)


@contextmanager
def _served(results: Path) -> Iterator[None]:
    """Serve the sweeps of a folder while the block runs, and print the address."""
    from hwcls.report.serve.process import served

    with served(results) as address:
        print_to_stderr(f"serving {results} on {address}")
        yield


def _run(checked: Sweep, options: Options, quiet: bool, as_json: bool) -> None:
    from hwcls.sweep.preflight import validate

    checked, options = validate.check_sweep(checked, options), replace(options, new=False)
    from hwcls.sweep import driver
    from hwcls.sweep.monitor.display import ProgressDisplay
    from hwcls.sweep.monitor.logs import log_to_console

    on_terminal = sys.stdout.isatty() and sys.stderr.isatty()  # then the result alone goes to standard output
    live = None if (sys.stderr if as_json or on_terminal else sys.stdout).isatty() else False
    # FORCE_COLOR, which notebooks set, asks for colours: a table that moves the cursor needs a terminal
    console = terminal_console(stderr=as_json or on_terminal, quiet=quiet or as_json, force_terminal=live)
    try:
        ending = acknowledged(lambda: console.print("ending …"))
        with ending, log_to_console(console), ProgressDisplay(console, checked.config.metric) as display:
            outcome = driver.run(checked, options, display.progress)
    except KeyboardInterrupt:  # before the first trial; later ones are part of the outcome
        _exit_interrupted(checked.config.name, as_json)
    _print_outcome(outcome, options, as_json)
    if outcome.interrupted:
        _exit_interrupted(outcome.folder.name, as_json)
    if outcome.failed:
        raise typer.Exit(1)


def _print_dry_run(checked: Sweep, options: Options, probe: bool, as_json: bool) -> None:
    from hwcls.training.threads import configure_threads

    configure_threads(1)
    from hwcls.sweep.preflight.dry_run import plan_sweep, print_estimate, print_plan
    from hwcls.sweep.preflight.preview import check_start

    checked, prepared = check_start(checked, options, print_to_stderr)
    known = (None, []) if prepared is None else (prepared.notes, prepared.described)
    found = plan_sweep(checked, *known)
    if not as_json:
        print_plan(found, echo)
    estimate = _estimate(checked, options) if probe and not found["missing_data"] else None
    if as_json:
        echo(json.dumps({**found, "estimate": estimate}, indent=2, default=str))
    elif estimate is not None:
        print_estimate(estimate, echo, confirm=found["confirm"] is not None)


def _estimate(checked: Sweep, options: Options) -> dict[str, Any]:
    from hwcls.sweep.cluster.resources import choose_resources, resource_notes, this_machine
    from hwcls.sweep.preflight import disk_usage, prepare
    from hwcls.sweep.preflight.features.disk import CacheUsage, pixel_bytes
    from hwcls.sweep.preflight.gpu_share.preview import preview_share
    from hwcls.sweep.preflight.gpu_share.resolve import with_share
    from hwcls.sweep.preflight.simulate import estimate_duration

    machine = this_machine()
    share = preview_share(checked, options, machine)
    asked = with_share(checked.config.resources, share)
    resources = choose_resources(asked, machine, checked.source.where(("resources",)))
    found = estimate_duration(checked, resources)
    sets = prepare.open_data_sets(checked.corners, checked.source)
    disk = disk_usage.estimate_disk_usage(checked, *prepare.measure_sizes(checked, sets, {}), resources.concurrent)
    cached = CacheUsage.of(prepare.list_features(checked), pixel_bytes(sets.values()))
    chosen: dict[str, Any] = {"resources": str(resources), "notes": resource_notes(asked, resources, machine)}
    chosen |= {"gpu_share": share and {**vars(share), "text": str(share)}}
    sizes = {"disk": {**vars(disk), "total": disk.total, "text": str(disk)}}
    return {**vars(found), **chosen, **sizes, "cache": {**vars(cached), "text": str(cached)}}


def _print_outcome(outcome: Outcome, options: Options, as_json: bool) -> None:
    from hwcls.escape import hide_credentials
    from hwcls.format import format_bytes
    from hwcls.report.terminal.best_model import print_best
    from hwcls.report.terminal.leaderboard import print_leaderboard
    from hwcls.results.compare import build_summary
    from hwcls.results.load import load_results
    from hwcls.results.settings.range_hints import suggest_ranges
    from hwcls.sweep.preflight.disk_usage import folder_size
    from hwcls.tracking.log import read_problems
    from hwcls.tracking.wandb import read_project_urls, read_run_urls

    path = outcome.folder.path
    found = load_results(path)
    page = path / "report.html"
    url = hide_credentials(options.shared.mirror(path.name).url) if options.shared else None
    if as_json:
        status = "interrupted" if outcome.interrupted else "done"
        result = {"status": status, **build_summary(found), "failed": outcome.failed, "hints": suggest_ranges(found)}
        places = {"results": str(path), "bytes": folder_size(path), "report": str(page)}
        places |= {"wandb": read_run_urls(outcome.folder)}
        tracking = {"tracking": read_problems(outcome.folder)}
        places |= {"shared": url} if url else {}
        echo(json.dumps({**result, **places, **tracking}, indent=2, default=str))
        return
    if outcome.nothing_to_do:
        echo("This sweep is complete; nothing is left to do (--new runs it again in a new folder).")
    print_leaderboard(found, table_console())
    for hint in suggest_ranges(found):
        echo_wrapped(f"hint: {hint}", 6)
    for key in outcome.failed:
        echo(f"failed: {path / key / 'error.txt'}")
    copy = f", with a local copy in {path}" if url else ""
    echo(f"results: {format_bytes(folder_size(path))} in {url or path}{copy}")
    echo(f"report: {page}")
    for url in read_project_urls(outcome.folder):
        echo(f"W&B: {url}")
    for problem in read_problems(outcome.folder):
        echo_wrapped(f"note: {problem}", 6)
    print_best(found, table_console())


def _exit_interrupted(name: str, as_json: bool) -> NoReturn:
    from hwcls.escape import hide_credentials

    words = [word if word != "--new" else f"--set=name={name}" for word in sys.argv[1:]]
    again = hide_credentials(shlex.join(["hwcls", *words]))
    echo(f"Interrupted; everything finished is saved. Resume with:\n  {again}", err=as_json)
    raise typer.Exit(130)
