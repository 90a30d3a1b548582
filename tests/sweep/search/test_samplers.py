"""The study's journal and the bounded TPE: what each ask and each trial costs."""

import errno
import json
import os
import random

import optuna
import pytest
from optuna.samplers._tpe import sampler as tpe
from optuna.search_space import group_decomposed
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from hwcls import files
from hwcls.config.sweep import SAMPLERS, Searched
from hwcls.sweep.search import optuna_private
from hwcls.sweep.search.bounded_tpe import BEST, LATEST, SHARED, BoundedTPE
from hwcls.sweep.search.journal import Journal
from hwcls.sweep.search.optuna_private import OneStudyStorage

LR = {"lr": optuna.distributions.FloatDistribution(0.0, 1.0)}


def trials(count, seed=0):
    """Ended trials of a study, a third of them complete; no value twice."""
    chance = random.Random(seed)
    values = chance.sample(range(10 * count), count)
    study = optuna.create_study(direction="maximize")
    for value in values:
        state = TrialState.COMPLETE if chance.random() < 0.3 else TrialState.PRUNED
        steps = dict.fromkeys(range(1, 1 + (9 if state == TrialState.COMPLETE else chance.choice([1, 3]))), value)
        study.add_trial(
            optuna.create_trial(
                state=state,
                value=value if state == TrialState.COMPLETE else None,
                params={"lr": chance.random()},
                distributions=LR,
                intermediate_values=steps,
            )
        )
    return study


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
@pytest.mark.parametrize("complete", [True, False])
def test_an_excerpt_keeps_what_tpe_calls_good(goal, complete):
    study = optuna.create_study(direction=goal)
    study.add_trials([t for t in trials(2000).get_trials() if complete or t.state == TrialState.PRUNED])
    running = study.ask()
    every = study.get_trials()
    chosen = BoundedTPE().view(study).get_trials(deepcopy=False)
    numbers = [trial.number for trial in chosen]
    assert len(chosen) == BEST + LATEST + 1
    assert numbers == sorted(set(numbers))
    assert running.number in numbers
    assert set(numbers) >= {trial.number for trial in every[-LATEST:]}
    good, _ = tpe._split_trials(study, every, BEST)
    assert good == tpe._split_trials(study, chosen, BEST)[0]


def test_a_short_history_is_taken_whole():
    study = trials(BEST + LATEST)
    assert BoundedTPE().view(study).get_trials() == study.get_trials()


def test_asking_looks_at_no_more_trials_than_the_excerpt(monkeypatch):
    study = trials(2 * (BEST + LATEST))
    study.sampler = SAMPLERS["tpe"]().sampler(0, Searched(space=None))
    assert isinstance(study.sampler, BoundedTPE)
    split, group = tpe._split_trials, group_decomposed._SearchSpaceGroup.add_distributions
    seen, grouped = [], []
    monkeypatch.setattr(optuna_private, "_split_trials", lambda *given: seen.append(len(given[1])) or split(*given))
    monkeypatch.setattr(
        group_decomposed._SearchSpaceGroup, "add_distributions", lambda *given: grouped.append(1) or group(*given)
    )
    trial = study.ask()
    trial.suggest_float("lr", 0.0, 1.0)
    trial.suggest_float("new", 0.0, 1.0)
    assert seen == [BEST + LATEST] * 2
    assert len(grouped) == BEST + LATEST


@pytest.mark.parametrize(("at_once", "looks"), [(1, 4), (SHARED - 1, 4), (SHARED, 2), (2 * SHARED, 2)])
def test_asks_share_a_history_where_many_trials_run(monkeypatch, at_once, looks):
    """One trial more among hundreds tells nothing new."""
    study, looked, grouped = trials(40), [], []
    view, group = BoundedTPE.view, group_decomposed._SearchSpaceGroup.add_distributions
    monkeypatch.setattr(BoundedTPE, "view", lambda *given: looked.append(1) or view(*given))
    monkeypatch.setattr(
        group_decomposed._SearchSpaceGroup, "add_distributions", lambda *given: grouped.append(1) or group(*given)
    )
    study.sampler = SAMPLERS["tpe"]().sampler(0, Searched(space=None, at_once=at_once))
    for _ in range(4):
        study.ask(LR)
    assert (len(looked), len(grouped)) == (looks, 40 * looks)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_draws_beside_running_trials_are_those_of_tpe_which_are_decoded_once(monkeypatch):
    """A trial that runs may have been given settings that it has not asked for yet."""
    options = {
        "multivariate": True,
        "group": True,
        "constant_liar": True,
        "seed": 7,
        "warn_independent_sampling": False,
    }
    decoded, decode = [], BoundedTPE._get_params

    def counted(sampler, trial, study):
        if trial.system_attrs:
            decoded.append(trial.number)
        return decode(sampler, trial, study)

    monkeypatch.setattr(optuna.samplers.TPESampler, "_get_params", counted)
    drawn = []
    for sampler in (optuna.samplers.TPESampler(**options), BoundedTPE(**options)):
        study = trials(40)
        study.sampler = sampler
        decoded.clear()
        drawn.append([study.ask(LR).params for _ in range(5)])
    assert drawn[0] == drawn[1]
    assert decoded == [40, 41, 42, 43]


