"""The command line. A command imports what is slow to import (torch, ray, numpy) when it runs."""

from __future__ import annotations

import signal

__all__ = ["main"]


def main() -> None:
    """Run the command that sys.argv names; Ctrl-C prints no traceback, from the first import on."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from hwcls.cli.interrupt import handle_interrupts

    handle_interrupts()
    from hwcls.cli.main import main as run

    run()
