"""Time limits in hwcls's words and in Slurm's."""

import pytest

from hwcls.errors import UserError
from hwcls.sweep.cluster.slurm.time_limit import format_time_limit, parse_time_limit


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("8h", 480),
        ("30m", 30),
        ("1h30m", 90),
        ("2d", 2880),
        ("90", 90),
        ("90:00", 90),
        ("8:00:00", 480),
        ("00:10:01", 11),
        ("1-12", 2160),
        ("1-12:30", 2190),
        ("1-12:00:00", 2160),
        (" 301s ", 6),
    ],
)
def test_a_time_limit_is_whole_minutes(text, minutes):
    assert parse_time_limit(text) == minutes


@pytest.mark.parametrize(
    "text", ["", "8 hours", "h", "1:2:3:4", "-5", "1-", "8h x", "²", "1e3", "nan", "9" * 400 + "h"]
)
def test_what_is_none(text):
    with pytest.raises(UserError, match=r"--time: .* — write 8h, 30m, 1h30m, minutes \(90\), or Slurm's"):
        parse_time_limit(text)


@pytest.mark.parametrize("text", ["0", "4", "3m", "2:00"])
def test_one_that_leaves_no_time_to_train(text):
    with pytest.raises(UserError, match=r"too short for a sweep.* — give it at least 5 minutes"):
        parse_time_limit(text)


@pytest.mark.parametrize(("minutes", "text"), [(10, "00:10:00"), (480, "08:00:00"), (2190, "1-12:30:00")])
def test_it_is_written_as_slurm_reads_it(minutes, text):
    assert format_time_limit(minutes) == text
    assert parse_time_limit(text) == minutes
