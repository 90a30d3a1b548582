"""Errors raised in Python name arguments besides the options of the command line."""

import pytest

from hwcls.api.user_errors import as_python_errors, as_user_errors
from hwcls.errors import UserError


@pytest.mark.parametrize(
    ("remedy", "added"),
    [
        ("undo the change, or pass --new to use a new folder", " (in Python: new=True)"),
        ("pass --new to use a new folder, with --from a b to start", " (in Python: new=True, warm_start=)"),
        ("remove --from", " (in Python: warm_start=)"),
        ("use a new folder: hwcls sweep --new", " (in Python: new=True)"),
        ("read it, then pass --trust-code once", " (in Python: trust_code=True)"),
        ("name another --results, or pass --new", " (in Python: new=True, results=)"),
        ("write --new-file", ""),
        ("", ""),
    ],
)
def test_a_remedy_in_python_says_what_its_options_are_called(remedy, added):
    with pytest.raises(UserError) as raised, as_python_errors():
        raise UserError("wrong", remedy=remedy)
    assert raised.value.remedy == remedy + added
    with pytest.raises(UserError) as raised, as_user_errors():  # on the command line
        raise UserError("wrong", remedy=remedy)
    assert raised.value.remedy == remedy
