"""results/<sweep>/best/: complete or absent, current, and enough for predictions on a machine that has nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.numpy import save_file
from typer.testing import CliRunner

from hwcls import files
from hwcls.errors import UserError
from hwcls.results.best.folder import update_best
from hwcls.tracking.folders import SweepFolder

ROOT = Path(__file__).parents[3]
MODEL = """
from torch import nn
from helper import WIDTH

def build(classes, channels, image_size):
    features = channels * image_size**2
    return nn.Sequential(nn.Flatten(), nn.Linear(features, WIDTH), nn.ReLU(), nn.Linear(WIDTH, classes))
"""
SWEEP = {
    "run_cap": 2,
    "track": [],
    "compare": "model",
    "parameters": {
        "data": {"name": "imagefolder", "path": "photos", "batch_size": 8, "image_size": 8},
        "model": {
            "choice": {"own": {"name": "net.py:build"}, "cnn": {"name": "simple_cnn", "width": 4, "head": {"width": 4}}}
        },
        "optimizer": {"name": "adam", "lr": 0.01},
        "epochs": 1,
    },
}


def invoke(*words):
    from hwcls.cli.main import app

    return CliRunner().invoke(app, list(map(str, words)))


def write_photos(folder, rng):
    for split, count in (("train", 12), ("test", 4)):
        for place, name in enumerate(("cat", "dog")):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 128, (12, 10, 3)) + 100 * place
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{number}.png")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The results of a sweep of photos, trained without Ray: trial 0 has an own model, trial 1 a built-in one."""
    from hwcls.config.space import Fixed
    from hwcls.config.sweep_file import load_sweep
    from hwcls.sweep.preflight.prepare import prepare
    from hwcls.sweep.storage.user_code import with_copied_source
    from hwcls.training.local import train

    root = tmp_path_factory.mktemp("elsewhere")
    write_photos(root / "photos", np.random.default_rng(0))
    (root / "helper.py").write_text("WIDTH = 4\n")
    (root / "net.py").write_text(MODEL)
    (root / "photos.yaml").write_text(yaml.safe_dump(SWEEP).replace("path: photos", f"path: {root}/photos"))
    sweep = load_sweep(root / "photos.yaml")
    results = root / "results/photos"
    sources = prepare(sweep, results).sources
    for number, label in enumerate(("own", "cnn")):
        config = with_copied_source(sweep.trial(Fixed({"model": label})), sources)
        train(config, results / f"trials/{number}", lambda line: None)
    (results / "sweep.yaml").write_text(yaml.safe_dump(sweep.resolved()))
    return results


@pytest.fixture
def sweep(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "photos")
    return SweepFolder(tmp_path / "photos")


def lead(sweep, number):
    """Make a trial the best on validation."""
    for other, trial in sweep.trials().items():
        value = {"epoch": 1, "val/accuracy": 0.9 if other == number else 0.5}
        result = json.loads((trial.path / "result.json").read_text())
        files.write_json(trial.path / "result.json", result | {"best": result["best"] | value})


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def about(sweep):
    return json.loads((sweep.path / "best/best.json").read_text())


def test_what_it_holds_and_says(sweep):
    lead(sweep, 1)
    update_best(sweep.path)
    found = content(sweep.path / "best")
    assert set(found) == {"best.json", "best.safetensors", "config.yaml", "preprocessing.json"}
    assert found["best.safetensors"] == (sweep.trial(1).path / "best.safetensors").read_bytes()
    assert sweep.best.config() == sweep.trial(1).config()
    recorded = about(sweep)
    assert (recorded["sweep"], recorded["run"], recorded["trial"], recorded["seed"]) == ("photos", "trials/1", 1, 0)
    assert recorded["label"] == "cnn"
    assert recorded["trained_on"] == "all training images"
    assert recorded["classes"] == ["cat", "dog"]
    assert recorded["scores"]["val/accuracy"] == 0.9
    assert recorded["why"] == "trial 1 (cnn), the best on validation: val/accuracy 0.9, not confirmed on test"
    assert recorded["weights"]["sha256"] == hashlib.sha256(found["best.safetensors"]).hexdigest()
    assert set(recorded["files"]) == set(found) - {"best.json"}


def test_the_preprocessing_is_what_export_writes(sweep, tmp_path):
    lead(sweep, 1)
    update_best(sweep.path)
    done = invoke("export", sweep.path, "--format", "torch", "--out", tmp_path / "model.pt2", "--json")
    assert done.exit_code == 0, done.output
    exported = json.loads(done.stdout)
    assert json.loads((sweep.path / "best/preprocessing.json").read_text()) == exported["preprocessing"]
    assert exported["preprocessing"]["steps"][0]["step"] == "decode"


