"""Memory that runs out in mid-training, on one rank of two, on a real Ray."""

import json

import pytest
import yaml

from hwcls.config.sweep_file import load_sweep
from tests.trials import OUT_OF_MEMORY

# Ray leaves some of its files and sockets to the garbage collector
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]


def test_a_trial_goes_on_with_smaller_micro_batches(run, tmp_path):
    """The numbers are those of a trial with memory enough, no epoch comes twice, and no restart is counted."""
    (tmp_path / "mine.py").write_text(OUT_OF_MEMORY)
    base = {
        "data": {"name": "digits", "batch_size": 64, "per_class": 25},
        "model": {"name": f"{tmp_path}/mine.py:build", "most": {"values": [64, 9]}},
        "optimizer": "adam",
        "epochs": 3,
        "seed": 1,
    }
    file = {"name": "memory", "method": "grid", "max_restarts": 0, "track": [], "resources": {"workers": 2}}
    path = tmp_path / "memory.yaml"
    path.write_text(yaml.safe_dump({**file, "parameters": base}))
    outcome, output = run(load_sweep(path))
    assert not outcome.failed
    assert "is restarted" not in output
    found = {}
    for trial in outcome.folder.trials().values():
        result = trial.result()
        lines = [json.loads(line) for line in (trial.path / "metrics.jsonl").read_text().splitlines()]
        assert [line["epoch"] for line in lines] == [1, 2, 3]
        found[result.parameters["most"]] = (result.micro_batch, [line["val/loss"] for line in lines])
    assert found[64][0] == 32
    assert found[9][0] == 8
    assert found[9][1] == pytest.approx(found[64][1], rel=1e-4)
