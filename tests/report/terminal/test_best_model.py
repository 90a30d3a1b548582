"""The last lines of a sweep: who won, with which settings, where its weights are, and the commands."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import save_file

from hwcls import files
from hwcls.figures.tables.rows import build_table
from hwcls.report.html.page import write_page
from hwcls.report.terminal import best_model
from hwcls.report.terminal.best_model import print_best
from hwcls.report.terminal.leaderboard import describe_settings
from hwcls.results.compare import build_leaderboard, build_summary
from hwcls.results.load import load_results


def printed(path, width=80):
    console = Console(file=io.StringIO(), width=width)
    print_best(load_results(path), console)
    return console.file.getvalue().splitlines()


@pytest.fixture
def sweep(results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = results.overtaken(tmp_path / "my photos")
    for run in found.confirm_runs().values():
        save_file({"w": np.zeros(1, np.float32)}, run.path / "best.safetensors", {"hwcls": "{}"})
    return found


@pytest.mark.parametrize("installed", [True, False])
def test_the_winner_its_settings_its_weights_and_the_commands(sweep, tmp_path, monkeypatch, installed):
    monkeypatch.setattr(best_model, "find_spec", lambda name: installed or None)
    path = sweep.path.relative_to(tmp_path)
    first, settings, weights, *commands = printed(path, 160)
    assert first.startswith("best: cnn (trial 1), accuracy on test 9")
    assert " % (95 % interval " in first
    assert first.endswith(" %)")
    assert settings == "  lr=0.01"
    assert weights.startswith("  weights: my photos/confirm/cnn/")
    assert weights.endswith(", nearest to the mean of 5 seeds)")
    assert commands == [
        "  hwcls predict 'my photos' NEW_PHOTOS",
        "  hwcls evaluate 'my photos'",
        "  hwcls export 'my photos'" + ("" if installed else "  # needs pip install 'hwcls[export]'"),
        "  hwcls report 'my photos'",
    ]


def test_a_narrow_terminal_breaks_between_settings_and_in_no_command(results, tmp_path):
    found = results.full(tmp_path / ("a" * 60))
    path = found.trial(1).path / "result.json"
    drawn = {f"setting_{n}": n for n in range(20)}
    files.write_json(path, json.loads(path.read_text()) | {"parameters": drawn})
    save_file({"w": np.zeros(1, np.float32)}, found.trial(1).path / "best.safetensors", {"hwcls": "{}"})
    lines = printed(found.path)
    assert lines[0] == "best: mlp (trial 1), val/accuracy 0.9, not confirmed on test"
    of = lines[1 : lines.index(next(line for line in lines if "weights:" in line))]
    assert " ".join(line.strip() for line in of) == " ".join(f"{name}={value}" for name, value in drawn.items())
    assert len(of) == 4
    assert max(map(len, of)) <= 80
    assert f"  hwcls predict {found.path} NEW_PHOTOS" in lines


def test_without_weights_it_is_trained_again(results, tmp_path):
    results.full(tmp_path)
    assert printed(tmp_path)[1:] == ["  lr=0.1", f"  hwcls train {tmp_path}", f"  hwcls report {tmp_path}"]
    results.sweep(tmp_path / "empty")
    assert printed(tmp_path / "empty") == []


def test_json_and_the_page_name_it_too(sweep):
    best = build_summary(load_results(sweep.path))["best"]
    assert (best["trial"], best["label"], best["seeds"]) == (1, "cnn", 5)
    assert best["run"].startswith("confirm/cnn/")
    assert best["weights"] == str(sweep.path / best["run"])
    assert best["settings"] == {"model": "cnn", "lr": 0.01}
    assert best["commands"][0] == f"hwcls predict '{sweep.path}' NEW_PHOTOS"
    text = write_page(sweep.path).read_text("utf-8")
    assert f"Best weights: {best['weights']} (seed {best['run'].rpartition('/')[2]}, nearest to the mean" in text


def test_only_the_compared_setting_is_left_out_not_each_of_the_same_value(results, tmp_path):
    sweep = results.sweep(tmp_path, compare="data.batch_size")
    for number, size in enumerate((32, 64)):
        results.trial(sweep.trial(number), [0.5, 0.6 + size / 1000], label=str(size))
        path = sweep.trial(number).path / "result.json"
        drawn = {"batch_size": size, "width": 64, "depth": 32}
        files.write_json(path, json.loads(path.read_text()) | {"parameters": drawn})
    best, settings = printed(tmp_path)[:2]
    assert best.startswith("best: batch_size 64 (trial 1)")
    assert settings.split() == ["width=64", "depth=32"]
    found = load_results(tmp_path)
    texts = describe_settings(found, build_leaderboard(found))
    assert {number: sorted(text.split()) for number, text in texts.items()} == {
        number: ["depth=32", "width=64"] for number in (0, 1)
    }
    assert {"width=64", "depth=32"} == {f"{row[0]}={row[-1]}" for row in build_table(found, "settings").cells}
