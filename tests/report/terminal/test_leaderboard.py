"""The leaderboard in the terminal."""

from __future__ import annotations

import io

from rich.console import Console

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
