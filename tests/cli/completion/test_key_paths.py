"""The entries of a sweep file that --set may change, by the schema and by the file."""

import pytest
import yaml

from hwcls.cli.completion.key_paths import DATA_SECTION, SWEEP, Entry, complete_setting
from hwcls.config.sweep_file import load_sweep

# keys of which some values need others beside them
ALONE = ("run_cap", "method", "share", "compare", "keep", "early_terminate", "metric")


@pytest.fixture
def complete(here):
    """The completions that a shell would keep, by the sweep file."""
    file = Entry(raw=yaml.safe_load((here / "photos.yaml").read_text()))

    def complete(incomplete, root=file):
        return [found for found in complete_setting(root, incomplete) if found.startswith(incomplete)]

    return complete


@pytest.fixture
def keys(complete):
    """The same without what was typed."""

    def keys(incomplete, *root):
        return [found.removeprefix(incomplete) for found in complete(incomplete, *root)]

    return keys


def test_sections_and_values_at_the_top(complete, keys):
    assert complete("con") == ["confirm.", "confirm="]
    assert complete("max") == ["max_restarts=", "max_restarts=2"]
    assert complete("run_cap") == ["run_cap=", "run_cap=null", "run_cap=12"]  # as in the file
    assert not any(found.startswith(("presets", "label")) for found in complete(""))
    assert keys("resources.") == ["workers=", "gpus_per_worker=", "cpus_per_worker=", "concurrent="]


def test_names_that_a_registry_has(keys):
    assert {"auto", "tpe", "grid"} <= set(keys("method="))
    assert {"[wandb]", "[tensorboard]"} <= set(keys("track="))
    assert {"asha", "hyperband", "median", "null"} <= set(keys("early_terminate="))
    assert {"asha", "hyperband", "median"} <= set(keys("early_terminate.type="))
    assert keys("metric=") == ["val/accuracy", "val/macro_f1", "val/loss"]
    assert keys("parameters.scheduler=") == ["constant", "plateau", "cosine", "one_cycle"]


def test_the_file_says_which_settings_there_are(keys):
    assert keys("parameters.optimizer.") == ["name=", "lr.", "lr=", "weight_decay=", "momentum=", "nesterov="]
    assert keys("parameters.optimizer.lr.") == ["min=", "max=", "log="]
    assert keys("parameters.scheduler.") == ["name=", "warmup=", "factor=", "patience=", "min_lr="]
    assert keys("parameters.scheduler.", SWEEP)[-3:] == ["rise=", "start=", "end="]  # any, without a file
    assert keys("parameters.optimizer.nes") == ["terov=", "terov=true", "terov=false"]
    assert keys("parameters.optimizer.name=") == ["adam", "adamw", "sgd"]


def test_alternatives_are_below_their_choice(keys):
    assert "choice." in keys("parameters.model.")
    assert keys("parameters.model.choice.") == ["cnn.", "mlp.", "*."]
    assert "width." in keys("parameters.model.choice.cnn.")
    assert "widths=" in keys("parameters.model.choice.mlp.")  # its label is its type
    assert "widths=" not in keys("parameters.model.choice.cnn.")
    assert "depth=" in keys("parameters.model.choice.mlp.")
    assert keys("parameters.model.head.dep") == ["th.", "th="]


def test_a_single_completion_includes_what_is_below_it(complete):
    """A shell adds a space after it."""
    assert complete("parameters.model.hea")[0] == "parameters.model.head.norm="
    assert complete("parameters.data.aug")[0] == "parameters.data.augment."
    assert complete("resour")[0] == "resources.workers="


def test_a_data_section_by_itself(keys):
    assert "augment." in keys("", DATA_SECTION)
    assert keys("resize=", DATA_SECTION) == ["crop", "squash", "pad"]
    assert keys("channels=", DATA_SECTION) == ["1", "3", "null"]


def test_an_unknown_key_is_an_error():
    with pytest.raises(KeyError):
        complete_setting(SWEEP, "parameters.modle.width=")


@pytest.mark.parametrize("start", ["", "resources.", "parameters.optimizer.", "parameters.data.augment."])
def test_what_is_completed_can_be_set(here, complete, start):
    tried = 0
    for key in complete(start):
        for value in complete(key) if key.endswith("=") and key.rstrip("=") not in ALONE else ():
            load_sweep(here / "photos.yaml", None, [value])
            tried += 1
    assert tried >= 3
