"""The command line: commands only; everything heavy is imported when a command runs."""

from hwcls.cli.app import main

__all__ = ["main"]
