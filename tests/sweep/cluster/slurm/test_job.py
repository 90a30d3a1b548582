"""What the script does in a job, with stand-ins for Slurm's commands and for Python: signals, exit codes, requeues."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hwcls.sweep.cluster.slurm import script
from hwcls.sweep.cluster.slurm.allocation import Allocation
from hwcls.sweep.cluster.slurm.script import Job, build_script

PROGRAMS = {
    "python": """
echo "python $*" >> calls
case "$*" in
  *"-c import secrets"*) echo token ;;
  *"start --head"*) mkdir -p "$folder/ray" && echo 10.0.0.7:1 > "$folder/ray/ray_current_cluster"; serve=1 ;;
  *"start --address"*) echo "$SLURMD_NODENAME $RAY_AUTH_TOKEN ${WANDB_API_KEY-}" > joined; serve=1 ;;
  *await_nodes*) trap 'exit 15' TERM; touch awaiting; until [ -e "$AWAITED" ]; do sleep 0.05; done ;;
  *"hwcls sweep"*) trap 'exit $ON_TERM' TERM; touch running; for _ in $(seq $STEPS); do sleep 0.05; done; exit 1 ;;
esac
if [ -n "${serve-}" ]; then trap 'exit 0' TERM; while :; do sleep 0.05; done; fi
""",
    "scontrol": """
echo "scontrol $*" >> calls
[ "$1" != requeue ] || exit "$ON_REQUEUE"
[ "$2" != show ] || echo "NodeName=node1 Arch=x86_64 NodeAddr=head.lan NodeHostName=node1"
""",
    "getent": """
echo "getent $*" >> calls
printf '10.0.0.7 STREAM head\\n10.0.0.7 DGRAM\\n'
""",
    "srun": """
while [ "${1#--}" != "$1" ]; do shift; done
export SLURMD_NODENAME=node2
echo $$ > step
exec "$@"
""",
    "scancel": """
echo "scancel $*" >> calls
kill -URG "$(cat step)"
""",
}


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts the script of a job on so many nodes, up to a file; `variables` are those of the job."""
    for name, lines in PROGRAMS.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text("#!/bin/bash" + lines)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    started = []

    def run(nodes, steps=400, setup="", until="running", **variables):
        job = Job("tiny", tmp_path, ["sweep", "tiny.yaml"], str(tmp_path / "bin" / "python"), setup, 2)
        (tmp_path / "job.sh").write_text(build_script(Allocation(nodes, 0, "", 1, 60), job))
        slurm = {"SLURM_JOB_ID": "17", "SLURMD_NODENAME": "node1", "SLURM_CPUS_PER_TASK": "1", "WANDB_API_KEY": "key"}
        path = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "STEPS": str(steps)}
        path |= {"ON_TERM": "130", "ON_REQUEUE": "0", "AWAITED": "joined"}
        with open("output", "wb") as output:
            process = subprocess.Popen(
                ["bash", "job.sh"], env={**os.environ, **slurm, **path, **variables}, stdout=output, stderr=output
            )
        started.append(process)
        deadline = time.monotonic() + 30
        while not Path(until).exists():
            assert time.monotonic() < deadline, Path("output").read_text()
            assert process.poll() is None, Path("output").read_text()
            time.sleep(0.02)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()


def calls(program):
    return [line.removeprefix(f"{program} ") for line in Path("calls").read_text().splitlines() if program in line[:9]]


@pytest.mark.parametrize("setup", ["", "set -euo pipefail"])
@pytest.mark.parametrize("nodes", [1, 2])
def test_near_the_time_limit_the_sweep_is_ended_and_the_job_requeued(start, nodes, setup):
    process = start(nodes, setup=setup, SLURM_RESTART_COUNT="1")
    process.send_signal(signal.SIGUSR1)
    assert process.wait(20) == 130
    assert calls("scontrol")[-1] == "requeue 17"
    (line,) = Path("output").read_text().splitlines()
    assert "continues when Slurm starts this job again" in line


@pytest.mark.parametrize("until", ["head", "awaiting"])
def test_a_signal_while_the_nodes_join_requeues_the_job_too(start, until):
    python = Path("bin/python")
    if until == "head":
        python.write_text(python.read_text().replace("mkdir -p", "touch head; serve=1; false && mkdir -p"))
    process = start(2, until=until, AWAITED="never")
    process.send_signal(signal.SIGUSR1)
    assert process.wait(20) == 143
    assert calls("scontrol")[-1] == "requeue 17"
    assert "hwcls sweep" not in Path("calls").read_text()
    assert calls("scancel") == ["--signal=URG 17"]


def test_where_slurm_refuses_the_requeue_it_does_not_say_that_the_sweep_continues(start):
    process = start(1, ON_REQUEUE="1")
    process.send_signal(signal.SIGUSR1)
    assert process.wait(20) == 130
    (line,) = Path("output").read_text().splitlines()
    assert "submitted again, this script resumes it" in line


def test_a_sweep_that_does_not_end_in_time_is_killed_and_the_job_requeued(start, monkeypatch):
    monkeypatch.setattr(script, "SAVING", 1)
    python = Path("bin/python")
    python.write_text(python.read_text().replace("trap 'exit $ON_TERM' TERM", "trap '' TERM"))
    process = start(1)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(20) == 137
    assert calls("scontrol") == ["requeue 17"]


def test_without_a_restart_left_it_is_not(start):
    process = start(1, SLURM_RESTART_COUNT="2")
    process.send_signal(signal.SIGUSR1)
    assert process.wait(20) == 130
    assert "requeue" not in Path("calls").read_text()
    assert "submitted again, this script resumes it" in Path("output").read_text()


def test_a_sweep_that_ends_at_that_moment_is_not_requeued(start):
    process = start(1, ON_TERM="0")
    process.send_signal(signal.SIGUSR1)
    assert process.wait(20) == 0
    assert "requeue" not in Path("calls").read_text()


def test_sigterm_which_reaches_all_is_waited_for(start):
    """Slurm itself starts the job again after a preemption. A second SIGTERM would keep the sweep from saving."""
    process = start(1, steps=20)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 1
    assert "requeue" not in Path("calls").read_text()


def test_ray_runs_on_both_nodes_and_ends_with_the_sweep(start):
    before = set(Path("/tmp").glob("hwcls-??????"))
    process = start(2, steps=10, RAY_ADDRESS="elsewhere")
    assert process.wait(20) == 1
    assert Path("joined").read_text() == "node2 token \n"
    assert calls("getent") == ["ahostsv4 head.lan"]
    head, worker = (call for call in calls("python") if "ray.scripts" in call)
    assert "--head --node-ip-address=10.0.0.7 --port=0" in head
    assert "--ray-client-server-port=20017 --block" in head
    assert "--address=10.0.0.7:1 --block --num-cpus=1 --num-gpus=0" in worker
    assert calls("python")[-1] == "-P -m hwcls sweep tiny.yaml --address 10.0.0.7:1"
    assert calls("scancel") == ["--signal=URG 17"]
    assert set(Path("/tmp").glob("hwcls-??????")) <= before
    assert Path("output").read_text() == ""


def test_where_ray_does_not_start_its_last_lines_say_why(start, tmp_path):
    python = tmp_path / "bin" / "python"
    python.write_text(python.read_text().replace("mkdir -p", "echo no such interface; exit 1; mkdir"))
    with pytest.raises(AssertionError, match="no such interface"):
        start(2)
    assert "Ray did not start on node1 (10.0.0.7)" in Path("output").read_text()
