"""Results that version 0.1.0 wrote, before the layout of today: they are read, and a sweep of then continues.

`results_0.1.zip` holds two sweeps on the digits: `finished`, run to its end, and `unfinished`, whose driver was killed
in its fourth trial after epoch 8, with a checkpoint of epoch 7.
"""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from hwcls.config.trial import TrialConfig
from hwcls.tracking.folders import SweepFolder

ROOT = Path(__file__).parents[2]
BEST = {0: 0.26666666666666666, 1: 0.7833333333333333, 2: 0.36666666666666664, 3: 0.4666666666666667}
TEST = {
    "confirm/cnn/10001000": 0.8551532033426184,
    "confirm/cnn/10001001": 0.8105849582172702,
    "confirm/mlp/10002000": 0.2841225626740947,
    "confirm/mlp/10002001": 0.3732590529247911,
}
DRAWN = {0: "mlp", 1: "cnn", 2: "mlp", 3: "cnn", 4: "mlp", 5: "cnn"}
LR = {4: 0.08591315698733488, 5: 0.0027796258518939373}  # of the trials that were drawn after the restart


@pytest.fixture
def results(tmp_path):
    """The folder of both sweeps and their sweep files."""
    with zipfile.ZipFile(Path(__file__).with_name("results_0.1.zip")) as archive:
        archive.extractall(tmp_path)
    return tmp_path


@pytest.fixture
def hwcls(results):
    """Runs a command in that folder; returns its standard output."""

    def run(*args: str) -> str:
        env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "hwcls", *args]
        done = subprocess.run(command, cwd=results, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def checksums(folder):
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def lines(folder):
    return (folder / "metrics.jsonl").read_bytes().splitlines()


def test_every_config_and_result_is_read(results):
    sweep = SweepFolder(results / "finished")
    assert {n: trial.result().best["val/accuracy"] for n, trial in sweep.trials().items()} == BEST
    for number, trial in sweep.trials().items():
        assert isinstance(trial.config(), TrialConfig)
        assert trial.result().status == ("stopped" if number == 3 else "complete")
    scores = {f"confirm/{label}/{seed}": run.result() for (label, seed), run in sweep.confirm_runs().items()}
    assert {key: result.extra["test"]["test/accuracy"] for key, result in scores.items()} == TEST


def test_the_comparison_is_the_same(hwcls):
    found = json.loads(hwcls("compare", "finished", "--json"))
    assert [round(row["val/accuracy"], 4) for row in found["leaderboard"]][:2] == [0.7833, 0.4667]
    answer = found["answer"] if isinstance(found["answer"], str) else " ".join(found["answer"])
    for figure in ("cnn", "83.3 %", "55.1 % to 100.0 %", "mlp", "50.42 points", "21.15 to 80.39"):
        assert figure in answer


def test_the_sweeps_are_listed(hwcls):
    found = json.loads(hwcls("runs", ".", "--json"))
    facts = [(one["name"], one["state"], one["trials"], one["total"], one["confirm"]) for one in found]
    assert facts == [("finished", "finished", 4, 4, 4), ("unfinished", "interrupted", 3, 6, 0)]


def test_a_report_can_be_written(hwcls, results):
    hwcls("report", "finished")
    assert "83.3" in (results / "finished" / "report.html").read_text("utf-8")


def test_figures_and_tables_can_be_made(hwcls, results):
    found = json.loads(hwcls("figures", "finished", "--format", "svg", "--out", "figures", "--json"))
    assert list(found["figures"]) == ["test", "curves", "confusion", "slices", "budget"]
    assert list(found["left_out"]) == ["importance"]  # of four trials
    assert "| cnn |" in hwcls("tables", "finished", "--only", "confirmed")


def test_weights_are_loaded_and_give_the_same_accuracy(hwcls):
    scores = json.loads(hwcls("evaluate", "finished/trials/1", "--json"))
    assert "0.7833333333333333" in json.dumps(scores)


def test_a_finished_sweep_is_left_as_it_is_and_gets_a_folder_of_its_best_weights(hwcls, results):
    before = checksums(results / "finished")
    assert "finished/confirm/cnn" in json.loads(hwcls("evaluate", "finished", "--json"))["trial"]
    hwcls("sweep", "finished.yaml", "--results", ".", "--wandb", "off")
    after = checksums(results / "finished")
    new = {name for name in after if name.startswith(str(results / "finished/best"))}
    assert {name: found for name, found in after.items() if name not in new} == before
    assert len(new) == 4
    scores = json.loads(hwcls("evaluate", "finished/best", "--json"))
    assert scores["accuracy"] == json.loads(hwcls("evaluate", "finished", "--json"))["accuracy"]


@pytest.mark.slow
def test_an_unfinished_sweep_continues_from_its_checkpoint(hwcls, results):
    """The checkpoint is marked by half the learning rate: what was trained from it has that rate."""
    folder = results / "unfinished"
    recorded = {n: lines(folder / "trials" / str(n)) for n in range(4)}
    assert [len(found) for found in recorded.values()] == [12, 12, 2, 8]
    path = max((folder / "tune").glob("trials-3-*/checkpoint_*")) / "state.pt"
    state = torch.load(path, weights_only=True)
    for group in state["optimizer"]["param_groups"]:
        group["lr"] /= 2
    torch.save(state, path)

    hwcls("sweep", "unfinished.yaml", "--results", ".", "--wandb", "off")

    sweep = SweepFolder(folder)
    assert {n: trial.result().label for n, trial in sweep.trials().items()} == DRAWN
    for number, before in recorded.items():
        assert lines(folder / "trials" / str(number))[: len(before)] == before
    assert [len(lines(folder / "trials" / str(n))) for n in range(3)] == [12, 12, 2]
    continued = [json.loads(line) for line in lines(folder / "trials" / "3")]
    assert [line["epoch"] for line in continued] == list(range(1, 13))
    assert continued[8]["lr"] == pytest.approx(0.012635598137381661 / 2)
    for number, lr in LR.items():
        assert sweep.trial(number).config().optimizer.lr == pytest.approx(lr, rel=1e-12)
    scored = {key: run.result() for key, run in sweep.confirm_runs().items()}
    assert sorted(label for label, _ in scored) == ["cnn", "cnn", "mlp", "mlp"]
    assert all(result.status == "complete" and "test" in result.extra for result in scored.values())
    assert not (folder / "tune").exists()
    hwcls("compare", "unfinished")
