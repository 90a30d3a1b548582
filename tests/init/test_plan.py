"""Each choice of a sweep file by what is known of data, machine and time."""

from dataclasses import replace

import pytest

from hwcls.config.data import DataConfig
from hwcls.format import plain_name
from hwcls.init.budget import QUICK, THOROUGH, Schedule
from hwcls.init.facts import DataFacts, MachineFacts
from hwcls.init.plan import (
    Wish,
    batch_sizes,
    choose_models,
    choose_side,
    duration,
    make_plan,
    val_share,
    with_budget,
    with_fewer_pixels,
    with_time,
)
from hwcls.init.render import render

CPU, GPU = MachineFacts(2, 0, 2), MachineFacts(16, 1, 1)
PHOTOS = DataFacts(
    classes=("cat", "dog"),
    counts={"train": (720, 720), "val": (80, 80), "test": (200, 200)},
    cut={"test": 0.2, "val": 0.1},
    sides=(90, 300, 2000),
    square=None,
)
SCHEDULE = Schedule(("cnn", "residual"), 20, 1.0, 200.0, None, 100.0, 360.0, 2)


def plan(data=PHOTOS, machine=CPU, goal=QUICK, weights=None, schedule=SCHEDULE, mirror=None, **entries):
    side = choose_side(data.square, data.sides[1], machine, goal, weights)
    models = choose_models(machine, goal, side.value, weights)
    return make_plan(Wish("photos", "photos/", goal, 360.0, entries, mirror), data, machine, side, models, schedule)


def uneven(least, most):
    return replace(PHOTOS, counts={"train": (least - 1, most - 1), "val": (1, 1), "test": (1, 1)})


@pytest.mark.parametrize(
    ("least", "most", "metric", "weights"),
    [
        (100, 100, "val/accuracy", None),
        (100, 149, "val/accuracy", None),
        (100, 150, "val/macro_f1", "balanced"),
        (3, 4000, "val/macro_f1", "balanced"),
    ],
)
def test_uneven_classes_count_the_same(least, most, metric, weights):
    found = plan(uneven(least, most))
    assert (found.value("metric"), found.value("parameters.class_weights")) == (metric, weights)


def test_a_reason_has_the_numbers():
    assert plan(uneven(30, 400))["metric"].why == "classes are uneven (30 to 400 images): each counts the same"
    assert plan()["metric"].why == "classes are even (800 images each)"


@pytest.mark.parametrize(
    ("mirror", "value", "active"), [(None, {"hflip": True}, False), (True, {"hflip": True}, True), (False, {}, True)]
)
def test_images_are_mirrored_only_where_somebody_said_so(mirror, value, active):
    choice = plan(mirror=mirror)["parameters.data.augment"]
    assert (choice.value, choice.active) == (value, active)
    assert plan().value("parameters.data.augment") is None


@pytest.mark.parametrize(
    ("square", "median", "machine", "goal", "weights", "side"),
    [
        (28, 28, CPU, QUICK, None, 28),
        (32, 32, GPU, THOROUGH, "resnet18", 64),
        (28, 28, CPU, QUICK, "resnet18", 32),
        (96, 96, CPU, QUICK, "resnet18", 128),
        (None, 40, CPU, QUICK, "resnet18", 64),
        (96, 96, CPU, QUICK, None, 64),
        (None, 300, CPU, QUICK, None, 64),
        (None, 50, CPU, QUICK, None, 48),
        (None, 3, CPU, QUICK, None, 4),
        (None, 300, CPU, THOROUGH, None, 96),
        (None, 300, CPU, QUICK, "resnet18", 128),
        (None, 300, CPU, THOROUGH, "resnet18", 160),
        (None, 300, GPU, QUICK, None, 128),
        (None, 300, GPU, THOROUGH, None, 224),
        (None, 200, GPU, THOROUGH, None, 200),
    ],
)
def test_the_side_fits_images_and_machine(square, median, machine, goal, weights, side):
    assert choose_side(square, median, machine, goal, weights).value == side


def labels(*arguments):
    return [model.label for model in choose_models(*arguments)]


