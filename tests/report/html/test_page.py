"""report.html as text: whole, escaped, without a network."""

from __future__ import annotations

import json
import math
import re
import time
from html.parser import HTMLParser

import pytest

from hwcls import files
from hwcls.errors import UserError
from hwcls.report.html.charts.learning_curves import epoch_curves, expected_best, trial_values
from hwcls.report.html.page import script_json, write_page
from hwcls.results.load import load_results
from hwcls.sweep.storage import environment

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """The elements of a page and the text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.figures, self.inside = [], [], "", None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = (tag, dict(attrs)) if tag in ("script", "style") else self.inside

    def handle_endtag(self, tag):
        self.inside = None if tag in ("script", "style") else self.inside

    def handle_data(self, data):
        if self.inside is None:
            self.words.append(data)
        elif self.inside[1].get("id") == "figures":
            self.figures += data

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def page(results, tmp_path):
    def write(**settings):
        results.full(tmp_path, **settings)
        return Page(write_page(tmp_path).read_text("utf-8"))

    return write


def test_the_contents_of_the_page(page, tmp_path):
    shown = page()
    assert "Best on val/accuracy: mlp with 0.9" in shown.text
    assert "6 (2 complete, 2 unfinished, 1 stopped, 1 failed)" in shown.text
    assert "39 to 41" in shown.text
    assert "digits, 120 train, 30 val, 60 test, 3 classes" in shown.text
    assert "hwcls sweep 'sweeps/tiny sweep.yaml'" in shown.text
    assert "loss is NaN" in shown.text
    assert f"hwcls train {tmp_path}/trials/1/config.yaml" in shown.text
    assert "not read" in shown.text
    assert (tmp_path / "leaderboard.csv").exists()
    figures = json.loads(shown.figures)
    assert set(figures) == {"metric", "loss", "progress", "after", "parallel", "pareto-seconds", "spent", "slice-0"}
    charts = [attrs["id"] for tag, attrs in shown.tags if attrs.get("class") == "chart"]
    assert set(charts) == {f"chart-{key}" for key in figures}


def test_changes_by_a_preset_are_on_the_page(results, tmp_path):
    results.full(tmp_path)
    changes = {"preset quick": {"run_cap": 6, "parameters.data": {"name": "digits"}}, "options": {"seed": 3}}
    known = json.loads((tmp_path / "environment.json").read_text())
    files.write_json(tmp_path / "environment.json", {**known, "changes": changes})
    text = Page(write_page(tmp_path).read_text("utf-8")).text
    assert "Changed by preset quick run_cap: 6; parameters.data: {name: digits}" in text
    assert "Changed by options seed: 3" in text
    changes = {
        "preset loud": {"notify.command": "curl KEY", "notify": {"command": "curl KEY"}}
    }  # of an earlier version
    files.write_json(tmp_path / "environment.json", {**known, "changes": changes})
    text = Page(write_page(tmp_path).read_text("utf-8")).text
    assert "Changed by preset loud notify.command: (hidden); notify: {command: (hidden)}" in text


def test_features_that_were_computed_once_are_on_the_page(results, tmp_path):
    results.full(tmp_path)
    probe = {"backbone": "tiny_vit", "image_size": 160, "images": 2_000, "views": 4, "weights": "timm's cache"}
    environment.write_features(tmp_path, [probe], 30.0)
    environment.write_features(tmp_path, [probe], 10.04)  # after a restart
    text = Page(write_page(tmp_path).read_text("utf-8")).text
    assert (
        "Features of 2,000 images by tiny_vit at 160 x 160, 4 views of each training image (weights from timm's cache):"
        " computed once, in 40 s, and shared by all trials" in text
    )


def test_features_of_an_earlier_sweep_and_damaged_ones(results, tmp_path):
    results.full(tmp_path)
    environment.write_features(tmp_path, [{"backbone": "tiny_vit", "images": 9, "views": 1}, "?"], 0.02)
    text = Page(write_page(tmp_path).read_text("utf-8")).text
    assert "Features of 9 images by tiny_vit: computed once, by an earlier sweep, and shared by all trials" in text
    environment.write_features(tmp_path, ["?"], 0.0)
    assert "shared by all trials" not in Page(write_page(tmp_path).read_text("utf-8")).text


def test_a_chart_has_a_text_alternative(page):
    shown = page()
    described = {attrs["aria-describedby"] for tag, attrs in shown.tags if attrs.get("class") == "chart"}
    assert described <= {attrs.get("id") for tag, attrs in shown.tags if tag == "p"}
    assert "accuracy: mlp, trial 1, 3 points, from 0.4 to 0.8, lowest 0.4, highest 0.9" in shown.text


def test_the_page_loads_nothing_from_elsewhere(page):
    shown = page()
    for tag, attrs in shown.tags:
        assert "src" not in attrs
        assert tag not in ("link", "iframe", "object", "base")
    policy = next(attrs["content"] for tag, attrs in shown.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_html_in_names_is_text(results, tmp_path):
    sweep = results.sweep(tmp_path, name=EVIL, compare="model")
    results.trial(sweep.trial(0), [0.5, 0.6], label=EVIL)
    results.trial(sweep.trial(1), [0.5], label="mlp", status="failed", error=EVIL)
    results.confirm(sweep, "mlp", 0.7, seeds=2)
    text = write_page(tmp_path).read_text("utf-8")
    assert "<script>alert" not in text
    assert "<img" not in text.replace("plotly", "").split("<script")[0]
    shown = Page(text)
    assert EVIL in shown.text
    assert "<" not in shown.figures
    names = [trace["name"] for trace in json.loads(shown.figures)["metric"]["data"] if "name" in trace]
    assert all("<" not in name for name in names)  # plotly reads some HTML itself
    assert any("&lt;script&gt;" in name for name in names)


def test_html_in_class_names_is_text(results, tmp_path):
    sweep = results.sweep(tmp_path)
    files.write_json(tmp_path / "data.json", {"name": "x", "classes": [EVIL, "b", "c"]})
    results.trial(sweep.trial(0), [0.5])
    results.seen(sweep.trial(0), 0.6)
    text = write_page(tmp_path).read_text("utf-8")
    assert "<script>alert" not in text
    shown = Page(text)
    assert not [attrs for tag, attrs in shown.tags if attrs.get("src") == "x"]
    assert EVIL in shown.text
    names = [trace["name"] for trace in json.loads(shown.figures)["roc-classes-0"]["data"]]
    assert all("<" not in name for name in names)


def test_script_json_cannot_end_its_script():
    value = {"a": "</script><!-- & \u2028"}
    assert not set("<>&") & set(script_json(value))
    assert json.loads(script_json(value)) == value


def test_headings_are_buttons_and_cells_carry_their_numbers(page):
    text = page()
    buttons = [tag for tag, attrs in text.tags if tag == "button"]
    assert len(buttons) == 13  # one per column of the leaderboard
    values = [attrs["data-sort"] for tag, attrs in text.tags if tag == "td" and "data-sort" in attrs]
    assert "0.9" in values
    assert "" in values


def test_confirmed_intervals_are_on_the_page(results, tmp_path):
    sweep = results.full(tmp_path)
    results.confirm(sweep, "resnet", 0.9)
    results.confirm(sweep, "mlp", 0.7)
    text = Page(write_page(tmp_path).read_text("utf-8")).text
    assert "resnet mlp 18" in text  # better, worse, points
    assert "on test" in text
    assert "read 10 times, once per confirm run that reports a winner." in text
    (tmp_path / "test_reads.jsonl").write_text('{"trial": "trials/0"}\n' * 2)
    assert (
        "read 10 times, once per confirm run that reports a winner, and 2 more by hwcls evaluate or ensemble."
        in Page(write_page(tmp_path).read_text("utf-8")).text
    )
    assert re.search(r"\bsignificant\b", text)


def test_what_each_alternative_spent_and_would_reach(page, results, tmp_path):
    results.confirm(results.full(tmp_path), "resnet", 0.9)
    text = Page(write_page(tmp_path).read_text("utf-8")).text
    # on test, its value in the search, the winner, what was ahead of it; trials, failed, epochs, time, confirm runs
    assert re.search(r"resnet 8[\d.]+ % [\d.]+ % to [\d.]+ % 0.7000 0 trial 4, 0.7200 3 0 6 3.4 s 5 6.0 s mlp", text)
    assert "Expected best val/accuracy after k trials model 1 2 resnet 0.5000 0.7000 mlp 0.9000 0.9000" in text


def test_alternatives_that_are_the_same_model_are_named(results, tmp_path):
    results.trial(results.sweep(tmp_path, compare="model").trial(0), [0.5, 0.6])
    assert "the same model" not in Page(write_page(tmp_path).read_text("utf-8")).text
    (tmp_path / "models.json").write_text('{"same": [["k3", "<k5>"]]}')
    assert "k3, <k5> are the same model" in Page(write_page(tmp_path).read_text("utf-8")).text


@pytest.mark.parametrize("kind", ["no trial", "no value", "only failed", "nan", "no compare", "odd files"])
def test_any_folder_gives_a_page(results, tmp_path, kind):
    sweep = results.sweep(tmp_path, compare=None if kind == "no compare" else "model")
    if kind == "no value":
        results.trial(sweep.trial(0), [], status=None)
    elif kind == "only failed":
        results.trial(sweep.trial(0), [], status="failed", error="boom")
    elif kind == "nan":
        results.trial(sweep.trial(0), [math.nan, math.nan], status="failed", error="loss is NaN")
        results.trial(sweep.trial(1), [0.5, math.nan])
    elif kind == "no compare":
        results.trial(sweep.trial(0), [0.5, 0.6], label=None)
    elif kind == "odd files":
        (tmp_path / "data.json").write_text('{"name": null, "classes": 3, "per_class": 1}')
        (tmp_path / "models.json").write_text('{"same')
        (tmp_path / "environment.json").write_text(
            '{"hardware": ["cpu"], "versions": {"a": {"b": null}}, "command": "x"}'
        )
    shown = Page(write_page(tmp_path).read_text("utf-8"))
    assert "tiny" in shown.text
    if kind in ("no trial", "no value", "only failed", "odd files"):
        assert not shown.figures
        assert "No trial has" in shown.text
    else:
        assert json.loads(shown.figures)
    if kind == "no compare":
        assert "Alternatives" not in shown.text


@pytest.mark.parametrize(("share", "shown"), [({"reason": "4 trials share a GPU"}, True), ({}, False), ([], False)])
def test_why_trials_share_a_gpu_is_said(results, tmp_path, share, shown):
    results.sweep(tmp_path)
    known = json.loads((tmp_path / "environment.json").read_text())
    files.write_json(tmp_path / "environment.json", {**known, "gpu_share": share})
    assert ("4 trials share a GPU" in write_page(tmp_path).read_text("utf-8")) == shown
    assert ("Trials on a GPU" in write_page(tmp_path).read_text("utf-8")) == shown


def test_the_wandb_folder_is_named(results, tmp_path):
    results.sweep(tmp_path)
    assert "hwcls wandb sync" not in write_page(tmp_path).read_text("utf-8")
    (tmp_path / "wandb").mkdir()
    assert f"hwcls wandb sync {tmp_path}" in write_page(tmp_path).read_text("utf-8")


def test_no_results_no_page(tmp_path):
    with pytest.raises(UserError):
        write_page(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_twenty_trials_in_a_second(results, tmp_path):
    sweep = results.sweep(tmp_path)
    for n in range(20):
        results.trial(sweep.trial(n), [0.1 + 0.01 * e + 0.01 * n for e in range(30)], label=("mlp", "resnet")[n % 2])
    write_page(tmp_path)  # imports
    times = []
    for _ in range(3):
        start = time.process_time()
        write_page(tmp_path)
        times.append(time.process_time() - start)
    assert min(times) < 1


def test_curves(results, tmp_path):
    results.full(tmp_path)
    sweep = load_results(tmp_path)
    figure = epoch_curves(sweep, "accuracy")
    named = {trace["name"]: trace for trace in figure["data"] if "name" in trace}
    trials = {"mlp, trial 1", "mlp, trial 1, train", "resnet, trial 4", "resnet, trial 4, train"}
    assert set(named) == trials | {"training images", "other trials"}  # dotted and faint, in the legend
    assert named["training images"]["x"] == [None]
    assert "Faint: the other trials." in figure["caption"]
    assert named["mlp, trial 1"]["y"] == [0.4, 0.9, 0.8]
    faint = [trace for trace in figure["data"] if "opacity" in trace]
    resnet, dot = (trace for trace in faint if trace["legendgroup"] == "resnet")
    assert (resnet["x"], resnet["mode"]) == ([1, 2, 3], "lines")  # trial 0
    assert (dot["x"], dot["mode"]) == ([1], "lines+markers")  # trial 2: a line needs two points to be seen
    assert (
        resnet["line"]["color"] == named["resnet, trial 4"]["line"]["color"] != named["mlp, trial 1"]["line"]["color"]
    )
    assert epoch_curves(sweep, "nothing") is None


def test_trial_values_hold_the_best_so_far(results, tmp_path):
    sweep = results.sweep(tmp_path)
    for n, value in enumerate([0.5, 0.4, 0.7, 0.6]):
        results.trial(sweep.trial(n), [value])
    step = next(trace for trace in trial_values(load_results(tmp_path))["data"] if trace["mode"] == "lines")
    assert step["y"] == [0.5, 0.5, 0.7, 0.7, 0.7]
    results.sweep(tmp_path, metric={"name": "val/loss", "goal": "minimize"})
    step = next(trace for trace in trial_values(load_results(tmp_path))["data"] if trace["mode"] == "lines")
    assert step["y"] == [1.1, 1.1, 0.9, 0.9, 0.9]


def test_runs_on_wandb_are_linked(results, tmp_path):
    sweep = results.full(tmp_path)
    (tmp_path / "wandb").mkdir()
    changes = [{"identity": "x"}, {"run": "trials/0", "entry": {"id": "a", "status": None}}]
    changes += [{"run": "trials/0", "entry": {"url": "https://wandb.example/me/p/runs/a"}}]
    changes += [{"run": "trials/1", "entry": {"url": "javascript:alert(1)"}}, {"run": "trials/2", "entry": {"id": "b"}}]
    (tmp_path / "wandb" / "cursor.jsonl").write_text("".join(json.dumps(change) + "\n" for change in changes))
    links = [attrs["href"] for tag, attrs in Page(write_page(sweep.path).read_text("utf-8")).tags if tag == "a"]
    assert [link for link in links if not link.startswith("#")] == ["https://wandb.example/me/p/runs/a"]


def test_an_outlier_does_not_hide_the_others(results, tmp_path):
    folder = results.sweep(tmp_path)
    for place in range(12):
        results.trial(folder.trial(place), [0.5, 0.6, 0.7 + place / 100])
    assert "range" not in epoch_curves(load_results(tmp_path), "loss")["layout"]["yaxis"]
    results.trial(folder.trial(12), [-500.0, 0.5])
    figure = epoch_curves(load_results(tmp_path), "loss")
    low, high = figure["layout"]["yaxis"]["range"]
    assert low < 0.8 < high < 3
    assert figure["caption"].endswith("The worst values are outside the chart; a double click shows all.")


def test_a_bad_trial_does_not_flatten_the_accuracies_of_the_others(results, tmp_path):
    folder = results.sweep(tmp_path)
    for place in range(12):
        results.trial(folder.trial(place), [0.9, 0.91, 0.92 + place / 1000])
    results.trial(folder.trial(12), [0.1, 0.2])
    figure = epoch_curves(load_results(tmp_path), "accuracy")
    values = [y for trace in figure["data"] for y in trace["y"] if y is not None]
    low, high = figure["layout"]["yaxis"]["range"]
    assert 0.5 < low < 0.9 < max(values) < high
    assert "outside the chart" in figure["caption"]


def test_a_bad_trial_does_not_flatten_the_values_of_the_others(results, tmp_path):
    folder = results.sweep(tmp_path)
    for place in range(12):
        results.trial(folder.trial(place), [0.9 + place / 1000])
    axis = trial_values(load_results(tmp_path))["layout"]["yaxis"]
    assert axis == {"title": {"text": "val/accuracy"}}
    results.trial(folder.trial(12), [0.1])
    figure = trial_values(load_results(tmp_path))
    low, high = figure["layout"]["yaxis"]["range"]
    assert 0.89 < low < 0.9 < 0.911 < high
    assert figure["caption"].endswith("The worst values are outside the chart; a double click shows all.")


def test_the_best_of_a_bad_alternative_is_among_the_values(results, tmp_path):
    folder = results.sweep(tmp_path)
    for place in range(24):
        results.trial(folder.trial(place), [0.9 + place / 1000], label="good")
    results.trial(folder.trial(24), [0.3], label="bad")
    results.trial(folder.trial(25), [0.1], label="bad")
    low, _ = trial_values(load_results(tmp_path))["layout"]["yaxis"].get("range", (0.0, 1.0))
    assert low < 0.3


def test_a_bad_first_trial_does_not_flatten_the_expected_best(results, tmp_path):
    folder = results.sweep(tmp_path)
    for place in range(30):
        results.trial(folder.trial(place), [0.9 + place / 1000 if place else 0.1])
    figure = expected_best(load_results(tmp_path))
    assert 0.8 < figure["layout"]["yaxis"]["range"][0] < 0.9
    assert "outside the chart" in figure["caption"]


def test_the_expected_best(tmp_path, results):
    sweep = results.sweep(tmp_path)
    for number, value in enumerate([0.6, 0.2, 0.8, 0.4]):
        results.trial(sweep.trial(number), [value], label="ab"[number % 2])
    expected, so_far, *_ = expected_best(load_results(tmp_path))["data"]
    assert (expected["name"], expected["x"], expected["y"]) == ("a", [1, 2], [0.7, 0.8])
    assert (so_far["x"], so_far["y"], so_far["line"]["dash"]) == ([1, 2], [0.6, 0.8], "dot")
    results.sweep(tmp_path / "empty")
    assert expected_best(load_results(tmp_path / "empty")) is None


def test_trials_that_repeat_settings_are_counted(results, tmp_path):
    sweep = results.sweep(tmp_path)
    for number in range(5):
        results.trial(sweep.trial(number), [0.5], lr=0.1 if number < 3 else number)
    text = Page(write_page(tmp_path).read_text("utf-8")).text
    assert "5 (5 complete), 2 of them with the settings of another one, on a further seed" in text


def test_trials_that_could_not_be_trained_are_counted(results, tmp_path):
    results.full(tmp_path)
    assert "cannot be trained together" not in Page(write_page(tmp_path).read_text("utf-8")).text
    known = json.loads((tmp_path / "environment.json").read_text())
    files.write_json(tmp_path / "environment.json", {**known, "untrainable": 2})
    text = Page(write_page(tmp_path).read_text("utf-8")).text
    assert "2 more trials, whose settings cannot be trained together: the alternative" in text


def test_the_page_says_what_the_confirm_runs_did(results, tmp_path):
    sweep = results.full(tmp_path)
    for label in ("resnet", "mlp"):
        results.confirm(sweep, label, 0.8, seeds=2, trial=int(label == "mlp"), first=1_000_000_000, role="pick")
        results.confirm(sweep, label, 0.8, seeds=3, trial=int(label == "mlp"), first=10_000_000, role="report")
    text = Page(write_page(tmp_path).read_text("utf-8")).text
    assert "10 confirm runs complete: 4 picked the winners on validation and 6 report them on test, on other" in text
    assert "First look at the verdicts: significant is p below 0.033" in text


def test_sentences_are_apart(results, tmp_path):
    results.overtaken(tmp_path)
    text = re.sub(r"<[^>]+>", "", re.sub(r"(?s)<(script|style).*?</\1>", "", write_page(tmp_path).read_text("utf-8")))
    assert "the line the best so far. A star is a confirmed winner." in text
    assert re.findall(r"[a-z]\.[A-Z][a-z]+ ", text) == []


def test_a_running_sweep_says_when_its_page_was_written_and_loads_again(results, tmp_path):
    results.full(tmp_path)
    running = write_page(tmp_path, running=True).read_text("utf-8")
    assert '<meta http-equiv="refresh" content="30">' in running
    assert re.search(r"4 trials ended when this page was written, at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", running)
    assert "2 running" in Page(running).text
    ended = write_page(tmp_path).read_text("utf-8")
    assert "refresh" not in ended.split("<style>")[0]
    assert "This sweep is running" not in ended


def test_plotly_is_compiled_after_the_page_can_be_read(page):
    kinds = {attrs.get("id"): attrs.get("type") for tag, attrs in page().tags if tag == "script"}
    assert kinds["plotly"] == "text/plain"


@pytest.mark.parametrize(("count", "words"), [(1, "1 run on Weights"), (2, "2 runs on Weights")])
def test_runs_at_wandb_are_counted(results, tmp_path, count, words):
    sweep = results.full(tmp_path)
    entries = [{"run": f"trials/{n}", "entry": {"url": f"https://wandb.ai/me/tiny/runs/{n}"}} for n in range(count)]
    files.write_text(tmp_path / "wandb" / "cursor.jsonl", "".join(json.dumps(one) + "\n" for one in entries))
    assert words in write_page(sweep.path).read_text("utf-8")
