from hwcls.sweep.preview import preview, show


def text(found):
    lines = []
    show(found, lines.append)
    return "\n".join(lines)


def test_says_what_would_run(tiny):
    found = preview(
        tiny(run_cap=5, early_terminate={"type": "asha", "min_iter": 1, "eta": 2}, parameters={"epochs": 8})
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


def test_grid_counts_each_alternative(tiny):
    model = {"choice": {"mlp": {"width": {"values": [8, 16, 32]}}, "cnn": {"name": "simple_cnn"}}}
    optimizer = {"name": "adam", "lr": 0.01}
    found = preview(tiny(method="grid", run_cap=None, parameters={"model": model, "optimizer": optimizer}))
    assert (found["trials"], found["per_alternative"]) == (4, {"mlp": 3, "cnn": 1})


def test_data_that_is_missing_is_a_note(tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("HWCLS_DATA", str(tmp_path))
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path))
    found = preview(tiny(parameters={"data": {"name": "cifar10"}}))
    assert any("hwcls data import cifar10" in warning for warning in found["warnings"])
    assert not any("digits" in warning for warning in preview(tiny())["warnings"])


def test_a_budget_of_time(tiny):
    found = preview(tiny(run_cap=None, budget="1h"))
    assert "its share of the time" in text(found)
