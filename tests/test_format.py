"""Numbers, durations and sizes in words."""

import pytest

from hwcls.format import (
    format_bytes,
    format_cell,
    format_count,
    format_decimals,
    format_difference,
    format_duration,
    format_metric,
    format_number,
    format_p,
    format_percent,
    format_points,
    format_significant,
    hide_private,
    hide_private_word,
    join_words,
    name_metric,
)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.0364, "36 ms"),
        (0.096, "0.1 s"),
        (0.84, "0.8 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3599, "59 min 59 s"),
        (3599.6, "1 h"),
        (6000, "1 h 40 min"),
        (7559, "2 h 6 min"),
        (86_369, "23 h 59 min"),
        (86_399, "1 d"),
        (90_000, "1 d 1 h"),
        (10_000_000, "115 d 18 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds, words):
    assert format_duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"),
        (500, "500 bytes"),
        (999.6, "1 KB"),
        (40_000, "40 KB"),
        (999_600, "1.0 MB"),
        (2_500_000, "2.5 MB"),
        (9_960_000, "10 MB"),
        (25e6, "25 MB"),
        (999.6e6, "1.0 GB"),
        (1.26e9, "1.3 GB"),
        (5.3e10, "53 GB"),
        (2e12, "2.0 TB"),
        (5e18, "5,000 PB"),
    ],
)
def test_a_size_has_two_digits_or_more(count, words):
    assert format_bytes(count) == words


def test_numbers_counts_and_lists():
    assert [format_number(v) for v in (None, 3, 0.123456, True, "a")] == ["–", "3", "0.1235", "True", "a"]
    assert [format_number(v) for v in (45678.9, -9999.6, 9999.4, 1e15)] == ["45679", "-10000", "9999", "1e+15"]
    assert [format_significant(v, 2) for v in (120.4, 99.7, 9.96, 0.0123)] == ["120", "100", "10", "0.012"]
    assert format_cell("val/loss", 0.5) == "0.5000"
    assert [format_cell("lr", 0.5), format_cell("val/loss", 12345.6)] == ["0.5", "12346"]
    assert [format_count(1, "seed"), format_count(1200, "seed")] == ["1 seed", "1,200 seeds"]
    assert [format_count(1, "class"), format_count(2, "class")] == ["1 class", "2 classes"]
    assert [join_words(["a"]), join_words(["a", "b"]), join_words(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_metrics_and_their_differences():
    assert format_points(-0.0123) == "−1.23"
    assert [format_metric("test/accuracy", 0.9), format_metric("test/loss", -0.5)] == ["90.0 %", "−0.5000"]
    assert format_difference("val/accuracy", 0.012) == "1.20 points"
    assert format_difference("val/accuracy", 0.012, unit=False) == "1.20"
    assert format_difference("val/loss", 0.012) == "0.0120"
    assert name_metric("test/macro_f1") == "macro F1"


def test_nothing_is_minus_zero():
    assert [format_number(-0.0), format_significant(-0.0, 2), format_cell("lr", -0.0)] == ["0"] * 3
    assert [format_number(-1e-9), format_cell("val/loss", -1e-9)] == ["-1e-09", "0.0000"]
    assert [format_percent(value) for value in (-0.0003, -0.003, 0.003)] == ["0.0 %", "−0.3 %", "0.3 %"]
    assert [format_points(value) for value in (-0.00001, -0.0001)] == ["0.00", "−0.01"]
    assert [format_metric("val/loss", value) for value in (-0.00001, -0.0001)] == ["0.0000", "−0.0001"]
    assert format_cell("val/loss", -0.00001) == "0.0000"
    assert [format_decimals(value, 1) for value in (-0.04, -0.4, None)] == ["0.0", "−0.4", "–"]


def test_a_mean_has_one_text_however_it_was_summed():
    """400 test images and 5 seeds: one of two means lies between two texts."""
    below, above = 0.9494999999999999, 0.9495
    assert format_percent(below) == format_percent(above) == "95.0 %"
    assert format_points(0.010449999999999999) == format_points(0.01045)


def test_a_p_and_its_level_are_printed_differently():
    assert format_p(0.0352, 0.05 * 2 / 9) == "p 0.035, significant below 0.011"
    assert format_p(0.0114, 0.05 * 2 / 9) == "p 0.0114, significant below 0.0111"  # both are 0.011 in two digits


def test_settings_that_may_hold_a_key_are_hidden():
    given = {"notify": {"command": "curl https://x/KEY", "on": ["end"]}, "run_cap": 3, "a": ["s3://key:secret@bucket"]}
    assert hide_private(given) == {
        "notify": {"command": "(hidden)", "on": ["end"]},
        "run_cap": 3,
        "a": ["s3://bucket"],
    }
    assert hide_private({"notify.command": "curl KEY"}) == {"notify.command": "(hidden)"}
    assert hide_private(None, "notify.command") is None


def test_words_of_a_command_line_hide_what_may_be_a_key():
    words = ["--set", "notify.command=curl KEY", "--set=notify.command=KEY", "--results=s3://k:KEY@bucket/a", "n=1"]
    words.append(" notify.command =KEY")  # the spaces do not matter to --set
    shown = ["--set", "notify.command=(hidden)", "--set=notify.command=(hidden)", "--results=s3://bucket/a", "n=1"]
    shown.append(" notify.command =(hidden)")
    assert [hide_private_word(word) for word in words] == shown
