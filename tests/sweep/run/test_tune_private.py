"""Ray Tune's private API is as it was in the release that hwcls was written for."""

import gc
import importlib
import inspect
import weakref
from types import SimpleNamespace

import ray
from ray.tune import Callback, ExperimentAnalysis
from ray.tune.execution import insufficient_resources_manager as manager
from ray.tune.execution.class_cache import _ActorClassCache
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.result import SHOULD_CHECKPOINT

from hwcls.sweep.run import tune_private


def test_ray_is_the_release_that_it_was_written_for():
    assert ray.__version__.startswith(f"{tune_private.WRITTEN_FOR}."), (
        f"hwcls/sweep/run/tune_private.py was written for Ray {tune_private.WRITTEN_FOR}, {ray.__version__} is"
        " installed: check each of its functions and tests/sweep/test_faults.py, then change WRITTEN_FOR"
    )


def test_trials_run_in_the_usual_workers():
    usual = _ActorClassCache().get(Trial)
    assert usual._default_options["runtime_env"]["env_vars"], "the reason for plain_actors"
    with tune_private.plain_actors():
        assert not _ActorClassCache().get(Trial)._default_options.get("runtime_env")
    assert _ActorClassCache().get(Trial)._default_options.get("runtime_env")


def test_failures_are_counted_again_from_zero():
    trial = Trial("nothing", stub=True)
    trial.run_metadata.num_failures = 2
    tune_private.forget_failures(trial)
    assert trial.num_failures == 0


def test_a_callback_requests_a_checkpoint_in_the_result():
    result = {}
    tune_private.request_checkpoint(result)
    assert result == {SHOULD_CHECKPOINT: True}
    source = inspect.getsource(TuneController._process_trial_result)
    assert source.index("on_trial_result(\n                    iteration") < source.index(
        "result.get(SHOULD_CHECKPOINT"
    )


def test_an_error_is_read_from_its_file(tmp_path, monkeypatch):
    assert isinstance(inspect.getattr_static(Trial, "error_file"), property)
    trial = Trial("nothing", stub=True)
    for path, text in ((None, ""), (tmp_path / "absent", ""), (tmp_path / "error.txt", "ValueError: x")):
        monkeypatch.setattr(Trial, "error_file", path)
        (tmp_path / "error.txt").write_text("ValueError: x")
        assert tune_private.error_text(trial) == text


def test_tune_writes_no_snapshots(monkeypatch):
    """`tune.run` calls `checkpoint` after each step, and at its end, where it looks for what that wrote."""
    saved, module = [], importlib.import_module("ray.tune.tune")
    assert "return ExperimentAnalysis(" in inspect.getsource(module.run)
    monkeypatch.setattr(TuneController, "checkpoint", lambda self, force=False, wait=False: saved.append(force))
    with tune_private.no_snapshots():
        TuneController.checkpoint(controller_of([], [], []))
        TuneController.checkpoint(controller_of([], [], []), force=True, wait=True)
        assert module.ExperimentAnalysis(trials=[]) is None
    assert saved == []
    assert module.ExperimentAnalysis is ExperimentAnalysis
    TuneController.checkpoint(None)
    assert saved == [False]


def test_tune_forgets_trials_that_have_ended():
    """Of its sets it has those of ended trials for snapshots alone."""
    running, stopped, failed = (Trial("nothing", stub=True) for _ in range(3))
    controller, known = controller_of([running], [stopped], [failed]), [weakref.ref(stopped), weakref.ref(failed)]
    del stopped, failed
    with tune_private.no_snapshots():
        TuneController.checkpoint(controller)
    assert (controller._trials, controller._live_trials) == ([running], {running})
    gc.collect()
    assert [one() for one in known] == [None, None]
    source = inspect.getsource(TuneController)
    assert all(f"self.{name}: " in source for name in vars(controller))
    assert source.index("self._actor_manager.next(timeout=0.1)") < source.index("self.checkpoint()")


def test_tune_has_no_progress_view_of_its_own(monkeypatch):
    """It would keep every trial; nor does it look for one, whatever the environment says."""
    monkeypatch.setenv("RAY_AIR_NEW_OUTPUT", "1")
    module, own = importlib.import_module("ray.tune.tune"), Callback()
    source = inspect.getsource(module.run)
    assert "callbacks = _create_default_callbacks(\n        callbacks," in source
    assert "air_verbosity = get_air_verbosity(verbose)" in source
    with tune_private.no_output():
        assert module._create_default_callbacks([own], air_verbosity=None, metric=None) == [own]
        assert module.get_air_verbosity(0) is None
    assert any(isinstance(one, TrialProgressCallback) for one in module._create_default_callbacks([own]))
    assert module.get_air_verbosity(0) is not None


def test_tune_warns_of_no_missing_nodes(monkeypatch):
    """Its sign of progress is how many trials it has, of which it forgets those that have ended."""
    monkeypatch.setattr(manager, "_get_insufficient_resources_warning_threshold", lambda: -1.0)
    monkeypatch.setattr(manager, "_get_insufficient_resources_warning_msg", lambda **given: "no nodes")
    warnings = []
    monkeypatch.setattr(manager.logger, "warning", warnings.append)  # Ray's loggers may have any level by now
    looks, ended = manager._InsufficientResourcesManager(), [Trial("nothing", stub=True)]
    ended[0].status = Trial.TERMINATED
    with tune_private.no_output():
        for _ in range(3):
            looks.on_no_available_trials(ended)
    assert warnings == []
    for _ in range(3):
        looks.on_no_available_trials(ended)
    assert "no nodes" in warnings


def controller_of(running, stopped, failed):
    """What Tune's controller knows of trials; one that failed stays among the live ones."""
    return SimpleNamespace(
        _trials=[*running, *stopped, *failed],
        _live_trials={*running, *failed},
        _stopped_trials=set(stopped),
        _failed_trials=set(failed),
        _trials_to_cache={*running, *stopped, *failed},
    )