def test_models_fit_the_machine_and_the_weights():
    assert labels(CPU, QUICK, 64, None) == ["cnn", "residual"]
    assert labels(CPU, QUICK, 64, "resnet18") == ["cnn", "residual", "probe", "fine_tuned"]
    assert labels(GPU, QUICK, 128, None) == ["cnn", "resnet"]
    assert labels(GPU, THOROUGH, 224, None) == ["cnn", "residual", "resnet"]
    assert labels(GPU, QUICK, 128, "resnet18") == ["cnn", "residual", "probe", "fine_tuned"]


@pytest.mark.parametrize(("side", "depth"), [(4, 1), (8, 1), (28, 2), (32, 3), (64, 4), (224, 4)])
def test_networks_are_as_deep_as_the_images_allow(side, depth):
    cnn, residual = choose_models(CPU, QUICK, side, None)
    assert (cnn.settings["depth"], residual.settings["blocks"]) == (depth, depth + 1)


def test_pretrained_weights_are_probed_and_fine_tuned():
    probe, tuned = (model.settings for model in choose_models(CPU, QUICK, 64, "resnet18")[-2:])
    assert (probe["backbone"], probe["pretrained"], probe["frozen"]) == ("resnet18", True, True)
    assert (tuned["backbone"], tuned["pretrained"], tuned.get("frozen")) == ("resnet18", True, None)
    assert tuned["backbone_lr"] == {"values": [0.1, 0.3]}
    found = plan(weights="resnet18", schedule=replace(SCHEDULE, models=("cnn", "fine_tuned")))
    assert found.value("parameters.optimizer")["lr"]["min"] == 1e-5
    for models in (("cnn", "residual"), ("cnn", "probe")):
        found = plan(weights="resnet18", schedule=replace(SCHEDULE, models=models))
        assert found.value("parameters.optimizer")["lr"]["min"] == 3e-4


def test_what_features_cost_once_is_in_the_reason():
    schedule = replace(SCHEDULE, models=("cnn", "probe"), features=40.0)
    why = plan(weights="resnet18", schedule=schedule)["parameters.model.choice.probe"].why
    assert why.endswith("computed once, then a trial trains a head in seconds (40 s here)")


def test_what_is_left_out_can_be_switched_on():
    found = plan(schedule=replace(SCHEDULE, models=("cnn",)))
    residual, probe = (found[f"parameters.model.choice.{label}"] for label in ("residual", "probe"))
    assert (residual.active, residual.why) == (False, "too slow for this time")
    assert (probe.active, probe.value["frozen"]) == (False, True)
    assert "pip install 'hwcls[weights]'" in probe.why
    assert found.value("compare") is None
    assert plan().value("compare") == "model"


def test_the_search_and_its_end():
    found = plan(schedule=replace(SCHEDULE, run_cap=40))
    assert (found.value("run_cap"), found.value("budget"), found.value("parameters.epochs")) == (40, "3m20s", 20)
    assert plan().value("run_cap") is None
    assert plan().value("confirm") == {"top": 1, "seeds": 3}
    assert plan(goal=THOROUGH).value("confirm") == {"top": 2, "seeds": 5}


def test_a_part_of_the_images():
    found = plan(schedule=replace(SCHEDULE, share=0.25))
    assert found.value("parameters.data.fraction") == 0.25
    assert "all of them would take about 24 min" in found["parameters.data.fraction"].why
    assert plan().value("parameters.data.fraction") is None


def test_cut_splits_have_their_shares():
    found = plan()
    assert (found.value("parameters.data.test"), found.value("parameters.data.val")) == (0.2, 0.2)
    assert found["parameters.data.val"].why.endswith("320 images")
    found = plan(replace(PHOTOS, cut={"val": 0.1}))
    assert (found.value("parameters.data.test"), found.value("parameters.data.val")) == (None, 0.2)
    found = plan(replace(PHOTOS, cut={}))
    assert found["parameters.data.path"].why == "train, val and test are as the files have them"


@pytest.mark.parametrize(("images", "share"), [(90_000, 0.1), (3000, 0.1), (2999, 0.15), (1600, 0.2), (300, 0.25)])
def test_val_has_enough_images_to_choose_by(images, share):
    assert val_share(images) == share


def test_a_part_of_the_images_needs_a_larger_share_of_val():
    many = replace(PHOTOS, counts={"train": (1440, 1440), "val": (160, 160), "test": (200, 200)})
    assert plan(many).value("parameters.data.val") == 0.1
    assert plan(many, schedule=replace(SCHEDULE, share=0.5)).value("parameters.data.val") == 0.2


