"""The effect of each value of a setting."""

import pytest

from hwcls.report.html.page import write_page
from hwcls.results.load import load_results
from hwcls.results.settings.marginal_effects import setting_effects

SPACE = {
    "data": {"name": "digits"},
    "model": {"choice": {"resnet": {"name": "residual_cnn"}, "mlp": {"name": "mlp"}}},
    "optimizer": {"name": "adam", "lr": {"min": 1e-4, "max": 1.0, "log": True}},
}


@pytest.fixture
def sweep(results, tmp_path):
    folder = results.sweep(tmp_path, parameters=SPACE)
    for number in range(9):
        results.trial(folder.trial(number), [number / 10], label=("resnet", "mlp")[number % 2], lr=10.0**-number)
    results.trial(folder.trial(9), [0.99], status="failed", error="x")
    return load_results(tmp_path)


def test_words_by_name_and_ranges_in_parts(sweep):
    found = setting_effects(sweep)
    assert [(one.setting, one.value, one.trials) for one in found] == [
        ("model", "mlp", 4),
        ("model", "resnet", 5),
        ("lr", "1e-08 to 1e-06", 3),
        ("lr", "1e-05 to 0.001", 3),
        ("lr", "0.01 to 1", 3),
    ]
    assert [(one.best, one.median) for one in found[:2]] == [(0.7, pytest.approx(0.4)), (0.8, pytest.approx(0.4))]
    assert [one.best for one in found[2:]] == [0.8, 0.5, 0.2]


def test_the_best_loss_is_the_lowest(results, tmp_path):
    folder = results.sweep(tmp_path, metric={"name": "val/loss", "goal": "minimize"})
    for number in range(4):
        results.trial(folder.trial(number), [number / 10], label=("a", "b")[number % 2], lr=0.1)
    assert [one.best for one in setting_effects(load_results(tmp_path))] == [pytest.approx(1.4), pytest.approx(1.3)]


def test_whole_numbers_stay_themselves(results, tmp_path):
    folder = results.sweep(tmp_path)
    for number, depth in enumerate((2, 10, 1, 2)):
        results.trial(folder.trial(number), [0.5], label="a", lr=0.1)
        result = folder.trial(number).result()
        folder.trial(number).write_result(
            type(result)(**{**vars(result), "parameters": {"head_depth": depth, "batch_size": 64}})
        )
    assert [(one.setting, one.value, one.trials) for one in setting_effects(load_results(tmp_path))] == [
        ("head_depth", "1", 1),
        ("head_depth", "2", 2),
        ("head_depth", "10", 1),
    ]


def test_the_page_shows_them(sweep):
    text = write_page(sweep.folder).read_text("utf-8")
    assert "Effect of each setting" in text
    assert "1e-08 to 1e-06" in text
