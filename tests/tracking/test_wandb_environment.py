"""What W&B takes from the environment and its settings files: where runs go, never what they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import wandb
from wandb import env

from hwcls.config.sweep import TRACKERS
from hwcls.errors import UserError
from hwcls.sweep.preflight.dry_run import describe_tracking
from hwcls.tracking.follower import Follower
from hwcls.tracking.wandb import login
from hwcls.tracking.wandb.environment import chosen_mode, describe, ignored_variables, is_kept, project_name
from hwcls.tracking.wandb.private import prepare
from hwcls.tracking.wandb.sync import sync_sweep

HOSTILE = {
    "WANDB_SWEEP_ID": "abc12345",
    "WANDB_RUN_ID": "oneforall",
    "WANDB_RUN_GROUP": "theirs",
    "WANDB_NAME": "theirs",
    "WANDB_RUN_NAME": "theirs",
    "WANDB_NOTES": "theirs",
    "WANDB_TAGS": "theirs",
    "WANDB_RUN_TAGS": "theirs",
    "WANDB_JOB_TYPE": "theirs",
    "WANDB_RUN_JOB_TYPE": "theirs",
    "WANDB_RESUME": "must",
    "WANDB_RESUME_FROM": "other?_step=1",
    "WANDB_FORK_FROM": "other?_step=1",
    "WANDB_REINIT": "true",
    "WANDB_LAUNCH": "true",
    "WANDB_LAUNCH_CONFIG_PATH": "/nowhere.json",
    "WANDB_LAUNCH_QUEUE_NAME": "theirs",
    "WANDB_CONFIG": '{"lr": 1}',
    "WANDB_SWEEP_PARAM_PATH": "/nowhere.yaml",
    "WANDB_SERVICE": "3-1-tcp-localhost-1",
    "WANDB_START_METHOD": "thread",
    "WANDB_DISABLED": "true",
    "WANDB_PROGRAM": "theirs.py",
    "WANDB_SAVE_CODE": "true",
    "WANDB_DISABLE_CODE": "false",
    "WANDB_HOST": "theirs",
    "WANDB__LABEL": "theirs",
    "WANDB__PRIMARY": "false",
    "WANDB_X_LABEL": "theirs",
    "WANDB__UPDATE_FINISH_STATE": "false",
    "WANDB_SETTINGS_SYSTEM": "/nowhere/settings",  # wandb reads that of WANDB_CONFIG_DIR before it
}
KEPT = ("API_KEY", "PROJECT", "ENTITY", "MODE", "DIR", "BASE_URL", "CONFIG_DIR", "CACHE_DIR", "HTTP_TIMEOUT")


@pytest.fixture
def hostile(monkeypatch, tmp_path):
    """Variables and a settings file that would change every run."""
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "config"
    folder.mkdir()
    lines = ["run_id = filed", "sweep_id = filed", "run_group = filed", "run_notes = filed", "project = filed"]
    (folder / "settings").write_text("[default]\n" + "\n".join(lines) + "\n")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(folder))


def test_every_hostile_variable_is_ignored_and_the_account_is_not():
    assert ignored_variables(HOSTILE | {f"WANDB_{name}": "x" for name in KEPT} | {"HOME": "x"}) == sorted(HOSTILE)


def test_no_setting_that_identifies_a_run_is_kept():
    known = set(wandb.Settings.model_fields)
    kept = {name for name in known if is_kept(name)}
    identity = {name for name in known if name.startswith(("run_", "sweep_", "launch", "resume", "fork", "job_"))}
    assert not kept & identity
    own = {value for name, value in vars(env).items() if name.isupper() and str(value).startswith("WANDB_")}
    left = {name.removeprefix("WANDB_") for name in own - set(ignored_variables(dict.fromkeys(own, "")))}
    assert left == {*KEPT, "APP_URL", "ARTIFACT_DIR", "CORE_DEBUG", "CREDENTIALS_FILE", "DATA_DIR", "DEBUG"} | {
        *("ERROR_REPORTING", "FILE_PUSHER_TIMEOUT", "IDENTITY_TOKEN_FILE", "INIT_TIMEOUT", "INSECURE_DISABLE_SSL"),
        "SILENT",
    }


def test_settings_files_and_variables_say_where_and_not_what(hostile, monkeypatch):
    monkeypatch.setenv("WANDB_ENTITY", "team")
    prepare()
    found = wandb.setup().settings
    assert (found.sweep_id, found.run_id, found.run_group, found.run_notes) == (None, None, None, None)
    assert (found.launch, found.resume, found.x_label) == (False, None, None)
    assert (found.entity, found.project) == ("team", "filed")  # the sweep file's project is passed to each run


@pytest.fixture
def set_offline(monkeypatch, tmp_path):
    """A working folder where W&B was set offline, as `wandb offline` does, or by the variable."""
    monkeypatch.chdir(tmp_path)

    def set_by(way):
        if way == "variable":
            monkeypatch.setenv("WANDB_MODE", "offline")
        else:
            (tmp_path / "wandb").mkdir()
            (tmp_path / "wandb" / "settings").write_text("[default]\nmode = offline\n")

    return set_by


def test_a_mode_is_found_where_wandb_finds_it(set_offline, monkeypatch, tmp_path):
    assert chosen_mode() == ("", None)
    own = tmp_path / "home" / "settings"  # in WANDB_CONFIG_DIR
    for text in ("no settings", "[default]\nproject = p\n", "[default]\nmode = 50%\n"):
        own.write_text(text)
        assert chosen_mode() == ("", None)
    own.write_text("[default]\nmode = disabled\n")
    assert chosen_mode() == ("disabled", own)
    set_offline("file")
    assert chosen_mode() == ("offline", Path("wandb/settings"))
    assert wandb.Settings(settings_system=str(own)).read_system_settings().all()["mode"] == "offline"
    monkeypatch.setenv("WANDB_MODE", "online")
    assert chosen_mode() == ("online", None)


@pytest.mark.parametrize("way", ["variable", "file"])
def test_a_mode_outside_does_not_keep_wandb_from_logging_in(set_offline, way):
    set_offline(way)
    known = chosen_mode()
    prepare()
    assert wandb.setup().settings.mode == "online"
    assert chosen_mode() == known


def test_auto_heeds_a_settings_file_and_names_it(sweep, set_offline, monkeypatch):
    set_offline("file")
    assert describe("p") == f"project p; mode offline ({Path('wandb/settings')})"
    (tracker,) = TRACKERS["wandb"].open(sweep, "auto")
    assert tracker.problem == (
        "W&B is offline: wandb/settings has mode = offline (`wandb online` removes it);"
        f" `hwcls wandb sync {sweep.path}` uploads the runs later"
    )
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tracker,) = TRACKERS["wandb"].open(sweep, "auto")
    assert tracker.problem is None
    monkeypatch.delenv("WANDB_MODE")
    Path("wandb/settings").write_text("[default]\nmode = disabled\n")
    assert TRACKERS["wandb"].open(sweep, "auto") == []


@pytest.mark.slow
@pytest.mark.parametrize("way", ["variable", "file"])
def test_online_and_sync_do_not_need_the_mode_outside(sweep, server, set_offline, way):
    set_offline(way)
    assert TRACKERS["wandb"].login_problem() is None
    sweep.add(sweep.trial(0), range(1, 3), "complete")
    assert sync_sweep(sweep, "p") == 1
    assert server.epochs() == {"small-0": [1, 2]}


def test_the_project_is_that_of_the_variable(monkeypatch):
    assert project_name("mine") == "mine"
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    assert project_name("mine") == "theirs"
    monkeypatch.setenv("WANDB_PROJECT", "a/b")
    with pytest.raises(UserError, match="WANDB_PROJECT: W&B refuses 'a/b'"):
        project_name("mine")


def test_an_entity_that_is_no_name_is_an_error_before_the_sweep(monkeypatch):
    monkeypatch.setenv("WANDB_ENTITY", "team/project")
    with pytest.raises(UserError, match="WANDB_ENTITY: 'team/project' is not a user or team of W&B"):
        TRACKERS["wandb"].check_login("auto")
    monkeypatch.setenv("WANDB_ENTITY", "my-team")
    TRACKERS["wandb"].check_login("auto")


def test_what_the_environment_decides_is_said_and_no_key(monkeypatch, load_sweep_with):
    sweep = load_sweep_with(project="mine")
    assert describe_tracking(sweep.config) == []
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setenv("WANDB_BASE_URL", "https://user:secret@wandb.example.org")
    monkeypatch.setenv("WANDB_ENTITY", "team")
    monkeypatch.setenv("WANDB_RUN_ID", "one")
    text = "project mine; entity team (WANDB_ENTITY); server https://wandb.example.org (WANDB_BASE_URL)"
    assert describe_tracking(sweep.config) == [f"wandb: {text}; ignored, as hwcls names the runs: WANDB_RUN_ID"]
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    assert describe("mine").startswith("project theirs (WANDB_PROJECT); entity team (WANDB_ENTITY)")


@pytest.fixture
def load_sweep_with(tmp_path):
    """Loads a small sweep file with some keys."""
    from hwcls.config.sweep_file import load_sweep

    def load(**keys):
        path = tmp_path / "small.yaml"
        lines = [f"{key}: {value}" for key, value in keys.items()]
        lines += ["run_cap: 1", "parameters: {data: {name: digits}, model: {name: mlp}, optimizer: {name: adam}}"]
        path.write_text("\n".join(lines) + "\n")
        return load_sweep(path)

    return load


@pytest.mark.parametrize(
    ("status", "words", "remedy", "passing"),
    [
        (401, "does not know the key (401)", "wandb login --relogin", False),
        (403, "denies this account the access (403)", "WANDB_ENTITY", False),
        (404, "is no W&B server (404)", "WANDB_BASE_URL", False),
        (500, "answers with an error (500)", "wait", True),
        (503, "answers with an error (503)", "wait", True),
        (429, "takes no more requests for now (429)", "wait", True),
    ],
)
def test_a_server_that_refuses_is_described_by_its_answer(server, status, words, remedy, passing):
    server.status = status
    found = login.probe(server.url)
    assert found.what == f"{server.url} {words}"
    assert remedy in found.remedy
    assert ("wandb login" in found.remedy) == (status == 401)
    assert found.passing == passing


def test_a_server_that_cannot_be_reached_is_described_by_the_reason(server, monkeypatch):
    monkeypatch.setattr(login, "ANSWER_SECONDS", 3.5)
    assert login.probe("http://nowhere.invalid").what == "there is no server 'nowhere.invalid' (DNS)"
    assert login.probe("http://127.0.0.1:1").what == "http://127.0.0.1:1 refuses the connection"
    tls = server.url.replace("http", "https")
    assert login.probe(tls).what.startswith(f"{tls}: no encrypted connection (")
    server.delay = 1.0
    assert "gave no answer" in login.probe(server.url).what


@pytest.mark.slow
def test_hostile_variables_change_no_run(hostile, sweep, server, monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_PROJECT", "ours")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    for number in range(2):
        sweep.add(sweep.trial(number), range(1, 3), "complete")
    follower = Follower(sweep, TRACKERS["wandb"].open(sweep, "auto"), "p")
    while follower.poll():
        pass
    follower.close()
    assert server.epochs() == {"small-0": [1, 2], "small-1": [1, 2]}
    for run in server.runs.values():
        first = run["upserts"][0]
        assert (run["group"], run["kind"], first["project"]) == ("demo", "trial", "ours")
        assert (first["sweep"], first.get("tags"), first.get("notes")) == (None, ["small", "demo"], None)
    assert "oneforall" not in server.runs
    assert list((tmp_path / "elsewhere" / "wandb").glob("run-*"))


@pytest.mark.slow
def test_a_server_that_answers_500_asks_for_no_login(server):
    server.status = 500
    problem = TRACKERS["wandb"].login_problem()
    assert problem.what == f"{server.url} answers with an error (500)"
    assert "login" not in problem.remedy
