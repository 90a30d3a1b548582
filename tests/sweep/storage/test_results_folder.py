import fcntl
import json
import threading

import pytest
import yaml

from hwcls import files
from hwcls.config.sweep_file import load_sweep
from hwcls.errors import UserError
from hwcls.sweep.storage.environment import write_environment
from hwcls.sweep.storage.results_folder import free_name
from hwcls.tracking.folders import is_in_use
from tests.sweep.conftest import open_sweep


def begin(folder):
    """As if a first trial had started."""
    files.write_text(folder.path / "trials" / "0" / "config.yaml", "x: 1")


def test_the_same_file_opens_its_folder_again(tiny, tmp_path):
    for _ in range(2):
        with open_sweep(tiny(), tmp_path) as folder:
            assert folder.path == tmp_path / "tiny"
            begin(folder)
    assert "presets" not in (tmp_path / "tiny" / "sweep.yaml").read_text()


def test_short_forms_are_written_out(tiny, tmp_path):
    with open_sweep(tiny(metric="val/loss", track=None), tmp_path) as folder:
        kept = yaml.safe_load((folder.path / "sweep.yaml").read_text())
    assert kept["metric"] == {"name": "val/loss", "goal": "minimize"}
    assert kept["track"] == ["wandb"]


def test_more_trials_are_no_other_sweep(tiny, tmp_path):
    with open_sweep(tiny(), tmp_path) as folder:
        begin(folder)
    more = tiny(run_cap=9, confirm={"top": 1, "seeds": 2}, resources={"concurrent": 1})
    with open_sweep(more, tmp_path) as folder:
        assert "run_cap: 9" in (folder.path / "sweep.yaml").read_text()


def test_a_renamed_folder_is_the_same_sweep(tiny, tmp_path):
    with open_sweep(tiny(), tmp_path) as folder:
        begin(folder)
    folder.path.rename(tmp_path / "mine")
    with open_sweep(tiny().renamed("mine"), tmp_path) as folder:
        assert yaml.safe_load((folder.path / "sweep.yaml").read_text())["name"] == "mine"


def test_a_folder_in_use_names_options_that_exist(tiny, tmp_path):
    with open_sweep(tiny(), tmp_path) as folder:
        begin(folder)
        with pytest.raises(UserError) as refused, open_sweep(tiny(), tmp_path):
            pass
    assert refused.value.remedy == "wait for it, or start a sweep in a new folder with `hwcls sweep --new`"


def test_a_folder_is_in_use_while_a_driver_works_in_it(tiny, tmp_path):
    assert not is_in_use(tmp_path / "tiny")
    with open_sweep(tiny(), tmp_path) as folder:
        begin(folder)
        assert is_in_use(folder.path)
    assert not is_in_use(folder.path)
    with open(folder.path / ".lock", "rb") as file:  # somebody looks: the start waits a moment
        fcntl.flock(file, fcntl.LOCK_SH)
        threading.Timer(0.05, fcntl.flock, (file, fcntl.LOCK_UN)).start()
        with open_sweep(tiny(), tmp_path):
            pass


def test_another_file_is_refused_and_nothing_is_touched(tiny, tmp_path):
    with open_sweep(tiny(), tmp_path) as folder:
        begin(folder)
        before = (folder.path / "sweep.yaml").read_text()
    other = tiny(seed=4, resources={"workers": 2}, parameters={"epochs": 7})
    changed = r"changed: parameters\.epochs, resources\.workers, seed.*--new"
    with pytest.raises(UserError, match=changed), open_sweep(other, tmp_path):
        pass
    assert (folder.path / "sweep.yaml").read_text() == before
    assert free_name("tiny", tmp_path) == "tiny-2"
    beside = other.renamed("tiny-2")
    with open_sweep(beside, tmp_path) as folder:
        assert folder.path == tmp_path / "tiny-2"
        begin(folder)
    with open_sweep(beside, tmp_path):  # and goes on there
        pass


def test_a_start_that_failed_leaves_nothing_and_binds_nothing(tiny, tmp_path):
    with pytest.raises(UserError, match="no such data"), open_sweep(tiny(), tmp_path):
        raise UserError("no such data")
    assert list(tmp_path.glob("tiny")) == []
    with open_sweep(tiny(), tmp_path):
        pass  # killed before its first trial
    with open_sweep(tiny(parameters={"epochs": 9}), tmp_path):
        pass


def test_a_start_that_comes_too_late_leaves_the_study_of_the_other(tiny, tmp_path, monkeypatch):
    """The other one took the lock after this one had looked."""
    monkeypatch.setattr("hwcls.sweep.storage.results_folder.is_in_use", lambda path: False)
    with open_sweep(tiny(), tmp_path) as folder:
        (folder.path / "study.journal").write_text("of the other\n")
        with pytest.raises(UserError, match="another command works in this folder"), open_sweep(tiny(), tmp_path):
            pass
        assert (folder.path / "study.journal").read_text() == "of the other\n"


def test_what_was_still_being_prepared_is_no_foreign_folder(tiny, tmp_path):
    with pytest.raises(UserError, match="no cluster"), open_sweep(tiny(), tmp_path):
        raise UserError("no cluster")
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "models.json").write_text("{}")
    (tmp_path / "tiny" / ".data.json.7.tmp").write_text("{")
    with open_sweep(tiny(), tmp_path):
        pass


def test_two_sweeps_in_one_folder(tiny, tmp_path):
    refused = pytest.raises(UserError, match="another command works in this folder")
    with open_sweep(tiny(), tmp_path), refused, open_sweep(tiny(), tmp_path):
        pass


