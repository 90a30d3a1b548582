"""`hwcls submit`: a sweep on a cluster, started from outside."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from hwcls.cli.console import app, echo
from hwcls.cli.options import Budget, New, Preset, Sets, SweepFile, Wandb, check_wandb


@app.command()
def submit(
    file: SweepFile,
    preset: Preset = None,
    sets: Sets = None,
    results: Annotated[
        str, typer.Option(help="A folder on the head, or s3://bucket/prefix, which survives the loss of the head.")
    ] = "~/results",
    new: New = False,
    wandb: Wandb = "auto",
    address: Annotated[
        str | None, typer.Option(help="The head's dashboard; by default http://127.0.0.1:8265.", show_default=False)
    ] = None,
    budget: Budget = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Whether to show the job's output.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print only the job, as JSON.")] = False,
) -> None:
    """Submit a sweep to a cluster: it runs there, also when this machine is off.

    Example: hwcls submit sweeps/tinyimagenet.yaml --results s3://my-bucket/results
    """
    from hwcls.config.sweep_file import load_sweep
    from hwcls.sweep.cluster import jobs

    check_wandb(wandb)
    jobs.check_results(results)
    checked = load_sweep(file, preset, sets or (), budget)
    options = ["--results", results, "--wandb", wandb, *(["--new"] if new else [])]
    options += ["--preset", preset] if preset else []
    options += ["--for", budget] if budget else []
    options += [word for entry in sets or () for word in ("--set", entry)]
    job = jobs.submit_sweep(checked, file, options, address)
    if not as_json:
        echo(f"submitted as {job.id}; `ray job stop {job.id} --address {job.address}` ends it")
    if follow:
        try:
            job = jobs.stream_output(job, (lambda text: None) if as_json else (lambda text: echo(text, nl=False)))
        except KeyboardInterrupt:
            echo(
                f"\nThe job keeps running; `ray job logs -f {job.id} --address {job.address}` shows its output",
                err=True,
            )
            raise typer.Exit(130) from None
    if as_json:
        echo(json.dumps(vars(job), indent=2))
    if job.status in ("FAILED", "STOPPED"):
        raise typer.Exit(job.exit_code or 1)
