"""The leaderboard of several sweeps in the terminal."""

import io

import pytest
from rich.console import Console

from hwcls.report.terminal.merged_leaderboard import print_merged_leaderboard
from hwcls.results.load import load_results

LONG = "efficientnet_b0_with_strong_augmentation_{}"


@pytest.mark.parametrize("width", [50, 80, 160])
def test_long_names_make_room_for_values(tmp_path, results, width):
    for number in range(2):
        sweep = results.sweep(tmp_path / f"a_sweep_of_photos_with_a_long_name_{number}")
        for trial in range(2):
            results.trial(sweep.trial(trial), [0.5, 0.6 + trial / 10], label=LONG.format(trial))
    console = Console(file=io.StringIO(), width=width)
    print_merged_leaderboard([load_results(path) for path in sorted(tmp_path.iterdir())], console, 10)
    head, *lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert max(map(len, [head, *lines])) <= width
    assert "val/accuracy" in head
    rows = [line for line in lines if "0.6000" in line or "0.7000" in line]
    assert len(rows) == 4
    assert len({tuple(row.split()[1:4]) for row in rows}) == 4
    assert ("time" in head, LONG.format(0) in rows[-1]) == (width == 160, width == 160)


def test_short_names_take_no_room_from_long_ones(tmp_path, results):
    names = [f"sweep_number_{number}" for number in range(2)]
    for name in names:
        results.trial(results.sweep(tmp_path / name).trial(0), [0.5, 0.6], label="cnn")
    console = Console(file=io.StringIO(), width=44)
    print_merged_leaderboard([load_results(tmp_path / name) for name in names], console, 10)
    lines = console.file.getvalue().splitlines()
    assert max(len(line.rstrip()) for line in lines if line.startswith(("rank", "   1"))) == 44
