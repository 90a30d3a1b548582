"""benchmarks/gpu.py runs from end to end, on a CPU in small; without a GPU it says so in one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


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
