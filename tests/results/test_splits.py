"""Confirm runs on other cuts of train and val: what they say, and out-of-fold scores."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from hwcls import files
from hwcls.cli.main import app
from hwcls.config.sweep import ConfirmConfig
from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import open_data
from hwcls.report.html.page import write_page
from hwcls.results.answer import describe_answer
from hwcls.results.compare import build_summary
from hwcls.results.confirm.cuts import Cut, list_cuts, plan_cut
from hwcls.results.confirm.describe import describe_confirm
from hwcls.results.confirm.missing import find_missing, resume_command
from hwcls.results.confirm.out_of_fold import find_out_of_fold, rank_wrong, write_out_of_fold
from hwcls.results.confirm.plan import FIRST_SEED, plan_confirm
from hwcls.results.load import load_results
from hwcls.tracking.left_out import exclude, include
from hwcls.training.artifacts import load_arrays, save_arrays

RATES = {"resnet": 0.95, "mlp": 0.8}
CLASSES = [str(label) for label in range(10)]


def write_report(results, sweep, label, trial, place, cut, *, scored=True):
    """A confirm run on digits; of a fold also its predictions: row 7 is always wrong, others by chance."""
    run = sweep.confirm_run(label, FIRST_SEED + 1000 * trial + place)
    purpose = {"trial": trial, "role": "report", "cut": cut.to_record()}
    run.write_purpose(purpose)
    rng = np.random.default_rng([trial, place])
    truth = np.arange(400) % 10
    guess = np.where(rng.random(400) < RATES[label], truth, (truth + 1) % 10)
    test = {"test": {"test/accuracy": float((guess == truth).mean())}} if scored else {}
    results.trial(run, [0.5, 0.6], label=label, **purpose, **test)
    config = run.config()
    config = config.model_copy(update={"data": cut.apply(config.data), "seed": place})
    run.write_config(config)
    if scored:
        save_arrays(run.path / "test_predictions.npz", labels=truth, scores=np.eye(10, dtype=np.float16)[guess])
    if cut.folds:
        val = open_data(config.data).val
        right = (rng.random(len(val)) < RATES[label]) & (val.rows != 7)
        scores = np.eye(10, dtype=np.float16)[np.where(right, val.labels, (val.labels + 1) % 10)]
        save_arrays(run.path / "predictions.npz", labels=val.labels, scores=scores, rows=val.rows)
    return run


def write_confirmed(results, path, **confirm):
    config = ConfirmConfig(top=1, **confirm)
    sweep = results.sweep(path, run_cap=2, confirm={"top": 1, **confirm})
    files.write_json(path / "data.json", {"name": "digits", "classes": CLASSES})
    for trial, label in enumerate(RATES):
        results.trial(sweep.trial(trial), [0.5, 0.7 - trial / 10], label=label)
        for place in range(config.seeds):
            write_report(results, sweep, label, trial, place, plan_cut(config, place, picks=False))
    return sweep


@pytest.fixture
def folds(results, tmp_path):
    return write_confirmed(results, tmp_path, seeds=4, splits="folds")


def test_every_run_has_a_cut_of_its_own_and_none_picks_and_reports():
    config = ConfirmConfig(seeds=5, splits=5)
    cuts = list_cuts(config)
    assert len(set(cuts)) == 2 + 5
    assert [cut.val_seed for cut in cuts] == [1_000_000_000, 1_000_000_001, *range(10_000_000, 10_000_005)]
    assert list_cuts(ConfirmConfig(seeds=5)) == list_cuts(None) == []
    assert plan_cut(ConfirmConfig(), 3, picks=False) is None


def test_folds_are_as_many_as_seeds_or_repeated_in_rounds():
    once = [plan_cut(ConfirmConfig(seeds=3, splits="folds"), place, picks=False) for place in range(3)]
    assert once == [Cut(10_000_000, 3, fold) for fold in (1, 2, 3)]
    twice = list_cuts(ConfirmConfig(top=1, seeds=6, splits="folds", folds=3))
    assert twice == [*once, *(Cut(10_000_001, 3, fold) for fold in (1, 2, 3))]
    assert all(Cut.from_record(cut.to_record()) == cut for cut in twice)
    assert Cut.from_record({"fold": 1}) is Cut.from_record("damaged") is Cut.from_record({"val_seed": "x"}) is None


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"splits": 3}, "splits 3 with seeds 5: each run gets a cut of its own — write splits: 5, or seeds: 3"),
        ({"splits": "fold"}, "splits 'fold' is neither a number from 1 nor folds — write splits: 5, or splits: folds"),
        ({"splits": True}, "neither a number"),
        ({"splits": "folds", "seeds": 1}, "seeds 1 with splits: folds is a single fold"),
        ({"folds": 5}, "folds 5 without splits: folds"),
        ({"splits": "folds", "folds": 3}, "seeds 5 is not a multiple of folds 3.* — write seeds: 6"),
    ],
)
def test_splits_that_make_no_sense(settings, text):
    with pytest.raises(ValidationError, match=text):
        ConfirmConfig.model_validate(settings)


def test_the_plan_gives_alternatives_the_same_cuts(results, tmp_path):
    config = ConfirmConfig(top=2, seeds=3, splits=3)
    sweep = results.sweep(tmp_path, run_cap=4, confirm={"top": 2, "seeds": 3, "splits": 3})
    for trial in range(4):
        results.trial(sweep.trial(trial), [0.5, 0.7], label=list(RATES)[trial % 2], lr=0.1 + trial)
    runs = plan_confirm(load_results(tmp_path), config).runs
    picks = {trial: [run.cut for run in runs if run.trial == trial] for trial in range(4)}
    assert all(cuts == [Cut(1_000_000_000), Cut(1_000_000_001)] for cuts in picks.values())
    assert {run.cut for run in plan_confirm(load_results(tmp_path), ConfirmConfig(top=2)).runs} == {None}


def test_the_answer_says_that_it_covers_the_cut(results, tmp_path):
    write_confirmed(results, tmp_path, seeds=3, splits=3)
    loaded = load_results(tmp_path)
    assert "over 3 seeds, each on another cut of train and val." in describe_answer(loaded)
    text = " ".join(describe_confirm(loaded))
    assert "on a cut of train and val of its own, test stayed the same: each interval covers the chance of that" in text
    own = build_summary(loaded)["confirm"]
    assert own["splits"] == "cuts"
    assert own["intervals_cover"] == ["seed", "test images", "cut of train and val"]
    assert own["out_of_fold"] == []
    page = write_page(tmp_path).read_text("utf-8")
    assert "each interval covers the chance of that cut" in page
    assert "account for new seeds, new cuts of train and val and new test images" in page
    assert "Out-of-fold" not in page


def test_runs_on_the_cut_of_the_search_cover_no_other(results, tmp_path):
    sweep = results.sweep(tmp_path, run_cap=1, confirm={"top": 1, "seeds": 3}, compare=None)
    results.trial(sweep.trial(0), [0.5, 0.7], label=None)
    results.confirm(sweep, "best", 0.8, trial=0, seeds=3, first=FIRST_SEED, role="report")
    loaded = load_results(tmp_path)
    assert describe_answer(loaded).count("over 3 seeds.") == 1
    assert build_summary(loaded)["confirm"]["intervals_cover"] == ["seed", "test images"]


def test_out_of_fold_scores_are_joined_kept_and_shown(folds, tmp_path):
    loaded = load_results(tmp_path)
    first, second = find_out_of_fold(loaded)
    data = open_data(TrialConfig.from_recorded(folds.trial(0).settings()).data)
    pool = np.sort(np.concatenate([data.train.rows, data.val.rows]))
    assert (first.label, first.trial, first.folds, first.missing) == ("resnet", 0, 4, 0)
    assert np.array_equal(first.rows, pool)
    assert np.array_equal(first.labels[np.searchsorted(pool, data.val.rows)], data.val.labels)
    assert (first.rounds == 1).all()
    assert first.accuracy.mean == pytest.approx(1 - first.wrong.mean())
    assert first.accuracy.low < 0.95 < first.accuracy.high
    assert second.accuracy.low < 0.8 < second.accuracy.high
    wrong = rank_wrong([first, second])
    assert 7 in wrong.rows[wrong.wrong == 2]
    assert len(wrong.rows) == ((first.wrong + second.wrong) > 0).sum()
    assert (np.diff(wrong.wrong) <= 0).all()

    files.write_json(tmp_path / "data.json", {"name": "digits", "classes": CLASSES})
    page = write_page(tmp_path).read_text("utf-8")
    assert "Out-of-fold scores" in page
    assert "wrong in 2 of 2; train image" in page
    kept = load_arrays(tmp_path / "confirm" / "resnet" / "out_of_fold.npz")
    assert np.array_equal(kept["rows"], pool)
    assert np.array_equal(kept["wrong"], first.wrong)
    assert kept["scores"].shape == (len(pool), 10)
    own = build_summary(loaded)["confirm"]
    assert own["splits"] == "folds"
    assert [(one["label"], one["images"], one["folds"]) for one in own["out_of_fold"]] == [
        ("resnet", len(pool), 4),
        ("mlp", len(pool), 4),
    ]
    assert own["out_of_fold"][0]["low"] == first.accuracy.low
    printed = " ".join(CliRunner().invoke(app, ["compare", str(tmp_path)]).stdout.split())
    assert "over 4 seeds, a fold each" in printed
    assert "Out-of-fold accuracy: resnet (trial 0) 9" in printed
    assert json.loads(CliRunner().invoke(app, ["compare", str(tmp_path), "--json"]).stdout)["confirm"] == json.loads(
        json.dumps(own)
    )


def test_a_second_round_is_averaged(results, folds, tmp_path):
    config = ConfirmConfig(top=1, seeds=8, splits="folds", folds=4)
    for place in range(4, 8):
        write_report(results, folds, "resnet", 0, place, plan_cut(config, place, picks=False))
    found = {one.label: one for one in find_out_of_fold(load_results(tmp_path))}
    assert (found["resnet"].rounds == 2).all()
    assert (found["mlp"].rounds == 1).all()
    assert found["resnet"].missing == 0
    hits = 1 - found["resnet"].wrong / 2
    assert found["resnet"].accuracy.mean == pytest.approx(hits.mean())


def test_a_fold_that_failed_is_missing_and_said(results, folds, tmp_path):
    run = folds.confirm_run("mlp", FIRST_SEED + 1000)
    (run.path / "predictions.npz").unlink()
    run.write_result(replace(run.result(), status="failed", best=None, error="no memory"))
    loaded = load_results(tmp_path)
    found = {one.label: one for one in find_out_of_fold(loaded)}
    assert (found["mlp"].missing, found["resnet"].missing) == (1, 0)
    assert len(found["mlp"].rows) < len(found["resnet"].rows)
    assert "images, 1 fold missing." in " ".join(describe_confirm(loaded))
    missing = find_missing(loaded)
    assert [(one.label, one.failed) for one in missing] == [("mlp", True)]
    assert resume_command(loaded, missing).endswith("--add-seeds 4")  # a whole round
    assert write_page(tmp_path).exists()


def test_damaged_predictions_leave_no_traceback(folds, tmp_path):
    (folds.confirm_run("mlp", FIRST_SEED + 1001).path / "predictions.npz").write_bytes(b"PK")
    loaded = load_results(tmp_path)
    assert {one.label: one.missing for one in find_out_of_fold(loaded)} == {"resnet": 0, "mlp": 1}
    write_out_of_fold(loaded)
    assert write_page(tmp_path).exists()
    (tmp_path / "data.json").unlink()
    assert re.search(r"labelled \d; wrong in 1 of 1; train image", write_page(tmp_path).read_text("utf-8"))


def test_a_run_that_ends_while_the_page_is_written_is_on_the_next_one(folds, tmp_path):
    late = folds.confirm_run("resnet", FIRST_SEED + 2).path / "predictions.npz"
    content = late.read_bytes()
    late.unlink()
    read = load_results(tmp_path)
    assert [one.missing for one in find_out_of_fold(read) if one.label == "resnet"] == [1]
    late.write_bytes(content)
    write_out_of_fold(read)  # after the run has ended, which it does not know
    write_page(tmp_path)
    kept = load_arrays(tmp_path / "confirm" / "resnet" / "out_of_fold.npz")
    (found,) = (one for one in find_out_of_fold(load_results(tmp_path)) if one.label == "resnet")
    assert np.array_equal(kept["rows"], found.rows)
    assert found.missing == 0


def test_no_fold_of_a_trial_that_is_excluded_is_kept_as_a_score(results, folds, tmp_path):
    """Also where its predictions are older than what was written of them."""
    config = ConfirmConfig(top=1, seeds=4, splits="folds")
    results.trial(folds.trial(2), [0.5, 0.4], label="resnet", lr=0.5)
    path = tmp_path / "confirm" / "resnet" / "out_of_fold.npz"
    for place in range(4):
        write_report(results, folds, "resnet", 2, place, plan_cut(config, place, picks=False))
    write_page(tmp_path)
    assert int(load_arrays(path)["trial"]) == 0
    exclude(folds.trial(0).path, "x")
    write_page(tmp_path)
    assert int(load_arrays(path)["trial"]) == 2
    exclude(folds.trial(2).path, "x")
    write_page(tmp_path)
    assert not path.exists()
    assert (tmp_path / "confirm" / "mlp" / "out_of_fold.npz").exists()
    include(folds.trial(0).path)
    write_page(tmp_path)
    assert int(load_arrays(path)["trial"]) == 0
