"""`trackers: {wandb: ...}` in a sweep file: refused before the first trial where W&B would refuse it."""

import importlib.util
from pathlib import Path

import pytest
import wandb
import yaml
from wandb.sdk.artifacts._validators import ArtifactPath, validate_project_name

from hwcls.config.sweep_file import load_sweep
from hwcls.errors import UserError
from hwcls.sweep.preflight.validate import Options, check_sweep
from hwcls.sweep.storage.settings import changed_keys
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.wandb.run import Place
from hwcls.tracking.wandb.settings import WandbSettings, read_settings
from hwcls.tracking.wandb.workspace import find_entity


@pytest.fixture
def load(tmp_path):
    """Loads a small sweep file with these keys in its second line."""

    def load_with(keys):
        path = tmp_path / "small.yaml"
        parameters = "parameters: {data: {name: digits}, model: {name: mlp}, optimizer: {name: adam}, epochs: 1}"
        path.write_text(f"name: small\n{keys}\nrun_cap: 1\n{parameters}\n")
        return load_sweep(path)

    return load_with


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ("{entity: ''}", "entity: '' is not a user or team of W&B — write its name alone"),
        ("{entity: a/b}", "entity: 'a/b' is not a user or team"),
        (f"{{tags: [ok, {'x' * 65}]}}", "tags.1: W&B refuses a tag of 65 characters — write 1 to 64"),
        ("{tags: [' ']}", "tags.0: W&B refuses a tag of 0 characters"),
        ("{tags: thesis}", r"tags: 'thesis' is not a list — write \[thesis\]"),
        ("{tag: [a]}", "tag: unknown key 'tag' — did you mean 'tags'?"),
        ("{notes: ''}", "notes: "),
        (f"{{group: {'g' * 129}}}", "group: W&B refuses a name of 129 characters — write 1 to 128"),
        ("{job_type: ' '}", "job_type: W&B refuses a name of 0 characters"),
        ("{registry: a/b/c/d}", "registry: 'a/b/c/d' is not a registry of W&B — write its name, such as model"),
        ("{registry: 'a:b'}", "registry: 'a:b' is not a registry"),
        ("{page: 3}", "page: 3 is not true or false"),
    ],
)
def test_what_wandb_refuses_is_an_error_at_its_line(load, settings, error):
    with pytest.raises(UserError, match=rf"small.yaml:2: trackers.wandb.{error}"):
        load(f"trackers: {{wandb: {settings}}}")


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ("trackers: {wandbb: {}}", "trackers: unknown tracker 'wandbb' — did you mean 'wandb'?"),
        ("trackers: {wandb: 3}", "trackers.wandb: 3 is not a mapping"),
        ("trackers: {tensorboard: {page: true}}", "trackers.tensorboard.page: unknown key 'page'"),
        ("keep: none\ntrackers: {wandb: {registry: model}}", "keep: .* leaves no weights, .* write keep: best"),
    ],
)
def test_what_no_tracker_has_is_an_error_at_its_line(load, keys, error):
    with pytest.raises(UserError, match=f"small.yaml:2: {error}"):
        load(keys)


def test_tags_are_refused_as_wandb_refuses_them():
    for length in (0, 1, 64, 65):
        refused = []
        for make in (lambda tag: WandbSettings(tags=(tag,)), lambda tag: wandb.Settings(run_tags=(tag,))):
            try:
                make("x" * length)
            except ValueError:
                refused.append(True)
        assert len(refused) == (2 if length in (0, 65) else 0)


@pytest.mark.parametrize(
    ("registry", "target"),
    [
        ("model", "wandb-registry-model/small"),
        ("model/flowers", "wandb-registry-model/flowers"),
        ("lab/model/flowers", "lab/wandb-registry-model/flowers"),
    ],
)
def test_a_registry_is_a_collection_for_wandb(registry, target):
    found = WandbSettings(registry=registry).registry_target("small")
    assert found == target
    path = ArtifactPath.from_str(found)
    assert path.is_registry_path()
    assert validate_project_name(path.project) == "wandb-registry-model"


def test_settings_are_read_back_and_may_change(load, tmp_path):
    sweep = load("trackers: {wandb: {entity: team, tags: [a], page: true}}")
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep.resolved()))
    assert read_settings(SweepFolder(tmp_path)) == WandbSettings(entity="team", tags=("a",), page=True)
    assert changed_keys(sweep.resolved(), load("notify: {command: ls}").resolved()) == []
    (tmp_path / "sweep.yaml").write_text("trackers: {wandb: [damaged]}")
    assert read_settings(SweepFolder(tmp_path)) == WandbSettings()


def test_own_tags_come_first_and_each_once(tmp_path):
    place = Place(SweepFolder(tmp_path), "offline", WandbSettings(tags=("demo", "thesis")))
    assert place.tags(["l" * 70, "demo"]) == ("l" * 64, "demo", "thesis")


def test_an_option_is_before_the_variable_and_that_before_the_file(tmp_path, monkeypatch):
    class Api:
        settings, default_entity = {"entity": "of W&B's settings"}, "of the account"

    monkeypatch.setattr(wandb, "Api", Api)
    folder = SweepFolder(tmp_path)
    assert find_entity(folder, None) == "of W&B's settings"
    Api.settings["entity"] = None
    assert find_entity(folder, None) == "of the account"
    Api.default_entity = None
    with pytest.raises(UserError, match="pass --entity NAME"):
        find_entity(folder, None)
    (tmp_path / "sweep.yaml").write_text("trackers: {wandb: {entity: file}}")
    assert find_entity(folder, None) == "file"
    monkeypatch.setenv("WANDB_ENTITY", "variable")
    assert find_entity(folder, None) == "variable"
    assert find_entity(folder, "option") == "option"


@pytest.mark.parametrize("variable", [None, "/elsewhere", "~"])
def test_offline_files_are_deleted_where_they_were_written(tmp_path, monkeypatch, variable):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if variable:
        monkeypatch.setenv("WANDB_DIR", variable.replace("/else", f"{tmp_path}/else"))
    place = Place(SweepFolder(tmp_path / "demo"), "offline", WandbSettings())
    wandb_files = Path(wandb.Settings(root_dir=str(place.root)).wandb_dir)
    for folder in (wandb_files, tmp_path / "demo" / "wandb"):
        for run in ("offline-run-1-abc", "offline-run-1-other", "run-1-abc"):
            (folder / run).mkdir(parents=True, exist_ok=True)
    place.delete_offline_files("abc", {})
    for folder in (wandb_files, tmp_path / "demo" / "wandb"):
        assert sorted(path.name for path in folder.iterdir()) == ["offline-run-1-other", "run-1-abc"]


def test_a_report_without_its_package_is_an_error_before_the_first_trial(load, tmp_path, monkeypatch):
    known = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "wandb_workspaces" else known(name))
    with pytest.raises(UserError, match=r"small.yaml:2: trackers.wandb: report: true needs wandb-w.*workspace"):
        check_sweep(load("trackers: {wandb: {report: true}}"), Options(tmp_path / "results"))
    check_sweep(load("track: []\ntrackers: {wandb: {report: true}}"), Options(tmp_path / "results"))
