import re

import pytest
import yaml

from hwcls.config.space import Range
from hwcls.config.sweep_file import load_sweep
from hwcls.results.load import load_results
from hwcls.results.settings.range_hints import _wider, suggest_ranges
from tests.results.conftest import write_sweep, write_trial

LR = {"min": 1e-3, "max": 1e-1, "log": True}
PARAMETERS = {
    "data": {"name": "digits"},
    "model": {"choice": {"resnet": {"name": "mlp"}, "plain": {"name": "mlp"}}},
    "optimizer": {"choice": {"sgd": {"lr": LR, "momentum": {"min": 0.5, "max": 0.95}}}},
    "epochs": 3,
}


@pytest.fixture
def folder(tmp_path):
    return write_sweep(tmp_path / "tiny", parameters=PARAMETERS, run_cap=40)


def searched(folder, draw, count=12, label="resnet"):
    """Trials whose accuracy grows with their number; `draw(number)` says what was drawn."""
    for number in range(count):
        trial = folder.trial(len(folder.trials()))
        parameters = {"model": label, "optimizer": "sgd", **draw(number)}
        write_trial(trial, [0.5 + number / 100], label=label, parameters=parameters)
        values = yaml.safe_load((trial.path / "config.yaml").read_text())
        values["optimizer"] = {"name": "sgd", "label": "sgd", "lr": 0.1, "momentum": 0.9}
        (trial.path / "config.yaml").write_text(yaml.safe_dump(values))


def test_the_upper_end_of_a_range_with_the_yaml_to_paste(folder, tmp_path):
    searched(folder, lambda number: {"lr": 0.008 * (number + 1), "momentum": 0.7})
    (hint,) = suggest_ranges(load_results(folder.path))
    assert "the best 3 trials of resnet have lr at the upper end of its range (0.001 to 0.1)" in hint
    text = (folder.path / "sweep.yaml").read_text()
    (pasted,) = re.findall("`(.+)`", hint)
    assert yaml.safe_load(pasted) == {"lr": {"min": 0.001, "max": 1.0, "log": True}}
    old = re.search(r" lr:\n(?: +(?:min|max|log):.*\n)+", text)
    (folder.path / "pasted.yaml").write_text(text.replace(old[0], f" {pasted}\n"))
    (passed,) = re.findall("--set '(.+)'", hint)
    for wider in (load_sweep(folder.path / "pasted.yaml"), load_sweep(folder.path / "sweep.yaml", sets=[passed])):
        assert [p.high for p, _ in wider.space.parameters() if p.name.endswith("lr")] == [1.0]


def test_a_label_with_a_dot_is_in_no_option(tmp_path):
    """--set would read it as two keys."""
    choice = {"cnn.v2": {"name": "mlp", "width": {"min": 64, "max": 128}}, "plain": {"name": "mlp"}}
    folder = write_sweep(tmp_path / "tiny", parameters={**PARAMETERS, "model": {"choice": choice}}, run_cap=40)
    searched(folder, lambda number: {"width": 128, "momentum": 0.7}, label="cnn.v2")
    (hint,) = suggest_ranges(load_results(folder.path))
    assert hint.endswith("To search there, write `width: {min: 64, max: 200}` instead")


def test_the_lower_end(folder):
    searched(folder, lambda number: {"lr": 0.001 * (1 + 0.1 * (12 - number)), "momentum": 0.7})
    (hint,) = suggest_ranges(load_results(folder.path))
    assert "lower end" in hint
    assert "{min: 0.0001, max: 0.1, log: true}" in hint


@pytest.mark.parametrize(
    ("low", "high", "wider"),
    [(100, 120, {"min": 100, "max": 130}), (96, 104, {"min": 96, "max": 110}), (0.9, 0.92, {"min": 0.9, "max": 0.93})],
)
def test_a_narrow_range_becomes_wider(low, high, wider):
    whole = isinstance(low, int)
    parameter = Range("x", ("x",), ("x",), low, high, log=False, step=None, integer=whole)
    assert _wider(parameter, upper=True) == wider
    below = _wider(parameter, upper=False)
    assert below["min"] < low
    assert below["max"] == high


@pytest.mark.parametrize(("low", "wider"), [(1, 1), (2, 1), (8, 3)])
def test_an_integer_range_on_a_log_scale_begins_at_1_or_above(tmp_path, low, wider):
    parameter = Range("x", ("x",), ("x",), low, 64, log=True, step=None, integer=True)
    assert _wider(parameter, upper=False) == {"min": wider, "max": 64, "log": True}
    body = {"name": "mlp", "width": {"min": low, "max": 64, "log": True}}
    model = {"choice": {"resnet": body, "plain": {"name": "mlp"}}}
    folder = write_sweep(tmp_path / "tiny", parameters={**PARAMETERS, "model": model}, run_cap=40)
    searched(folder, lambda number: {"width": low, "momentum": 0.7})
    hints = suggest_ranges(load_results(folder.path))
    assert [f"{{min: {wider}, max: 64" in hint for hint in hints] == ([] if low == 1 else [True])


@pytest.mark.parametrize(
    "draw",
    [
        lambda number: {"lr": 0.01, "momentum": 0.7},  # in the middle
        lambda number: {"lr": [0.001, 0.1][number % 2], "momentum": 0.7},  # at both ends
        lambda number: {"lr": 0.01, "momentum": 0.949},  # beyond the end nothing can be
        lambda number: {},
    ],
)
def test_no_hint(folder, draw):
    searched(folder, draw)
    assert suggest_ranges(load_results(folder.path)) == []


def test_few_trials_give_no_hint(folder):
    searched(folder, lambda number: {"lr": 0.099, "momentum": 0.7}, count=8)
    assert suggest_ranges(load_results(folder.path)) == []


def test_a_sweep_file_that_cannot_be_read_has_no_hints(folder):
    searched(folder, lambda number: {"lr": 0.099})
    values = yaml.safe_load((folder.path / "sweep.yaml").read_text())
    (folder.path / "sweep.yaml").write_text(yaml.safe_dump(values | {"methud": 1}))
    assert suggest_ranges(load_results(folder.path)) == []


def test_a_range_of_another_branch_is_not_meant(tmp_path):
    """adamw's best learning rate lies at the lower end of sgd's range, and sgd's weight decay may be 0."""
    choice = {
        "adamw": {"lr": {"min": 1e-4, "max": 1e-2, "log": True}, "weight_decay": {"values": [0.0, 1e-4]}},
        "sgd": {"lr": LR, "momentum": 0.9, "weight_decay": {"min": 1e-6, "max": 1e-2, "log": True}},
    }
    folder = write_sweep(
        tmp_path / "tiny", parameters={**PARAMETERS, "optimizer": {"choice": choice}}, run_cap=40, compare=None
    )
    searched(folder, lambda number: {"optimizer": "adamw", "lr": 1.2e-3, "weight_decay": 0.0})
    assert suggest_ranges(load_results(folder.path)) == []
