"""A sweep on a real Slurm on this machine: on two nodes, preempted, killed, at its time limit, and refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweep.cluster import slurm_daemons
from tests.sweep.faults import STEPS, Disturbed

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(bool(slurm_daemons.why_not()), reason=slurm_daemons.why_not() or "it can"),
]
CHECKPOINT_AGE = 15  # seconds of training that a kill costs: a checkpoint is 10 s old at most, or an epoch


NODE = """    def train(self, mode=True):
        (self.folder / os.environ["SLURMD_NODENAME"]).touch()
        if "WANDB_API_KEY" in os.environ:
            (self.folder / "has the key").touch()
        return super().train(mode)

"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with slurm_daemons.running_slurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running


def submit(slurm, sweep: Disturbed, *words: object) -> subprocess.CompletedProcess:
    """`hwcls slurm ... --submit --json` in the folder of a sweep, for two nodes of one CPU."""
    options = ["--nodes", 2, "--cpus", 1, "--time", "10m", "--wandb", "off", "--results", sweep.results, *words]
    command = [sys.executable, "-m", "hwcls", "slurm", sweep.file, *options, "--submit", "--json"]
    return subprocess.run(
        list(map(str, command)), cwd=sweep.folder, env=slurm.environment, capture_output=True, text=True, timeout=120
    )


def check_records(sweep: Disturbed) -> None:
    """Every trial is complete, with each epoch once."""
    found = sweep.numbers()
    assert {trial: [line["epoch"] for line in lines] for trial, lines in found.items()} == {
        trial: list(range(1, sweep.epochs + 1)) for trial in range(sweep.trials)
    }
    for trial in found:
        assert json.loads((sweep.path / "trials" / str(trial) / "result.json").read_text())["status"] == "complete"


def test_a_sweep_runs_on_both_nodes_of_a_job(slurm, tmp_path, monkeypatch):
    """In a folder and under a name that need quotes; nothing of Ray is left, and no key reaches its processes."""
    sweep = Disturbed(tmp_path / "it's 100 % mine", trials=4, epochs=4, pause=0.2)
    model = sweep.folder / "counted.py"
    model.write_text(model.read_text().replace("    def injected", NODE + "    def injected"))
    before = set(Path("/tmp").glob("hwcls-??????"))
    monkeypatch.setitem(slurm.environment, "WANDB_API_KEY", "5ec12e7" * 6)
    done = submit(slurm, sweep, "--job-name", 'a "b" c', "--sbatch", "--comment='two words'")
    assert done.returncode == 0, done.stderr
    submitted = json.loads(done.stdout)
    job = slurm.wait_for(submitted["job"], "COMPLETED")
    output = Path(submitted["output"]).read_text()
    assert job["ExitCode"] == "0:0"
    assert "4 trials, 2 trials at once, each on 1 CPU" in output
    assert {path.name for path in sweep.folder.glob("node?")} == {"node1", "node2"}
    assert not (sweep.folder / "has the key").exists()
    assert "error" not in output.lower()
    assert set(Path("/tmp").glob("hwcls-??????")) <= before
    check_records(sweep)


def test_it_continues_after_a_preemption_and_after_a_kill(slurm, tmp_path):
    """No epoch is lost or recorded twice. A signal saves the trials; a kill costs what no checkpoint has."""
    sweep = Disturbed(tmp_path / "long", trials=3, epochs=30, pause=0.3)
    done = submit(slurm, sweep)
    assert done.returncode == 0, done.stderr
    number, output = (json.loads(done.stdout)[key] for key in ("job", "output"))
    sweep.wait_for_epochs(0, 3)
    words = ("--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=true")
    urgent = slurm.call("sbatch", "--parsable", *words).strip()
    slurm.wait_for(urgent, "COMPLETED")
    saved = sweep.numbers()
    assert max(sweep.done_twice().values()) <= 1  # what began while Tune ended
    assert "continues when Slurm starts this job again" in Path(output).read_text()

    slurm.start_again(number)
    sweep.wait_for_epochs(0, len(saved[0]) + 3)
    slurm.call("scontrol", "requeue", number)
    slurm.start_again(number)
    job = slurm.wait_for(number, "COMPLETED")
    assert job["Restarts"] == "2"
    assert job["ExitCode"] == "0:0"
    check_records(sweep)
    for trial, lines in saved.items():
        assert sweep.numbers()[trial][: len(lines)] == lines
    assert max(sweep.done_twice().values()) * STEPS * sweep.pause <= CHECKPOINT_AGE


def test_at_its_time_limit_without_a_requeue_left_it_ends_and_the_same_script_resumes(slurm, tmp_path):
    """On one node, where the sweep starts its own Ray."""
    sweep = Disturbed(tmp_path / "short", trials=1, epochs=12, pause=0.2)
    first = json.loads(submit(slurm, sweep, "--nodes", 1, "--requeues", 0).stdout)
    sweep.wait_for_epochs(0, 2)
    slurm.call("scancel", "--batch", "--signal=USR1", first["job"])  # as Slurm does two minutes before the limit
    ended = slurm.wait_for(first["job"], "FAILED")
    assert ended["ExitCode"] == "130:0"
    assert "submitted again, this script resumes it" in Path(first["output"]).read_text()
    script = sweep.folder / "job.sh"
    script.write_text(first["script"])
    second = slurm.call("sbatch", "--parsable", script).strip()
    slurm.wait_for(second, "COMPLETED")
    check_records(sweep)
    assert sweep.done_twice()[0] <= 1


def test_the_exit_code_of_the_sweep_is_that_of_the_job(slurm, tmp_path):
    """Here 2: its file was changed in the queue."""
    sweep = Disturbed(tmp_path / "broken", trials=1, epochs=1)
    submitted = json.loads(submit(slurm, sweep, "--nodes", 1, "--sbatch", "--hold").stdout)
    sweep.file.write_text(sweep.file.read_text().replace("run_cap", "run_cup"))
    slurm.call("scontrol", "release", submitted["job"])
    assert slurm.wait_for(submitted["job"], "FAILED")["ExitCode"] == "2:0"
    assert "did you mean 'run_cap'?" in Path(submitted["output"]).read_text()


def test_what_slurm_refuses_is_one_line(slurm, tmp_path):
    sweep = Disturbed(tmp_path / "refused", trials=1, epochs=1)
    done = submit(slurm, sweep, "--partition", "gpu")
    assert done.returncode == 2
    reasons = "invalid partition specified: gpu; Batch job submission failed: Invalid partition name specified"
    assert done.stderr.splitlines()[-1] == f"hwcls: sbatch: Slurm refuses the job: {reasons}"
    assert not sweep.results.exists()
