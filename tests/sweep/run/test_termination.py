import signal

import pytest

from hwcls.sweep.run.termination import Termination


@pytest.mark.parametrize("interrupt", [signal.default_int_handler, signal.SIG_IGN])  # ignored by `hwcls sweep ... &`
def test_sigterm_interrupts_even_where_ctrl_c_is_ignored(interrupt):
    def terminated():
        with Termination():
            signal.raise_signal(signal.SIGTERM)
            signal.sigtimedwait(set(), 1)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            terminated()
    finally:
        signal.signal(signal.SIGINT, before)