@pytest.mark.parametrize("number", [0, 1])
def test_alone_on_an_empty_machine_it_predicts_the_same(sweep, tmp_path, number):
    """No data, no cache, no sweep, another working folder; own code runs once it is trusted."""
    lead(sweep, number)
    update_best(sweep.path)
    image = tmp_path / "new.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (9, 14, 3), dtype=np.uint8)).save(image)
    before = invoke("predict", sweep.path, image, "--json", "--top", "2")
    assert before.exit_code == 0, before.output
    (tmp_path / "machine/home").mkdir(parents=True)
    shutil.move(sweep.path / "best", tmp_path / "machine/pets")
    shutil.rmtree(sweep.path)
    own = ("PATH", "PYTHONPATH", "OMP_NUM_THREADS", "LANG")
    kept = {name: os.environ[name] for name in own if name in os.environ} | {"PYTHONPATH": str(ROOT)}
    alone = kept | {"HOME": str(tmp_path / "machine/home"), "HWCLS_CACHE": str(tmp_path / "machine/home/cache")}

    def there(*words):
        command = [sys.executable, "-m", "hwcls", *words]
        return subprocess.run(command, cwd=tmp_path / "machine", env=alone, capture_output=True, text=True)

    words = ("predict", "pets", str(image), "--json", "--top", "2")
    if number == 0:
        refused = there(*words)
        assert refused.returncode == 2
        assert "build() of this file and helper.py" in refused.stderr
        words += ("--trust-code",)
    done = there(*words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(before.stdout)
    assert done.stderr.splitlines() == [
        f"model: trial {number} ({'own' if number == 0 else 'cnn'}), the best on validation:"
        " val/accuracy 0.9, not confirmed on test"
    ]


def test_alone_it_is_exported(sweep, tmp_path, monkeypatch):
    lead(sweep, 0)
    update_best(sweep.path)
    shutil.move(sweep.path / "best", tmp_path / "pets")
    shutil.rmtree(sweep.path)
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    config = tmp_path / "pets/config.yaml"
    config.write_text(config.read_text().replace("photos", "gone"))  # the data is not there
    done = invoke("export", tmp_path / "pets", "--format", "torch", "--out", tmp_path / "model.pt2", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["classes"] == ["cat", "dog"]


def test_it_follows_the_winner_and_is_left_alone_where_nothing_changed(sweep):
    lead(sweep, 1)
    update_best(sweep.path)
    first = (sweep.path / "best").stat().st_ino
    update_best(sweep.path)
    assert (sweep.path / "best").stat().st_ino == first
    lead(sweep, 0)
    update_best(sweep.path)
    assert about(sweep)["run"] == "trials/0"
    names = {name for name in content(sweep.path / "best") if name.startswith("source/")}
    assert {Path(name).name for name in names} == {"net.py", "helper.py"}
    lead(sweep, 1)
    update_best(sweep.path)
    assert not (sweep.path / "best/source").exists(), "nothing of the former winner stays"
    assert [path.name for path in sweep.path.iterdir() if path.name.endswith(".tmp")] == []


@pytest.mark.parametrize("name", ["best.json", "best.safetensors", "config.yaml", "preprocessing.json"])
@pytest.mark.parametrize("how", ["missing", "truncated"])
def test_an_incomplete_one_is_written_again(sweep, name, how):
    update_best(sweep.path)
    complete, path = content(sweep.path / "best"), sweep.path / "best" / name
    path.unlink() if how == "missing" else path.write_bytes(path.read_bytes()[:-9])
    update_best(sweep.path)
    assert content(sweep.path / "best") == complete


def test_without_weights_there_is_none_and_the_last_ones_stay(sweep):
    lead(sweep, 1)
    update_best(sweep.path)
    for trial in sweep.trials().values():
        (trial.path / "best.safetensors").unlink()
    update_best(sweep.path)
    assert about(sweep)["run"] == "trials/1", "they are the only ones left"
    done = invoke("evaluate", sweep.path, "--json")
    assert json.loads(done.stdout)["trial"] == str(sweep.path / "best")
    lead(sweep, 0)
    update_best(sweep.path)
    assert about(sweep)["run"] == "trials/1", "of those whose weights were kept"
    shutil.rmtree(sweep.path / "best")
    update_best(sweep.path)
    assert not (sweep.path / "best").exists()
    done = invoke("predict", sweep.path, ROOT / "docs/report.png")
    assert done.exit_code == 2
    assert "no weights were kept" in done.stderr


def test_weights_that_say_nothing_of_their_inputs_make_no_handle(sweep):
    lead(sweep, 1)
    weights = sweep.trial(1).path / "best.safetensors"
    save_file({"w": np.zeros(1, np.float32)}, weights, {"hwcls": "{}"})
    with pytest.raises(UserError, match=r"trials/1/best.safetensors: does not say what its inputs are"):
        update_best(sweep.path)
    assert not (sweep.path / "best").exists()


def test_a_sweep_ends_as_it_would_where_best_cannot_be_written(sweep, monkeypatch, caplog):
    from hwcls.sweep import driver

    def fails(error):
        def update(path):
            raise error

        return update

    for error in (UserError("is damaged"), PermissionError(13, "Permission denied", "best")):
        monkeypatch.setattr(driver, "update_best", fails(error))
        driver._update_best(sweep)
    assert [record.getMessage()[:20] for record in caplog.records] == ["best/ was not written"[:20]] * 2
    monkeypatch.setattr(driver, "update_best", fails(OSError(28, "No space left on device", "best")))
    with pytest.raises(OSError, match="No space left"):
        driver._update_best(sweep)


def test_files_of_others_are_not_replaced(sweep):
    (sweep.path / "best").mkdir()
    (sweep.path / "best/notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"best: holds files that hwcls did not write — move it away"):
        update_best(sweep.path)
    assert (sweep.path / "best/notes.txt").read_text() == "mine"


class Killed(BaseException):
    """The process ends here."""


def kill_after(monkeypatch, count):
    """Let so many changes of the file system happen; what follows the next one, a removal too, does not happen."""
    left = iter(range(count))

    def dying(real):
        def step(*arguments, **options):
            if next(left, None) is None:
                raise Killed
            return real(*arguments, **options)

        return step

    for owner, name in ((os, "rename"), (files, "_exchange"), (shutil, "copyfile"), (Path, "write_bytes")):
        monkeypatch.setattr(owner, name, dying(getattr(owner, name)))
    monkeypatch.setattr(files, "remove", lambda path: None)


@pytest.mark.parametrize("exchanged", [True, False])
def test_whenever_it_is_killed_the_old_or_the_new_one_is_there(sweep, monkeypatch, exchanged):
    if not exchanged:  # as where the system cannot
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    lead(sweep, 1)
    update_best(sweep.path)
    old, seen, intact = content(sweep.path / "best"), [], sweep.path.parent / "intact"
    lead(sweep, 0)
    shutil.copytree(sweep.path, intact)
    for count in range(20):
        shutil.rmtree(sweep.path)
        shutil.copytree(intact, sweep.path)
        with monkeypatch.context() as patch:
            kill_after(patch, count)
            try:
                update_best(sweep.path)
                ended = True
            except Killed:
                ended = False
        found = content(sweep.path / "best")
        update_best(sweep.path)  # the next start
        new = content(sweep.path / "best")
        assert (about(sweep)["run"], list(sweep.path.glob(".best*"))) == ("trials/0", [])
        seen.append("old" if found == old else "new" if found == new else "none")
        assert found in (old, new, {})
        if ended:
            break
    assert ended
    assert seen[:6] == ["old"] * 6
    assert seen[-1] == "new"
    assert ("none" in seen) is not exchanged


def test_a_copy_in_part_is_named_in_one_line(sweep):
    update_best(sweep.path)
    other = next(t for t in sweep.trials().values() if str(t.path.name) != about(sweep)["run"][-1])
    shutil.copyfile(other.path / "best.safetensors", sweep.path / "best/best.safetensors")
    (sweep.path / "best/config.yaml").write_bytes((other.path / "config.yaml").read_bytes())
    done = invoke("predict", sweep.path / "best", ROOT / "docs/report.png")
    assert done.exit_code == 2
    assert "is not the file that best.json describes — copy the whole folder again" in done.stderr


def test_reads_of_test_are_counted_in_the_sweep(sweep):
    update_best(sweep.path)
    assert invoke("evaluate", sweep.path / "best", "--split", "test").exit_code == 0
    done = invoke("evaluate", sweep.path, "--split", "test")
    assert "test has now been read 2 times outside confirm" in done.stderr
    assert not (sweep.path / "best/test_reads.jsonl").exists()
    assert list(sweep.trials()) == [0, 1], "it is no trial"
