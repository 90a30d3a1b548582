import math
from collections import Counter
from pathlib import Path

import pytest
import yaml
from optuna.distributions import FloatDistribution, IntDistribution

from hwcls.config.space import Fixed, Range, folder_label, recorded_label
from hwcls.config.sweep_file import load_sweep
from hwcls.config.trial import flatten
from hwcls.sweep.preflight.dry_run import RandomSuggest

SWEEPS = Path(__file__).parents[2] / "sweeps"
BASE = {
    "name": "t",
    "run_cap": 4,
    "parameters": {"data": "digits", "model": "mlp", "optimizer": "adam", "epochs": 3},
}


def sweep(tmp_path, changes=(), **keys):
    values = yaml.safe_load(yaml.safe_dump(BASE)) | keys
    values["parameters"] |= dict(changes)
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(values))
    return load_sweep(path)


CHOICE = {
    "optimizer": {
        "weight_decay": {"min": 1e-6, "max": 1e-2, "log": True},
        "choice": {"adam": {"lr": 0.001}, "fast": {"name": "sgd", "lr": 0.1, "momentum": {"min": 0.8, "max": 0.9}}},
    }
}


def test_the_end_of_a_range_of_steps_is_inside_it():
    found = Range("lr", ("lr",), ("lr",), low=0.1, high=0.7, log=False, step=0.1, integer=False)
    assert (found.grid()[-1], found.count()) == (0.7, 7)


@pytest.mark.parametrize(
    ("low", "high", "step", "last"), [(0.5, 0.9, 0.15, 0.8), (0.1, 0.7, 0.1, 0.7), (2, 11, 4, 10), (0.0, 1.0, 0.3, 0.9)]
)
def test_a_range_ends_at_its_last_step(tmp_path, low, high, step, last):
    """Optuna warns of another end, and never draws it."""
    given, whole = {"min": low, "max": high, "step": step}, isinstance(low, int)
    searched = {"epochs": given} if whole else {"optimizer": {"name": "adam", "weight_decay": given}}
    ((parameter, _),) = sweep(tmp_path, searched).space.parameters()
    kind = IntDistribution if whole else FloatDistribution
    assert parameter.ends() == [low, last]
    assert kind(low, parameter.ends()[-1], step=step).high == last == pytest.approx(parameter.grid()[-1])
    assert parameter.holds(last)


def test_parameters_of_a_branch_exist_only_there(tmp_path):
    checked = sweep(tmp_path, CHOICE)
    found = {p.name: under for p, under in checked.space.parameters()}
    assert found["optimizer.fast.momentum"] == {"optimizer": "fast"}
    assert found["optimizer.weight_decay"] == {}
    adam = checked.trial(Fixed({"optimizer": "adam"})).optimizer
    sgd = checked.trial(Fixed({"optimizer": "fast"})).optimizer
    assert (adam.name, adam.label, hasattr(adam, "momentum")) == ("adam", "adam", False)
    assert (sgd.name, sgd.label, sgd.momentum, sgd.weight_decay) == ("sgd", "fast", 0.8, 1e-6)


def test_a_branch_overrides_shared_entries(tmp_path):
    model = {"head": {"depth": 2, "width": 8}, "choice": {"mlp": {}, "simple_cnn": {"head": {"depth": 3}}}}
    checked = sweep(tmp_path, {"model": model})
    assert checked.trial(Fixed({"model": "mlp"})).model.head.depth == 2
    head = checked.trial(Fixed({"model": "simple_cnn"})).model.head
    assert (head.depth, head.width) == (3, 8)


def test_names_as_values_are_a_choice(tmp_path):
    checked = sweep(tmp_path, {"optimizer": {"name": {"values": ["adam", "sgd"]}, "lr": {"min": 0.1, "max": 0.2}}})
    assert checked.trial(Fixed({"optimizer": "sgd"})).optimizer.name == "sgd"


def test_the_type_of_a_field_decides_whether_a_range_is_integer(tmp_path):
    checked = sweep(
        tmp_path, {"optimizer": {"name": "adam", "lr": {"min": 1, "max": 3}}, "epochs": {"min": 2, "max": 9}}
    )
    assert {p.name: p.integer for p, _ in checked.space.parameters()} == {"epochs": True, "optimizer.lr": False}
    drawn = [checked.trial(RandomSuggest(seed, {})) for seed in range(50)]
    assert {type(t.epochs) for t in drawn} == {int}
    assert any(t.optimizer.lr != int(t.optimizer.lr) for t in drawn)


