"""`hwcls slurm`: the script that it prints, what it refuses, and how it hands the script to Slurm."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hwcls.cli.main import app


@pytest.fixture
def call(sweep_file, tmp_path, monkeypatch):
    """Runs `hwcls slurm tiny.yaml ...` in the folder of that file, which `changes` changes."""
    monkeypatch.chdir(tmp_path)

    def run(*words, **changes):
        return CliRunner().invoke(app, ["slurm", sweep_file(**changes).name, *map(str, words)])

    return run


ROOT = Path(__file__).parents[4]
DOCS = re.findall(r"^(hwcls slurm .*?)(?:  #.*)?$", (ROOT / "docs/how-to/slurm.md").read_text("utf-8"), re.MULTILINE)


def directives(script):
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")]


def test_the_script_asks_for_the_nodes(call, tmp_path):
    done = call(
        "--nodes", 4, "--gpus", "a100:4", "--time", "8h", "--partition", "gpu", "--account", "lab", "--mem", "64G"
    )
    assert done.exit_code == 0, done.output
    assert directives(done.stdout) == [
        "--job-name=tiny",
        "--nodes=4",
        "--ntasks-per-node=1",
        "--cpus-per-task=16",
        "--gres=gpu:a100:4",
        "--mem=64G",
        "--time=08:00:00",
        "--partition=gpu",
        "--account=lab",
        f"--output={tmp_path}/slurm-%j.out",
        "--open-mode=append",
        "--requeue",
        "--signal=B:USR1@120",
    ]
    assert done.stderr == "note: 16 trials fit at once, but the search has 4\n"


def test_the_script_starts_ray_on_all_nodes_and_runs_the_sweep(call):
    script = call("--nodes", 2, "--results", "/shared/results", "--for", "2h", "--requeues", 3).stdout
    lines = [line.strip() for line in re.sub(r"\\\n +", "", script).splitlines()]
    assert [line for line in lines if line.startswith("start_ray --head")] == [
        'start_ray --head --node-ip-address="$ip" --port=0 --include-dashboard=false --temp-dir="$folder/ray" '
        "--ray-client-server-port=$((20000 + SLURM_JOB_ID % 10000)) &"
    ]
    assert any(
        line.startswith("srun --export=ALL --nodes=1 --ntasks=1 --ntasks-per-node=1 --relative=1") for line in lines
    )
    assert '--num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus=0' in script
    assert re.search(r"env (-u \w+ )*-u WANDB_API_KEY ", script)
    assert "export CUDA_VISIBLE_DEVICES=''  # where" in script
    assert "CUDA_VISIBLE_DEVICES" not in call("--nodes", 2, "--gpus", 1).stdout
    assert f"python={sys.executable}" in lines
    assert "requeues=3  # how often" in script
    sweep = "hwcls sweep tiny.yaml --results /shared/results --wandb auto --for 2h"
    assert f'join_nodes && run "$python" -P -m {sweep} --address "$address"' in lines
    assert "ray stop" not in script  # it would end the Ray of other jobs on the node


def test_on_one_node_the_sweep_starts_ray_itself(call):
    script = call("--setup", "module load cuda\nexport A=1\n", "--python", "/opt/my env/bin/python").stdout
    setup = r"\nmodule load cuda\nexport A=1\nset \+eu; set \+o pipefail  # .*\n"
    assert re.search(setup + "python='/opt/my env/bin/python'\n", script)
    assert '\nrun "$python" -P -m hwcls sweep tiny.yaml --results results --wandb auto\n' in script
    assert "ray.scripts" not in script
    assert "--address" not in script
    assert "--cpus-per-task=4" in directives(script)


@pytest.mark.parametrize("line", DOCS)
def test_the_commands_of_its_page_print_a_script(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, [word for word in shlex.split(line)[1:] if word != "--submit"])
    assert done.exit_code == 0, done.output
    assert len(DOCS) == 4
    checked = subprocess.run(["bash", "-n"], input=done.stdout, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "sweep sweeps/tinyimagenet.yaml --results results" in done.stdout


@pytest.mark.parametrize("nodes", [1, 3])
def test_it_is_correct_bash(sweep_file, tmp_path, nodes, monkeypatch):
    folder = tmp_path / 'it\'s 100 % "mine" $HOME'
    folder.mkdir()
    words = ["--nodes", nodes, "--job-name", "a 'b' \"c\"", "--sbatch", "--comment='x y'", "--set", "run_cap=3"]
    file = sweep_file()
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, ["slurm", str(file), *map(str, words)])
    assert done.exit_code == 0, done.output
    checked = subprocess.run(["bash", "-n"], input=done.stdout, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    if shutil.which("shellcheck"):
        checked = subprocess.run(
            ["shellcheck", "--severity=warning", "-"], input=done.stdout, capture_output=True, text=True
        )
        assert checked.stdout == ""
    assert f"cd {shlex.quote(str(folder))} || exit 2" in done.stdout
    found = directives(done.stdout)
    assert found[0] == "--job-name=" + shlex.quote("a 'b' \"c\"")
    assert shlex.split(next(line for line in found if line.startswith("--output="))) == [
        f'--output={tmp_path}/it\'s 100 %% "mine" $HOME/slurm-%j.out'
    ]
    assert found[-1] == "--comment='x y'"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--time", "soon"], "--time: 'soon' is no time limit — write 8h"),
        (["--time", "2m"], "--time: 2m is too short for a sweep"),
        (["--nodes", "0"], "--nodes: input should be greater than or equal to 1"),
        (["--gpus", "many"], "--gpus: 'many' is no number of GPUs — write the GPUs of each node: 4, or a100:4"),
        (["--gpus", "-1"], "--gpus: '-1' is no number of GPUs"),
        (["--gpus", "a100:0"], "--gpus: 'a100:0' is no number of GPUs"),
        (["--mem", "lots"], "--mem: 'lots' is no amount of memory — write 64G, of each node, or 0 for all"),
        (
            ["--sbatch", "constraint=a100"],
            "--sbatch: 'constraint=a100' is no option of sbatch — write --constraint=a100",
        ),
        (["--job-name", "a\n#SBATCH --nodes=9"], "--job-name: "),
        (["--partition", "a\nrm"], "--partition: 'a\\nrm' has characters that do not print — leave them out"),
        (["--account", "a\x1b[2J"], "--account: "),
        (["--sbatch", "--comment=a\nb"], "--sbatch: "),
        (["--wandb", "onlin"], "--wandb: unknown mode 'onlin' — did you mean 'online'?"),
        (["--set", "run_cup=3"], "did you mean 'run_cap'?"),
        (["--preset", "quick"], "no preset 'quick'"),
    ],
)
def test_bad_options_are_one_line(call, words, error):
    done = call(*words)
    assert done.exit_code == 2
    assert error in done.output
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("resources", "words", "error"),
    [
        ({"gpus_per_worker": 1}, [], "a trial needs 1 x 1 CPU and 1 GPU, but there are 4 CPUs and 0 GPUs"),
        ({"gpus_per_worker": 0}, ["--gpus", 4], "gpus_per_worker: 0, but --gpus 4 asks for GPUs — leave --gpus out"),
        ({"workers": 8}, ["--gpus", 4], "a trial needs 8 x 1 CPU and 1 GPU, but there are 16 CPUs and 4 GPUs"),
        ({"cpus_per_worker": 8}, ["--cpus", 4, "--nodes", 3], "a trial needs 1 x 8 CPU, but there are 12 CPUs"),
    ],
)
def test_a_sweep_that_does_not_fit_on_the_nodes(call, resources, words, error):
    done = call(*words, resources=resources)
    assert done.exit_code == 2
    assert "tiny.yaml:" in done.output
    assert error in done.output


@pytest.mark.parametrize(
    ("resources", "gpus", "cpus"),
    [({}, 2, 8), ({"gpus_per_worker": 0.1}, 2, 20), ({"cpus_per_worker": 6}, 2, 12), ({"cpus_per_worker": 6}, 0, 6)],
)
def test_cpus_for_all_workers_of_a_gpu(call, resources, gpus, cpus):
    assert f"--cpus-per-task={cpus}" in directives(call("--gpus", gpus, resources=resources).stdout)


def test_gpus_that_stay_idle_are_a_note(call):
    done = call("--gpus", 4, resources={"workers": 3})
    assert done.exit_code == 0
    assert "note: 1 of 4 GPUs stays idle" in done.stderr


def test_a_sweep_that_shares_gpus_on_nodes_without_one_is_a_note(call):
    done = call(resources={"gpus_per_worker": "auto"})
    assert done.exit_code == 0, done.output
    assert "note: gpus_per_worker: auto, but no --gpus: the job sees no GPU\n" in done.stderr
    assert "GPU" not in call("--gpus", 1, resources={"gpus_per_worker": "auto"}).stderr
    assert "GPU" not in call(resources={"gpus_per_worker": 0}).stderr


@pytest.mark.parametrize("memory", ["0", "64g", "512M", "1000"])
def test_amounts_of_memory_that_slurm_takes(call, memory):
    assert f"--mem={memory}" in directives(call("--mem", memory).stdout)


def test_without_slurm_it_is_one_line(call, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    done = call("--submit")
    assert done.exit_code == 2
    remedy = "run it on a login node of the cluster, or leave --submit out to print the script"
    assert done.output == f"hwcls: --submit: there is no Slurm here: sbatch was not found — {remedy}\n"


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    """Makes a program of that name that runs these lines."""

    def write(*lines):
        path = tmp_path / "bin" / "sbatch"
        path.parent.mkdir()
        path.write_text("\n".join(["#!/bin/sh", *lines]))
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")

    return write


def test_a_submission_says_how_to_follow_it(call, sbatch, tmp_path):
    sbatch('test "$*" = --parsable && cat > script', "echo '17;cluster'")
    done = call("--submit")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "submitted as job 17; `scancel 17` ends it, `squeue -j 17` shows where it is",
        f"its output, once it runs: tail -F {tmp_path}/slurm-17.out",
    ]
    assert Path("script").read_text() == call().stdout
    found = json.loads(call("--submit", "--json").stdout)
    assert found == {"script": call().stdout, "job": "17", "output": f"{tmp_path}/slurm-17.out"}
    assert json.loads(call("--json").stdout) == {**found, "job": None, "output": None}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "sbatch: error: invalid partition specified: x\\nsbatch: error: Batch job submission failed: Why",
            "invalid partition specified: x; Batch job submission failed: Why",
        ),
        ("sbatch: fatal: no configuration", "no configuration"),
        ("", "sbatch gave no reason"),
    ],
)
def test_what_slurm_refuses_is_its_own_line(call, sbatch, said, reason):
    sbatch(f"printf '{said}' >&2", "exit 1")
    done = call("--submit")
    assert done.exit_code == 2
    assert done.output == f"hwcls: sbatch: Slurm refuses the job: {reason}\n"


def test_a_program_that_cannot_be_run(call, sbatch, tmp_path, monkeypatch):
    sbatch()
    (tmp_path / "bin" / "sbatch").write_text("no program")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    done = call("--submit")
    assert done.exit_code == 2
    assert done.output.startswith("hwcls: --submit: sbatch cannot be run (")
