"""Optuna's private API is as it was in the release that hwcls was written for."""

import sys

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from hwcls.sweep.search import optuna_private
from hwcls.sweep.search.bounded_tpe import SHARED, BoundedTPE
from hwcls.sweep.search.sampling.pinned_tpe import PinnedTPE


def test_optuna_is_the_release_that_it_was_written_for():
    assert optuna.__version__.startswith(f"{optuna_private.WRITTEN_FOR}."), (
        f"hwcls/sweep/search/optuna_private.py was written for Optuna {optuna_private.WRITTEN_FOR},"
        f" {optuna.__version__} is installed: check each of its functions, then change WRITTEN_FOR"
    )


def test_a_view_shows_a_sampler_some_trials():
    study = optuna.create_study()
    for value in (0.0, 1.0, 2.0):
        study.add_trial(optuna.trial.create_trial(value=value))
    view = optuna_private.StudyView(study, study.get_trials()[1:])
    assert [trial.value for trial in view._get_trials()] == [1.0, 2.0]
    assert [trial.value for trial in view.get_trials()] == [1.0, 2.0]
    assert view._get_trials(states=(optuna.trial.TrialState.RUNNING,)) == []
    assert len(study.get_trials()) == 3
    assert "_get_trials" in vars(optuna.Study)  # which samplers call


def test_a_running_trial_is_resumed():
    study = optuna.create_study()
    study.ask().suggest_float("x", 0.0, 1.0)
    (frozen,) = study.get_trials()
    trial = optuna_private.resume_trial(study, frozen)
    assert trial.suggest_float("x", 0.0, 1.0) == frozen.params["x"]
    study.tell(trial, 0.5)
    assert [known.value for known in study.get_trials()] == [0.5]


def test_what_was_pinned_is_known_before_it_is_drawn():
    study = optuna.create_study()
    study.enqueue_trial({"x": 0.25})
    (frozen,) = study.get_trials(deepcopy=False)
    assert optuna_private.drawn_or_pinned(frozen) == {"x": 0.25}
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)
    trial.suggest_float("y", 0.0, 1.0)
    (frozen,) = study.get_trials()
    assert optuna_private.drawn_or_pinned(frozen) == frozen.params


def test_a_trial_that_has_not_changed_is_shown_as_the_same_object():
    """So that what a sampler knows of it holds."""
    study = optuna.create_study()
    trials = [study.ask() for _ in range(3)]
    trials[0].report(0.5, 1)
    already = {}
    first, second = (optuna_private.shown_to_sampler(study, 1, already).get_trials(deepcopy=False) for _ in range(2))
    assert [trial.state.name for trial in first] == ["PRUNED", "RUNNING", "RUNNING"]
    assert all(one is other for one, other in zip(first, second, strict=True))
    trials[0].report(0.7, 2)
    third = optuna_private.shown_to_sampler(study, 1, already).get_trials(deepcopy=False)
    assert (third[0].value, third[1] is first[1]) == (0.7, True)
    assert optuna_private.shown_to_sampler(study, None, already) is study


def test_a_storage_of_one_study_gives_what_optunas_gives(tmp_path):
    """Trials are in the order of their numbers, also after changes, and share the distributions that are equal."""
    storage = optuna_private.OneStudyStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    study = optuna.create_study(storage=storage, study_name="s")
    trials = [study.ask({"lr": optuna.distributions.FloatDistribution(0.0, 1.0)}) for _ in range(3)]
    study.enqueue_trial({"lr": 0.5})
    study.tell(trials[1], 0.5)
    for states in (None, (TrialState.RUNNING,), (TrialState.WAITING, TrialState.COMPLETE), ()):
        found = storage.get_all_trials(study._study_id, deepcopy=False, states=states)
        assert found == JournalStorage.get_all_trials(storage, study._study_id, deepcopy=False, states=states)
    first, second, *_ = storage.get_all_trials(study._study_id, deepcopy=False)
    assert first.distributions["lr"] is second.distributions["lr"]
    copied = storage.get_all_trials(study._study_id)[0]
    assert (copied == first, copied is first) == (True, False)


def test_a_storage_of_a_renamed_study_has_each_trial_once(tmp_path):
    """optuna-dashboard copies the study and deletes the old one, whose trials Optuna keeps."""
    storage = optuna_private.OneStudyStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    study = optuna.create_study(storage=storage, study_name="s")
    for value in (0.0, 1.0, 2.0):
        study.tell(study.ask(), value)
    renamed = optuna.create_study(storage=storage, study_name="renamed")
    renamed.add_trials(study.get_trials())
    optuna.delete_study(study_name="s", storage=storage)
    assert [trial.number for trial in renamed.get_trials()] == [0, 1, 2]
    assert [trial.number for trial in renamed.get_trials(states=(TrialState.RUNNING,))] == []
    assert renamed.ask().number == 3
    with pytest.raises(KeyError):
        study.get_trials()


def drawn_settings(sampler, trials):
    """The settings of so many trials with an alternative each, of which more than 2 * SHARED run at once."""
    study, running, found = optuna.create_study(sampler=sampler), [], []
    for number in range(trials):
        study.enqueue_trial({"model": "ab"[number % 2]})
        trial = study.ask()
        label = trial.suggest_categorical("model", ["a", "b"])
        value = trial.suggest_float("x", 0.0, 1.0) * trial.suggest_int(f"width of {label}", 1, 5)
        found.append(trial.params)
        running.append((trial, value))
        if len(running) > 2 * SHARED + 1:
            study.tell(*running.pop(0))
    return found


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("kind", [BoundedTPE, lambda **options: PinnedTPE("model", **options)])
def test_densities_that_are_kept_draw_what_optuna_draws(kind, monkeypatch):
    options = {"seed": 3, "multivariate": True, "group": True, "constant_liar": True, "at_once": 2 * SHARED}
    split, builds = optuna_private._split_trials, []
    for module in (optuna_private, sys.modules["optuna.samplers._tpe.sampler"]):
        monkeypatch.setattr(module, "_split_trials", lambda *given: builds.append(1) or split(*given))
    kept, shared = drawn_settings(kind(**options), 110), len(builds)
    monkeypatch.delattr(optuna_private.KeptDensities, "_sample")  # Optuna's own
    assert drawn_settings(kind(**options), 110) == kept
    assert 0 < shared < len(builds) - shared