def test_log_ranges_are_uniform_in_the_exponent(tmp_path):
    checked = sweep(tmp_path, {"optimizer": {"name": "adam", "lr": {"min": 1e-4, "max": 1, "log": True}}})
    exponents = [math.log10(checked.trial(RandomSuggest(seed, {})).optimizer.lr) for seed in range(400)]
    assert -4 <= min(exponents) < -3.8
    assert -0.2 < max(exponents) <= 0
    assert abs(sum(exponents) / 400 + 2) < 0.2


def test_corners_reach_every_end_and_branch(tmp_path):
    checked = sweep(tmp_path, CHOICE)
    reached = Counter()
    for settings in checked.space.corners():
        optimizer = checked.trial(Fixed(settings)).optimizer
        reached[optimizer.label, getattr(optimizer, "momentum", None), optimizer.weight_decay] += 1
    assert {("fast", 0.8, 1e-6), ("fast", 0.9, 1e-6), ("adam", None, 1e-2)} <= reached.keys()


def test_grid_enumerates_unequal_branches(tmp_path):
    model = {"choice": {"mlp": {"width": {"values": [8, 16]}, "depth": {"min": 1, "max": 3}}, "simple_cnn": {}}}
    checked = sweep(tmp_path, {"model": model, "epochs": {"values": [1, 2]}}, method="grid", run_cap=None)
    points = checked.space.grid()
    assert len(points) == (2 * 3 + 1) * 2
    assert len({tuple(sorted(p.items())) for p in points}) == 14
    assert sum(p["model"] == "simple_cnn" for p in points) == 2


def test_lists_can_be_values(tmp_path):
    checked = sweep(tmp_path, {"data": {"name": "digits", "classes": {"values": [[0, 1], [2, 3]]}}})
    assert checked.trial(Fixed({"data.classes": "[2, 3]"})).data.classes == (2, 3)


def test_compare_by_choice_and_by_values(tmp_path):
    checked = sweep(tmp_path, CHOICE, compare="optimizer")
    assert [a.label for a in checked.alternatives] == ["adam", "fast"]
    assert checked.alternative_label({"optimizer": "fast", "optimizer.fast.momentum": 0.85}) == "fast"
    assert recorded_label(checked.trial(Fixed({"optimizer": "fast"})).to_dict(), "optimizer", None) == "fast"
    checked = sweep(
        tmp_path, {"data": {"name": "digits", "batch_size": {"values": [16, 32]}}}, compare="data.batch_size"
    )
    assert [a.label for a in checked.alternatives] == ["16", "32"]
    assert checked.alternative_label({"data.batch_size": 32}) == "32"
    assert checked.alternative_label({"optimizer.lr": 0.1}) is None
    config = checked.trial(Fixed({"data.batch_size": 32})).to_dict()
    assert recorded_label(config, "parameters.data.batch_size", None) == "32"
    assert recorded_label({"data": {}}, "data.batch_size", None) is None
    assert recorded_label({"model": {"name": "mlp", "label": None}}, "model", None) is None
    assert recorded_label({"data": {"val_part": None}}, "data.val_part", None) == "None"  # as the alternative is called


@pytest.mark.parametrize(
    ("values", "labels", "recorded"),
    [
        ([0, 0.1], ["0", "0.1"], [0.0, 0.1]),
        (["a", "b"], ["a", "b"], ["/home/me/a", "/home/me/b"]),
        (["x/a", "y/a"], ["x_a", "y_a"], ["/home/me/x/a", "/home/me/y/a"]),
        ([[0, 1], [2, 3]], ["0_1", "2_3"], [[0, 1], [2, 3]]),
    ],
)
def test_a_recorded_trial_has_the_label_of_its_alternative(tmp_path, values, labels, recorded):
    """Whatever the spelling: numbers written as integers, files whose path on record is an absolute one."""
    model = {"name": "my.py:build", "own": {"values": values}}
    checked = sweep(tmp_path, {"model": model}, compare="model.own")
    assert [one.label for one in checked.alternatives] == labels
    configs = [{"model": {"name": "/home/me/my.py:build", "own": value}} for value in recorded]
    assert [recorded_label(config, "model.own", checked.space) for config in configs] == labels
    assert recorded_label({"model": {"own": 7}}, "model.own", checked.space) == "7"  # which is dropped from the file


