"""What may change in a sweep that has trials: accepted, recorded and said, or refused in one line."""

import re

import pytest
import yaml

from hwcls.config.sweep_file import load_sweep
from hwcls.errors import UserError
from hwcls.reading import read_yaml
from hwcls.results.load import load_results
from hwcls.results.notes.changes import list_changes
from hwcls.sweep import driver
from hwcls.sweep.preflight.notes import describe_notes
from hwcls.sweep.preflight.validate import Options, check_sweep
from hwcls.sweep.storage.changes.accept import Change
from hwcls.sweep.storage.changes.differences import Difference
from hwcls.sweep.storage.changes.exclusion import exclude_trials, include_trials
from hwcls.sweep.storage.results_folder import open_folder
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.records import Result
from tests.sweep.changing import begin
from tests.sweep.conftest import SWEEP

LR = {"min": 1e-3, "max": 1e-1, "log": True}
MLP, CNN = {"width": 16, "depth": 1}, {"name": "simple_cnn", "width": 4}
HEAD = {"head": {"width": 8}}


def models(**choice):
    return {"model": {**HEAD, "choice": choice}}


def optimizer(**lr):
    return {"optimizer": {"name": "adam", "lr": {**LR, **lr}}}


@pytest.fixture
def results(tiny, tmp_path):
    """A sweep of which four trials have ended: learning rates by number."""
    folder = tmp_path / "results"
    begin(tiny(), folder)
    assert len(rates(folder)) == 4
    return folder


def rates(results):
    return {n: trial.config().optimizer.lr for n, trial in SweepFolder(results / "tiny").trials().items()}


def kept(results):
    return read_yaml(results / "tiny" / "sweep.yaml")


def left_out(results):
    return {one.trial.number: one.reason.why for one in load_results(results / "tiny").left_out}


