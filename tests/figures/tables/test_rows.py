"""The rows of tables."""

from __future__ import annotations

import shutil

import pytest

from hwcls import files
from hwcls.figures.drawable import NothingToShow
from hwcls.figures.tables.rows import build_table, build_tables
from hwcls.results.load import load_results
from hwcls.tracking.folders import SweepFolder
from tests.results.conftest import SETTINGS, write_whole


@pytest.fixture
def overtaken(tmp_path, results):
    results.overtaken(tmp_path)
    return load_results(tmp_path)


def test_the_leaderboard(overtaken):
    table = build_table(overtaken, "leaderboard")
    assert table.header == ("rank", "trial", "model", "validation accuracy (%)", "epochs", "time", "lr")
    assert table.cells == (
        ("1", "9", "cnn", "99.00", "2", "1.2 s", "0.09"),
        ("2", "1", "cnn", "95.00", "2", "1.2 s", "0.01"),
        ("3", "2", "mlp", "92.00", "2", "1.2 s", "0.02"),
        ("4", "4", "mlp", "90.00", "2", "1.2 s", "0.04"),
    )
    assert table.caption == "All 4 trials of tiny by validation accuracy (best epoch of one run each)."
    assert [row["val/accuracy"] for row in table.records] == [0.99, 0.95, 0.92, 0.9]
    assert table.words == {2}


def test_the_best_of_many(overtaken):
    table = build_table(overtaken, "leaderboard", 2)
    assert [row[1] for row in table.cells] == ["9", "1"]
    assert [row["trial"] for row in table.records] == [9, 1]
    assert table.caption.startswith("The best 2 of 4 trials of tiny")


def test_failed_trials_are_in_no_row(tmp_path, results):
    results.full(tmp_path)
    assert [row[1] for row in build_table(load_results(tmp_path), "leaderboard").cells] == ["1", "4", "0", "2"]


def test_many_settings_are_left_to_csv(tmp_path, results):
    sweep: SweepFolder = results.sweep(tmp_path)
    from hwcls.tracking.records import Result

    for number in range(2):
        results.trial(sweep.trial(number), [0.5])
        settings = {f"s{place}": number for place in range(7)}
        sweep.trial(number).write_result(
            Result("complete", {"epoch": 1, "val/accuracy": 0.5}, "resnet", settings, seconds=1.0)
        )
    table = build_table(load_results(tmp_path), "leaderboard")
    assert table.header[-1] == "s4"
    assert table.caption.endswith("2 further settings not shown.")
    assert "s6" in table.records[0]


def test_the_confirmed(overtaken):
    table = build_table(overtaken, "confirmed")
    assert table.header == (
        "model",
        "trial",
        "seeds",
        "test accuracy (%), 95 % interval",
        "validation accuracy (%)",
    )
    assert table.cells == (
        ("cnn", "1", "5", "94.4 (93.0 to 95.7)", "95.0"),
        ("mlp", "4", "5", "75.8 (73.6 to 78.0)", "90.0"),
    )
    assert [(row["model"], row["trial"], row["seeds"]) for row in table.records] == [("cnn", 1, 5), ("mlp", 4, 5)]
    assert table.records[0]["low"] < table.records[0]["test/accuracy"] < table.records[0]["high"]


def test_the_comparisons(overtaken):
    table = build_table(overtaken, "comparisons")
    assert table.header == (
        "better",
        "worse",
        "difference in test accuracy (points), 95 % interval",
        "p",
        "significant",
    )
    assert table.cells == (("cnn", "mlp", "18.6 (16.3 to 20.9)", "< 0.001", "yes"),)
    assert "adjusted for 1 pair (Holm), significant below 0.033." in table.caption
    assert table.records[0]["significant"] is True


def test_the_settings_of_the_winners_beside_what_was_searched(tmp_path, results):
    space = {
        "data": {"name": "digits"},
        "model": {"choice": {"cnn": {"name": "simple_cnn"}, "mlp": {"name": "mlp"}}},
        "optimizer": {"name": "adam", "lr": {"min": 1e-4, "max": 1e-1, "log": True}},
    }
    results.overtaken(tmp_path, parameters=space)
    table = build_table(load_results(tmp_path), "settings")
    assert table.header == ("setting", "searched", "cnn (trial 1)", "mlp (trial 4)")
    assert table.cells == (("lr", "0.0001 to 0.1 (log)", "0.01", "0.04"),)
    assert table.records == (
        {"setting": "lr", "searched": "0.0001 to 0.1 (log)", "cnn (trial 1)": 0.01, "mlp (trial 4)": 0.04},
    )
    assert table.caption == "Settings in tiny of the confirmed winner of each alternative."
    shutil.rmtree(tmp_path / "confirm" / "mlp")
    assert build_table(load_results(tmp_path), "settings").caption == (
        "Settings in tiny of the confirmed winner of each alternative, or its best trial on validation where none is"
        " confirmed."
    )


def test_without_a_readable_sweep_file_what_was_searched_is_not_a_column(tmp_path, results):
    results.overtaken(tmp_path)
    files.write_yaml(tmp_path / "sweep.yaml", SETTINGS | {"parameters": {"of": "another version"}})
    assert build_table(load_results(tmp_path), "settings").header[:2] == ("setting", "cnn (trial 1)")


def test_one_alternative_has_nothing_to_compare(tmp_path, results):
    results.overtaken(tmp_path, compare=None)
    sweep = load_results(tmp_path)
    with pytest.raises(NothingToShow, match="fewer than two alternatives"):
        build_table(sweep, "comparisons")
    assert build_table(sweep, "confirmed").cells[0][:3] == ("trial 1", "1", "5")
    assert build_table(sweep, "settings").header == ("setting", "trial 1")


def test_a_sweep_that_has_begun_has_the_reasons(tmp_path, results):
    results.sweep(tmp_path)
    built, left_out = build_tables(load_results(tmp_path), ["leaderboard", "confirmed", "comparisons", "settings"])
    assert built == []
    assert left_out["leaderboard"] == left_out["settings"] == "no trial has a value yet"
    assert left_out["confirmed"] == "no confirm run has been scored on test"


def test_a_large_sweep(tmp_path):
    write_whole(tmp_path, images=30)
    table = build_table(load_results(tmp_path), "leaderboard", 5)
    assert len(table.cells) == len(table.records) == 5
    assert {len(row) for row in table.cells} == {len(table.header)}