def test_users_own_model_takes_any_key(tmp_path):
    model = {"name": "my.py:build", "width": {"min": 1, "max": 4}, "rate": {"min": 0.5, "max": 2}, "extra": {"a": 1}}
    checked = sweep(tmp_path, {"model": model})
    drawn = checked.trial(Fixed({"model.width": 3})).model
    assert (drawn.width, drawn.rate, drawn.extra) == (3, 0.5, {"a": 1})


def test_drawn_settings_have_short_names(tmp_path):
    checked = sweep(tmp_path, CHOICE)
    settings = {"optimizer": "fast", "optimizer.fast.momentum": 0.85, "optimizer.weight_decay": 1e-3}
    assert checked.space.flat_settings(settings) == {"optimizer": "fast", "momentum": 0.85, "weight_decay": 1e-3}


def test_an_own_setting_that_is_called_as_another_has_its_full_name(tmp_path):
    model = {"name": "my.py:build", "momentum": {"values": [1, 2]}, "width": {"values": [1, 2]}}
    optimizer = {"name": "sgd", "momentum": {"min": 0.8, "max": 0.9}}
    checked = sweep(tmp_path, {"model": model, "optimizer": optimizer})
    drawn = {"model.momentum": 2, "model.width": 1, "optimizer.momentum": 0.85}
    flat = {"model.momentum": 2, "width": 1, "momentum": 0.85}
    assert checked.space.flat_settings(drawn) == flat
    config = checked.trial(Fixed(drawn)).to_dict()
    assert checked.space.recorded_settings(config) == flat
    assert flat.items() <= flatten(config).items()
    checked = sweep(tmp_path, {"model": model})  # nothing else of this name is searched
    assert checked.space.flat_settings({"model.momentum": 2}) == {"momentum": 2}


def test_a_trial_config_round_trips_through_yaml(tmp_path):
    trial = sweep(tmp_path, CHOICE).trial(Fixed({"optimizer": "fast"}))
    again = type(trial).from_dict(yaml.safe_load(yaml.safe_dump(trial.to_dict())))
    assert again == trial


@pytest.mark.parametrize("word", ["bayes", "tpe"])
def test_bayes_is_tpe(tmp_path, word):
    assert sweep(tmp_path, method=word).config.method == "tpe"


@pytest.mark.parametrize(
    ("value", "label"),
    [("..", "__"), (".", "_"), ("", "_"), ("../a", ".._a"), ([64, 32], "64_32"), (0.5, "0.5"), ("é ü", "é_ü")],
)
def test_a_label_is_the_name_of_a_folder(value, label):
    assert folder_label(value) == label


class Drawn(Fixed):
    """Remembers what it suggested, as an Optuna trial does."""

    def __init__(self, values):
        super().__init__(values)
        self.seen = {}

    def suggest_categorical(self, name, choices):
        return self.seen.setdefault(name, super().suggest_categorical(name, choices))

    def suggest_float(self, name, low, high, *, step, log):
        return self.seen.setdefault(name, super().suggest_float(name, low, high, step=step, log=log))

    def suggest_int(self, name, low, high, *, step, log):
        return self.seen.setdefault(name, super().suggest_int(name, low, high, step=step, log=log))


@pytest.mark.parametrize("file", sorted(SWEEPS.glob("*.yaml")), ids=lambda file: file.stem)
def test_a_recorded_trial_tells_what_it_drew(file):
    sweep = load_sweep(file)
    for settings in sweep.space.corners():
        drawn = Drawn(settings)
        config = yaml.safe_load(yaml.safe_dump(sweep.trial(drawn).to_dict()))
        assert sweep.space.recorded_settings(config) == sweep.space.flat_settings(drawn.seen)


def test_a_damaged_record_tells_what_is_intact():
    space = load_sweep(SWEEPS / "quickstart.yaml").space
    assert space.recorded_settings({}) == {}
    assert space.recorded_settings({"data": 3, "model": None, "optimizer": {"weight_decay": 0.01}}) == {
        "weight_decay": 0.01
    }
