"""What counts as another version of a sweep file."""

import pytest
import yaml

from hwcls.sweep.storage.settings import changed_keys

SWEEP = """
name: s
run_cap: 4
method: tpe
metric: {name: val/accuracy, goal: maximize}
track: [wandb]
early_terminate: {type: asha}
hang_after: 600.0
parameters:
  data: {name: digits, batch_size: 64}
  model: {name: mlp, width: {values: [16, 32]}}
  optimizer: {choice: {adam: {lr: {min: 1.0e-4, max: 1.0e-2, log: true}}, sgd: {lr: 0.1}}}
  epochs: {min: 2, max: 6}
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("method: tpe", "method: bayes"),
        ("method: tpe\n", ""),
        ("metric: {name: val/accuracy, goal: maximize}\n", ""),
        ("metric: {name: val/accuracy, goal: maximize}", "metric: val/accuracy"),
        ("early_terminate: {type: asha}", "early_terminate: asha"),
        ("hang_after: 600.0", "hang_after: 10m"),
        ("hang_after: 600.0\n", ""),
        ("name: digits, batch", "name: {value: digits}, batch"),
        ("log: true", "distribution: log_uniform_values"),
        ("{min: 2, max: 6}", "{min: 2.0, max: 6, step: 1}"),
        ("{min: 2, max: 6}", "{min: 2, max: 6, q: 1}"),
        ("adam: {lr", "adam: {name: adam, lr"),
        ("run_cap: 4", "run_cap: 8"),  # may change
    ],
)
def test_other_words_for_the_same_are_no_change(old, new):
    assert old in SWEEP
    settings, again = yaml.safe_load(SWEEP), yaml.safe_load(SWEEP.replace(old, new))
    assert settings != again
    assert changed_keys(settings, again) == []
    assert changed_keys(again, settings) == []


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("method: tpe", "method: random", "method"),
        ("early_terminate: {type: asha}\n", "", "early_terminate.eta"),
        ("hang_after: 600.0\n", "seed: 1\n", "seed"),
        ("batch_size: 64", "batch_size: 65", "parameters.data.batch_size"),
        ("max: 1.0e-2", "max: 1.0e-1", "parameters.optimizer.choice.adam.lr.max"),
        ("log: true", "log: false", "parameters.optimizer.choice.adam.lr.log"),
        ("[16, 32]", "[16, 64]", "parameters.model.width.values"),
        ("sgd: {lr: 0.1}", "sgd: {name: adamw, lr: 0.1}", "parameters.optimizer.choice.sgd.name"),
        ("sgd: {lr: 0.1}", "adamw: {lr: 0.1}", "parameters.optimizer.choice.adamw.lr"),
    ],
)
def test_another_sweep_is_a_change(old, new, key):
    assert old in SWEEP
    assert key in changed_keys(yaml.safe_load(SWEEP), yaml.safe_load(SWEEP.replace(old, new)))


def test_a_file_of_another_version_is_compared_as_written():
    settings = yaml.safe_load(SWEEP)
    assert changed_keys({**settings, "unknown": 1}, settings) == ["unknown"]
    assert changed_keys({**settings, 1: 2}, settings) == ["1"]  # damaged


def test_the_name_is_that_of_the_folder():
    settings = yaml.safe_load(SWEEP)
    assert changed_keys(settings, settings | {"name": "renamed"}) == []
    model = settings["parameters"]["model"]
    other = {**settings, "parameters": {**settings["parameters"], "model": {**model, "name": "unet"}}}
    assert changed_keys(settings, other) != []
