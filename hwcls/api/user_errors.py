"""What a user can cause becomes a UserError, for the command line and for Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from hwcls.errors import UserError

OPTIONS = {  # what a remedy names on the command line: the argument in Python
    r"--new\b(?!-)": "new=True",
    r"--trust-code\b": "trust_code=True",
    r"--from (\S+)": r'warm_start="\1"',
    r"another --results\b": "another folder as results=",
}


@contextmanager
def as_user_errors() -> Iterator[None]:
    """Raise UserError in place of a file's OSError and of the SystemExit of a user's model; remedies name arguments."""
    try:
        yield
    except UserError as error:
        error.remedy = _name_arguments(error.remedy)
        raise
    except SystemExit as error:
        from hwcls.models.user.code import error_line, is_raised_by_user

        if not is_raised_by_user(error):
            raise
        raise UserError(f"the model ends the process: {error_line(error)}") from None
    except OSError as error:
        if error.filename is None:
            raise
        from hwcls.api.os_error import remedy_for

        problem = (error.strerror or type(error).__name__).lower()
        raise UserError(problem, where=str(error.filename), remedy=remedy_for(error)) from None


def _name_arguments(remedy: str) -> str:
    for option, argument in OPTIONS.items():
        remedy = re.sub(option, argument, remedy)
    return remedy
