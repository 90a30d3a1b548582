"""The leaderboard in the terminal."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from hwcls import files
from hwcls.config.optim import CostConfig
from hwcls.report.terminal.leaderboard import cut_settings, print_leaderboard
from hwcls.results.compare import build_leaderboard, write_leaderboard
from hwcls.results.load import load_results, mark_running


def printed(sweep, width=100, **options):
    console = Console(file=io.StringIO(), width=width)
    print_leaderboard(sweep, console, **options)
    return console.file.getvalue()


def test_printed_leaderboard(tmp_path, results):
    results.full(tmp_path, name="[bold]tiny")
    text = printed(load_results(tmp_path))
    assert "[bold]tiny" in text
    assert "0.9000" in text
    assert "lr=0.1" in text
    assert "trial 3 failed: loss is NaN" in text
    assert "Best on val/accuracy" in text
    assert "more trial" not in text
    assert "… and 3 more trials in leaderboard.csv" in printed(load_results(tmp_path), rows=2)


def test_printed_by_alternative(tmp_path, results):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 0.9)
    lines = printed(load_results(tmp_path), width=120).splitlines()
    spent = next(line.split() for line in lines if line.startswith("resnet"))
    assert spent[:3] == ["resnet", "3", "0"]  # trials, failed ones
    assert spent[6:8] == ["0", "0.7000"]  # the confirmed trial and its value
    assert spent[-3:] == ["trial", "4,", "0.7200"]  # that was ahead of it
    rows = [line.split() for line in lines if line.split()[1:2] and line.split()[1].isdecimal() and "=" in line]
    assert [row[1] for row in rows] == ["4", "0", "2", "1", "5"]  # all of resnet, which is confirmed, then all of mlp


def test_printed_leaderboard_keeps_its_columns_at_80(tmp_path, results):
    results.full(tmp_path)
    lines = printed(load_results(tmp_path), width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert any("unfinished" in line and "0.7200" in line and "lr=0.02" in line for line in lines)


def test_a_narrow_leaderboard_shows_first_what_differs(tmp_path, results):
    sweep = results.sweep(tmp_path)
    for number, rate in enumerate((0.01, 0.02, 0.03)):
        results.trial(sweep.trial(number), [0.5, 0.6], lr=rate)
        path = sweep.trial(number).path / "result.json"
        drawn = {"batch_size": 32, "model": "resnet", "head_dropout": 0.25, "head_depth": 2, "lr": rate}
        files.write_json(path, json.loads(path.read_text()) | {"parameters": drawn})
    narrow, wide = (printed(load_results(tmp_path), width=width) for width in (80, 120))
    assert max(map(len, narrow.splitlines())) <= 80
    for rate in ("0.01", "0.02", "0.03"):
        assert f"lr={rate} batch_size=32" in narrow
        assert f"lr={rate} batch_size=32 head_dropout=0.25 head_depth=2" in wide
    assert ("epochs" in narrow.splitlines()[-6], "epochs" in wide) == (False, True)


def test_trials_run_while_a_driver_works(tmp_path, results):
    results.full(tmp_path)
    loaded = load_results(tmp_path)
    text = printed(mark_running(loaded))
    assert ("unfinished" in printed(loaded), "running" in printed(loaded)) == (True, False)
    assert ("unfinished" in text, text.count("running")) == (False, 2)
    assert sum(row["status"] == "running" for row in build_leaderboard(mark_running(loaded))) == 2


def test_an_empty_sweep_prints_its_answer(tmp_path, results):
    results.sweep(tmp_path)
    loaded = load_results(tmp_path)
    assert printed(loaded).split("\n") == ["tiny", "No trial has started yet.", ""]
    assert write_leaderboard(loaded).read_text().startswith("rank,trial")


LABEL = "efficientnet_b0_with_strong_augmentation_{}"


def test_narrow_tables_cut_no_number_and_break_no_header(tmp_path, results):
    """Long names of alternatives, many settings, a confirmed winner that another trial leads."""
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 0.9)
    for trial in sweep.trials().values():
        drawn = {"lr": 0.0012345, "batch_size": 256, "head_dropout": 0.25, "weight_decay": 1.2345e-06}
        path = trial.path / "result.json"
        if path.exists():
            files.write_json(path, json.loads(path.read_text()) | {"parameters": drawn})
    whole = {word for word in printed(load_results(tmp_path), width=400).split() if "=" in word}
    assert len(whole) >= 4
    for width in (60, 80, 100):
        lines = printed(load_results(tmp_path), width=width).splitlines()
        assert max(map(len, lines)) <= width
        table = [line for line in lines if line.startswith(("model", "resnet", "mlp", "rank"))]
        assert "val/accuracy" in table[0]
        assert "95 % interval" in table[0]
        assert all(line.count("0.") >= 1 for line in table[1:3])
        rows = [line.rstrip() for line in lines if line[:4].strip().isdecimal() and "0." in line]
        assert len(rows) == 4
        assert {word for row in rows for word in row.split() if "=" in word} <= whole
        assert any(row.endswith("…") for row in rows)
        assert "… settings that do not fit are in leaderboard.csv" in lines


def test_settings_are_shown_whole():
    assert cut_settings("lr=0.1 width=64", 15) == "lr=0.1 width=64"
    assert cut_settings("lr=0.1 width=64", 14) == "lr=0.1 …"
    assert cut_settings("lr=0.1 width=64", 7) == "…"
    assert cut_settings("lr=0.1 width=64", -3) == "…"


@pytest.mark.parametrize("width", [60, 40])
def test_trials_without_settings_but_their_alternative(tmp_path, results, width):
    sweep = results.full(tmp_path)
    for trial in sweep.trials().values():
        path = trial.path / "result.json"
        if path.exists():
            values = json.loads(path.read_text())
            files.write_json(path, values | {"parameters": {"model": values["label"]}})
    costs = tuple(map(CostConfig.model_validate, ["cost/parameters", "cost/latency"]))
    text = " ".join(printed(replace(load_results(tmp_path), costs=costs), width=width).split())
    assert "trial 3 failed: loss is NaN Best on val/accuracy" in text
    assert "settings that do not fit" not in text


def test_long_alternatives_make_room_for_values(tmp_path, results):
    sweep = results.sweep(tmp_path, name="tiny")
    for number in range(4):
        results.trial(sweep.trial(number), [0.5, 0.6 + number / 10], label=LABEL.format(number % 2))
    lines = printed(load_results(tmp_path), width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("0.9000" in line for line in lines) >= 1
    assert len({line.split()[2] for line in lines if line.split()[:1] and line.split()[0].isdecimal()}) == 2


def test_nothing_gets_shorter_in_a_wider_terminal(tmp_path, results):
    sweep = results.sweep(tmp_path)
    for number, label in enumerate(("cnn", "mlp")):
        results.trial(sweep.trial(number), [0.5, 0.6], label=label, lr=0.01)
    path = tmp_path / "trials" / "0" / "result.json"
    drawn = {"model": "cnn", "batch_size": 32, "lr": 0.01, "width": 64}
    files.write_json(path, json.loads(path.read_text()) | {"parameters": drawn})
    loaded, before = load_results(tmp_path), 0
    for width in range(60, 90):
        (row,) = (line for line in printed(loaded, width=width).splitlines() if "complete" in line and "cnn" in line)
        shown = len(" ".join(row.split()))
        assert shown >= before, (width, row)
        before = shown
        assert width - len(row.rstrip()) < len("batch_size=32 ") or "…" not in row
