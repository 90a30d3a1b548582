"""What samplers see of a study, and what the models make of it."""

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from scipy.optimize import approx_fprime
from threadpoolctl import threadpool_info, threadpool_limits

from hwcls.config.sweep import SAMPLERS, Searched
from hwcls.config.sweep_file import load_sweep
from hwcls.errors import UserError
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.search.bounded_tpe import BoundedTPE
from hwcls.sweep.search.messages import JOB, EpochReport
from hwcls.sweep.search.sampling import gaussian_process
from hwcls.sweep.search.sampling import gp as gp_module
from hwcls.sweep.search.sampling.alternative_cmaes import LATEST, AlternativeCmaEs
from hwcls.sweep.search.sampling.auto import FEW, AutoSampler
from hwcls.sweep.search.sampling.gaussian_process import GaussianProcess, log_improvement
from hwcls.sweep.search.sampling.history import ranked_view
from hwcls.sweep.search.sampling.pinned_tpe import PinnedTPE
from hwcls.sweep.search.sampling.points import NEUTRAL, NONE, Points
from hwcls.sweep.search.sampling.ranking import RankedHistory
from hwcls.sweep.search.searcher import FairSearch
from hwcls.tracking.folders import SweepFolder

SPACE = {"model": CategoricalDistribution(["weak", "strong"]), "lr": FloatDistribution(0.0, 1.0)}


def ended(label, lr, value=None, steps=None):
    state = TrialState.PRUNED if steps else TrialState.COMPLETE
    return create_trial(
        state=state,
        value=value,
        params={"model": label, "lr": lr},
        distributions=SPACE,
        intermediate_values=steps or {},
    )


def study_of(trials, direction="maximize"):
    study = optuna.create_study(direction=direction)
    study.add_trials(trials)
    return study


def history_of(trials, direction=StudyDirection.MAXIMIZE):
    """The ended trials as they are kept, ranked within their alternatives."""
    history = RankedHistory("model")
    history.update(list(trials), direction)
    return history


def ranks_of(trials, direction=StudyDirection.MAXIMIZE):
    return history_of(trials, direction).excerpt(0, 1000)


def test_trials_are_ranked_within_their_alternative():
    trials = [ended("weak", 0.1, 0.2), ended("strong", 0.1, 0.9), ended("weak", 0.2, 0.4), ended("strong", 0.2, 0.8)]
    trials += [
        ended("weak", 0.3, steps={1: 0.6}),
        ended("weak", 0.4, steps={1: 0.1, 3: 0.3}),
        ended("strong", 0.3, 0.8),
    ]
    study = study_of(trials)
    found = ranks_of(study.get_trials())
    assert [one.trial.number for one in found] == list(range(7))
    # weak: 0.4, 0.2, stopped after 3 epochs, after 1; strong: 0.9, then 0.8 twice
    assert [one.rank for one in found] == pytest.approx([3 / 8, 1 / 6, 1 / 8, 2 / 3, 7 / 8, 5 / 8, 2 / 3])
    view = ranked_view(study, found, [])
    assert [trial.state for trial in view.get_trials()] == [TrialState.COMPLETE] * 7
    assert [trial.value for trial in view.get_trials()] == pytest.approx([1 - one.rank for one in found])
    assert study.trials[4].state == TrialState.PRUNED
    low = ranks_of(study.get_trials()[:4], StudyDirection.MINIMIZE)
    assert [one.rank for one in low] == [0.25, 0.75, 0.75, 0.25]


def test_failed_trials_are_the_worst_where_they_count():
    trials = [ended("weak", 0.1, 0.2), ended("weak", 0.2, steps={1: 0.0}), ended("weak", 0.3, 0.4)]
    failed = {"state": TrialState.FAIL, "params": {"model": "weak", "lr": 0.4}, "distributions": SPACE}
    trials += [
        create_trial(**failed),
        create_trial(**failed),
        create_trial(state=TrialState.FAIL),
    ]  # the last does not count
    for direction, worst in ((StudyDirection.MAXIMIZE, 2), (StudyDirection.MINIMIZE, 0)):
        found = ranks_of(study_of(trials).get_trials(), direction)
        assert [one.trial.number for one in found] == list(range(5))
        assert [one.rank for one in found[3:]] == [0.8, 0.8]
        assert min(found, key=lambda one: one.rank).trial.number == worst


