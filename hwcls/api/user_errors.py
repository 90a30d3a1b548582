"""What a user can cause becomes a UserError, for the command line and for Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from hwcls.errors import UserError

ARGUMENTS = {  # in Python, of what a remedy calls by its option
    "--new": "new=True",
    "--from": "warm_start=",
    "--results": "results=",
    "--trust-code": "trust_code=True",
    "--views": "views=",
}


@contextmanager
def as_user_errors() -> Iterator[None]:
    """Raise UserError in place of a file's OSError and of the SystemExit of a user's model."""
    try:
        yield
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


@contextmanager
def as_python_errors() -> Iterator[None]:
    """As `as_user_errors`; a remedy that names options says at its end what they are called in Python."""
    try:
        with as_user_errors():
            yield
    except UserError as error:
        named = [argument for option, argument in ARGUMENTS.items() if re.search(rf"{option}(?![\w-])", error.remedy)]
        if named:
            error.remedy += f" (in Python: {', '.join(named)})"
        raise
