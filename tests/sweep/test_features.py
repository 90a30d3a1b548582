"""Features on a real Ray: computed before the first trial, resumed after any end, no image twice."""

import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import yaml

from hwcls.config.sweep_file import load_sweep
from hwcls.data.imageset import open_data
from hwcls.results.load import load_results
from hwcls.sweep.preflight.prepare import list_features
from hwcls.sweep.preflight.validate import Options, check_sweep
from hwcls.training.features.rows import list_rows
from tests.sweep.faults import kill

pytestmark = pytest.mark.slow
WIDTH = 256  # of test_efficientnet
DEADLINE = 120.0  # seconds for each step


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))


class Extraction:
    """A sweep of one head on the features of 1,797 digits, enlarged so that they take some seconds."""

    def __init__(self, folder):
        import timm
        import torch

        with torch.random.fork_rng():
            torch.save(timm.create_model("test_efficientnet").state_dict(), folder / "weights.pth")
        model = {"name": "timm", "backbone": "test_efficientnet", "pretrained": "weights.pth", "frozen": True}
        data = {"name": "digits", "image_size": 160, "channels": 3}
        parameters = {"data": data, "model": model, "optimizer": {"name": "adam"}, "epochs": 1}
        values = {"name": "probe", "run_cap": 1, "track": [], "parameters": parameters, "max_restarts": 1}
        self.file, self.results = folder / "probe.yaml", folder / "results"
        self.file.write_text(yaml.safe_dump(values))
        sweep = check_sweep(load_sweep(self.file), Options(results=self.results))
        (job,) = list_features(sweep)  # decodes the images
        self.images, self.files = job.images, list_rows(job.trials, open_data)

    def start(self):
        command = [sys.executable, "-m", "hwcls", "sweep", str(self.file), "--results", str(self.results)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen([*command, "--wandb", "off"], cwd=self.file.parent, **pipes)

    def count(self):
        return sum(len(rows) - file.count_pending(rows) for file, rows in self.files)

    def wait_for(self, images, process):
        end = time.monotonic() + DEADLINE
        while self.count() < images:
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < end
            time.sleep(0.01)

    def mark(self):
        """Change what has been computed, as if it was right: who computed it again would change it back."""
        marked = []
        for file, rows in self.files:
            done = np.array([row for row in rows if not file.count_pending(np.array([row]))], int)
            if len(done):
                file.write(done, np.ones((len(done), WIDTH), np.float16))
            marked.append(done)
        return marked


def test_features_are_computed_once_though_driver_and_worker_are_killed(tmp_path):
    sweep = Extraction(tmp_path)
    process = sweep.start()
    sweep.wait_for(100, process)
    kill(process.pid)
    process.communicate()
    time.sleep(2.0)  # Ray notices
    marked = sweep.mark()
    assert 100 <= sum(map(len, marked)) < sweep.images

    process = sweep.start()
    sweep.wait_for(sum(map(len, marked)) + 100, process)
    (first, *_) = workers_of(process)
    kill(first.pid)
    output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, output
    assert "a process that computes features is restarted" in output
    assert sweep.count() == sweep.images
    for (file, _), done in zip(sweep.files, marked, strict=True):
        assert (file.read()[done] == 1).all()
    (trial,) = load_results(sweep.results / "probe").trials
    assert trial.status == "complete"
    log = (sweep.results / "probe" / "sweep.log").read_text()
    assert "features: computed in" in log


def workers_of(process):
    """The processes that compute features."""
    found = psutil.Process(process.pid).children(recursive=True)
    return [one for one in found if "FeatureWorker" in " ".join(one.cmdline())]


@pytest.mark.heavy
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_features_are_computed_ends_the_sweep_at_once(tmp_path, sent):
    sweep = Extraction(tmp_path)
    process = sweep.start()
    sweep.wait_for(1, process)
    process.send_signal(sent)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert "features of 1,797 images by test_efficientnet at 160 px" in output
    assert "Resume with" in output
    assert "Traceback" not in output
