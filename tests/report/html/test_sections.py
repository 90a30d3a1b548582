"""The contents list, the finding that opens each section, and the first screen."""

from __future__ import annotations

import re

import pytest

from hwcls.report.html.page import write_page


def findings(text):
    """The finding of each section by its id."""
    return dict(re.findall(r'<h2 id="([\w-]+)">[^<]*</h2>\n<p class="finding">([^<]*)</p>', text))


@pytest.fixture
def confirmed(results, tmp_path):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 0.9)
    results.confirm(sweep, "mlp", 0.7)
    return write_page(tmp_path).read_text("utf-8")


def test_the_contents_list_names_every_section_in_order(confirmed):
    nav = re.search(r"(?s)<nav .*?</nav>", confirmed)[0]
    listed = re.findall(r'href="#([\w-]+)"', nav)
    assert listed == re.findall(r'<h2 id="([\w-]+)"', confirmed)
    assert listed[:3] == ["answer", "alternatives", "test-scores"]
    assert listed[-1] == "reproduce"


def test_every_section_but_the_answer_opens_with_its_finding(confirmed):
    found = findings(confirmed)
    assert [*found] == re.findall(r'<h2 id="([\w-]+)"', confirmed)[1:]
    assert found["alternatives"] == "On test resnet is ahead of mlp by 18.00 points: the difference is significant."
    assert found["leaderboard"] == "Trial 1 (mlp) is first of 4 trials with 0.9000; the median is 0.7100."
    assert found["curves"] == "Trial 0 (resnet) has its best val/accuracy, 0.7000, in epoch 2 of 3."  # the winner
    assert found["failures"] == "1 run failed; the sweep went on. The first: loss is NaN"
    assert re.fullmatch(r"resnet is worst at class \w+: F1 0\.\d{3}, and 0\.\d{3} on average .*", found["test-scores"])


def test_an_empty_sweep_has_the_sections_that_always_are(results, tmp_path):
    results.sweep(tmp_path)
    text = write_page(tmp_path).read_text("utf-8")
    assert re.findall(r'<h2 id="([\w-]+)"', text) == ["answer", "leaderboard", "facts", "reproduce"]
    assert 'id="use-it"' not in text


def test_a_best_epoch_that_is_the_last_is_pointed_out(results, tmp_path):
    results.trial(results.sweep(tmp_path).trial(0), [0.5, 0.6], label="a")
    found = findings(write_page(tmp_path).read_text("utf-8"))
    assert found["curves"].endswith("in epoch 2 of 2: longer training may help.")
    assert found["alternatives"] == "Only one alternative has a value of val/accuracy yet: a 0.6000."


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_search_leader_leads_whatever_is_confirmed(results, tmp_path, seeds):
    """With reports of one alternative, which comes first in the tables, or of each on a single seed."""
    sweep = results.sweep(tmp_path, compare="data.batch_size")
    for number, (label, value) in enumerate([("16", 0.9), ("16", 0.93), ("128", 0.95), ("64", 0.8)]):
        results.trial(sweep.trial(number), [0.5, value], label=label)
    results.confirm(sweep, "16", 0.9, trial=0, seeds=seeds, role="report")
    if seeds == 1:
        results.confirm(sweep, "128", 0.8, trial=2, seeds=1, role="report")
    found = findings(write_page(tmp_path).read_text("utf-8"))["alternatives"]
    ahead = "ahead of batch_size 16 0.9300 and batch_size 64 0.8000"
    assert found == f"On val/accuracy batch_size 128 0.9500 leads, {ahead}."


@pytest.mark.parametrize(
    ("value", "finding"),
    [
        (1.0, "On val/accuracy cnn and mlp are equal with 1.0000, ahead of resnet 0.5000."),
        (0.5, "On val/accuracy cnn 1.0000 leads, ahead of mlp 0.5000 and resnet 0.5000."),
    ],
)
def test_equal_alternatives_are_not_ahead_of_each_other(results, tmp_path, value, finding):
    sweep = results.sweep(tmp_path)
    for number, (label, own) in enumerate([("cnn", 1.0), ("mlp", value), ("resnet", 0.5)]):
        results.trial(sweep.trial(number), [own], label=label)
    assert findings(write_page(tmp_path).read_text("utf-8"))["alternatives"] == finding


def test_the_lowest_loss_leads(results, tmp_path):
    sweep = results.sweep(tmp_path, metric={"name": "val/loss", "goal": "minimize"})
    for number, (label, accuracy) in enumerate([("cnn", 0.6), ("mlp", 0.7)]):
        results.trial(sweep.trial(number), [accuracy], label=label)
    found = findings(write_page(tmp_path).read_text("utf-8"))["alternatives"]
    assert found == "On val/loss mlp 0.9000 leads, ahead of cnn 1.0000."


def test_the_first_screen_says_how_to_use_the_winner(confirmed, tmp_path):
    first = confirmed[: confirmed.index('id="alternatives"')]
    assert '<h3 id="use-it">Use it</h3>' in first
    assert "<dd>resnet, trial 0</dd>" in first
    assert f"hwcls train {tmp_path}" in first  # no weights were kept
    assert "hwcls report" not in first


def test_without_compare_the_winner_has_its_trial_and_no_sentence_comes_twice(results, tmp_path):
    results.overtaken(tmp_path, compare=None)
    text = write_page(tmp_path).read_text("utf-8")
    found = findings(text)
    assert found["test-scores"].startswith("Trial 1 is worst at class ")
    assert "best, on test" not in text
    assert '<option value="0">trial 1, on test (5 confirm runs)' in text
    assert text.count(f"{found['dynamics']}</") == 1
    assert "The time includes pretraining" not in text
