"""The command line: commands only; everything heavy is imported when a command runs."""

from hwcls.cli.console import main

__all__ = ["main"]
