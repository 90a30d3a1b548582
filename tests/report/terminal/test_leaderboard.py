"""The leaderboard in the terminal."""

from __future__ import annotations

import io
import json

from rich.console import Console

from hwcls import files
from hwcls.report.terminal.leaderboard import print_leaderboard
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
    lines = printed(load_results(tmp_path)).splitlines()
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
