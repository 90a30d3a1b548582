"""Hand a job's script to Slurm."""

from __future__ import annotations

import subprocess

from hwcls.errors import UserError

SBATCH_TIMEOUT = 120.0  # seconds; a busy controller takes a while
PREFIXES = ("sbatch: ", "error: ", "fatal: ")


def submit_script(script: str) -> str:
    """Submit a script with sbatch; returns the id of the job.

    Raises:
        UserError: There is no Slurm here, or it refuses the job.
    """
    try:
        done = subprocess.run(
            ["sbatch", "--parsable"], input=script, capture_output=True, text=True, timeout=SBATCH_TIMEOUT, check=False
        )
    except FileNotFoundError:
        remedy = "run it on a login node of the cluster, or leave --submit out to print the script"
        raise UserError("there is no Slurm here: sbatch was not found", where="--submit", remedy=remedy) from None
    except OSError as error:
        raise UserError(f"sbatch cannot be run ({error.strerror})", where="--submit") from None
    except subprocess.TimeoutExpired:
        what = f"sbatch did not end within {SBATCH_TIMEOUT:.0f} s"
        raise UserError(what, where="--submit", remedy="look with `squeue --me` whether the job is there") from None
    if done.returncode:
        raise UserError(f"Slurm refuses the job: {_reason(done.stderr)}", where="sbatch")
    return done.stdout.strip().partition(";")[0]  # the name of the cluster may follow


def _reason(output: str) -> str:
    """What sbatch printed as its errors: the last line says which kind of error, the one before it often where."""
    lines = [line.strip() for line in output.splitlines() if line.strip()][-2:]
    for prefix in PREFIXES:
        lines = [line.removeprefix(prefix) for line in lines]
    return "; ".join(lines) or "sbatch gave no reason"