def test_an_excerpt_has_the_best_of_each_alternative():
    trials = [ended("weak" if i % 2 else "strong", 0.5, 10.0 * (i % 2 == 0) - i) for i in range(100)]
    found = history_of(study_of(trials).get_trials()).excerpt(4, 10)
    assert [one.trial.number for one in found] == [0, 1, 2, 3, *range(90, 100)]


def tpe(seed=0):
    return SAMPLERS["tpe"]().sampler(seed, Searched(space=None, compared="model"))


def draws(sampler, label, count=30):
    """What is drawn for an alternative that does best where the other does worst."""
    chance = np.random.default_rng(0)
    best, level = {"weak": 0.2, "strong": 0.8}, {"weak": 0.0, "strong": 5.0}
    trials = [
        ended(name, lr, level[name] - abs(lr - best[name])) for lr in chance.random(40) for name in ("weak", "strong")
    ]
    found = []
    for _ in range(count):
        study = study_of(trials)
        study.sampler = sampler
        study.enqueue_trial({"model": label})
        trial = study.ask()
        assert trial.suggest_categorical("model", ["weak", "strong"]) == label
        found.append(trial.suggest_float("lr", 0.0, 1.0))
    return np.array(found)


def test_tpe_draws_for_the_pinned_alternative():
    """Beside a stronger one, which takes every place among the good trials unless each is ranked by itself."""
    assert np.abs(draws(tpe(), "weak") - 0.2).mean() < 0.15
    assert np.abs(draws(tpe(), "strong") - 0.8).mean() < 0.15
    plain = SAMPLERS["tpe"]().sampler(0, Searched(space=None))
    assert np.abs(draws(plain, "weak") - 0.2).mean() > 0.3


MODEL = {
    "choice": {
        "mlp": {"width": {"min": 8, "max": 512, "log": True}, "depth": {"values": [1, 2, 4]}},
        "cnn": {"name": "simple_cnn", "width": {"values": [4, 8]}},
    }
}
OPTIMIZER = {
    "choice": {
        "adamw": {"lr": {"min": 1e-4, "max": 1e-1, "log": True}},
        "sgd": {"lr": {"min": 0.1, "max": 0.9, "step": 0.1}, "nesterov": {"values": [True, False]}, "momentum": 0.9},
    }
}


@pytest.fixture
def space(tiny):
    return tiny(parameters={"model": MODEL, "optimizer": OPTIMIZER}).space


def test_points_are_settings_and_back(space):
    points, study = Points(space), optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(50):
        trial = study.ask()
        space.draw(trial)
        (row,) = points.encode([trial.params])
        assert points.decode(row) == pytest.approx(trial.params)
        assert {name: points.distributions[name] for name in trial.distributions} == trial.distributions


def test_a_row_has_nothing_of_other_branches(space):
    points = Points(space)
    at = points.index
    (row,) = points.encode([{"model": "cnn", "model.cnn.width": 8, "optimizer": "adamw", "optimizer.adamw.lr": 1e-4}])
    assert row[at["model.mlp.width"]] == row[at["model.mlp.depth"]] == row[at["optimizer.sgd.lr"]] == NEUTRAL
    assert row[at["optimizer.sgd.nesterov"]] == NONE
    assert row[at["optimizer.adamw.lr"]] == 0
    rng = np.random.default_rng(0)
    for rows in (points.spread(rng.random((50, len(at))), {}), points.near(np.repeat(row[None], 50, 0), 0.1, {}, rng)):
        decoded = [points.decode(one) for one in rows]
        assert points.encode(decoded) == pytest.approx(rows)
        assert {settings["model"] for settings in decoded} == {"mlp", "cnn"}
        for settings in decoded:
            assert ("model.mlp.width" in settings) == (settings["model"] == "mlp")
            assert ("optimizer.sgd.nesterov" in settings) == (settings["optimizer"] == "sgd")


def test_what_is_pinned_stays(space):
    points, rng = Points(space), np.random.default_rng(0)
    pinned = {"model": "mlp", "model.mlp.depth": 4}
    rows = points.spread(rng.random((20, len(points.columns))), pinned)
    for row in (*rows, *points.near(rows, 0.3, pinned, rng)):
        assert points.decode(row).items() >= pinned.items()


def test_what_is_new_in_a_neighbour_is_anywhere(space):
    points, rng = Points(space), np.random.default_rng(0)
    (row,) = points.encode([{"model": "cnn", "model.cnn.width": 8, "optimizer": "adamw", "optimizer.adamw.lr": 1e-4}])
    rows = points.near(np.repeat(row[None], 400, 0), 0.01, {}, rng)
    new = rows[rows[:, points.index["model"]] == 0][:, points.index["model.mlp.width"]]
    assert np.histogram(new, 4, (0.0, 1.0))[0].min() > len(new) / 8 > 5


