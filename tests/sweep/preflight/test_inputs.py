"""A sweep whose models come from scratch and from weights: each trial's images are prepared as its model needs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import yaml
from safetensors.torch import save_file

from hwcls import files
from hwcls.config.data import PLAIN_INPUTS
from hwcls.config.space import Fixed
from hwcls.config.sweep_file import Sweep
from hwcls.report.html.data_facts import collect_data_facts
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.preflight.dry_run import plan_sweep, print_plan
from hwcls.sweep.preflight.prepare import prepare
from hwcls.sweep.preflight.validate import Options, check_sweep
from hwcls.sweep.search.job_builder import JobBuilder
from hwcls.tracking.folders import SweepFolder, TrialFolder

KEYS = ("image_size", *PLAIN_INPUTS)
HALF = (0.5, 0.5, 0.5)
SCRATCH, PROBE = (None, "bilinear", 1.0, "images", "images"), (32, "bilinear", 0.95, HALF, HALF)  # as timm's settings
WHY = "pretrained weights were trained on 160, but all images are 8 x 8: twice that at most"
LARGER = ", enlarged when they are read"
WORDS = "32 x 32, grey, the centre 95 % of each side, mean 0.5 and std 0.5"


@pytest.fixture
def mixed(tiny: Any, tmp_path: Path) -> Sweep:
    """A net from scratch beside a backbone with weights from a file, on a known data set."""
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "weights.safetensors")
    probe = {"name": "timm", "backbone": "test_resnet", "pretrained": str(tmp_path / "weights.safetensors")}
    found: Sweep = tiny(parameters={"model": {"choice": {"mlp": {"width": 16}, "probe": {**probe, "frozen": True}}}})
    return found


def test_two_backbones_that_are_one_model_are_noted_whatever_their_data(tiny: Any, tmp_path: Path) -> None:
    """Their images with 10 per class are those of no corner: these vary one setting at a time."""
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "weights.safetensors")
    probe = {"name": "timm", "backbone": "test_resnet", "pretrained": str(tmp_path / "weights.safetensors")}
    model = {"choice": {"mlp": {"width": 16}, "one": {**probe, "frozen": True}, "two": {**probe, "frozen": True}}}
    data = {"name": "digits", "per_class": {"values": [20, 10]}}
    sweep = check_sweep(tiny(parameters={"data": data, "model": model}), Options(results=tmp_path))
    assert "one and two are the same model" in prepare(sweep, tmp_path / "tiny").notes


def inputs_of(sweep: Sweep) -> dict[str | None, tuple[Any, ...]]:
    return {trial.model.label: tuple(getattr(trial.data, key) for key in KEYS) for trial in sweep.corners}


def jobs(sweep: Sweep, folder: SweepFolder, *labels: str) -> list[dict[str, Any]]:
    """The data sections of trials as their config.yaml has them."""
    builder = JobBuilder(sweep, folder, Resources(1, 1, 1, 0.0), {})
    count = len(folder.trials())
    for number, label in enumerate(labels, count):
        builder.build(number, {"model": label, "optimizer.lr": 0.01}, lambda: None)
    return [folder.trial(count + i).settings()["data"] for i in range(len(labels))]


def test_each_trial_has_the_inputs_of_its_model(mixed: Sweep, tmp_path: Path) -> None:
    sweep, folder = check_sweep(mixed, Options(results=tmp_path)), SweepFolder(tmp_path / "tiny")
    assert inputs_of(sweep) == {"mlp": SCRATCH, "probe": PROBE}
    prepared = prepare(sweep, folder.path)
    lines = ["digits, for mlp: 8 x 8, grey; 115 KB decoded", f"digits, for probe: {WORDS}; 115 KB decoded{LARGER}"]
    assert [line for line in prepared.described if "decoded" in line] == lines
    shown: list[str] = []
    print_plan(plan_sweep(sweep, (), prepared.described), shown.append)
    assert {f"  {line}" for line in lines} <= set(shown)
    assert f"  digits: image_size 32, of pretrained models: {WHY}" in shown
    data = json.loads((folder.path / "data.json").read_text())
    assert [one["models"] for one in (data, *data["others"])] == [["mlp"], ["probe"]]
    page = dict(collect_data_facts(data, tmp_path))["Images"]
    assert page == f"for mlp: 8 x 8, grey; for probe: {WORDS}; {WHY}"
    recorded = jobs(sweep, folder, "mlp", "probe")
    assert [tuple(one[key] for key in KEYS[:3]) for one in recorded] == [SCRATCH[:3], PROBE[:3]]
    assert [one["mean"] for one in recorded] == ["images", list(HALF)]
    (folder.path / "sweep.yaml").write_text(yaml.safe_dump(sweep.resolved()))
    again = check_sweep(mixed, Options(results=tmp_path))  # as the trials have it
    assert inputs_of(again) == {"mlp": SCRATCH, "probe": PROBE}
    assert again.image_sizes["digits"].reason == "as in the trials that this sweep has"
    prepare(again, folder.path)  # the images are the same, and the reason is that of the first start
    assert json.loads((folder.path / "data.json").read_text()) == data


def test_a_sweep_of_an_earlier_version_keeps_its_inputs(mixed: Sweep, tmp_path: Path) -> None:
    """It knew no other, and took known data sets as their files are."""
    folder = SweepFolder(tmp_path / "tiny")
    config = check_sweep(mixed, Options(results=tmp_path)).corners[0].to_dict()
    for key in PLAIN_INPUTS:
        del config["data"][key]
    folder.trial(0).path.mkdir(parents=True)
    (folder.path / "sweep.yaml").write_text(yaml.safe_dump(mixed.resolved()))
    (folder.trial(0).path / "config.yaml").write_text(
        yaml.safe_dump({**config, "model": mixed.corners[0].model.model_dump()})
    )
    again = check_sweep(mixed, Options(results=tmp_path))
    assert inputs_of(again) == {"mlp": SCRATCH, "probe": SCRATCH}
    (recorded,) = jobs(again, folder, "probe")
    assert tuple(recorded[key] for key in KEYS) == SCRATCH


def test_inputs_that_the_file_gives_are_kept(tiny: Any, mixed: Sweep, tmp_path: Path) -> None:
    given = {"name": "digits", "image_size": 16, "mean": "images", "interpolation": "bicubic"}
    parameters = {**mixed.source.values["parameters"], "data": given}
    sweep = check_sweep(tiny(parameters=parameters), Options(results=tmp_path))
    assert inputs_of(sweep) == {
        "mlp": (16, "bicubic", 1.0, "images", "images"),
        "probe": (16, "bicubic", 0.95, "images", HALF),
    }


def test_a_start_reads_few_configs_of_many_trials(mixed: Sweep, tmp_path: Path, monkeypatch: Any) -> None:
    """Of each model that had other keys before the first trial, which is the probe here, and of the inputs one."""
    sweep, folder = check_sweep(mixed, Options(results=tmp_path)), SweepFolder(tmp_path / "tiny")
    files.write_yaml(folder.path / "sweep.yaml", sweep.resolved())
    jobs(sweep, folder, "mlp", "probe", *["mlp", "probe"] * 5)
    read, settings = [], TrialFolder.settings
    monkeypatch.setattr(TrialFolder, "settings", lambda trial: read.append(trial.path.name) or settings(trial))
    again = check_sweep(mixed, Options(results=tmp_path))
    assert set(read) == {"0", "1"}
    assert again.trial(Fixed({"model": "probe"})) == sweep.trial(Fixed({"model": "probe"}))
