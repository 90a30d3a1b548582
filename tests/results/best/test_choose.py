"""Which run's weights stand for a sweep, and what the commands say of it."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import typer
from safetensors.numpy import save_file

from hwcls.cli.choose_run import choose_config
from hwcls.cli.main import app
from hwcls.errors import UserError
from hwcls.results.best.choose import choose_best, choose_repeated
from hwcls.results.load import load_results

TEST = {0: 0.90, 1: 0.97, 2: 0.92, 3: 0.89, 4: 0.93}  # by the winner's seed; their mean is 0.922


def keep(*folders):
    """Give runs a weights file."""
    for folder in folders:
        save_file({"w": np.zeros(1, np.float32)}, folder / "best.safetensors", {"hwcls": "{}"})


def score(folder, value):
    """Change the accuracy on test of a confirm run."""
    path = folder / "result.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps(result | {"test": {"test/accuracy": value}}))


@pytest.fixture
def sweep(results, tmp_path):
    """One whose winner is trial 1 of cnn, with every confirm run's weights."""
    found = results.overtaken(tmp_path)
    for (label, seed), run in found.confirm_runs().items():
        if label == "cnn" and seed < 1_000_000_000:
            score(run.path, TEST[seed % 10])
        keep(run.path)
    return found


def seeds(sweep):
    return sorted(seed for label, seed in sweep.confirm_runs() if label == "cnn" and seed < 1_000_000_000)


def test_it_is_the_seed_nearest_to_the_mean_and_not_the_luckiest(sweep):
    best, seed = choose_best(load_results(sweep.path)), seeds(sweep)[2]
    assert (best.key, best.weights) == (f"confirm/cnn/{seed}", sweep.confirm_run("cnn", seed).path)
    assert (best.label, best.run.number, best.seed, best.seeds) == ("cnn", 1, seed, 5)
    assert best.test == {"test/accuracy": 0.92}
    assert best.mean == {"test/accuracy": pytest.approx(0.922)}
    assert best.why == (f"trial 1 (cnn), seed {seed} (nearest to the mean of 5 seeds), accuracy on test 92.2 %")


def test_of_two_seeds_it_is_not_the_luckier_one(results, tmp_path):
    found = results.full(tmp_path)
    results.confirm(found, "resnet", 0.9, seeds=2, trial=4)
    keep(*(run.path for run in found.confirm_runs().values()))
    for (_, seed), run in found.confirm_runs().items():
        score(run.path, 0.9 if seed % 2 else 0.8)
    assert choose_best(load_results(tmp_path)).test == {"test/accuracy": 0.8}


def test_without_its_weights_it_is_the_next_nearest_and_at_last_the_trial_of_the_search(sweep):
    order = [seeds(sweep)[place] for place in (2, 4, 0, 3, 1)]
    for gone, next_one in pairwise(order):
        (sweep.confirm_run("cnn", gone).path / "best.safetensors").unlink()
        best = choose_best(load_results(sweep.path))
        assert best.key == f"confirm/cnn/{next_one}"
        assert best.mean == {"test/accuracy": pytest.approx(0.922)}, "it is that of all seeds"
        assert "(nearest to the mean of 5 seeds, of those whose weights were kept), " in best.why
    (sweep.confirm_run("cnn", order[-1]).path / "best.safetensors").unlink()
    assert choose_best(load_results(sweep.path)).weights is None
    assert choose_best(load_results(sweep.path)).key == f"confirm/cnn/{order[0]}"
    keep(sweep.trial(1).path)
    best = choose_best(load_results(sweep.path))
    assert (best.key, best.seed, best.test) == ("trials/1", None, {})
    assert (
        "the confirmed winner, as the search trained it, of those whose weights were kept: val/accuracy 0.95"
        in best.why
    )


def test_a_damaged_file_counts_as_not_kept_and_is_named(sweep, caplog):
    nearest = sweep.confirm_run("cnn", seeds(sweep)[2]).path / "best.safetensors"
    nearest.write_bytes(nearest.read_bytes()[:-2])
    assert choose_best(load_results(sweep.path)).seed == seeds(sweep)[4]
    assert [str(nearest) in record.getMessage() for record in caplog.records] == [True]


def test_before_it_is_confirmed_it_is_the_best_on_validation_that_has_weights(results, tmp_path):
    found = results.full(tmp_path)
    assert choose_best(load_results(tmp_path)).weights is None
    keep(found.trial(0).path, found.trial(1).path)
    best = choose_best(load_results(tmp_path))
    assert (best.key, best.weights) == ("trials/1", tmp_path / "trials/1")
    assert best.why == "trial 1 (mlp), the best on validation: val/accuracy 0.9, not confirmed on test"
    (tmp_path / "trials/1/best.safetensors").unlink()
    best = choose_best(load_results(tmp_path))
    assert best.key == "trials/0"
    assert "the best on validation, of those whose weights were kept: " in best.why
    assert choose_repeated(load_results(tmp_path)).key == "trials/1", "a config is enough to train"


def test_without_a_value_there_is_none(results, tmp_path):
    results.sweep(tmp_path / "empty")
    assert choose_best(load_results(tmp_path / "empty")) is None
    with pytest.raises(UserError, match="no trial has a value yet"):
        choose_config(tmp_path / "empty")


@pytest.mark.parametrize("command", ["predict", "evaluate", "export", "inspect"])
def test_a_command_says_which_it_takes_but_not_while_the_shell_completes_it(sweep, capsys, command):
    words = [str(sweep.path), *(["image.png"] if command == "predict" else [])]
    folder = sweep.confirm_run("cnn", seeds(sweep)[2]).path
    of = typer.main.get_command(app).commands[command]
    assert of.make_context(command, list(words)).params["trial"] == folder
    assert capsys.readouterr().err.splitlines() == [f"model: {choose_best(load_results(sweep.path)).why}"]
    of.make_context(command, list(words), resilient_parsing=True)
    assert capsys.readouterr().err == ""


def test_training_takes_the_config_of_that_seed(sweep, capsys):
    folder = sweep.confirm_run("cnn", seeds(sweep)[2]).path
    (folder / "best.safetensors").unlink()
    assert choose_config(sweep.path) == folder / "config.yaml"
    assert capsys.readouterr().err.startswith(f"model: trial 1 (cnn), seed {folder.name} (nearest")
    assert choose_config(sweep.trial(9).path) == sweep.trial(9).path / "config.yaml"
    assert choose_config(sweep.path / "sweep.yaml") == sweep.path / "sweep.yaml", "a file is itself"
    with pytest.raises(UserError, match="holds neither a trial nor a sweep"):
        choose_config(sweep.path / "confirm")
