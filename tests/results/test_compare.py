"""The leaderboard and the alternatives."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from rich.console import Console

from hwcls import files
from hwcls.errors import UserError
from hwcls.report.terminal.merged_leaderboard import print_merged_leaderboard
from hwcls.results.answer import describe_answer
from hwcls.results.compare import (
    build_alternatives,
    build_differences,
    build_leaderboard,
    build_summary,
    find_cautions,
    format_csv,
    group_leaderboard,
    have_same_data,
    merge_leaderboards,
    name_sweeps,
    write_leaderboard,
)
from hwcls.results.load import load_results
from hwcls.results.test_comparison import compare_confirmed
from hwcls.tracking.folders import SweepFolder
from hwcls.training.artifacts import save_arrays


def test_leaderboard(tmp_path, results):
    results.full(tmp_path)
    board = build_leaderboard(load_results(tmp_path))
    assert [(row["rank"], row["trial"]) for row in board] == [(1, 1), (2, 4), (3, 0), (4, 2), (None, 5), (None, 3)]
    head = ["rank", "trial", "label", "status", "epoch", "val/accuracy", "val/loss", "train/loss", "train/accuracy"]
    assert list(board[0]) == [*head, "epochs", "seconds", "model", "lr", "error"]
    assert all(list(row) == list(board[0]) for row in board)
    best = {"status": "complete", "epoch": 2, "val/accuracy": 0.9, "epochs": 3, "lr": 0.1, "error": None}
    assert {key: board[0][key] for key in best} == best
    assert (board[-1]["status"], board[-1]["error"]) == ("failed", "loss is NaN")


def test_rows_by_alternative(tmp_path, results):
    results.full(tmp_path)
    sweep = load_results(tmp_path)
    groups = group_leaderboard(sweep)
    assert [[row["trial"] for row in group] for group in groups] == [[1, 5, 3], [4, 0, 2]]
    assert sorted((row for group in groups for row in group), key=str) == sorted(build_leaderboard(sweep), key=str)


def test_without_compare_there_is_no_label(tmp_path, results):
    sweep = results.sweep(tmp_path, compare=None)
    results.trial(sweep.trial(0), [0.5], label=None)
    loaded = load_results(tmp_path)
    assert "label" not in build_leaderboard(loaded)[0]
    assert describe_answer(loaded).startswith("Best on val/accuracy: trial 0 with 0.5 (epoch 1), of 1 trial.")
    (row,) = build_alternatives(loaded)
    assert (row["label"], row["trials"], row["best_value"]) == (None, 1, 0.5)


def test_a_parameter_named_like_a_column_keeps_both(tmp_path, results):
    sweep = results.sweep(tmp_path)
    results.trial(sweep.trial(0), [0.5])
    result = sweep.trial(0).result()
    result.parameters["epochs"] = 40
    sweep.trial(0).write_result(result)
    (row,) = build_leaderboard(load_results(tmp_path))
    assert (row["epochs"], row["parameter/epochs"]) == (1, 40)


def test_csv_reads_back(tmp_path, results):
    results.full(tmp_path, name='a, "b"')
    path = write_leaderboard(load_results(tmp_path))
    assert path == tmp_path / "leaderboard.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["trial"] for row in rows] == ["1", "4", "0", "2", "5", "3"]
    assert float(rows[0]["val/accuracy"]) == 0.9
    assert rows[4]["val/accuracy"] == ""


def test_alternatives_have_their_cost(tmp_path, results):
    results.full(tmp_path)
    mlp, resnet = build_alternatives(load_results(tmp_path))
    assert (mlp["label"], mlp["trials"], mlp["failed"], mlp["epochs"], mlp["best_trial"]) == ("mlp", 3, 1, 4, 1)
    assert mlp["seconds"] == pytest.approx(0.6 * 4)
    assert (resnet["label"], resnet["best_trial"], resnet["best_value"]) == ("resnet", 4, 0.72)
    assert mlp["best_after"] == {1: 0.9, 2: 0.9}  # trial 5 is in mid-run, trial 3 failed
    assert resnet["best_after"] == {1: pytest.approx(0.5), 2: 0.7}


def test_confirmed_and_significant(tmp_path, results):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 0.9, trial=4)
    results.confirm(sweep, "mlp", 0.7, trial=1)
    loaded = load_results(tmp_path)
    text = describe_answer(loaded)
    assert text.startswith("On test resnet (trial 4) has the highest accuracy, 88.9 % (95 % interval 8")
    assert "over 5 seeds. It beats mlp by " in text
    (row,) = build_differences(loaded)
    assert (row["better"], row["worse"], row["differs"], row["more_seeds"]) == ("resnet", "mlp", True, None)
    assert json.loads(json.dumps(build_summary(loaded)))["differences"][0]["mean"] == row["mean"]
    ((better, worse, pair),) = compare_confirmed(loaded).ordered_pairs()
    assert (better, worse) == ("resnet", "mlp")
    assert 0 < pair.low < pair.mean < pair.high
    row = next(row for row in build_alternatives(loaded) if row["label"] == "resnet")
    assert (row["confirmed_trial"], row["confirm_runs"], row["test_runs"]) == (4, 5, 5)
    runs = [run.test["test/accuracy"] for run in loaded.confirm if run.label == "resnet"]
    assert row["test/accuracy"] == pytest.approx(np.mean(runs))
    assert row["low"] < row["test/accuracy"] < row["high"]


def test_the_winner_is_one_that_was_scored_and_did_not_fail(tmp_path, results):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 0.8, trial=0, val=0.7)
    results.confirm(sweep, "resnet", 0.9, trial=4, val=0.75, first=2000)  # won once more seeds were there
    results.trial(sweep.confirm_run("resnet", 3000), [0.5, 0.99], trial=7)  # would win, but is not scored yet
    results.trial(sweep.confirm_run("resnet", 3001), [0.98], trial=0, status="failed", error="loss is NaN")
    loaded = load_results(tmp_path)
    assert compare_confirmed(loaded).estimate("resnet").mean == pytest.approx(0.9, abs=0.04)
    assert next(row for row in build_alternatives(loaded) if row["label"] == "resnet")["confirmed_trial"] == 4


def test_confirm_in_mid_run_claims_nothing(tmp_path, results):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 0.8, seeds=1)  # one seed has no spread
    results.confirm(sweep, "mlp", 0.8, seeds=3)
    for seed in (1000, 1001):
        (sweep.confirm_run("mlp", seed).path / "test_predictions.npz").unlink()
    loaded = load_results(tmp_path)
    assert compare_confirmed(loaded) is None
    assert describe_answer(loaded).startswith("Best on val/accuracy")
    row = build_alternatives(loaded)[0]
    assert (row["label"], row["confirm_runs"], row["test/accuracy"]) == ("mlp", 3, None)


def test_scores_of_another_split_or_a_pickle_are_left_out(tmp_path, results):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 0.8, seeds=3)
    other = {"labels": np.zeros(7, int), "scores": np.ones((7, 3))}
    pickled = {"labels": np.array([{}], dtype=object), "scores": np.ones((1, 3))}
    for seed, arrays in ((1001, other), (1002, pickled)):
        path = sweep.confirm_run("resnet", seed).path / "test_predictions.npz"
        files.write_with(path, lambda file, arrays=arrays: np.savez(file, **arrays))
    assert compare_confirmed(load_results(tmp_path)) is None


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
    same = {"0/train": [1, 2], "0/val": [3], "1/train": [1, 2], "1/val": [3]}  # two data sets of the same images
    save_arrays(tmp_path / "other" / "splits.npz", **same)
    assert find_cautions(two) == []
    save_arrays(tmp_path / "other" / "splits.npz", **same | {"1/val": [4]})
    assert len(find_cautions(two)) == 1


OWN = {"name": "imagefolder", "classes": ["bad", "good"], "train": 40}


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"path": "/streets"}, {"path": "/microscope"}, False),
        ({"path": "/streets", "fingerprint": "a"}, {"path": "/microscope", "fingerprint": "b"}, False),
        ({"path": "/streets", "fingerprint": "a"}, {"path": "/streets", "fingerprint": "b"}, True),  # another split
        ({"path": "/streets", "fingerprint": "a"}, {"path": "/moved", "fingerprint": "a"}, True),
        ({"path": "/streets", "others": [OWN | {"path": "/streets", "image_size": 224}]}, {"path": "/streets"}, True),
        ({"path": "/streets", "others": [OWN | {"path": "/microscope"}]}, {"path": "/streets"}, False),
        ({"path": "/streets"}, {"path": "/streets", "others": [OWN | {"path": "/microscope"}]}, False),
    ],
)
def test_own_images_are_the_same_by_their_path_or_fingerprint(two, first, second, same):
    """Whatever folders they lie in, they have one name."""
    for sweep, facts in zip(two, (first, second), strict=True):
        files.write_json(sweep.folder / "data.json", OWN | facts)
    found = [load_results(sweep.folder) for sweep in two]
    assert have_same_data(found) == same
    assert [row["rank"] for row in merge_leaderboards(found)] == ([1, 2, None] if same else [1, None, 1])
    other = ["other uses other data than one: their values cannot be compared"]
    assert find_cautions(found) == ([] if same else other)


def test_sweeps_of_other_data_are_ranked_each_for_itself(two, results, tmp_path):
    data = {"name": "digits", "classes": ["0", "1"], "train": 120}
    files.write_json(tmp_path / "other" / "data.json", data)  # fewer classes of the same data set
    results.trial(SweepFolder(tmp_path / "other").trial(1), [0.7], label=None)
    found = [load_results(tmp_path / "one"), load_results(tmp_path / "other")]
    rows = [(row["rank"], row["sweep"], row["trial"]) for row in merge_leaderboards(found)]
    assert rows == [(1, "one", 0), (None, "one", 1), (1, "other", 0), (2, "other", 1)]
    assert find_cautions(found) == ["other uses other data than one: their values cannot be compared"]
    console = Console(file=io.StringIO(), width=120)
    print_merged_leaderboard(found, console, 2)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "note: other uses other data than one: their values cannot be compared"
    assert [line.split()[:3] for line in lines[2:4]] == [["1", "one", "0"], ["1", "other", "0"]]
    assert lines[4] == "… and 2 more trials"
