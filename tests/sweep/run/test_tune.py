import signal
from types import SimpleNamespace

from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.run import tune
from hwcls.tracking.folders import SweepFolder


def test_ctrl_c_is_no_more_tunes_after_it(tmp_path, monkeypatch):
    """Tune puts the old handler back only when its own was called."""
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(tune.tune, "run", lambda *_, **__: signal.signal(signal.SIGINT, lambda *_: None))
    source = SimpleNamespace(running=set(), finished=True)
    assert not tune.tune_run(None, SweepFolder(tmp_path), source, None, None, Resources(1, 1, 0.0, 1), 2)
    assert signal.getsignal(signal.SIGINT) is before
