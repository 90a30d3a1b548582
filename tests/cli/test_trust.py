"""Model code of another origin runs only after --trust-code: every command that would build a model."""

import json
import os
import shutil
import stat
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

MODEL = """
from pathlib import Path
from torch import nn
from helper import WIDTH

Path({mark!r}).touch()

def build(classes, channels, image_size):
    features = channels * image_size**2
    return nn.Sequential(nn.Flatten(), nn.Linear(features, WIDTH), nn.ReLU(), nn.Linear(WIDTH, classes))
"""
SWEEP = {
    "run_cap": 1,
    "track": [],
    "parameters": {
        "data": {"name": "digits", "batch_size": 64, "per_class": 20},
        "model": {"name": "net.py:build"},
        "optimizer": {"name": "adam", "lr": 0.01},
        "epochs": 1,
    },
}


def invoke(*words):
    from hwcls.cli.main import app

    return CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The results of a sweep with an own model, as another machine makes them, and the file that its code makes."""
    from hwcls.config.sweep_file import load_sweep
    from hwcls.results.best.folder import update_best
    from hwcls.sweep.preflight.prepare import prepare
    from hwcls.sweep.storage.user_code import with_copied_source
    from hwcls.training.local import train

    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "helper.py").write_text("WIDTH = 8\n")
    (folder / "net.py").write_text(MODEL.format(mark=str(folder / "it_ran")))
    (folder / "mine.yaml").write_text(yaml.safe_dump(SWEEP))
    sweep = load_sweep(folder / "mine.yaml")
    results = folder / "results/mine"
    (config,) = [with_copied_source(trial, prepare(sweep, results).sources) for trial in sweep.corners]
    train(config, results / "trials/0", lambda line: None)
    (results / "sweep.yaml").write_text(yaml.safe_dump(sweep.resolved()))
    update_best(results)
    return results, folder / "it_ran"


@pytest.fixture
def foreign(trained, tmp_path, monkeypatch):
    """These results on a machine that knows nothing of them, without the files that made them."""
    results, mark = trained
    shutil.copytree(results, tmp_path / "got")
    config = tmp_path / "got/trials/0/config.yaml"
    config.write_text(config.read_text().replace(str(results), "/old/place"))
    mark.unlink(missing_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HWCLS_TRUSTED_CODE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "got", mark


DOORS = [
    "evaluate got/trials/0",
    "evaluate got",
    "predict got/best picture.png",
    "train got/best --out again",
    "predict got/trials/0 picture.png",
    "export got/trials/0 --format torch --out model.pt2",
    "train got/trials/0/config.yaml --out again",
    "check got/trials/0 --steps 2",
    "profile got/trials/0 --steps 1",
    "models got/trials/0",
    "models got",
    "models got/sweep.yaml",
    "profile got/sweep.yaml --steps 1",
    "sweep got/sweep.yaml --results other --dry-run --no-probe",
]


@pytest.mark.parametrize("words", DOORS)
def test_code_from_elsewhere_runs_only_when_trusted(foreign, words):
    from PIL import Image

    _, mark = foreign
    Image.new("L", (8, 8)).save("picture.png")
    done = invoke(*words.split())
    text = done.stderr if done.exit_code == 2 else done.output
    assert done.exit_code == (1 if words.startswith("check") else 2), done.output
    assert "net.py" in text or "got/sweep.yaml:" in text
    assert "build() of this file and helper.py" in text
    assert "--trust-code once" in text
    assert not mark.exists(), "it has run"


@pytest.mark.parametrize("words", ["confirm got --add-seeds 2", "sweep got/sweep.yaml --results . --set run_cap=2"])
def test_a_sweep_from_elsewhere_goes_on_only_when_its_code_is_trusted(foreign, monkeypatch, words):
    from contextlib import contextmanager

    from hwcls.sweep import driver
    from hwcls.sweep.cluster.resources import this_machine

    @contextmanager
    def connected(address):
        yield this_machine()

    results, mark = foreign
    sweep = yaml.safe_load((results / "sweep.yaml").read_text())
    (results / "sweep.yaml").write_text(yaml.safe_dump({**sweep, "name": "got"}))
    monkeypatch.setattr(driver, "connected", connected)  # Ray need not run
    done = invoke(*words.split(), "--quiet")
    assert done.exit_code == 2, done.output
    assert "build() of this file and helper.py" in done.stderr
    assert "--trust-code once" in done.stderr
    assert not mark.exists(), "it has run"
    assert (results / "trials/0/config.yaml").exists()


def test_once_is_enough(foreign):
    results, mark = foreign
    assert invoke("evaluate", results / "trials/0").exit_code == 2
    done = invoke("evaluate", results / "trials/0", "--trust-code", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["images"] > 0
    assert mark.exists()
    os.environ.pop("HWCLS_TRUSTED_CODE")  # the next command is a process of its own
    assert invoke("evaluate", results / "trials/0").exit_code == 0
    (state,) = Path("state").rglob("trusted_code")
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("change", ["net.py", "helper.py", "helper/__init__.py", "torchvision.py", "__pycache__"])
def test_other_code_needs_trust_again_or_does_not_run(foreign, change):
    """Also what Python would import in place of the code that is trusted."""
    results, mark = foreign
    assert invoke("models", results / "trials/0", "--trust-code").exit_code == 0
    os.environ.pop("HWCLS_TRUSTED_CODE")
    mark.unlink()
    (source,) = results.glob("source/net-*")
    evil = f"from pathlib import Path\nPath({str(mark)!r} + '_evil').touch()\nWIDTH = 8\n"
    if change == "__pycache__":
        import importlib.util
        import py_compile

        stamp = (source / "helper.py").stat()
        (source / "evil.py").write_text(evil[: stamp.st_size] if len(evil) < stamp.st_size else evil)
        cached = importlib.util.cache_from_source(str(source / "helper.py"))
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(source / "evil.py"), cached, invalidation_mode=mode)
        (source / "evil.py").unlink()
    else:
        (source / change).parent.mkdir(exist_ok=True)
        (source / change).write_text(evil)
    done = invoke("models", results / "trials/0")
    assert done.exit_code == (2 if change in ("net.py", "helper.py") else 0), done.output
    assert not Path(f"{mark}_evil").exists(), "it has run"


def test_the_copy_in_best_has_code_of_its_own(foreign):
    """Trust of a trial's code holds for its copy in best/, and ends where that copy was changed."""
    results, _ = foreign
    assert invoke("evaluate", results / "trials/0", "--trust-code").exit_code == 0
    os.environ.pop("HWCLS_TRUSTED_CODE")
    assert invoke("evaluate", results / "best").exit_code == 0
    (helper,) = results.glob("best/source/net-*/helper.py")
    helper.write_text("WIDTH = 8  # changed\n")
    done = invoke("evaluate", results / "best")
    assert done.exit_code == 2
    assert "best/source/net-" in done.stderr
    assert invoke("evaluate", results / "trials/0").exit_code == 0


def test_the_start_of_a_sweep_makes_its_code_trusted(foreign, trained, monkeypatch):
    from hwcls.config.sweep_file import load_sweep
    from hwcls.models.user.code import accept_named

    file = trained[0].parents[1] / "mine.yaml"
    accept_named((trial.model for trial in load_sweep(file).corners), file, remember=True)
    os.environ.pop("HWCLS_TRUSTED_CODE")
    assert invoke("evaluate", foreign[0] / "trials/0").exit_code == 0, "moved results use the copy that they hold"


def test_a_state_folder_that_cannot_be_written(foreign, monkeypatch):
    Path("state").write_text("a file")
    assert invoke("evaluate", foreign[0] / "trials/0", "--trust-code").exit_code == 0


def test_a_path_in_the_record_trusts_nothing(foreign, tmp_path):
    from hwcls.models.user import trust

    trust.remember("0" * 64, f"/tmp/{'1' * 64}\n{'2' * 64}")
    os.environ.pop("HWCLS_TRUSTED_CODE")
    assert trust._remembered() == {"0" * 64}
