"""How the time that was asked for is spent."""

import pytest

from hwcls.config.sweep import ConfirmConfig
from hwcls.init.budget import QUICK, THOROUGH, Pace, Speed, choose_goal, plan_schedule, time_for_two, with_more_seeds


def schedule(seconds=360.0, *, idle=40.0, slots=2, images=2700, classes=10, goal=QUICK, once=0.0, **speeds):
    pace = Pace(idle, slots, {label: Speed(*both) for label, both in speeds.items()}, once)
    return plan_schedule(goal, seconds, pace, images, classes)


def test_time_is_divided_between_search_and_confirm():
    found = schedule(cnn=(1.0, 2.0), residual=(3.0, 4.0))
    # the confirm runs, three of each model on two slots, take 10 seconds for each epoch; at most 0.4 * 320
    assert found.models == ("cnn", "residual")
    assert (found.epochs, found.share, found.run_cap) == (12, 1.0, None)
    assert found.confirm == 120
    assert found.budget == pytest.approx(320 - 120 - 0.4 * 12 * 4)
    assert found.seconds == pytest.approx(360)


def test_more_time_trains_longer_until_that_is_of_no_use():
    epochs = [schedule(seconds, cnn=(1.0, 2.0)).epochs for seconds in (200, 400, 4000)]
    assert epochs == [16, 36, round(150_000 / 2700)]  # four seconds of confirm runs for each epoch


def test_a_fast_search_ends_by_its_trials():
    found = schedule(cnn=(0.01, 0.02), images=100, classes=2)
    assert (found.run_cap, found.epochs) == (20, 60)
    assert found.seconds < 60 < found.budget


def test_a_model_that_is_too_slow_is_dropped_before_images_are():
    found = schedule(cnn=(1.0, 2.0), residual=(20.0, 40.0))
    assert (found.models, found.share) == (("cnn",), 1.0)


@pytest.mark.parametrize("images", [300, 2700, 50_000])
def test_the_time_for_two_models_is_the_least(images):
    speeds = {"cnn": (1.0, 2.0), "residual": (20.0, 40.0)}
    assert schedule(100, images=images, **speeds).models == ("cnn",)
    pace = Pace(40.0, 2, {label: Speed(*both) for label, both in speeds.items()})
    seconds = time_for_two(QUICK, 100, pace, images, 10)
    assert schedule(seconds, images=images, **speeds).models == ("cnn", "residual")
    assert schedule(seconds / 1.1, images=images, **speeds).models == ("cnn",)
    assert time_for_two(QUICK, 9000, pace, images, 10) == 9060  # they already fit


def test_a_probe_is_dropped_last():
    speeds = {"cnn": (1.0, 2.0), "residual": (5.0, 9.0), "probe": (9.0, 12.0)}
    assert [schedule(seconds, **speeds).models for seconds in (900, 500, 150)] == [
        ("cnn", "residual", "probe"),
        ("cnn", "probe"),
        ("cnn",),
    ]


@pytest.mark.parametrize(
    ("images", "models", "epochs"), [(2000, ("cnn", "residual"), 22), (60, ("cnn",), 60), (100, ("cnn",), 60)]
)
def test_few_images_are_rather_seen_more_often_than_by_more_models(images, models, epochs):
    found = schedule(140, images=images, classes=2, cnn=(0.2, 0.2), residual=(0.8, 0.8))
    assert (found.models, found.epochs, found.share) == (models, epochs, 1.0)


@pytest.mark.parametrize(
    ("seconds", "models", "share"), [(360, ("cnn",), 0.2), (720, ("cnn",), 0.3), (1800, ("cnn", "residual"), 0.5)]
)
def test_a_model_from_scratch_is_not_worth_half_of_the_images(seconds, models, share):
    found = schedule(seconds, images=50_000, cnn=(20.0, 40.0), residual=(25.0, 50.0))
    assert (found.models, found.epochs, found.share) == (models, 8, share)
    assert found.seconds <= seconds


def test_a_probe_is_worth_it():
    found = schedule(images=50_000, cnn=(20.0, 40.0), probe=(25.0, 50.0))
    assert (found.models, found.share) == (("cnn", "probe"), 0.1)


def test_features_cost_once_however_many_trials_there_are():
    plain, cached = (schedule(once=once, cnn=(1.0, 2.0), probe=(0.1, 0.1)) for once in (0.0, 60.0))
    assert (plain.features, cached.features) == (0.0, 60.0)
    assert plain.seconds <= 360 == pytest.approx(cached.seconds)
    assert cached.epochs == plain.epochs
    assert cached.budget == pytest.approx(plain.budget - 60)
    assert schedule(once=60.0, cnn=(1.0, 2.0)).features == 0.0  # no model has any


def test_features_of_fewer_images_cost_less():
    found = schedule(once=3_200.0, images=50_000, probe=(0.5, 0.5))
    assert found.share == 0.07
    assert found.features == pytest.approx(0.07 * 3_200)
    assert found.seconds <= 360


@pytest.mark.parametrize(("images", "classes", "share"), [(300, 2, 1.0), (2000, 10, 0.5), (20_000, 100, 0.25)])
def test_fewest_images_are_trained_even_beyond_the_time(images, classes, share):
    found = schedule(120, images=images, classes=classes, cnn=(50.0, 60.0))
    assert (found.share, found.epochs) == (share, 8)
    assert found.seconds > 120
    assert found.affordable < share


@pytest.mark.parametrize("slots", [1, 2, 8])
@pytest.mark.parametrize("seconds", [300, 600, 7200])
@pytest.mark.parametrize("goal", [QUICK, THOROUGH])
def test_what_is_planned_takes_the_time_that_was_asked_for(seconds, slots, goal):
    found = schedule(seconds, slots=slots, images=20_000, goal=goal, cnn=(8.0, 12.0), residual=(15.0, 30.0))
    assert 0 < found.confirm <= 0.4 * (seconds - 40)
    if found.run_cap is None:
        assert found.seconds == pytest.approx(seconds)
    else:
        assert found.seconds < seconds


@pytest.mark.parametrize(
    ("name", "seconds", "goal"),
    [
        (None, None, QUICK),
        (None, 1799, QUICK),
        (None, 1800, THOROUGH),
        ("quick", 7200, QUICK),
        ("thorough", None, THOROUGH),
    ],
)
def test_a_time_alone_chooses_the_goal(name, seconds, goal):
    assert choose_goal(name, seconds) is goal


def test_few_images_ask_for_five_seeds():
    assert with_more_seeds(QUICK).confirm == ConfirmConfig(top=1, seeds=5)
    assert with_more_seeds(THOROUGH).confirm == THOROUGH.confirm
