"""How alternatives share the budget of a sweep."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from hwcls.config.shares import Had, Shares, Unit
from hwcls.config.sweep_file import Sweep, load_sweep

MODELS = {"choice": {"mlp": {"depth": {"values": [1, 2]}}, "simple_cnn": {}}}


def sweep(tmp_path: Path, **keys: Any) -> Sweep:
    parameters = {"data": "digits", "model": MODELS, "optimizer": "adam", "epochs": 3}
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({"parameters": parameters, "compare": "model", **keys}))
    return load_sweep(path)


@pytest.mark.parametrize(
    ("keys", "unit", "total", "each"),
    [
        ({"run_cap": 5}, "trials", 5, {"mlp": 3, "simple_cnn": 2}),
        ({"run_cap": 5, "budget": "1h"}, "trials", 5, {"mlp": 3, "simple_cnn": 2}),
        ({"run_cap": 5, "share": "epochs"}, "epochs", 5, None),
        ({"budget": "1h"}, "seconds", None, None),
        ({"budget": "1h", "share": "trials"}, "trials", None, None),
        ({"method": "grid"}, "trials", 3, {"mlp": 2, "simple_cnn": 1}),
        ({"method": "grid", "budget": "1h"}, "trials", 3, {"mlp": 2, "simple_cnn": 1}),
        ({"run_cap": 5, "compare": None}, "trials", 5, {}),
        ({"method": "grid", "compare": None}, "trials", 3, {}),
    ],
)
def test_total_and_shares(tmp_path: Path, keys: Any, unit: str, total: int | None, each: Any) -> None:
    checked = sweep(tmp_path, **keys)
    assert (checked.total, checked.shares.total) == (total, total)
    assert (checked.shares.unit, checked.shares.trials_each()) == (unit, each)


def test_the_alternative_that_had_least_is_next() -> None:
    had: dict[Unit, Had] = {"trials": {"a": 1, "b": 2}, "epochs": {"a": 9, "b": 4}, "seconds": {}}
    assert Shares(("a", "b"), "trials", 9).next(had) == "a"
    assert Shares(("a", "b"), "epochs", 9).next(had) == "b"
    assert Shares(("b", "a"), "seconds", None).next(had) == "a"  # equal: the one with fewer trials
    assert Shares(("b", "a", "c"), "seconds", None).next(had) == "c"
    assert Shares(("b", "a"), "trials", 9).next({"trials": Counter[str](), "epochs": {}, "seconds": {}}) == "b"


def test_points_of_a_grid_take_turns(tmp_path: Path) -> None:
    assert sweep(tmp_path, method="grid").shares.points == ("mlp", "simple_cnn", "mlp")
    assert sweep(tmp_path, run_cap=4).grid is None
