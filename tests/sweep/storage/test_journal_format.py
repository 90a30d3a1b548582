import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.trial import TrialState

from hwcls.sweep.search.journal import Journal
from hwcls.sweep.storage.journal_format import BORROWED, drop_ends


@pytest.fixture
def journal(tmp_path):
    """A study of one borrowed trial, one of each end and one that still runs, numbered from 0 after the borrowed."""
    path = tmp_path / "study.journal"
    study = optuna.create_study(study_name="a", storage=JournalStorage(Journal(path)), direction="maximize")
    study.add_trial(optuna.trial.create_trial(value=0.5, user_attrs={BORROWED: "elsewhere"}))
    study.enqueue_trial({"x": 0.25})
    for state, value in ((TrialState.COMPLETE, 1.0), (TrialState.PRUNED, None), (TrialState.FAIL, None)):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        trial.report(0.5, 1)
        study.tell(trial, value, state)
    study.ask()
    return path


def states(path):
    study = optuna.load_study(study_name="a", storage=JournalStorage(Journal(path)))
    return [trial.state.name for trial in study.get_trials()]


def test_a_trial_whose_results_are_not_there_has_not_ended(journal, tmp_path):
    content = journal.read_bytes()
    assert states(journal) == ["COMPLETE", "COMPLETE", "PRUNED", "FAIL", "RUNNING"]
    assert drop_ends(content, {3}) == content
    cut = tmp_path / "cut"
    cut.write_bytes(drop_ends(content, {0, 2}))
    partial = content + b'{"op_code":6,"trial_id":3,"sta'
    assert drop_ends(partial, {3}) == partial
    assert states(cut) == ["COMPLETE", "RUNNING", "PRUNED", "RUNNING", "RUNNING"]