def test_more_trials_and_a_wider_range_are_recorded_with_the_file(tiny, results):
    changed = tiny(run_cap=8, parameters=optimizer(max=0.5))
    notes = describe_notes(check_sweep(changed, Options(results=results)))
    assert "changed in this sweep: parameters.optimizer.lr" not in notes[0]
    wider = "optimizer.lr: 0.001 to 0.1 (log) → 0.001 to 0.5 (log)"
    assert f"changed in this sweep: {wider}; run_cap: 4 → 8" in notes
    assert "x-changes" not in kept(results)  # a check writes nothing
    _, _, jobs = begin(changed, results, value=lambda job: job.config.optimizer.lr)
    assert [job.key for job in jobs] == [f"trials/{n}" for n in range(4, 8)]
    [entry] = kept(results)["x-changes"]["log"]
    assert entry["changed"] == [
        {"key": "parameters.optimizer.lr", "old": "0.001 to 0.1 (log)", "new": "0.001 to 0.5 (log)"},
        {"key": "run_cap", "old": "4", "new": "8"},
    ]
    [(when, text)] = list_changes(load_results(results / "tiny"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", when)
    assert text == "optimizer.lr 0.001 to 0.1 (log) → 0.001 to 0.5 (log); run_cap 4 → 8"
    assert left_out(results) == {}
    begin(changed, results)  # the same again is no change
    assert len(kept(results)["x-changes"]["log"]) == 1
    load_sweep(results / "tiny" / "sweep.yaml")  # as `hwcls confirm` does


def test_a_command_that_is_changed_is_recorded_without_it(tiny, results):
    begin(tiny(notify={"command": "true https://x/OLD"}), results)
    begin(tiny(notify={"command": "true https://user:NEW@x/"}), results)
    first, second = (entry["changed"] for entry in kept(results)["x-changes"]["log"])
    assert {"key": "notify.command", "old": None, "new": "(hidden)"} in first
    assert second == [{"key": "notify.command", "old": "(hidden)", "new": "(hidden)"}]
    text = "; ".join(text for _, text in list_changes(load_results(results / "tiny")))
    assert "OLD" not in text
    assert text.endswith("notify.command (hidden) → (hidden)")


def test_what_a_narrower_range_cannot_draw_is_left_out_and_comes_back(tiny, results):
    before = rates(results)
    middle = sorted(before.values())[1]
    outside = {n for n, rate in before.items() if rate > middle}
    narrow = tiny(parameters=optimizer(max=middle))
    _, _, jobs = begin(narrow, results)
    assert set(left_out(results)) == outside
    assert all("optimizer.lr" in why and "is not in 0.001 to" in why for why in left_out(results).values())
    assert len(jobs) == 2  # in place of them
    assert all(job.config.optimizer.lr <= middle for job in jobs)
    assert len(SweepFolder(results / "tiny").trials()) == 6  # none was deleted
    begin(tiny(run_cap=6), results)
    assert left_out(results) == {}
    assert len(load_results(results / "tiny").trials) == 6
    assert len(kept(results)["x-changes"]["log"]) == 2


def test_an_alternative_that_is_added_gets_its_share(tiny, results):
    added = models(mlp=MLP, cnn=CNN, wide={"name": "mlp", "width": 32, "depth": 1})
    with pytest.raises(
        UserError, match=r"run_cap 4 leaves too few trials for wide: \w+ has had 2 — raise .* 6 or more"
    ):
        begin(tiny(parameters=added), results)
    _, _, jobs = begin(tiny(run_cap=6, parameters=added), results)
    assert [job.label for job in jobs] == ["wide", "wide"]
    [entry] = kept(results)["x-changes"]["log"]
    assert entry["changed"][0] == {"key": "parameters.model.choice", "old": "mlp, cnn", "new": "mlp, cnn, wide"}


def test_an_alternative_that_is_dropped_counts_no_more(sweep_file, tmp_path):
    def three(run_cap, labels):
        path = sweep_file(run_cap=run_cap)
        values = yaml.safe_load(path.read_text())
        every = {"mlp": MLP, "cnn": CNN, "wide": {"name": "mlp", "width": 32, "depth": 1}}
        values["parameters"]["model"]["choice"] = {label: every[label] for label in labels}
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        return load_sweep(path)

    results = tmp_path / "results"
    begin(three(6, ["mlp", "cnn", "wide"]), results)
    search, _, jobs = begin(three(6, ["mlp", "wide"]), results)
    assert set(left_out(results).values()) == {"model cnn is not in the file"}
    assert sorted(job.label for job in jobs) == ["mlp", "wide"]
    assert search.spending.trials == {"mlp": 3, "wide": 3}
    found = load_results(results / "tiny")
    assert found.labels == ["mlp", "wide"]
    assert [one.trial.label for one in found.left_out] == ["cnn", "cnn"]
    _, _, jobs = begin(three(9, ["mlp", "cnn", "wide"]), results)  # it comes back with its trials
    assert left_out(results) == {}
    assert [job.label for job in jobs] == ["cnn"]


def test_a_constant_becomes_searched_and_values_change(tiny, results):
    """What a trial had as a constant is known from its config.yaml."""
    values = {"values": [32, 64]}
    _, _, jobs = begin(
        tiny(run_cap=10, parameters={"data": {**SWEEP["parameters"]["data"], "batch_size": values}}), results
    )
    assert left_out(results) == {}
    assert {job.config.data.batch_size for job in jobs} <= {32, 64}
    search, _, _ = begin(
        tiny(run_cap=10, parameters={"data": {**SWEEP["parameters"]["data"], "batch_size": {"values": [64, 128]}}}),
        results,
    )
    assert set(left_out(results)) == {
        n for n, t in SweepFolder(results / "tiny").trials().items() if t.config().data.batch_size == 32
    }
    assert all(t.params["data.batch_size"] in (64, 128) for t in search.known_trials() if t.params)


def test_a_key_that_is_dropped_means_its_default(tiny, sweep_file, tmp_path):
    """A trial with another value than the default is outside."""
    results = tmp_path / "results"
    begin(tiny(parameters={"label_smoothing": 0.0}), results)
    begin(tiny(), results)
    assert left_out(results) == {}
    assert kept(results)["x-changes"]["dropped"] == ["parameters.label_smoothing"]
    values = yaml.safe_load(sweep_file().read_text())
    del values["parameters"]["epochs"]
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    with pytest.raises(UserError, match=r"none of its 4 trials is in the changed space \(epochs: 3 dropped\)"):
        begin(load_sweep(path), results)


@pytest.mark.parametrize("label", ["sgd2", "sgd.2", "sgd.2.momentum"])
def test_a_key_that_is_dropped_from_an_alternative_means_its_default(tiny, tmp_path, label):
    """Whatever the label, also one with dots."""

    def choice(body):
        return {"optimizer": {"lr": LR, "choice": {"adam": {}, label: {"name": "sgd", **body}}}}

    results = tmp_path / "results"
    begin(tiny(parameters=choice({"momentum": 0.5}), run_cap=6), results)
    labels = {n: one.config().optimizer.label for n, one in SweepFolder(results / "tiny").trials().items()}
    begin(tiny(parameters=choice({}), run_cap=6), results)
    assert left_out(results) == {
        n: "optimizer.momentum is 0.5, in the file 0.9" for n, own in labels.items() if own == label
    }
    assert set(labels.values()) == {"adam", label}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"metric": "val/loss"}, r"changed: metric\.goal, metric\.name \(metric: the trials were selected by it\)"),
        ({"method": "tpe"}, r"changed: method \(method: a sweep keeps its sampler\)"),
        ({"compare": None}, r"changed: compare \(compare: each trial belongs to one of its alternatives\)"),
        ({"early_terminate": "asha"}, r"changed: early_terminate\.\w+.*\(early_terminate: trials were stopped by it\)"),
        ({"first": [{"model": "mlp"}]}, r"changed: first \(first: it is tried before all else\)"),
        ({"parameters": {"data": {"name": "fashion_mnist"}}}, r"changed space \(.*data\.name: digits → fashion_mnist"),
        ({"parameters": {"data": {"name": "digits", "batch_size": 64, "per_class": 20, "image_size": 16}}},
         r"none of its 4 trials is in the changed space \(data\.image_size: 16 added\)"),
        ({"parameters": {"epochs": 5}}, r"none of its 4 trials is in the changed space \(epochs: 3 → 5\)"),
        ({"run_cap": 3}, r"run_cap 3 is less than the 4 trials that were run — write run_cap: 4 or more"),
    ],
)  # fmt: skip
def test_what_the_known_trials_say_nothing_about_is_refused(tiny, results, changes, what):
    before = (results / "tiny" / "sweep.yaml").read_bytes()
    with pytest.raises(UserError, match=what) as refused:
        check_sweep(tiny(**changes), Options(results=results))
    assert "\n" not in str(refused.value)
    assert "run_cap" in changes or "--new" in refused.value.remedy
    with pytest.raises(UserError, match=what), open_folder(results / "tiny", tiny(**changes).resolved()):
        pass
    assert (results / "tiny" / "sweep.yaml").read_bytes() == before


