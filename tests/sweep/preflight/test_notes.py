"""What a valid sweep file promises and cannot keep is said before it starts."""

import json
from collections import Counter

import pytest
from typer.testing import CliRunner

from hwcls.cli.main import app
from hwcls.config.sweep_file import load_sweep
from hwcls.sweep.preflight.dry_run import plan_sweep, print_plan
from hwcls.sweep.preflight.notes import describe_notes
from tests.sweep.changing import begin

LRS = {"optimizer": {"name": "adam", "lr": {"values": [0.1, 0.01]}}}
TWO = "with 2 seeds an interval is up to 7 times as wide as with 5 (9.0 instead of 1.2 standard deviations of a seed"


def test_more_trials_than_settings(tiny):
    assert describe_notes(tiny()) == []
    assert describe_notes(tiny(run_cap=4, parameters=LRS)) == []
    assert describe_notes(tiny(run_cap=7, parameters=LRS)) == [
        "4 trials, but mlp has only 2 settings to try: the others repeat them on further seeds; lower run_cap",
        "3 trials, but cnn has only 2 settings to try: the others repeat them on further seeds; lower run_cap",
    ]
    (whole,) = describe_notes(tiny(run_cap=30, compare=None, parameters=LRS | {"model": {"name": "mlp"}}))
    assert whole.startswith("30 trials, but the space has only 2 settings to try: the others repeat them")
    assert describe_notes(tiny(method="grid", run_cap=None, parameters=LRS)) == []


@pytest.mark.parametrize("seed", [3, {"values": [3]}], ids=["constant", "searched"])
def test_repeats_with_one_seed_are_copies(tiny, tmp_path, seed):
    checked = tiny(run_cap=6, parameters=LRS | {"seed": seed})
    note = "3 trials, but mlp has only 2 settings to try: the others are copies of them, as parameters.seed gives their"
    assert describe_notes(checked)[0] == f"{note} seed; lower run_cap, or remove it"
    _, _, jobs = begin(checked, tmp_path / "results")
    assert len({str(job.config) for job in jobs}) == 4


def test_first_with_more_settings_of_an_alternative_than_its_share(tiny, tmp_path):
    first = [{"model": "mlp", "optimizer.lr": lr} for lr in (0.01, 0.02, 0.03)]
    (note,) = describe_notes(tiny(first=first))
    assert note == (
        "first has 3 settings of mlp, whose share is 2 trials: the others get fewer; "
        "remove some, or raise run_cap to 6 or more"
    )
    _, _, jobs = begin(tiny(first=first), tmp_path / "four")
    assert Counter(job.label for job in jobs) == {"mlp": 3, "cnn": 1}
    equal = tiny(first=first, run_cap=6)
    assert describe_notes(equal) == describe_notes(tiny(first=first, share="epochs")) == []
    _, _, jobs = begin(equal, tmp_path / "six")
    assert Counter(job.label for job in jobs) == {"mlp": 3, "cnn": 3}


@pytest.mark.parametrize(("seeds", "text"), [(1, "a single seed gives neither"), (2, TWO)])
def test_few_seeds(tiny, seeds, text):
    (note,) = describe_notes(tiny(confirm={"top": 1, "seeds": seeds}))
    assert text in note
    assert describe_notes(tiny(confirm={"top": 1, "seeds": 3})) == []


def test_two_seeds_are_as_bad_as_the_note_says():
    from scipy.special import stdtrit

    half = {seeds: float(stdtrit(seeds - 1, 0.975)) / seeds**0.5 for seeds in (2, 5)}
    assert (round(half[2], 1), round(half[5], 1)) == (9.0, 1.2)
    assert half[2] / half[5] == pytest.approx(7, abs=0.3)


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, None),
        ({"confirm": {"top": 3, "seeds": 5}, "run_cap": 8}, (12, 10)),
        ({"confirm": {"top": 3, "seeds": 5}, "compare": None}, (6, 5)),
        ({"confirm": {"top": 1, "seeds": 5}}, (0, 10)),
        ({"confirm": {"top": 3, "seeds": 5}, "run_cap": 30, "parameters": LRS}, (8, 10)),  # two settings of each
        ({"confirm": {"top": 3, "seeds": 5}, "run_cap": None, "budget": "9s"}, (12, 10)),
    ],
)
def test_the_dry_run_counts_confirm_runs(tiny, changes, counts):
    found = plan_sweep(tiny(**changes))["confirm"]
    assert (found and (found["picks"], found["reports"])) == counts
    assert not found or found["runs"] == sum(counts)


def test_the_dry_run_says_it(sweep_file):
    path = sweep_file(run_cap=30, compare=None, parameters=LRS | {"model": {"name": "mlp"}}, confirm={"seeds": 2})
    done = CliRunner().invoke(app, ["sweep", str(path), "--dry-run", "--no-probe"])
    assert done.exit_code == 0, done.stderr
    assert "note: 30 trials, but the space has only 2 settings to try" in done.stdout
    assert f"note: confirm: {TWO}" in done.stdout
    assert "confirm: 4 runs pick the winners, 2 others report them on test" in done.stdout
    found = json.loads(CliRunner().invoke(app, ["sweep", str(path), "--dry-run", "--no-probe", "--json"]).stdout)
    assert found["confirm"] == {"picks": 4, "reports": 2, "runs": 6, "splits": None, "folds": None}


def test_the_dry_run_says_that_it_is_for_the_front(tiny):
    shown = []
    found = plan_sweep(tiny(metric=["val/accuracy", "cost/latency"], confirm={"top": 3, "seeds": 5}), ())
    print_plan(found, shown.append)
    assert found["metrics"] == ["val/accuracy", "cost/latency"]
    assert shown[0].endswith(", random, the Pareto front of val/accuracy and cost/latency")
    assert "\nconfirm: 15 runs report points of the front on test" in shown


def test_a_time_budget_says_which_run_cap_it_replaces(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("{run_cap: 20, parameters: {data: {name: digits}, model: {name: mlp}, optimizer: {name: adam}}}")
    assert load_sweep(path).notes == ()
    sweep = load_sweep(path, budget="2m")
    assert (sweep.total, sweep.config.budget) == (None, 120)
    assert describe_notes(sweep) == ["--for 2m: run_cap 20 of the file is not used"]
    assert "--for 2m: run_cap 20 of the file is not used" in plan_sweep(sweep, ())["warnings"]
    path.write_text(path.read_text().replace("run_cap: 20", "budget: 1h"))
    assert load_sweep(path, budget="2m").notes == ()
