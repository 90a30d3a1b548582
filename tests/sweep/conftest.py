"""Tiny sweeps, and how they are run in this process."""

import copy
import io
from pathlib import Path

import pytest
import yaml

SWEEP = {
    "name": "tiny",
    "run_cap": 4,
    "compare": "model",
    "track": [],
    "method": "random",
    "parameters": {
        "data": {"name": "digits", "batch_size": 64, "per_class": 20},
        "model": {
            "head": {"width": 8},
            "choice": {"mlp": {"width": 16, "depth": 1}, "cnn": {"name": "simple_cnn", "width": 4}},
        },
        "optimizer": {"name": "adam", "lr": {"min": 1e-3, "max": 1e-1, "log": True}},
        "epochs": 3,
    },
}


def _merged(under, over):
    for key, value in over.items():
        under[key] = (
            _merged(dict(under.get(key) or {}), value) if isinstance(value, dict) and key == "parameters" else value
        )
    return under


@pytest.fixture
def sweep_file(tmp_path):
    """Writes a tiny sweep file with entries changed; returns its path."""

    def write(**changes) -> Path:
        path = tmp_path / f"{changes.get('name', 'tiny')}.yaml"
        values = _merged(copy.deepcopy(SWEEP), changes)
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        return path

    return write


@pytest.fixture
def tiny(sweep_file):
    """The checked sweep of such a file."""
    from hwcls.config.sweep_file import load_sweep

    return lambda **changes: load_sweep(sweep_file(**changes))


def open_sweep(sweep, results):
    """The folder of a checked sweep, as the driver opens it."""
    from hwcls.sweep.storage.results_folder import open_folder

    return open_folder(results / sweep.config.name, sweep.resolved())


def start(sweep, results, **options):
    """Runs a checked sweep in this process; returns the outcome and its output."""
    from rich.console import Console

    from hwcls.sweep import driver
    from hwcls.sweep.monitor.logs import log_to_console
    from hwcls.sweep.monitor.progress import Lines

    console = Console(record=True, width=200, file=io.StringIO())
    options = driver.Options(results=results, wandb="offline", **options)
    with log_to_console(console):
        outcome = driver.run(sweep, options, lambda *known: Lines(sweep.config.metric, *known))
    return outcome, console.export_text()


@pytest.fixture
def run(ray_here, tmp_path):
    """Runs a checked sweep in this process; returns the outcome and its output."""
    return lambda sweep, results=None, **options: start(sweep, results or tmp_path / "results", **options)


@pytest.fixture(scope="module")
def done(ray_here, tmp_path_factory):
    """A sweep of four trials that has ended, for tests that only look at it; and its output."""
    from hwcls.config.sweep_file import load_sweep

    folder = tmp_path_factory.mktemp("done")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(SWEEP, sort_keys=False))
    return start(load_sweep(folder / "tiny.yaml"), folder / "results")