def test_first_may_lose_what_was_tried(tiny, tmp_path):
    results = tmp_path / "results"
    begin(tiny(first=[{"model": "cnn"}]), results, trials=1)
    begin(tiny(), results)
    assert kept(results)["x-changes"]["log"][0]["changed"] == [{"key": "first", "old": "[{model: cnn}]", "new": "[]"}]


def test_damaged_changes_are_none(tiny, results, caplog):
    values = kept(results)
    values["x-changes"] = {"log": "?"}
    (results / "tiny" / "sweep.yaml").write_text(yaml.safe_dump(values))
    assert left_out(results) == {}
    assert "has damaged x-changes" in caplog.text
    begin(tiny(run_cap=5), results)
    assert len(kept(results)["x-changes"]["log"]) == 1


def test_an_excluded_trial_is_left_out_and_another_takes_its_place(tiny, results):
    folder = results / "tiny"
    exclude_trials(folder, [1], "  the GPU\nwas faulty ")
    assert left_out(results) == {1: "the GPU was faulty"}
    label = SweepFolder(folder).trial(1).result().label
    search, _, jobs = begin(tiny(), results)
    assert [job.label for job in jobs] == [label]
    assert search.left_out == {1}
    include_trials(folder, [1])
    search, _, jobs = begin(tiny(), results)
    assert jobs == []
    assert search.left_out == set()
    assert len(load_results(folder).trials) == 5


@pytest.mark.parametrize("share", ["epochs", "seconds"])
def test_what_an_excluded_trial_took_is_none_of_what_its_alternative_has_had(tiny, tmp_path, share):
    """But its time is gone: a time budget is that of a clock."""
    results = tmp_path / "results"
    sweep = tiny(share=share)
    begin(sweep, results)
    exclude_trials(results / "tiny", [0, 2], "x")
    label = SweepFolder(results / "tiny").trial(0).result().label
    search, _, jobs = begin(sweep, results)
    assert [job.label for job in jobs] == [label, label]
    assert search.spending.before == 12.0


