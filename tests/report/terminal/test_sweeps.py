"""The list of sweeps in the terminal."""

from __future__ import annotations

import io

import pytest

from hwcls.report.terminal.console import terminal_console
from hwcls.report.terminal.sweeps import print_sweeps
from hwcls.results.sweeps.summary import summarize_sweep


def test_a_line_of_facts_and_the_answer_beneath(results, tmp_path):
    results.overtaken(tmp_path / "a")
    results.full(tmp_path / "b [red]")
    console = terminal_console(width=70, record=True, file=io.StringIO())
    print_sweeps([summarize_sweep(tmp_path / name) for name in ("a", "b [red]")], console)
    assert [line.rstrip() for line in console.export_text().splitlines()] == [
        "sweep    state                      trials  confirm    best  written",
        "a        interrupted                   4/6    18/18  0.9900  just now",
        "  Accuracy on test: cnn (trial 1) 94.4 % (5 seeds) and mlp (trial 4)",
        "  75.8 % (5 seeds).",
        "b [red]  interrupted, 1 run failed     4/6           0.9000  just now",
        "  Best on val/accuracy: mlp with 0.9 (trial 1, epoch 2), ahead of",
        "  resnet 0.72.",
    ]


def test_trials_that_started_are_counted_while_none_has_ended(results, tmp_path):
    sweep = results.sweep(tmp_path / "a")
    for number in range(3):
        results.trial(sweep.trial(number), [], status=None)
    console = terminal_console(width=70, record=True, file=io.StringIO())
    print_sweeps([summarize_sweep(sweep.path)], console)
    text = " ".join(console.export_text().split())
    assert text.startswith("sweep state trials written a interrupted, 3 started 0/6 just now")


@pytest.mark.parametrize("width", [40, 60, 80, 120, 160])
def test_long_names_break_no_row(results, tmp_path, width):
    names = [f"a_sweep_of_photos_with_a_name_of_{'very_' * 5}_long_{number}" for number in (1, 2)]
    for name in names:
        results.full(tmp_path / name)
    console = terminal_console(width=width, record=True, file=io.StringIO())
    print_sweeps([summarize_sweep(tmp_path / name) for name in names], console)
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    head, *rows = (line for line in lines if not line.startswith("  "))
    assert len(rows) == 2
    assert max(map(len, lines)) <= width
    assert rows[0].split()[0] != rows[1].split()[0]
    assert all(("0.9000" in row, "just now" in row) == (width >= 60, width >= 80) for row in rows)
    assert ("best" in head, names[0] in rows[0]) == (width >= 60, width >= 120)
