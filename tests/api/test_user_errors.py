"""Errors raised in Python name arguments, not options of the command line."""

import pytest

from hwcls.api.user_errors import as_user_errors
from hwcls.errors import UserError


@pytest.mark.parametrize(
    ("option", "argument"),
    [
        ("pass --new to use a new folder", "pass new=True to use a new folder"),
        ("with --from results/a to start", 'with warm_start="results/a" to start'),
        ("pass --trust-code once", "pass trust_code=True once"),
        ("or name another --results", "or name another folder as results="),
        ("write --new-file", "write --new-file"),
    ],
)
def test_a_remedy_names_arguments(option, argument):
    with pytest.raises(UserError) as raised, as_user_errors():
        raise UserError("wrong", remedy=option)
    assert raised.value.remedy == argument
