"""Which alternatives started with pretrained weights, from the configs of their trials."""

from hwcls.config.trial import TrialConfig
from hwcls.results.load import load_results
from hwcls.results.notes.pretrained import CAUTION, describe_pretrained, find_pretrained

BACKBONE = {"name": "timm", "backbone": "test_vit"}


def test_it_says_which_alternatives_started_with_pretrained_weights(results, tmp_path):
    sweep = results.sweep(tmp_path)
    kinds = [("scratch", False), ("tuned", True), ("file", "some.safetensors"), ("scratch", False)]
    for number, (label, pretrained) in enumerate(kinds):
        results.trial(sweep.trial(number), [0.5], label=label)
        values = {"label": label, **BACKBONE, "pretrained": pretrained}
        sweep.trial(number).write_config(
            TrialConfig.from_dict({"data": {"name": "digits"}, "model": values, "optimizer": {"name": "adam"}})
        )
    found = load_results(tmp_path)
    assert find_pretrained(found) == {"scratch": False, "tuned": True, "file": True}
    assert (
        describe_pretrained(found) == f"tuned and file started with pretrained weights, scratch from scratch. {CAUTION}"
    )
    for number in (0, 3):
        (sweep.trial(number).path / "config.yaml").write_text("{")
    assert describe_pretrained(load_results(tmp_path)) == f"All models started with pretrained weights. {CAUTION}"


def test_nothing_is_said_of_models_from_scratch(results, tmp_path):
    results.full(tmp_path)
    assert describe_pretrained(load_results(tmp_path)) == ""
