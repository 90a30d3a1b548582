"""The runs that a score on test is of."""

from __future__ import annotations

import numpy as np
import pytest

from hwcls import files
from hwcls.api.objects import find_confirmed
from hwcls.figures.tables.rows import build_table
from hwcls.figures.test_scores import collect_test_scores
from hwcls.report.html.page import write_page
from hwcls.results.answer import describe_answer
from hwcls.results.compare import build_alternatives, build_leaderboard
from hwcls.results.confirm.describe import describe_confirm
from hwcls.results.learning_dynamics import summarize_learning
from hwcls.results.load import load_results
from hwcls.results.scored_runs import describe_left_out, score_confirmed
from hwcls.results.test_comparison import compare_confirmed
from hwcls.results.test_scores import score_winners

LEFT_OUT = (
    "A run is left out of mean and interval on test, as its predictions are missing, damaged or of other images:"
    " confirm/resnet/1001."
)


@pytest.fixture
def partial(results, tmp_path):
    """Two winners of three seeds each; one run lost its predictions."""
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 0.9, seeds=3)
    results.confirm(sweep, "mlp", 0.7, seeds=3)
    (sweep.confirm_run("resnet", 1001).path / "test_predictions.npz").unlink()
    return load_results(tmp_path)


def test_mean_interval_and_seeds_are_of_the_same_runs(partial):
    one, compared = score_confirmed(partial)["resnet"], compare_confirmed(partial)
    assert [run.seed for run in one.runs] == [1000, 1002]
    assert [run.seed for run in one.left_out] == [1001]
    assert compared.seeds("resnet") == compared.comparison.seeds[compared.labels.index("resnet")] == 2
    assert one.mean == one.estimate.mean == pytest.approx(sum(one.values) / 2)
    assert not score_confirmed(partial)["mlp"].left_out


def test_everything_shows_the_same_runs(partial):
    compared = compare_confirmed(partial)
    mean = compared.estimate("resnet").mean
    row = next(row for row in collect_test_scores(partial).rows if row.name == "resnet")
    assert (row.mean, len(row.seeds)) == (mean, 2)
    record = next(record for record in build_table(partial, "confirmed").records if record["model"] == "resnet")
    assert (record["test/accuracy"], record["seeds"]) == (mean, 2)
    confirmed = next(one for one in find_confirmed(partial) if one.label == "resnet")
    assert (confirmed.mean, confirmed.seeds, [run.seed for run in confirmed.left_out]) == (mean, 2, [1001])
    assert next(row for row in build_alternatives(partial) if row["label"] == "resnet")["test/accuracy"] == mean
    assert mean in [row["test/accuracy"] for row in build_leaderboard(partial)]
    learned = next(one for one in summarize_learning(partial)[0] if one.name == "resnet")
    assert (learned.runs, learned.test) == (2, pytest.approx(mean))
    assert next(one for one in score_winners(partial, 3) if one.name == "resnet").seeds == 2
    assert "over 2 seeds" in describe_answer(partial)


def test_it_is_said_that_a_run_is_left_out(partial):
    assert describe_left_out(score_confirmed(partial)) == LEFT_OUT
    assert LEFT_OUT in describe_confirm(partial)
    assert collect_test_scores(partial).caption.endswith(LEFT_OUT)
    assert build_table(partial, "confirmed").caption.endswith(LEFT_OUT)
    assert LEFT_OUT in write_page(partial.folder).read_text("utf-8")


def test_without_an_interval_the_mean_is_of_every_run(results, tmp_path):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 0.9, seeds=2)
    (sweep.confirm_run("resnet", 1001).path / "test_predictions.npz").unlink()
    loaded = load_results(tmp_path)
    one = score_confirmed(loaded)["resnet"]
    assert (len(one.runs), one.left_out, one.estimate, one.interval) == (2, (), None, (None, None))
    assert one.mean == pytest.approx(sum(one.values) / 2)
    assert describe_left_out(score_confirmed(loaded)) == ""


def test_predictions_of_other_images_are_left_out(results, tmp_path):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 0.9, seeds=4)
    for seed in (1001, 1003):
        path = sweep.confirm_run("resnet", seed).path / "test_predictions.npz"
        files.write_with(path, lambda file: np.savez(file, labels=np.zeros(7, int), scores=np.ones((7, 3))))
    text = describe_left_out(score_confirmed(load_results(tmp_path)))
    assert text.startswith("2 runs are left out of mean and interval on test, as their predictions")
    assert text.endswith("confirm/resnet/1001 and confirm/resnet/1003.")
