"""Names in other spellings, and the words of other tools."""

import pytest

from hwcls.config.model import MODELS
from hwcls.config.sweep import EARLY_STOPPING, SAMPLERS, TRACKERS
from hwcls.data.catalog import DATA_SETS
from hwcls.errors import did_you_mean, nearest_path
from hwcls.synonyms import is_other_thing, other_remedy, same_name


@pytest.mark.parametrize(
    ("word", "known", "name"),
    [
        ("AdamW", ["adam", "adamw", "sgd"], "adamw"),
        ("optim.AdamW", ["adam", "adamw"], "adamw"),
        ("Fashion-MNIST", ["mnist", "fashion_mnist"], "fashion_mnist"),
        ("learning_rate", ["weight_decay", "lr"], "lr"),
        ("loss", ["val/accuracy", "val/loss"], "val/loss"),
        ("loss", ["lr"], None),  # only where the name is known
        ("adamm", ["adam"], None),
        ("---", ["a"], None),
        (3, ["a"], None),
    ],
)
def test_the_same_name_in_another_spelling(word, known, name):
    assert same_name(word, known) == name


@pytest.mark.parametrize("registry", [MODELS, SAMPLERS, EARLY_STOPPING, TRACKERS, DATA_SETS], ids=lambda one: one.kind)
def test_every_registered_name_is_found_in_upper_case(registry):
    for name in registry.names():
        for spelling in (name.upper(), name.replace("_", "-"), name.title().replace("_", "")):
            if spelling != name:
                assert did_you_mean(spelling, registry.names()) == f"did you mean '{name}'?"
        assert not is_other_thing(name)


def test_the_nearest_name_or_all():
    assert did_you_mean("ADAMM", ["adam", "sgd"]) == "did you mean 'adam'?"
    assert did_you_mean("adamv", ["sgd", "adamw", "adam"]) == "did you mean 'adam' or 'adamw'?"  # equally near
    assert did_you_mean("trail", ["trial_a", "trial_b", "trial_c", "trial_d"]).count("trial") == 3
    assert did_you_mean("birds", ["adam", "sgd"], otherwise="else") == "else"
    assert did_you_mean("NAdam", ["adam", "sgd"]) == "known: adam, sgd"  # another optimizer
    assert did_you_mean("x", []) == ""
    assert other_remedy("num_workers") == "hwcls has no DataLoader: remove it"
    assert other_remedy("lr") is None


def test_the_nearest_path_is_one_of_the_same_folder(tmp_path):
    for name in ("photos", "quickstart.yaml", "other.yaml"):
        (tmp_path / name).touch()
    assert nearest_path(tmp_path / "fotos") == f"did you mean '{tmp_path}/photos'?"
    assert nearest_path(tmp_path / "quikstart.yaml", "else") == f"did you mean '{tmp_path}/quickstart.yaml'?"
    (tmp_path / "quickstart.yml").touch()
    both = f"did you mean '{tmp_path}/quickstart.yaml' or '{tmp_path}/quickstart.yml'?"
    assert nearest_path(tmp_path / "quickstart.yal") == both
    assert nearest_path(tmp_path / "birds", "else") == "else"
    assert nearest_path(tmp_path / "nowhere" / "photos", "else") == "else"
