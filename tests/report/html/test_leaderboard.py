"""The leaderboard on the page: the order of its rows and columns, and which columns are shown at first."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from hwcls.report.html import leaderboard
from hwcls.report.html.leaderboard import WIDTH, build_board
from hwcls.report.html.page import write_page
from hwcls.results.load import load_results


def with_settings(path, *settings):
    """The results of `path`, its trials with these settings."""
    sweep = load_results(path)
    pairs = zip(sweep.trials, settings, strict=True)
    return replace(sweep, trials=tuple(replace(trial, parameters=own) for trial, own in pairs))


@pytest.fixture
def board(results, tmp_path):
    results.full(tmp_path)
    return build_board(load_results(tmp_path))


def test_rows_are_in_the_order_of_their_ranks(board):
    ranks = [row["rank"] for _, row in board.rows]
    known = [rank for rank in ranks if rank is not None]
    assert known == sorted(known)
    assert ranks[len(known) :] == [None] * (len(ranks) - len(known))
    assert {place for place, _ in board.rows} == {0, 1}


def test_rank_alternative_and_metric_come_first_then_settings(board):
    headings = [column.heading for column in board.columns]
    assert headings[:4] == ["rank", "model", "val/accuracy", "trial"]
    assert [column.fixed for column in board.columns[:3]] == [True, True, False]
    settings = [column.heading for column in board.columns if column.shown][4:]
    assert settings == ["lr"]
    assert not next(column for column in board.columns if column.heading == "error").shown


def test_no_two_columns_have_one_name(results, tmp_path):
    sweep = results.sweep(tmp_path, compare="model")
    results.trial(sweep.trial(0), [0.5], label="mlp")
    results.trial(sweep.trial(1), [0.6], label="cnn")
    settings = [{"model": "mlp", "epochs": 3, "seconds": 4}, {"model": "cnn", "epochs": 4, "seconds": 5}]
    headings = [column.heading for column in build_board(with_settings(tmp_path, *settings)).columns]
    assert len(set(headings)) == len(headings)
    assert headings.count("model") == 1
    assert {"epochs", "epochs trained", "seconds", "seconds of training"} <= set(headings)


def test_settings_are_shown_as_far_as_they_fit(results, tmp_path):
    sweep = results.sweep(tmp_path)
    for number in range(4):
        results.trial(sweep.trial(number), [0.5])
    many = [{f"setting_{place}": f"value {number} of this setting" for place in range(20)} for number in range(4)]
    columns = build_board(with_settings(tmp_path, *many)).columns
    assert 2 < sum(column.shown for column in columns if column.heading.startswith("setting")) < 8
    assert sum(23 * 7.4 for column in columns if column.shown and column.heading.startswith("setting")) < WIDTH


def test_many_rows_are_the_first_of_each_alternative(results, tmp_path, monkeypatch):
    monkeypatch.setattr(leaderboard, "MAX_ROWS", 4)
    sweep = results.sweep(tmp_path, compare="model")
    for number in range(12):
        results.trial(sweep.trial(number), [0.1 + 0.05 * number], label="ab"[number % 2])
    board = build_board(load_results(tmp_path))
    assert [row["trial"] for _, row in board.rows] == [11, 10, 9, 8]
    assert (board.total, board.groups) == (12, 2)


def test_hidden_columns_are_on_the_page(results, tmp_path):
    results.full(tmp_path)
    text = write_page(tmp_path).read_text("utf-8")
    table = re.search(r'(?s)<table id="board">.*?</table>', text)[0]
    hidden = re.findall(r'<th scope="col"[^>]* hidden[^>]*><button type="button">(.*?)</button>', table)
    assert "error" in hidden
    assert table.count("loss is NaN") == 1
    assert re.search(r'(?s)<details class="chooser"><summary>Columns: 5 of 13 shown</summary>', text)
