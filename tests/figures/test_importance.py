"""The importance of settings."""

from __future__ import annotations

import pytest

from hwcls.figures.drawable import NothingToShow
from hwcls.figures.importance import collect_importance
from hwcls.results.load import load_results
from hwcls.results.settings.importance import Importance, setting_importances
from tests.results.conftest import write_whole


def test_a_group_for_the_sweep_and_each_alternative_with_enough_trials(tmp_path):
    write_whole(tmp_path, images=30)
    sweep = load_results(tmp_path)
    found, known = collect_importance(sweep), setting_importances(sweep)
    names = ["all 40 trials", "cnn, 14 trials", "mlp, 13 trials", "resnet, 13 trials"]
    assert [group.name for group in found.groups] == names
    assert [set(group.rows) for group in found.groups] == [set(rows) for rows in known.values()]
    assert found.caption.startswith("Share of the differences in validation accuracy between trials")


def test_the_longest_bar_is_on_top(tmp_path, results, monkeypatch):
    results.full(tmp_path)
    by_significance = [Importance("patience", 0.12, 0.5, False), Importance("width", 0.19, 0.6, False)]
    monkeypatch.setattr("hwcls.figures.importance.setting_importances", lambda _: {None: by_significance})
    (group,) = collect_importance(load_results(tmp_path)).groups
    assert [one.name for one in group.rows] == ["width", "patience"]


def test_nothing_with_too_few_trials(tmp_path, results):
    results.full(tmp_path)
    with pytest.raises(NothingToShow, match=r"4 trials with a value are too few .12 that differ"):
        collect_importance(load_results(tmp_path))
