import sys

import pytest

from hwcls.sweep.preflight.dry_run import plan_sweep, print_estimate, print_plan


def text(found):
    lines = []
    print_plan(found, lines.append)
    return "\n".join(lines)


def test_says_what_would_run(tiny):
    found = plan_sweep(
        tiny(
            run_cap=5,
            early_terminate={"type": "asha", "rule": "stopping", "min_iter": 1, "eta": 2},
            parameters={"epochs": 8},
        )
    )
    assert found["per_alternative"] == {"mlp": 3, "cnn": 2}
    assert found["rungs"] == [1, 2, 4]
    assert len(found["samples"]) == 5
    assert [sample["model"] for sample in found["samples"]] == ["mlp", "cnn", "mlp", "cnn", "mlp"]
    shown = text(found)
    assert "optimizer.lr  0.001 to 0.1 (log)" in shown
    assert "early stopping at epochs 1, 2, 4" in shown
    assert found["warnings"] == [
        "a plateau cannot lower the learning rate before epoch 5, but the first rung is at epoch 1"
    ]
    assert plan_sweep(tiny(early_terminate={"type": "asha"}, parameters={"epochs": 8}))["warnings"] == []
    assert plan_sweep(tiny(early_terminate={"type": "asha"}, parameters={"epochs": 1}))["warnings"] == [
        "no trial can be stopped early: the first rung is not before the last epoch, 1",
        "a plateau cannot lower the learning rate in 1 epoch",
    ]


def test_grid_counts_each_alternative(tiny):
    model = {"choice": {"mlp": {"width": {"values": [8, 16, 32]}}, "cnn": {"name": "simple_cnn"}}}
    optimizer = {"name": "adam", "lr": 0.01}
    found = plan_sweep(tiny(method="grid", run_cap=None, parameters={"model": model, "optimizer": optimizer}))
    assert (found["trials"], found["per_alternative"]) == (4, {"mlp": 3, "cnn": 1})


def test_data_that_is_missing_is_a_note(tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("HWCLS_DATA", str(tmp_path))
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path))
    found = plan_sweep(tiny(parameters={"data": {"name": "cifar10"}}))
    assert any("hwcls data import cifar10" in warning for warning in found["warnings"])
    assert not any("digits" in warning for warning in plan_sweep(tiny())["warnings"])


@pytest.mark.parametrize("compare", [None, "optimizer.momentum"])
def test_combinations_that_cannot_be_trained_are_no_samples(tiny, compare):
    momentum, nesterov = {"values": [0.9, 0.0]}, {"values": [False, True]}
    optimizer = {"name": "sgd", "lr": 0.01, "momentum": momentum, "nesterov": nesterov}
    found = plan_sweep(tiny(run_cap=12, compare=compare, parameters={"optimizer": optimizer}))
    assert len(found["samples"]) == 5
    assert [sample["momentum"] for sample in found["samples"][:4]] == [0.9, 0.0, 0.9, 0.0] or compare is None
    note = "optimizer.momentum 0 with optimizer.nesterov True cannot be trained (nesterov needs momentum above 0)"
    assert f"{note}: such trials count, but are not run" in found["warnings"]


def test_one_trial(tiny):
    shown = text(plan_sweep(tiny(run_cap=1, compare=None, parameters={"model": {"name": "mlp"}})))
    assert ": 1 trial, " in shown
    assert "1 trials" not in shown


def test_a_budget_of_time(tiny):
    found = plan_sweep(tiny(run_cap=None, budget="1h"))
    assert "its share of the time" in text(found)


def warned(tiny, model):
    return plan_sweep(tiny(parameters={"model": model, "scheduler": "constant"}))["warnings"]


def test_variants_that_are_one_model_are_said(tiny):
    """By structure, not by name: a kernel of 3 makes kernel_cnn simple_cnn's equal."""
    choice = {
        "plain": {"name": "simple_cnn"},
        "typo": {"name": "kernel_cnn", "kernel": 3},
        "five": {"name": "kernel_cnn", "kernel": 5},
    }
    model = {"width": 8, "head": {"depth": 2, "dropout": {"min": 0.1, "max": 0.3}}, "choice": choice}
    assert warned(tiny, model) == ["plain and typo are the same model"]
    choice["typo"]["head"] = {"dropout": {"min": 0.1, "max": 0.2}}
    assert warned(tiny, model) == []


def test_backbones_are_compared_without_being_built(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    body = {"name": "timm", "backbone": "resnet18"}
    model = {"choice": {"one": body, "two": dict(body), "other": {**body, "stem": "small"}}}
    assert warned(tiny, model) == ["one and two are the same model"]


def test_a_head_of_one_layer_has_no_width(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    body = {"name": "timm", "backbone": "resnet18"}
    heads = {"one": {"width": 256}, "two": {"width": 512, "dropout": 0.5}, "deep": {"depth": 2, "width": 512}}
    model = {"choice": {name: {**body, "head": head} for name, head in heads.items()}}
    assert warned(tiny, model) == ["one and two are the same model"]


def test_a_model_that_cannot_be_built_is_a_note(tiny):
    model = {"choice": {"a": {"name": "simple_cnn", "depth": 4}, "b": {"name": "mlp"}}}
    (warning,) = warned(tiny, model)
    assert "8x8 are too small for simple_cnn with depth 4" in warning


ESTIMATE = {
    "seconds": (60, 90),
    "start_seconds": (5, 6),
    "trial_seconds": (30, 50),
    "gpu_hours": (0, 0),
    "resources": "2 at once",
    "gpu_share": None,
    "trials": 16,
    "epochs": (46, 145),
    "epoch_seconds": {},
    "features": [],
    "disk": {"text": "up to 1 MB"},
    "cache": {"text": "cache: 1 MB"},
    "notes": [],
}


def printed(estimate, *, confirm=False):
    lines = []
    print_estimate(estimate, lines.append, confirm=confirm)
    return lines


def test_an_estimate_names_confirm_runs_where_there_are_some():
    assert "  16 trials, 46 to 145 epochs in all" in printed(ESTIMATE)
    assert "  16 trials, 46 to 145 epochs in all, confirm runs included" in printed(ESTIMATE, confirm=True)


def test_what_is_computed_once_stands_before_the_trials_that_use_it():
    new = {"what": "features of 2,000 images by a at 160 px", "pending": 2_000, "seconds": 40.0}
    old = {"what": "features of 2,000 images by b at 160 px", "pending": 0, "seconds": 0.0}
    lines = printed({**ESTIMATE, "features": [new, old]})
    at = lines.index("  features of 2,000 images by a at 160 px, once: 40 s")
    assert lines[at + 1] == "  features of 2,000 images by b at 160 px, there already"
    assert lines[at + 2] == "  16 trials of about 2.5 s, 46 to 145 epochs in all"
    assert "  cache: 1 MB" in lines


def test_where_trials_pause(tiny):
    promotion = {"type": "asha", "rule": "promotion"}
    found = plan_sweep(tiny(run_cap=5, early_terminate=promotion, parameters={"epochs": 54}))
    assert (found["rungs"], found["pauses"]) == ([2, 6, 18], True)
    assert "trials pause, and the best go on, at epochs 2, 6, 18" in text(found)