def test_the_layout_is_written_as_it_was_given():
    found = plan(layout={"table": "labels.csv"}, test=0.2)
    assert found.value("parameters.data.layout") == {"table": "labels.csv"}
    assert [choice.key for choice in found.choices].count("parameters.data.test") == 1


@pytest.mark.parametrize(
    ("images", "gpu", "sizes"),
    [(100, False, [8, 16]), (1_000, False, [16, 32]), (10_000, False, [32, 64]), (90_000, True, [128, 256])],
)
def test_batches_by_the_number_of_images(images, gpu, sizes):
    assert batch_sizes(images, gpu) == sizes


def test_few_images_are_named():
    few = uneven(10, 12)
    assert few.is_small
    assert "scores vary where images are few" in plan(few)["confirm"].why
    assert "few images" in plan(few)["parameters.model.choice.probe"].why


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("photos/", "photos"),
        ("/data/My Photos (2024).tar.gz", "My_Photos_2024"),
        ("a.ZIP", "a"),
        ("été", "ete"),
        ("写真", "images"),
        ("./-x", "x"),
        ("/photos/..", "images"),
        ("v1.2", "v1.2"),
        ("/sets/sign-language/data", "sign-language"),
        ("trash/dataset-resized/", "trash"),
        ("/sets/fruits/archive.zip", "fruits"),
        ("/solar/src/Images/train", "solar"),
        ("/data/images", "images"),
    ],
)
def test_a_name_from_a_path(path, name):
    assert plain_name(DataConfig(path=path).title) == name


@pytest.mark.parametrize(
    ("seconds", "text"), [(3, "10s"), (219, "3m40s"), (600, "10m"), (1800, "30m"), (5130, "1h26m"), (7200, "2h")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_another_budget():
    assert with_budget(plan(), 100.0).value("budget") == "1m40s"


@pytest.mark.parametrize(
    ("seconds", "expected", "late"),
    [(330, "6 min", False), (394, "6 min", False), (120, "2 min", False), (840, "14 min", True)],
)
def test_one_time_is_named(seconds, expected, late):
    found = with_time(plan(), seconds)
    assert found["budget"].why == f"of the search; of about {expected} in all the rest is for the start and for confirm"
    assert found.is_late is late
    head = render(found).splitlines()[1]
    assert head.startswith(f"# About {expected}{', as 6 min are too short here' if late else ''}. ")


def test_a_budget_that_does_not_end_the_search():
    assert plan(schedule=replace(SCHEDULE, run_cap=40))["budget"].why == "at most, of the search, which ends before"


def test_the_images_that_are_used():
    assert plan().images == {"train": 1280, "val": 320, "test": 400}
    assert plan(schedule=replace(SCHEDULE, share=0.5)).images == {"train": 600, "val": 200, "test": 400}
    given = replace(PHOTOS, cut={})
    assert plan(given, schedule=replace(SCHEDULE, share=0.5)).images == {"train": 720, "val": 160, "test": 400}


def test_fewer_pixels_have_their_reason():
    side = choose_side(None, 300, CPU, QUICK, None)
    assert with_fewer_pixels(side, 64, 360.0) is side
    found = with_fewer_pixels(side, 32, 360.0)
    assert found.value == 32
    assert found.why == "pixels; at 64 too few of the training images would fit into 6 min"


def test_narrow_networks():
    cnn, residual = choose_models(CPU, QUICK, 32, None, narrow=True)
    assert (cnn.settings["width"], residual.settings["width"]) == ({"values": [8, 16]}, {"values": [8, 12]})


def test_how_a_table_was_read_stays():
    table = {"table": "labels.csv", "image_column": "file", "label_column": "kind"}
    read = replace(PHOTOS, layout=table)
    assert plan(read)["parameters.data.layout"].value == table
    found = plan(read, layout={"label_column": "sort"})["parameters.data.layout"]
    assert found.value == {**table, "label_column": "sort"}
    assert found.why == "how the files are read, as you said"


@pytest.mark.parametrize(("load", "busy"), [(0.0, False), (0.9, False), (1.0, True), (17.0, True)])
def test_a_busy_machine(load, busy):
    assert replace(CPU, load=load).is_busy is busy
