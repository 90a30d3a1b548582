"""The command line. A command imports what is slow to import (torch, ray, numpy) when it runs."""

from hwcls.cli.main import main

__all__ = ["main"]