def test_the_journal_is_made_safe_when_it_is_asked_to_be(tmp_path, monkeypatch):
    journal, synced = Journal(tmp_path / "study.journal"), []
    monkeypatch.setattr(os, "fsync", synced.append)
    storage = optuna.storages.JournalStorage(journal)
    study = optuna.create_study(storage=storage, study_name="s")
    trial = study.ask(LR)
    trial.report(0.5, 1)
    study.tell(trial, 0.5)
    assert synced == []
    journal.sync()
    assert len(synced) == 1
    assert journal.count() == 5  # study, trial, parameter, report, end
    plain = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal.path)))
    assert optuna.load_study(study_name="s", storage=plain).trials == study.trials


def test_a_partial_journal_line_is_cut_before_the_next(tmp_path):
    journal = Journal(tmp_path / "study.journal")
    study = optuna.create_study(storage=optuna.storages.JournalStorage(journal), study_name="s")
    with open(journal.path, "ab") as file:
        file.write(b'{"op_code": 4, "worker')
    files.cut_partial_line(journal.path)
    study.ask(LR)
    assert journal.count() == 3


def test_a_journal_reads_no_line_twice(tmp_path, monkeypatch):
    study = optuna.create_study(storage=OneStudyStorage(Journal(tmp_path / "study.journal")), study_name="s")
    read = []
    monkeypatch.setattr("json.loads", lambda text, loads=json.loads: read.append(text) or loads(text))
    for value in (0.25, 0.5):
        trial = study.ask(LR)
        trial.report(value, 1)
        study.tell(trial, value)
    lines = (tmp_path / "study.journal").read_bytes().splitlines(keepends=True)
    assert [text for text in read if isinstance(text, bytes)] == lines[1:]
    again = optuna.load_study(study_name="s", storage=OneStudyStorage(Journal(tmp_path / "study.journal")))
    assert again.trials == study.trials


def test_a_journal_reads_what_another_writer_appends(tmp_path):
    """As optuna-dashboard does; a line that it has not written wholly is read later."""
    path = tmp_path / "study.journal"
    study = optuna.create_study(storage=OneStudyStorage(Journal(path)), study_name="s")
    other = optuna.load_study(study_name="s", storage=optuna.storages.JournalStorage(JournalFileBackend(str(path))))
    trials = [study.ask(LR) for _ in range(3)]
    other.ask(LR)
    other.set_user_attr("note", "x")
    with open(path, "ab") as file:
        file.write(b'{"op_code": 4, "worker')
    assert study.user_attrs == {"note": "x"}
    trials.append(study.ask(LR))
    study.tell(trials[0], 0.25)
    study.tell(trials[3], 0.5)
    assert [trial.number for trial in trials] == [0, 1, 2, 4]
    assert study.trials == other.trials
    again = optuna.load_study(study_name="s", storage=OneStudyStorage(Journal(path)))
    assert again.trials == study.trials


def test_a_journal_has_a_line_whose_writing_failed_half_way(tmp_path, monkeypatch):
    """Closing the file may still write what a full disk refused."""
    study = optuna.create_study(storage=OneStudyStorage(Journal(tmp_path / "study.journal")), study_name="s")

    def append_and_fail(*given, append=files.append_line, **options):
        append(*given, **options)
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(files, "append_line", append_and_fail)
        with pytest.raises(OSError, match="full"):
            study.ask(LR)
    assert study.ask(LR).number == 1
    again = optuna.load_study(study_name="s", storage=OneStudyStorage(Journal(tmp_path / "study.journal")))
    assert again.trials == study.trials


def test_opening_a_journal_leaves_its_time(tmp_path):
    """By which the mirror knows that there is nothing to upload."""
    path = tmp_path / "study.journal"
    Journal(path)
    os.utime(path, (0, 0))
    Journal(path)
    assert path.stat().st_mtime == 0