def test_a_foreign_folder_is_left_alone(tiny, tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="exists and is not an hwcls results folder"), open_sweep(tiny(), tmp_path):
        pass
    assert [path.name for path in (tmp_path / "tiny").iterdir()] == ["thesis.tex"]


def files_below(path):
    return sorted(str(found.relative_to(path)) for found in path.rglob("*") if found.is_file())


@pytest.mark.parametrize(
    ("names", "foreign"),
    [
        (("sweep.yaml",), "sweep.yaml"),  # no start writes it first
        (("sweep.yaml", "notes.txt", "photos/1.png"), "notes.txt"),
        (("sweep.yaml", ".lock", "notes.txt"), "notes.txt"),
        (("sweep.yaml", ".lock", "environment.json", "best/best.safetensors", "report.html"), "best"),
        (("sweep.yaml", ".lock", "trials/0/metrics.jsonl"), "trials"),
        (("sweep.yaml", ".lock", "leaderboard.csv"), "leaderboard.csv"),
    ],
)
def test_what_no_start_wrote_is_left_alone(tiny, tmp_path, names, foreign):
    for name in names:
        files.write_text(tmp_path / "tiny" / name, "name: tiny\nmine: 1\n")
    refused = pytest.raises(UserError, match=rf"leaves before its first one \('{foreign}'\)")
    with refused, open_sweep(tiny(), tmp_path):
        pass
    assert files_below(tmp_path / "tiny") == sorted(names)
    assert "mine" in (tmp_path / "tiny" / "sweep.yaml").read_text()


def test_the_sweep_file_in_its_results_folder_is_left_alone(tiny, sweep_file, tmp_path):
    from hwcls.sweep.preflight.validate import Options, check_sweep

    sweep = tiny()
    (tmp_path / "tiny").mkdir()
    file = tmp_path / "tiny" / "sweep.yaml"
    (tmp_path / "tiny.yaml").rename(file)
    with pytest.raises(UserError, match="the sweep file lies where the sweep"):
        check_sweep(load_sweep(file), Options(tmp_path, wandb="off"))
    (tmp_path / "tiny" / "environment.json").write_text("{}")  # the sweep.yaml of a start without trials yet
    check_sweep(load_sweep(file), Options(tmp_path, wandb="off"))
    assert check_sweep(load_sweep(file), Options(tmp_path, new=True, wandb="off")).config.name == "tiny-2"
    with open_sweep(sweep, tmp_path / "results") as folder:
        begin(folder)
    check_sweep(load_sweep(folder.path / "sweep.yaml"), Options(tmp_path / "results", wandb="off"))  # has trials


def test_a_start_that_failed_removes_only_what_it_made(tiny, tmp_path):
    files.write_text(tmp_path / "tiny" / "source" / "net.py", "mine = 1\n")

    def fail(folder):
        (folder.path / "data.json").write_text("{}")
        (folder.path / "tune" / "x").mkdir(parents=True)
        raise UserError("no cluster")

    with pytest.raises(UserError, match="no cluster"), open_sweep(tiny(), tmp_path) as folder:
        fail(folder)
    assert files_below(tmp_path / "tiny") == ["source/net.py"]


def test_a_start_that_was_killed_before_its_first_trial_is_begun_again(tiny, tmp_path):
    with open_sweep(tiny(), tmp_path) as folder:
        for name in ("report.html", "tracking.log", "wandb/cursor.jsonl", "tune/x", "trials/0/.config.yaml.7.tmp"):
            files.write_text(folder.path / name, "")
        files.write_text(folder.path / "leaderboard.csv", "rank,trial,status\n")
    for name in ("report.html", "environment.json"):
        (folder.path / name).unlink(missing_ok=True)
    with pytest.raises(UserError, match="no cluster"), open_sweep(tiny(), tmp_path):
        raise UserError("no cluster")
    with open_sweep(tiny(run_cap=9), tmp_path):
        pass


def test_a_place_that_cannot_be_written(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"), open_sweep(tiny(), tmp_path / "file"):
        pass


def test_environment_keeps_the_first_start(tmp_path):
    write_environment(tmp_path, {"preset quick": {"run_cap": 6}})
    first = json.loads((tmp_path / "environment.json").read_text())
    write_environment(tmp_path, {"options": {"run_cap": 9}})
    second = json.loads((tmp_path / "environment.json").read_text())
    assert {"command", "git", "versions", "hardware", "started"} <= first.keys()
    assert first["versions"]["torch"]
    assert second["started"] == first["started"]
    assert len(second["restarts"]) == 1
    assert first["changes"] == {"preset quick": {"run_cap": 6}}
    assert second["changes"] == {"options": {"run_cap": 9}}


def test_the_command_is_kept_without_credentials(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/bin/hwcls", "sweep", "a.yaml", "--results", "s3://key:secret@bucket/a"])
    write_environment(tmp_path, {})
    kept = json.loads((tmp_path / "environment.json").read_text())
    assert kept["command"] == ["hwcls", "sweep", "a.yaml", "--results", "s3://bucket/a"]


def test_a_command_of_the_user_is_not_kept(tmp_path, monkeypatch):
    words = ["--set", "notify.command=curl https://x/KEY", "--set=notify={command: curl KEY}", "--set", "run_cap=2"]
    monkeypatch.setattr("sys.argv", ["/bin/hwcls", "sweep", "a.yaml", *words])
    write_environment(tmp_path, {"options": {"notify.command": "curl https://x/KEY", "run_cap": 2}})
    text = (tmp_path / "environment.json").read_text()
    assert "KEY" not in text
    kept = json.loads(text)
    assert kept["command"][3:] == ["--set", "notify.command=(hidden)", "--set=notify=(hidden)", "--set", "run_cap=2"]
    assert kept["changes"] == {"options": {"notify.command": "(hidden)", "run_cap": 2}}
