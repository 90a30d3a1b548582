"""Trials that do not count: on record and in the leaderboard, but in no ranking, verdict, chart or model."""

import csv
import json

import pytest
from typer.testing import CliRunner

from hwcls import files
from hwcls.cli.main import app
from hwcls.reading import read_yaml
from hwcls.report.html.page import render_page, write_page
from hwcls.results.answer import describe_answer
from hwcls.results.best.choose import choose_best
from hwcls.results.best.folder import update_best
from hwcls.results.compare import build_summary
from hwcls.results.confirm.plan import confirm_config, confirm_winners, plan_confirm
from hwcls.results.ensemble.describe import describe_ensemble
from hwcls.results.expected_best import collect_trial_sequences
from hwcls.results.load import load_results
from hwcls.results.notes.changes import describe_left_out
from hwcls.results.notes.find import find_notes
from hwcls.sweep.storage.changes.exclusion import exclude_trials, include_trials
from hwcls.tracking.follower import Follower
from hwcls.tracking.left_out import exclude
from tests.results.conftest import full_sweep, write_confirm, write_overtaken, write_sweep, write_trial
from tests.tracking.test_follower import Memory

CHANGES = {
    "log": [{"when": "2026-01-02T03:04:05+00:00", "changed": [{"key": "run_cap", "old": "4", "new": "<b>6"}]}],
    "outside": {2: "model resnet is not in the file"},
}


@pytest.fixture
def swept(tmp_path):
    return full_sweep(tmp_path / "s", **{"x-changes": CHANGES})


def test_they_are_kept_and_do_not_count(swept):
    assert [t.number for t in load_results(swept.path).ranked()][:2] == [1, 4]
    exclude(swept.trial(1).path, "labels leaked")
    found = load_results(swept.path)
    assert [t.number for t in found.trials] == [0, 3, 4, 5]
    assert [(one.trial.number, str(one.reason)) for one in found.left_out] == [
        (1, "excluded: labels leaked"),
        (2, "model resnet is not in the file"),
    ]
    assert found.left_out[0].trial.value == 0.9
    assert "trial 4" in describe_answer(found)
    assert [len(one.values) for one in collect_trial_sequences(found)] == [1]  # mlp's other trial failed
    summary = build_summary(found)
    assert summary["changes"] == CHANGES["log"]
    assert [(one["trial"], one["why"], one["excluded"]) for one in summary["left_out"]] == [
        (1, "labels leaked", True),
        (2, "model resnet is not in the file", False),
    ]
    json.dumps(summary, default=str)
    last = summary["leaderboard"][-2:]
    assert [(row["rank"], row["trial"], row["left_out"]) for row in last] == [
        (None, 1, "excluded: labels leaked"),
        (None, 2, "model resnet is not in the file"),
    ]
    assert [row["rank"] for row in summary["leaderboard"]] == [1, 2, None, None, None, None]
    assert sum(row["trials"] for row in summary["alternatives"]) == 4


def test_page_and_csv_list_them_and_what_changed(swept):
    exclude(swept.trial(1).path, "<script>x</script>")
    page = render_page(load_results(swept.path))
    assert "<dt>Changed at 2026-01-02T03:04:05+00:00</dt><dd>run_cap 4 → &lt;b&gt;6</dd>" in page
    assert "trial 1: excluded: &lt;script&gt;x&lt;/script&gt; (2" in page
    assert "<dd>trial 2: model resnet is not in the file</dd>" in page
    assert "Trials that are left out have no rank" in page
    write_page(swept.path)
    rows = list(csv.DictReader((swept.path / "leaderboard.csv").read_text().splitlines()))
    assert [row["left_out"] for row in rows if row["trial"] == "2"] == ["model resnet is not in the file"]


def test_a_command_that_an_earlier_version_recorded_is_not_shown(swept):
    settings = read_yaml(swept.path / "sweep.yaml")
    changed = {"key": "notify.command", "old": "curl OLD", "new": "curl NEW"}
    settings["x-changes"]["log"][0]["changed"].append(changed)
    files.write_yaml(swept.path / "sweep.yaml", settings)
    found = load_results(swept.path)
    assert "curl" not in str(build_summary(found))
    assert "notify.command (hidden) → (hidden)" in render_page(found)
    assert "curl NEW" not in render_page(found)


def test_nothing_changes_where_nothing_is_left_out(tmp_path):
    sweep = full_sweep(tmp_path / "s")
    summary = build_summary(load_results(sweep.path))
    assert (summary["changes"], summary["left_out"]) == ([], [])
    assert "left_out" not in summary["leaderboard"][0]
    page = render_page(load_results(sweep.path))
    assert not any(words in page for words in ("<dt>Left out", "<dt>Changed at", "that are left out have"))


def test_confirm_runs_of_an_excluded_winner_do_not_count(tmp_path):
    sweep = write_overtaken(tmp_path / "s")
    before = load_results(sweep.path)
    assert confirm_winners(before) == {"cnn": 1, "mlp": 4}
    exclude(sweep.trial(1).path, "x")
    found = load_results(sweep.path)
    assert {run.run.number for run in found.confirm} == {2, 4, 9}
    assert [len(one.confirm) for one in found.left_out] == [7]  # two picks, five reports
    assert confirm_winners(found) == {"mlp": 4}
    plan = plan_confirm(found, confirm_config(found))
    assert plan.winners == {"cnn": 9, "mlp": 4}  # which is to be scored now
    assert choose_best(found).run.number == 4
    assert "<dt>Confirm runs left out</dt><dd>7 runs of trials that are left out</dd>" in render_page(found)
    (sweep.trial(1).path / "excluded.json").unlink()
    assert confirm_winners(load_results(sweep.path)) == {"cnn": 1, "mlp": 4}


