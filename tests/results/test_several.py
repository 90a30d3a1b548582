"""Several sweeps in one table."""

import csv
import io

import pytest

from hwcls.errors import UserError
from hwcls.results.compare import find_cautions, format_csv, merge_leaderboards, name_sweeps
from hwcls.results.load import load_results
from hwcls.training.artifacts import save_arrays


@pytest.fixture
def two(results, tmp_path):
    one = results.sweep(tmp_path / "one")
    other = results.sweep(tmp_path / "other", compare=None)
    results.trial(one.trial(0), [0.5, 0.6], lr=0.1)
    results.trial(one.trial(1), [0.5], status="failed", error="x")
    results.trial(other.trial(0), [0.8], label=None, lr=0.2)
    return [load_results(tmp_path / "one"), load_results(tmp_path / "other")]


def test_rows_are_ranked_across_sweeps(two):
    rows = merge_leaderboards(two)
    assert [(row["rank"], row["sweep"], row["trial"]) for row in rows] == [
        (1, "other", 0),
        (2, "one", 0),
        (None, "one", 1),
    ]
    assert len({tuple(row) for row in rows}) == 1
    assert rows[0]["label"] is None
    assert next(csv.DictReader(io.StringIO(format_csv(rows))))["lr"] == "0.2"


def test_other_metrics_are_refused(two, results, tmp_path):
    results.sweep(tmp_path / "third", metric={"name": "val/loss", "goal": "minimize"})
    with pytest.raises(UserError, match="tiny is ranked by val/loss"):
        merge_leaderboards([*two, load_results(tmp_path / "third")])


def test_folders_of_one_name_keep_their_paths(two, results, tmp_path):
    results.sweep(tmp_path / "a" / "one")
    assert name_sweeps([two[0], load_results(tmp_path / "a" / "one")]) == [
        str(tmp_path / "one"),
        str(tmp_path / "a" / "one"),
    ]


def test_cautions(two, tmp_path):
    assert find_cautions(two) == []
    save_arrays(tmp_path / "one" / "splits.npz", train=[1, 2], val=[3])
    assert find_cautions(two) == ["other uses another split than one: small differences may come from the split"]