def test_a_file_without_confirm_says_that_confirm_runs_are_kept():
    seeds, cap = Difference("confirm.seeds", "5", None), Difference("run_cap", "16", "24")
    (line,) = Change((seeds, cap), {}, 16, {}).describe()
    assert line == (
        "changed in this sweep: confirm.seeds: 5 dropped; run_cap: 16 → 24 (confirm runs that were trained are kept)"
    )
    assert Change((cap,), {}, 16, {}).describe() == ["changed in this sweep: run_cap: 16 → 24"]


def test_a_failed_confirm_run_of_an_excluded_trial_fails_no_sweep(results):
    folder = SweepFolder(results / "tiny")
    run = folder.confirm_run("mlp", 10_000_000)
    run.write_config(folder.trial(0).config())
    run.write_result(Result("failed", None, "mlp", {}, 1.0, error="x", extra={"trial": 0}))
    assert driver._failed(folder) == ("confirm/mlp/10000000",)
    exclude_trials(folder.path, [0], "x")
    assert driver._failed(folder) == ()


def test_a_budget_below_the_time_that_was_spent_starts_no_new_trial(tiny, results):
    search, _, jobs = begin(tiny(run_cap=8, budget="10s"), results)
    assert jobs == []
    assert driver._extent(search, 10.0).startswith("8 trials, no new trials, as the budget of 10")


@pytest.mark.parametrize(
    ("numbers", "why", "what"),
    [
        ([9], "x", r"tiny: no trial 9 — it has 4 trials, 0 to 3"),
        ([0], " \n", r"--why: no reason is given — write it: --why"),
        ([0], "x" * 501, r"--why: has 501 characters — write 500 at most"),
        ([2, 3], "x", r"trials/3: is excluded already \(slow node\) — hwcls trials include \S+ 3 counts it again"),
        ([0, 1], "x", r"trials/1: has not ended — resume the sweep"),
    ],
)
def test_what_cannot_be_excluded(results, numbers, why, what):
    folder = results / "tiny"
    exclude_trials(folder, [3], "slow node")
    (folder / "trials" / "1" / "result.json").unlink()
    with pytest.raises(UserError, match=what) as refused:
        exclude_trials(folder, numbers, why)
    assert "\n" not in str(refused.value)
    assert set(left_out(results)) == {3}  # none of several


def test_what_cannot_be_included(tiny, results):
    folder = results / "tiny"
    with pytest.raises(UserError, match=r"trials/0: is not excluded"):
        include_trials(folder, [0])
    begin(tiny(parameters=optimizer(max=min(rates(results).values()))), results)
    number = next(iter(left_out(results)))
    with pytest.raises(UserError, match=r"is outside of the sweep file \(optimizer.lr .* — change the sweep file back"):
        include_trials(folder, [number])
    with pytest.raises(UserError, match="is not a results folder"):
        exclude_trials(folder / "trials", [0], "x")
    with (
        open_folder(folder, kept(results)),
        pytest.raises(UserError, match="another command"),
    ):
        exclude_trials(folder, [0], "x")


def test_a_folder_without_trials_is_not_locked(tmp_path):
    """The lock would stay, and make the user's sweep.yaml look like one that a start has left."""
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(SWEEP))
    with pytest.raises(UserError, match="no trial 0"):
        exclude_trials(tmp_path, [0], "the GPU was faulty")
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]


def test_seeds_that_hwcls_confirm_adds_are_recorded_as_its_own(tiny, results):
    begin(tiny(confirm={"seeds": 2}), results)
    folder = results / "tiny"
    added = load_sweep(folder / "sweep.yaml", sets=["confirm.seeds=4"])
    assert driver._changed_by(added, folder) == "hwcls confirm"
    assert driver._changed_by(tiny(), folder) is None
    with open_folder(folder, added.resolved(), by="hwcls confirm"):
        pass
    begin(tiny(confirm={"seeds": 5}), results)  # by the file
    _, first, second = kept(results)["x-changes"]["log"]
    assert (first["by"], "by" in second) == ("hwcls confirm", False)