def test_best_says_that_its_run_is_left_out_where_no_other_has_weights(tmp_path):
    """Its copy may be the only one, so that it stays; no tracker calls the run the best any more."""
    sweep = write_sweep(tmp_path / "s")
    for number in range(2):
        write_trial(sweep.trial(number), [0.5 + number / 10], label=None)
    files.write_json(
        sweep.best.path / "best.json", {"run": "trials/1", "why": "w", "weights": {"sha256": "", "bytes": 1}}
    )
    assert not any("best/" in note for note in find_notes(load_results(sweep.path)))
    exclude(sweep.trial(1).path, "x")
    update_best(sweep.path)
    note = "best/ still has the weights of trials/1, which is left out: no run that counts has kept any."
    assert note in find_notes(load_results(sweep.path))
    memory = Memory()
    Follower(sweep, [memory], "p").poll()
    assert not any(run.is_best() for run in memory.infos.values())


def test_few_of_many_reasons_are_named(tmp_path):
    """Outside of a narrower range each trial has a reason of its own."""
    outside = {number: f"lr 0.{number} is not in the file" for number in range(12)}
    sweep = write_sweep(tmp_path / "s", **{"x-changes": {"outside": outside}})
    for number in range(12):
        write_trial(sweep.trial(number), [0.5])
    texts = describe_left_out(load_results(sweep.path))
    assert texts[9:] == ["trial 9: lr 0.9 is not in the file", "2 more trials: leaderboard.csv has the reasons"]


def test_where_all_are_left_out_no_trial_counts(swept):
    for trial in swept.trials().values():
        exclude(trial.path, "x")
    assert describe_answer(load_results(swept.path)) == "No trial counts: 6 trials left out."
    assert "No trial counts: 6 trials left out." in render_page(load_results(swept.path))


def test_test_scores_that_were_seen_are_said(tmp_path):
    sweep = write_overtaken(tmp_path / "s")
    exclude(sweep.trial(1).path, "x")
    page = render_page(load_results(sweep.path))
    assert "read 10 times, once per confirm run" in page


def test_another_verdict_by_an_exclusion_is_a_further_look(tmp_path):
    """The comparison of fewer alternatives is another one; the first one again is not."""
    sweep = write_overtaken(tmp_path / "s")
    third = 10_000_000 + 1000 * 7
    write_trial(sweep.trial(7), [0.5], label="vit", lr=0.7)
    write_confirm(sweep, "vit", 0.8, trial=7, first=third, role="report")
    exclude_trials(sweep.path, [7], "x")
    seen = [{"cnn": 5, "mlp": 5, "vit": 5}, {"cnn": 5, "mlp": 5}]  # results of a version that counted none
    assert [dict(sorted(one.items())) for one in sweep.looks()] == seen
    include_trials(sweep.path, [7])
    exclude_trials(sweep.path, [2], "picked, but no winner")
    assert len(sweep.looks()) == 2


def test_a_damaged_mark_excludes_without_a_reason(swept, caplog):
    files.write_text(swept.trial(0).path / "excluded.json", "{")
    assert str(load_results(swept.path).left_out[0].reason) == "excluded: no recorded reason"
    assert "excluded.json is damaged" in caplog.text


def test_an_ensemble_names_members_that_do_not_count(tmp_path):
    sweep = write_sweep(tmp_path / "s")
    for number in range(2):
        write_trial(sweep.trial(number), [0.5])
    member = {"folder": "1", "run": "trials/1", "times": 1, "weights": {"sha256": "", "bytes": 1}}
    three = [0.5, 0.4, 0.6]
    test = {"metric": "test/accuracy", "images": 9, "ensemble": three, "winner": three, "difference": three, "p": 1.0}
    about = {"kind": "ensemble", "why": "w", "winner": "x", "members": [member], "test": test}
    files.write_json(sweep.path / "ensemble" / "ensemble.json", about)
    assert "left out" not in describe_ensemble(load_results(sweep.path))
    exclude(sweep.trial(1).path, "x")
    text = describe_ensemble(load_results(sweep.path))
    assert text.endswith(f"Since then trials/1 is left out: hwcls ensemble {sweep.path} chooses again.")


def run(*words):
    result = CliRunner().invoke(app, list(map(str, words)))
    return result.exit_code, result.output


def test_the_commands(tmp_path):
    sweep = write_sweep(tmp_path / "s")
    for number, value in enumerate((0.5, 0.9)):
        write_trial(sweep.trial(number), [value], lr=0.1)
    code, text = run("trials", "exclude", sweep.path, 1, "--why", "the GPU was \x1b[31mfaulty")
    assert code == 0
    assert "left out: trial 1: excluded: the GPU was \\x1b[31mfaulty (" in text
    assert "trial 0" in text
    assert "the GPU was" in (sweep.path / "report.html").read_text()
    code, text = run("compare", sweep.path)
    assert "left out: trial 1: excluded: the GPU was" in text
    assert "more trial" not in text
    code, text = run("trials", "exclude", sweep.path, 0)
    assert (code, text) == (2, 'hwcls: --why: no reason is given — write it: --why "the GPU was faulty"\n')
    code, text = run("trials", "include", sweep.path, 1, "--json")
    assert code == 0
    assert json.loads(text)["left_out"] == []
    code, text = run("trials", "include", sweep.path, 1)
    assert (code, text) == (2, f"hwcls: {sweep.trial(1).path}: is not excluded\n")
    code, text = run("trials", "exclude", tmp_path, 0, "--why", "x")
    assert code == 2
    assert "is not a results folder" in text
