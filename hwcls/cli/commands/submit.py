"""`hwcls submit`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from hwcls.cli.console import app, command
from hwcls.cli.options import Budget, New, Preset, Sets, SweepFile, Wandb, check_wandb


@app.command()
@command
def submit(
    file: SweepFile,
    preset: Preset = None,
    sets: Sets = None,
    results: Annotated[
        str, typer.Option(help="A folder on the head, or s3://bucket/prefix, which a lost head leaves behind.")
    ] = "~/results",
    new: New = False,
    wandb: Wandb = "auto",
    address: Annotated[
        str | None, typer.Option(help="The head's dashboard; http://127.0.0.1:8265 if left out.", show_default=False)
    ] = None,
    budget: Budget = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Whether to show what it prints.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Only the job, as JSON.")] = False,
) -> None:
    """Hand a sweep to a cluster from outside: its driver runs on the head, also when this machine is off.

    Example: hwcls submit sweeps/tinyimagenet.yaml --results s3://my-bucket/results
    """
    from hwcls.config.sweep_file import load_sweep
    from hwcls.sweep.cluster import jobs as jobs

    check_wandb(wandb)
    jobs.check_results(results)
    checked = load_sweep(file, preset, sets or (), budget)
    options = ["--results", results, "--wandb", wandb, *(["--new"] if new else [])]
    options += ["--preset", preset] if preset else []
    options += ["--for", budget] if budget else []
    options += [word for entry in sets or () for word in ("--set", entry)]
    job = jobs.submit(checked, file, options, address)
    if not as_json:
        typer.echo(f"submitted as {job.id}; `ray job stop {job.id} --address {job.address}` ends it")
    if follow:
        try:
            job = jobs.follow(job, (lambda text: None) if as_json else (lambda text: typer.echo(text, nl=False)))
        except KeyboardInterrupt:
            typer.echo(
                f"\nIt goes on there; `ray job logs -f {job.id} --address {job.address}` shows it again", err=True
            )
            raise typer.Exit(130) from None
    if as_json:
        typer.echo(json.dumps(vars(job), indent=2))
    if job.status in ("FAILED", "STOPPED"):
        raise typer.Exit(job.exit_code or 1)
