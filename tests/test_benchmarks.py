"""The benchmarks run from end to end in small: on a CPU; without a GPU gpu.py says so in one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPT = FOLDER / "gpu.py"


def test_gpu_in_small_on_a_cpu(tmp_path):
    arguments = ["--device", "cpu", "--images", "100", "--batch", "32", "--only", "simple_cnn"]
    command = [sys.executable, str(SCRIPT), *arguments, "--json", str(tmp_path / "rows.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "simple_cnn" in done.stdout
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert row["images_per_second"] > 0
    assert row["gflop_per_image"] == pytest.approx(0.025, rel=0.2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_is_said_in_one_line():
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("no GPU here")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hwcls", "optuna", "tune"])
def test_orchestration_in_small(tmp_path, name):
    arguments = ["--trials", "4", "--only", name, "--json", str(tmp_path / "rows.json")]
    command = [sys.executable, str(FOLDER / "orchestration.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert (row["name"], row["trials"]) == (name, 4)
    assert 0 < row["- ask"] <= row["driver"]
    assert row["ask"] > 0
    assert ("again" in row) == (name == "hwcls")
