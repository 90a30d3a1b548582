"""`hwcls submit` and `hwcls slurm`: a sweep on a cluster, started from outside."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwcls.cli.console import app, echo, print_to_stderr
from hwcls.cli.job_keys import check_file, check_notification, check_options
from hwcls.cli.options import Budget, New, Preset, Sets, SweepFile, TrustCode, Wandb, check_wandb

if TYPE_CHECKING:
    from hwcls.config.sweep_file import Sweep
    from hwcls.sweep.cluster.slurm.script import Job


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
    """Submit a sweep to a cluster. It runs there, also when this machine is off.

    Example: hwcls submit sweeps/tinyimagenet.yaml --results s3://my-bucket/results
    """
    from hwcls.config.sweep_file import load_sweep
    from hwcls.sweep.cluster import jobs

    check_wandb(wandb)
    check_options(results, sets or ())
    jobs.check_results(results)
    checked = load_sweep(file, preset, sets or (), budget)
    check_file(file)
    check_notification(checked, sets or ())
    options = [*_sweep_words(results, wandb, preset, budget, sets), *(["--new"] if new else [])]
    job = jobs.submit_sweep(checked, file, options, address)
    if not as_json:
        echo(f"submitted as {job.id}; `{job.stop_command()}` ends it")
    if follow:
        try:
            job = jobs.stream_output(job, (lambda text: None) if as_json else (lambda text: echo(text, nl=False)))
        except KeyboardInterrupt:
            echo(f"\nThe job keeps running; `{job.logs_command()}` shows its output", err=True)
            raise typer.Exit(130) from None
    if as_json:
        echo(json.dumps(job.to_dict(), indent=2))
    if job.status in ("FAILED", "STOPPED"):
        raise typer.Exit(job.exit_code or 1)


Nodes = Annotated[int, typer.Option(min=1, max=1000, help="How many nodes.")]
Gpus = Annotated[str, typer.Option(help="GPUs of each node: 4, or a100:4.")]
Time = Annotated[str, typer.Option(help="The time limit of each start: 8h, 30m, 90 (minutes), 1-12:00:00.")]
Cpus = Annotated[
    int | None, typer.Option(min=1, max=1024, help="CPUs of each node; by default 4 for each GPU.", show_default=False)
]
Memory = Annotated[str, typer.Option("--mem", help="Memory of each node: 64G, or 0 for all of it.", show_default=False)]
Partition = Annotated[str, typer.Option(help="The partition.", show_default=False)]
Account = Annotated[str, typer.Option(help="The account to charge.", show_default=False)]
JobName = Annotated[str, typer.Option(help="The job's name; by default the sweep's.", show_default=False)]
Extra = Annotated[
    list[str] | None,
    typer.Option("--sbatch", help="A further option of sbatch: '--constraint=a100'. Repeatable.", show_default=False),
]
Setup = Annotated[str, typer.Option(help="Shell that the job runs first: 'module load cuda'.", show_default=False)]
Python = Annotated[str, typer.Option(help="Python on the nodes; by default this one.", show_default=False)]
Requeues = Annotated[int, typer.Option(min=0, max=1000, help="How often the job may start again at its time limit.")]
SharedFolder = Annotated[str, typer.Option(help="A folder that all nodes share, or s3://bucket/prefix.")]
Submit = Annotated[bool, typer.Option("--submit", help="Submit the script instead of printing it.")]


@app.command()
def slurm(
    file: SweepFile,
    nodes: Nodes = 1,
    gpus: Gpus = "0",
    time: Time = "8h",
    cpus: Cpus = None,
    memory: Memory = "",
    partition: Partition = "",
    account: Account = "",
    job_name: JobName = "",
    extra: Extra = None,
    setup: Setup = "",
    python: Python = "",
    requeues: Requeues = 10,
    preset: Preset = None,
    sets: Sets = None,
    results: SharedFolder = "results",
    wandb: Wandb = "auto",
    budget: Budget = None,
    submit: Submit = False,
    trust_code: TrustCode = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the script and the job as JSON.")] = False,
) -> None:
    """Print or submit a Slurm script that runs a sweep. It runs on all nodes of the job, and a requeued job resumes it.

    Example: hwcls slurm sweeps/tinyimagenet.yaml --nodes 4 --gpus 4 --time 8h --submit
    """
    from hwcls.sweep.cluster.slurm.allocation import Allocation, check_fits, choose_cpus, parse_gpus
    from hwcls.sweep.cluster.slurm.script import Job, build_script
    from hwcls.sweep.cluster.slurm.time_limit import parse_time_limit

    check_options(results, sets or ())
    kind, count = parse_gpus(gpus)
    minutes = parse_time_limit(time)
    sweep = _check_for_slurm(file, preset, sets, budget, results, wandb)
    check_notification(sweep, sets or ())
    places = (memory, partition, account, tuple(extra or ()))
    allocation = Allocation(nodes, count, kind, cpus or choose_cpus(sweep, count), minutes, *places)
    for note in check_fits(sweep, allocation):
        print_to_stderr(f"note: {note}")
    words = ["sweep", str(file), *_sweep_words(results, wandb, preset, budget, sets), *["--trust-code"] * trust_code]
    name = job_name or sweep.config.name
    job = Job(name, Path.cwd(), words, python or sys.executable, setup, requeues)
    script = build_script(allocation, job)
    if submit or as_json:
        _submit_script(job, script, submit, as_json)
    else:
        echo(script, nl=False)


def _check_for_slurm(
    file: Path, preset: str | None, sets: list[str] | None, budget: str | None, results: str, wandb: str
) -> Sweep:
    """The checked sweep, as `hwcls sweep` checks it before it starts."""
    from hwcls.config.sweep_file import load_sweep
    from hwcls.sweep.preflight.validate import Options, check_sweep
    from hwcls.sweep.storage.mirror import locate_results

    check_wandb(wandb)
    options = Options(locate_results(results)[0], wandb=wandb)  # of shared storage the copy here, if any
    return check_sweep(load_sweep(file, preset, sets or (), budget), options)


def _submit_script(job: Job, script: str, submit: bool, as_json: bool) -> None:
    from hwcls.sweep.cluster.slurm.submit import submit_script

    number = submit_script(script) if submit else None
    output = str(job.output(number)) if number else None
    if as_json:
        echo(json.dumps({"script": script, "job": number, "output": output}, indent=2))
    elif output:
        echo(f"submitted as job {number}; `scancel {number}` ends it, `squeue -j {number}` shows where it is")
        echo(f"its output, once it runs: tail -F {shlex.quote(output)}")


def _sweep_words(results: str, wandb: str, preset: str | None, budget: str | None, sets: list[str] | None) -> list[str]:
    """The options of `hwcls sweep` that both commands pass on."""
    words = ["--results", results, "--wandb", wandb]
    words += ["--preset", preset] if preset else []
    words += ["--for", budget] if budget else []
    return words + [word for entry in sets or () for word in ("--set", entry)]
