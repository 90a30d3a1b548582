"""Ranks that are kept from ask to ask are those of a new look at all trials, for the work of what has changed."""

import copy
import random
from collections import defaultdict

import pytest
from optuna.distributions import CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from hwcls.sweep.search.sampling.history import Ranked, best_of, goodness, has_ended
from hwcls.sweep.search.sampling.ranking import RankedHistory

LABELS = {"model": CategoricalDistribution(["a", "b", "c"])}


def trial(number, chance, steps=0):
    """A running trial with so many reported epochs; of few values, so that there are ties."""
    values = {step: chance.choice([0.1, 0.2, 0.3, float("nan")]) for step in range(1, steps + 1)}
    params = {"model": chance.choice("aab")}
    found = create_trial(state=TrialState.RUNNING, params=params, distributions=LABELS, intermediate_values=values)
    found.number = number
    return found


def changed(old, chance):
    """The trial after something happened, a new object as Optuna makes it."""
    new = copy.copy(old)
    new.state = chance.choice([TrialState.RUNNING, TrialState.PRUNED, TrialState.COMPLETE, TrialState.FAIL])
    new.intermediate_values = trial(0, chance, chance.choice([1, 3, 9])).intermediate_values
    if new.state == TrialState.COMPLETE:
        new.value = chance.choice([0.1, 0.2, 0.3])
    return new


def rank_trials(trials, direction, compared):
    """The ended trials by number, ranked among those of their alternative: a plain look at all of them."""
    groups = defaultdict(list)
    for one in trials:
        if has_ended(one):
            groups[one.params.get(compared) if compared else None].append((goodness(one, direction), one))
    found = []
    for group in groups.values():
        values = [value for value, _ in group]
        for value, one in group:
            before, equal = sum(other < value for other in values), values.count(value)
            found.append(Ranked(one, (2 * before + equal) / 2 / len(group)))
    return sorted(found, key=lambda one: one.trial.number)


def excerpt(ranked, best, latest):
    """The latest, and the best of those before, by number."""
    if len(ranked) <= best + latest:
        return ranked
    return sorted(best_of(ranked[:-latest], best) + ranked[-latest:], key=lambda one: one.trial.number)


@pytest.mark.parametrize("compared", ["model", None])
@pytest.mark.parametrize("direction", list(StudyDirection)[1:])
def test_it_is_what_a_new_look_at_all_trials_finds(compared, direction):
    chance, trials, history = random.Random(1), [], RankedHistory(compared)
    for number in range(120):
        trials.append(trial(number, chance, number % 3))
        for _ in range(3):  # one that was shown as ended may run on
            place = chance.randrange(len(trials))
            trials[place] = changed(trials[place], chance)
        history.update(list(trials), direction)
        ranked = rank_trials(trials, direction, compared)
        assert len(history) == len(ranked)
        for best, latest in ((4, 10), (0, 3), (200, 1)):
            assert history.excerpt(best, latest) == excerpt(ranked, best, latest)
        assert history.running == [one for one in trials if one.state == TrialState.RUNNING]
        for label in "ab":
            own = [one for one in ranked if one.trial.params["model"] == label]
            assert history.count(label) == (len(own) if compared else 0)
            assert history.latest(label, 9) == (own[-9:] if compared else [])
        assert history.latest(None, 9) == ([] if compared else ranked[-9:])


def test_only_what_changed_is_ranked_anew():
    chance, history = random.Random(2), RankedHistory("model")
    trials = [changed(trial(number, chance), chance) for number in range(2000)]
    history.update(trials, StudyDirection.MAXIMIZE)
    ended = history.ranked
    assert ended == len(history) > 800
    for _ in range(3):
        history.update(list(trials), StudyDirection.MAXIMIZE)
    assert history.ranked == ended
    new = create_trial(value=0.5, params={"model": "a"}, distributions=LABELS)
    new.number = 7
    trials[7] = new
    history.update(trials, StudyDirection.MAXIMIZE)
    assert history.ranked == ended + 1


def test_another_study_is_ranked_from_its_start():
    chance, history = random.Random(3), RankedHistory(None)
    trials = [changed(trial(number, chance), chance) for number in range(20)]
    history.update(trials, StudyDirection.MAXIMIZE)
    history.update(trials[:5], StudyDirection.MAXIMIZE)
    assert len(history) == len(rank_trials(trials[:5], StudyDirection.MAXIMIZE, None))
