"""Columns that fit a width, and texts cut to one."""

import pytest
from rich.cells import cell_len

from hwcls.report.terminal.columns import (
    Column,
    drop_columns,
    fill_lines,
    fit_columns,
    measure_columns,
    narrow,
    shorten,
    shorten_names,
)

COLUMNS = [Column("a", 10), Column("b", 5, 20), Column("c", 8), Column("d", 4, 9)]


@pytest.mark.parametrize(
    ("width", "fits"),
    [
        (3, {"a": 10}),
        (16, {"a": 10}),
        (17, {"a": 10, "b": 5}),
        (26, {"a": 10, "b": 14}),  # the next one would need a character more
        (27, {"a": 10, "b": 5, "c": 8}),
        (33, {"a": 10, "b": 5, "c": 8, "d": 4}),
        (50, {"a": 10, "b": 20, "c": 8, "d": 6}),
        (99, {"a": 10, "b": 20, "c": 8, "d": 9}),
    ],
)
def test_the_first_columns_fit_and_what_is_left_goes_to_those_that_can_use_it(width, fits):
    assert fit_columns(COLUMNS, width) == fits


def test_expendable_columns_go_until_the_others_fit():
    widths = measure_columns(["name", "time", "epochs"], [{"name": "日本", "time": "1 min 2 s", "epochs": "3"}])
    assert widths == {"name": 4, "time": 9, "epochs": 6}
    assert drop_columns(widths, ("time", "epochs"), 23) == widths
    assert drop_columns(widths, ("time", "epochs"), 22) == {"name": 4, "epochs": 6}
    assert drop_columns(widths, ("time", "epochs"), 3) == {"name": 4}
    assert drop_columns(widths, ("none",), 3) == widths


def test_a_column_never_gets_wider_where_others_lack_room():
    assert [narrow(5, lack, 12) for lack in (-3, 0, 2, 9)] == [5, 5, 5, 5]
    assert [narrow(20, lack, 12) for lack in (-3, 0, 2, 9)] == [20, 20, 18, 12]


def test_names_are_cut_where_they_remain_different():
    assert shorten("resnet", 6) == "resnet"
    assert shorten("efficientnet", 8) == "effi…net"
    assert shorten_names(["a_long_name_1", "a_long_name_2"], 7) == {
        "a_long_name_1": "a_l…e_1",
        "a_long_name_2": "a_l…e_2",
    }
    assert set(shorten_names(["net_strong_augmentation", "net_light_augmentation"], 8).values()) == {
        "net_str…",
        "net_lig…",
    }
    assert set(shorten_names(["same_start_1_end", "same_start_2_end"], 8).values()) == {"…t_1_end", "…t_2_end"}
    assert shorten_names(["abcd", "abce"], 1) == {"abcd": "…", "abce": "…"}  # no cut tells them apart


def test_wide_characters_count_twice():
    for width in range(1, 15):
        assert cell_len(shorten("日本語のモデル", width)) <= width
    assert shorten("日本語のモデル", 8) == "日本…ル"


def test_no_fact_is_broken():
    assert fill_lines(["one", "two", "three"], 9) == ["one · two", "three"]
    assert fill_lines(["a long fact", "b"], 5) == ["a long fact", "b"]
    assert fill_lines(["a=1", "b=2", "c=3"], 7, " ") == ["a=1 b=2", "c=3"]