def test_numbers_in_a_list_are_ordered_and_labels_are_not(space):
    points = Points(space)
    assert dict(zip(points.index, points.labels, strict=True)) == {
        **dict.fromkeys(points.index, False),
        **dict.fromkeys(("model", "model.cnn.width", "optimizer", "optimizer.sgd.nesterov"), True),
    }
    (column,) = [column for column in points.columns if column.name == "model.mlp.depth"]
    assert [column.place(depth) for depth in (1, 2, 4)] == pytest.approx([1 / 6, 3 / 6, 5 / 6])


def sample(count=40, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.random((count, 4))
    x[:, 3] = rng.integers(0, 3, count)
    y = np.sin(5 * x[:, 0]) + x[:, 1] + (x[:, 3] == 1) + 0.05 * rng.normal(size=count)
    return x, (y - y.mean()) / y.std(), np.array([False, False, False, True]), np.full(4, 0.4)


def test_the_gradient_of_the_fit(monkeypatch):
    given = []
    minimize = gaussian_process.minimize
    monkeypatch.setattr(gaussian_process, "minimize", lambda *a, **k: given.append(a) or minimize(*a, **k))
    GaussianProcess.fit(*sample())
    loss, begin = given[0]
    for seed in range(3):
        scales = begin + 0.5 * np.random.default_rng(seed).normal(size=len(begin))
        numeric = approx_fprime(scales, lambda at: loss(at)[0], 1e-6)
        assert loss(scales)[1] == pytest.approx(numeric, rel=1e-3, abs=1e-3)


def test_a_process_finds_what_matters():
    x, y, labels, lengths = sample()
    process = GaussianProcess.fit(x, y, labels, lengths)
    fresh, truth, *_ = sample(200, seed=1)
    mean, deviation = process.predict(fresh)
    assert np.corrcoef(mean, truth)[0, 1] > 0.95
    assert process.scales[2] > max(process.scales[0], process.scales[3])  # nothing depends on the third column
    assert deviation.min() > 0
    assert process.predict(x)[1].mean() < deviation.mean()


def test_expected_improvement():
    rng = np.random.default_rng(0)
    mean, deviation = np.array([0.0, 0.5, -1.0, 1.0]), np.array([1.0, 0.1, 0.5, 2.0])
    drawn = mean + deviation * rng.normal(size=(1_000_000, 4))
    expected = np.maximum(drawn - 0.6, 0).mean(0)
    found = np.exp(log_improvement(mean, deviation, 0.6)) / np.sqrt(2 * np.pi)
    assert found == pytest.approx(expected, rel=0.05, abs=1e-4)
    ends = np.logspace(0, 6, 200)
    with np.errstate(all="raise", under="ignore"):
        far = log_improvement(np.concatenate([-ends[::-1], [0.0], ends]), np.ones(401), 0.0)
    assert np.isfinite(far).all()
    assert (np.diff(far) > 0).all()


@pytest.fixture
def search(tiny, tmp_path):
    def build(**changes):
        return FairSearch(tiny(**changes), SweepFolder(tmp_path / "out"), Resources(1, 1, 0.0, 4), {})

    return build


def play(found, count, value):
    """The settings of trials that run one after the other."""
    settings = []
    for number in range(count):
        job = found.suggest(str(number))[JOB]
        settings.append(dict(job.parameters))
        score = value(settings[-1])
        found.on_trial_complete(str(number), EpochReport(3, 3, score, score).to_result())
    return settings


RATE = {"optimizer": {"name": "adam", "lr": {"min": 1e-4, "max": 1.0, "log": True}}}


def distance(settings):
    """The two alternatives are best at learning rates a thousand times apart; one is far better."""
    best, level = {"mlp": (-1, 5.0), "cnn": (-3, 0.0)}[settings["model"]]
    return level - abs(np.log10(settings["lr"]) - best)


@pytest.mark.parametrize("method", ["auto", "gp", "tpe"])
def test_each_alternative_is_searched_for_its_own_optimum(search, method):
    settings = play(search(method=method, run_cap=60, parameters=RATE), 60, distance)
    for label, best in (("mlp", -1), ("cnn", -3)):
        gaps = [abs(np.log10(one["lr"]) - best) for one in settings if one["model"] == label]
        assert np.median(gaps[20:]) < np.median(gaps[:6]) / 2
        assert min(gaps) < 0.2


def test_a_start_has_a_trial_in_each_part_of_a_range(search):
    settings = play(search(method="gp", run_cap=12, parameters=RATE), 12, distance)
    for label in ("mlp", "cnn"):
        parts = [int((np.log10(one["lr"]) + 4) / 4 * 6) for one in settings if one["model"] == label]
        assert sorted(parts) == list(range(6))


def test_a_start_goes_on_after_a_restart(search):
    settings = [one for _ in range(4) for one in play(search(method="gp", run_cap=12, parameters=RATE), 3, distance)]
    for label in ("mlp", "cnn"):
        parts = [int((np.log10(one["lr"]) + 4) / 4 * 6) for one in settings if one["model"] == label]
        assert sorted(parts) == list(range(6))


def test_a_start_tries_nothing_again_where_an_earlier_trial_does_not_count(search, monkeypatch):
    found = search(method="gp", run_cap=12, parameters=RATE)
    settings = play(found, 10, distance)
    trials = found.study.get_trials()
    found.study.get_trials = lambda *args, **options: trials[1:] + found.study._get_trials()[10:]
    settings.append(dict(found.suggest("more")[JOB].parameters))
    assert len({one["lr"] for one in settings}) == 11


@pytest.mark.parametrize(("method", "compare"), [("auto", "model"), ("auto", None), ("tpe", "model"), ("tpe", None)])
def test_settings_that_fail_are_left(search, method, compare):
    """The best ones that end are beside those that fail."""
    found, failed = search(method=method, run_cap=50, compare=compare, parameters=RATE), []
    for number in range(50):
        rate = np.log10(found.suggest(str(number))[JOB].parameters["lr"])
        failed.append(rate > -1)
        report = EpochReport(3, 3, rate, rate).to_result()
        found.on_trial_complete(str(number), None if failed[-1] else report, error=failed[-1])
    assert sum(failed[-20:]) < 10


def test_where_all_fail_something_else_is_tried(search):
    found, rates = search(method="auto", run_cap=24, parameters=RATE), []
    for number in range(24):
        rates.append(np.log10(found.suggest(str(number))[JOB].parameters["lr"]))
        found.on_trial_complete(str(number), None, error=True)
    for own in (rates[::2], rates[1::2]):
        assert np.diff([-4, *sorted(own), 0]).max() < 1


def test_an_alternative_of_few_trials_beside_one_of_many(search):
    """Its own best are modelled, however many others are better among theirs."""
    found, chance = search(method="gp", run_cap=5000, parameters=RATE), np.random.default_rng(0)
    labels, lr = CategoricalDistribution(["mlp", "cnn"]), FloatDistribution(1e-4, 1.0, log=True)
    for number in range(400):
        params = {"model": "cnn" if number < 8 else "mlp", "optimizer.lr": 10 ** chance.uniform(-4, 0)}
        value = -1.0 if number < 8 else chance.random()
        distributions = {"model": labels, "optimizer.lr": lr}
        found.study.add_trial(create_trial(params=params, distributions=distributions, value=value))
    found.study.enqueue_trial({"model": "cnn"})
    trial = found.study.ask()
    found.sweep.space.draw(trial)
    assert trial.params["model"] == "cnn"


def test_trials_at_the_same_time_are_not_the_same(search):
    found = search(method="gp", run_cap=40, parameters=RATE)
    play(found, 20, distance)
    rates = [found.suggest(f"more{i}")[JOB].parameters["lr"] for i in range(8)]
    assert len(set(np.round(np.log10(rates), 3))) == 8


def test_the_process_models_a_bounded_number_of_trials(search, monkeypatch):
    """And so an ask takes as long after thousands of trials as after hundreds."""
    found = search(method="gp", run_cap=5000, parameters=RATE)
    chance, rows = np.random.default_rng(0), []
    lr, labels = FloatDistribution(1e-4, 1.0, log=True), CategoricalDistribution(["mlp", "cnn"])

    def add(count):
        for number in range(count):
            settings = {"model": labels.choices[number % 2], "lr": 10 ** chance.uniform(-4, 0)}
            params = {"model": settings["model"], "optimizer.lr": settings["lr"]}
            distributions = {"model": labels, "optimizer.lr": lr}
            found.study.add_trial(create_trial(params=params, distributions=distributions, value=distance(settings)))

    def ask(name):
        """How many rows are fitted, solved and predicted."""
        rows.clear()
        found.suggest(name)
        found.on_trial_complete(name, EpochReport(3, 3, 1.0, 1.0).to_result())
        return list(rows)

    for name in ("fit", "of"):
        made = getattr(GaussianProcess, name)
        count = lambda x, *rest, made=made: rows.append(len(x)) or made(x, *rest)  # noqa: E731
        monkeypatch.setattr(GaussianProcess, name, count)
    predict = GaussianProcess.predict
    monkeypatch.setattr(GaussianProcess, "predict", lambda self, x: rows.append(len(x)) or predict(self, x))
    add(400)
    few = [ask("0"), ask("1")]
    add(2600)
    assert [ask("2"), ask("3")] == few
    assert few[0][0] == gp_module.BEST + gp_module.LATEST


def test_the_process_takes_a_single_thread(search, monkeypatch):
    """Several ones wait for cores on which trials train: an ask then takes many times as long."""
    found, threads, fit = search(method="gp", run_cap=40, parameters=RATE), [], GaussianProcess.fit
    play(found, 14, distance)

    def look(*arguments):
        threads.extend(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas")
        return fit(*arguments)

    monkeypatch.setattr(GaussianProcess, "fit", look)
    with threadpool_limits(2, "blas"):
        found.suggest("more")
        after = {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}
    assert set(threads) == {1}
    assert after == {2}


def test_cmaes_looks_at_the_latest_trials_of_an_alternative():
    """Ranked among all of it, and only those that changed are ranked again."""
    study = study_of([ended(("weak", "strong")[number % 2], 0.5, float(number)) for number in range(2 * LATEST + 100)])
    study.enqueue_trial({"model": "weak"})
    running = study.ask()
    sampler, (*_, frozen) = AlternativeCmaEs(0, "model"), study.get_trials(deepcopy=False)
    seen = sampler.view(study, frozen).get_trials(deepcopy=False)
    assert [trial.number for trial in seen] == [*range(100, 2 * LATEST + 100, 2), running.number]
    assert seen[0].value == pytest.approx(1 - (LATEST - 0.5) / (LATEST + 50))
    assert seen[-2].value == pytest.approx(1 - 0.5 / (LATEST + 50))
    ranked = sampler.history.ranked
    running.suggest_categorical("model", ["weak", "strong"])
    study.tell(running, 1e9)
    sampler.view(study, frozen)
    assert sampler.history.ranked == ranked + 1


def test_auto_begins_with_the_process_and_goes_on_with_tpe():
    few, many = SAMPLERS["gp"](), SAMPLERS["tpe"]()
    sampler = SAMPLERS["auto"]().sampler(0, Searched(space=load_space()))
    assert isinstance(sampler, AutoSampler)
    study = optuna.create_study()
    asked = []
    for name in ("few", "many"):
        part = getattr(sampler, name)
        part.infer_relative_search_space = lambda study, trial, name=name: asked.append(name) or {}
    for number in (0, FEW - 1, FEW):
        trial = create_trial(value=0.0)
        trial.number = number
        sampler.infer_relative_search_space(study, trial)
    assert asked == ["few", "few", "many"]
    assert (few.start, many.start) == (6, 0)


def load_space():
    from hwcls.config.space import Group, Space

    return Space(Group((), (), {}))


def test_a_study_of_an_earlier_version_keeps_its_sampler(search, tmp_path):
    assert isinstance(search(method="tpe").study.sampler, PinnedTPE)
    assert isinstance(search(method="tpe").study.sampler, PinnedTPE)  # a later start
    journal = tmp_path / "out" / "study.journal"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if '"ranked"' not in line))
    assert type(search(method="tpe").study.sampler) is BoundedTPE
    assert type(search(method="tpe", compare=None).study.sampler) is BoundedTPE


@pytest.mark.parametrize("compare", ["model", None])
def test_fewer_trials_than_a_model_starts_with(sweep_file, compare):
    least = 12 if compare else 6
    with pytest.raises(UserError, match=f"run_cap 5 is below the {least} trials with which method: gp starts"):
        load_sweep(sweep_file(method="gp", run_cap=5, compare=compare))
    assert load_sweep(sweep_file(method="gp", run_cap=least, compare=compare)).total == least
    assert load_sweep(sweep_file(method="auto", run_cap=5, compare=compare)).total == 5


def test_a_method_whose_package_is_missing(sweep_file, monkeypatch):
    monkeypatch.setattr(SAMPLERS["cmaes"], "package", "no_such_package")
    with pytest.raises(UserError, match=r"no_such_package is not installed.*hwcls\[cmaes\]"):
        load_sweep(sweep_file(method="cmaes"))
