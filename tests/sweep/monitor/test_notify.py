"""Who is notified that a sweep has ended, and of what."""

import json
import os
import stat
import subprocess
import sys
import time

import pytest
import yaml

from hwcls.config.sweep import NotifyConfig
from hwcls.config.sweep_file import load_sweep
from hwcls.errors import UserError
from hwcls.models.user import trust
from hwcls.sweep.monitor import tracking_process
from hwcls.sweep.monitor.ending import Ending
from hwcls.sweep.monitor.notify import build_message, notify_config, run_command
from hwcls.sweep.monitor.tracking_process import NOTIFY, DriverInput, conclude, notify_for
from hwcls.sweep.preflight.validate import Options, check_sweep
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.records import Result

ENDED = Ending("ended")
REMEMBER = """#!{python}
import json, os, sys
facts = {{name: value for name, value in os.environ.items() if name.startswith("HWCLS_")}}
with open({target!r}, "w") as file:
    json.dump({{"text": sys.stdin.read(), "facts": facts, "arguments": sys.argv[1:]}}, file)
"""


@pytest.fixture
def folder(tmp_path):
    """A results folder; `folder.end(*statuses)` fills it with trials."""
    path = tmp_path / "tiny"
    path.mkdir()
    (path / "sweep.yaml").write_text(yaml.safe_dump({"name": "tiny", "metric": {"name": "val/accuracy"}, "track": []}))
    sweep = SweepFolder(path)

    def end(*statuses):
        for number, status in enumerate(statuses):
            trial = sweep.trial(number)
            trial.path.mkdir(parents=True)
            (trial.path / "config.yaml").write_text("seed: 0\n")
            best = None if status == "failed" else {"epoch": 1, "val/accuracy": 0.5 + number / 100}
            trial.append({"epoch": 1, "val/accuracy": 0.5 + number / 100})
            trial.write_result(Result(status, best, None, {}, 1.0))
        return path

    sweep.end = end
    return sweep


@pytest.fixture
def script(tmp_path):
    """Makes an executable file from the body of a Python script, or one that remembers what it gets."""

    def make(body=None, name="notify"):
        path, target = tmp_path / name, tmp_path / f"{name}.json"
        path.write_text(
            f"#!{sys.executable}\n{body}" if body else REMEMBER.format(python=sys.executable, target=str(target))
        )
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path, lambda: json.loads(target.read_text())

    return make


def test_a_command_gets_the_message_and_the_facts(folder, script):
    path, received = script()
    folder.end("complete", "complete", "failed")
    run_command(NotifyConfig(command=f"{path} 'one word' $HOME"), folder.path, ENDED)
    found = received()
    assert found["arguments"] == ["one word", "$HOME"]
    facts = found["facts"]
    assert (facts["HWCLS_SWEEP"], facts["HWCLS_STATE"], facts["HWCLS_ERROR"]) == ("tiny", "ended", "")
    assert (facts["HWCLS_TRIALS"], facts["HWCLS_FAILED_TRIALS"], facts["HWCLS_METRIC"]) == ("3", "1", "val/accuracy")
    assert "trial 1 with 0.51" in facts["HWCLS_ANSWER"]
    assert facts["HWCLS_REPORT"] == str(folder.path / "report.html")
    assert found["text"].splitlines()[0] == "hwcls: tiny has ended"
    assert facts["HWCLS_ANSWER"] in found["text"]


def test_a_command_keeps_the_other_variables_of_hwcls(folder, script, monkeypatch):
    monkeypatch.setenv("HWCLS_DATA", "/data")
    path, received = script()
    run_command(NotifyConfig(command=str(path)), folder.end("complete"), ENDED)
    assert received()["facts"]["HWCLS_DATA"] == "/data"


def test_a_damaged_folder_costs_a_line(folder, script, caplog):
    (folder.path / "sweep.yaml").write_text("[")
    run_command(NotifyConfig(command=str(script()[0])), folder.path, ENDED)
    assert caplog.messages[-1].startswith("notify.command was not run: ")


def test_names_are_no_code(folder, script, tmp_path):
    """They reach no shell, and hide nothing on a terminal."""
    path, received = script()
    evil = f"x; touch {tmp_path / 'owned'} $(touch {tmp_path / 'owned'}) \x1b[2J"
    settings = {"name": evil, "metric": {"name": "val/accuracy"}}
    (folder.path / "sweep.yaml").write_text(yaml.safe_dump(settings))
    run_command(NotifyConfig(command=str(path)), folder.end("complete"), ENDED)
    assert received()["facts"]["HWCLS_SWEEP"] == evil.replace("\x1b", "\\x1b")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("statuses", "ending", "state", "reason"),
    [
        (["complete"], ENDED, "ended", ""),
        (["complete", "complete", "failed"], ENDED, "ended", ""),
        (["complete", "failed"], ENDED, "failed", "1 of 2 trials failed"),
        (["failed", "failed"], ENDED, "failed", "no answer: 2 of 2 trials failed, none has a result"),
        ([], ENDED, "failed", "no answer: 0 of 0 trials failed, none has a result"),
        (["complete"], Ending.of_error(UserError("the disk is full")), "failed", "the disk is full"),
        (["complete"], Ending.of_error(RuntimeError("two\nlines")), "failed", "two lines"),
        (["complete"], Ending.of_error(KeyboardInterrupt()), "interrupted", ""),
        (["failed"], Ending.parse(Ending("interrupted").to_bytes()), "interrupted", ""),
        (["complete"], Ending.parse(b""), "killed", "the driver was killed; the same command resumes the sweep"),
    ],
)
def test_failures_are_known_by_the_error_or_by_the_results(folder, statuses, ending, state, reason):
    message = build_message(folder.end(*statuses), ending)
    assert (message.ending.state, message.ending.reason) == (state, reason)
    assert message.facts["STATE"] == state
    level = {"ended": "INFO", "interrupted": "WARN"}.get(state, "ERROR")
    assert message.alert().level == level
    verb = {"ended": "has", "failed": "has"}.get(state, "was")
    assert message.title == f"hwcls: tiny {verb} {state}"


@pytest.mark.parametrize(
    ("on", "ending", "notified"),
    [
        (None, ENDED, True),
        (None, Ending("failed"), True),
        (None, Ending("interrupted"), False),
        (["interrupt"], Ending("interrupted"), True),
        (["failure"], ENDED, False),
        (["failure"], Ending("killed"), True),
    ],
)
def test_only_events_that_are_named_run_the_command(folder, script, tmp_path, on, ending, notified):
    path, _ = script()
    run_command(NotifyConfig(command=str(path), **({"on": on} if on else {})), folder.end("complete"), ending)
    assert (tmp_path / "notify.json").exists() == notified


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("import sys; print('no mail server\\n', file=sys.stderr); sys.exit(3)", "exited with 3 (no mail server)"),
        ("import time; time.sleep(60)", "was ended after 1.0 s"),
        (None, "No such file or directory"),
    ],
)
def test_a_command_that_fails_is_one_line(folder, script, tmp_path, caplog, body, problem):
    path = script(body)[0] if body else tmp_path / "gone"
    began = time.monotonic()
    run_command(
        NotifyConfig(command=str(path), timeout=1.0 if "sleep" in str(body) else 30.0), folder.end("complete"), ENDED
    )
    assert time.monotonic() - began < 20
    (line,) = caplog.messages
    assert line.startswith("notify.command: ")
    assert line.endswith(problem)


def test_what_a_command_starts_ends_with_it(folder, script, tmp_path):
    body = "import subprocess, time, pathlib; child = subprocess.Popen(['sleep', '60'])\n"
    body += f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid)); time.sleep(60)"
    run_command(NotifyConfig(command=str(script(body)[0]), timeout=2.0), folder.end("complete"), ENDED)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_a_command_that_may_not_be_killed_is_left(folder, script, monkeypatch, caplog):
    """As one that runs as another user."""

    def deny(*rest):
        raise PermissionError(1, "Operation not permitted")

    command = script("import time; time.sleep(6)")[0]
    monkeypatch.setattr("os.killpg", deny)
    began = time.monotonic()
    run_command(NotifyConfig(command=str(command), timeout=0.5), folder.end("complete"), ENDED)
    assert time.monotonic() - began < 5
    assert caplog.messages[-1].endswith("still runs after 0.5 s, as another user")


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Loads a small sweep file with some keys."""
    monkeypatch.setenv(trust.VARIABLE, "")

    def load(keys, folder="files"):
        path = tmp_path / folder / ("sweep.yaml" if folder != "files" else "small.yaml")
        path.parent.mkdir(exist_ok=True)
        parameters = "parameters: {data: {name: digits}, model: {name: mlp}, optimizer: {name: adam}, epochs: 1}"
        track = "" if "track:" in keys else "track: []"
        path.write_text(f"name: small\n{keys}\nrun_cap: 1\n{track}\n{parameters}\n")
        return load_sweep(path)

    return load


def test_a_program_that_is_missing_is_found_before_the_first_trial(written, tmp_path, script):
    sweep = written("notify: {command: nonsense-of-hwcls --now}")
    with pytest.raises(UserError, match=r"small.yaml:2: notify.command: no program 'nonsense-of-hwcls' — .*chmod"):
        check_sweep(sweep, Options(tmp_path / "results"))
    check_sweep(written(f"notify: {{command: {script()[0]}}}"), Options(tmp_path / "results"))


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ("notify: {}", "small.yaml:2: notify: notify names nobody to notify — add wandb: true, or command"),
        ("notify: {command: ' '}", "small.yaml:2: notify.command: the command is empty"),
        ('notify: {command: "a \'b"}', "small.yaml:2: notify.command: .*No closing quotation"),
        ("notify: {wandb: true}", "small.yaml:2: notify: .* add wandb to track"),
        ("notify: {command: ls, on: [ende]}", "small.yaml:2: notify.on.0: 'ende' .* did you mean 'end'"),
        ("notify: {commande: ls}", "small.yaml:2: notify.commande: unknown key .* did you mean 'command'"),
    ],
)
def test_what_notify_cannot_do_is_an_error_at_its_line(written, keys, error):
    with pytest.raises(UserError, match=error):
        written(keys)


def test_the_sweep_file_of_a_results_folder_runs_no_command(written, monkeypatch):
    keys = "notify: {command: ls}"
    assert notify_config(written(keys)).command == "ls"
    sweep = written(keys, "strange")
    (sweep.folder / "trials").mkdir()
    assert notify_config(sweep) is None
    more = written("notify: {command: ls, wandb: true}\ntrack: [wandb]", "strange")
    assert (notify_config(more).command, notify_config(more).wandb) == (None, True)
    monkeypatch.setenv(trust.VARIABLE, trust.ALL)
    assert notify_config(sweep).command == "ls"


def test_a_command_that_is_not_run_need_not_be_there(written, tmp_path, monkeypatch):
    sweep = written("notify: {command: nonsense-of-hwcls}", "strange")
    (sweep.folder / "trials").mkdir()
    check_sweep(sweep, Options(tmp_path / "results"))
    monkeypatch.setenv(trust.VARIABLE, trust.ALL)
    with pytest.raises(UserError, match="no program 'nonsense-of-hwcls'"):
        check_sweep(sweep, Options(tmp_path / "results"))


@pytest.fixture
def driver(monkeypatch):
    """Makes a driver that has written `ending`, if any; it is `alive` where its end of the pipe is still open."""
    open_ends = []

    def make(ending, *, alive=False, gone=False):
        reading, writing = os.pipe()
        os.write(writing, ending.to_bytes() if ending else b"")
        monkeypatch.setattr(sys, "stdin", os.fdopen(reading))
        (open_ends.append if alive else os.close)(writing)
        return DriverInput(0 if gone else os.getppid())

    yield make
    sys.stdin.close()
    for end in open_ends:
        os.close(end)


@pytest.mark.parametrize(
    ("ending", "how", "state"),
    [
        (None, {"gone": True}, "killed"),
        (None, {}, "killed"),
        (ENDED, {"gone": True}, "ended"),
        (ENDED, {}, None),  # the driver does it
        (None, {"alive": True}, None),
    ],
)
def test_the_tracking_process_notifies_if_the_driver_cannot(folder, script, driver, monkeypatch, ending, how, state):
    path, received = script()
    monkeypatch.setenv(NOTIFY, NotifyConfig(command=str(path)).model_dump_json())
    found = driver(ending, **how)
    if not how.get("alive"):
        assert found.closes(1.0)  # it has read until the end
    notify_for(found, folder.end("complete"))
    if state:
        assert received()["facts"]["HWCLS_STATE"] == state
    else:
        assert not path.with_name("notify.json").exists()


def test_an_alert_that_cannot_be_sent_is_one_line(folder, monkeypatch):
    """As with --wandb off."""
    monkeypatch.setenv(NOTIFY, NotifyConfig(wandb=True).model_dump_json())
    folder.end("complete")
    (line,) = conclude(folder, "p", [], ENDED)
    assert line.startswith("notify.wandb: no alert was sent, as W&B is off")
    assert conclude(folder, "p", [], Ending("interrupted")) == []  # not one of notify.on


DRIVER = """
import os, pathlib, sys
from hwcls.config.sweep import NotifyConfig
from hwcls.sweep.monitor.ending import Ending
from hwcls.sweep.monitor.tracking_process import TrackingProcess
process = TrackingProcess(pathlib.Path(sys.argv[1]), "off", NotifyConfig(command=sys.argv[2]))
process.start()
print(process.process.pid, flush=True)
if sys.argv[3] == "ended":
    with process.draining():
        process.ending = Ending("ended")
os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
@pytest.mark.parametrize("state", ["killed", "ended"])
def test_a_driver_that_is_killed_is_notified_of_once(folder, script, tmp_path, state):
    """Also if that is after the end of training."""
    body = f"import os\nopen({str(tmp_path / 'states')!r}, 'a').write(os.environ['HWCLS_STATE'] + chr(10))"
    command = str(script(body)[0])
    folder.end("complete")
    words = [sys.executable, "-c", DRIVER, str(folder.path), command, state]
    driver = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    deadline = time.monotonic() + 60
    while is_running(int(driver.stdout)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_running(int(driver.stdout))
    assert (tmp_path / "states").read_text() == f"{state}\n"


@pytest.mark.parametrize("alive", [False, True])
def test_a_failure_of_tracking_notifies_too(folder, script, driver, monkeypatch, alive):
    """A full disk may end both the driver and its tracking; a driver that lives notifies itself."""

    def fail(*_):
        raise OSError("no space left")

    path, received = script()
    driver(None, alive=alive)
    folder.end("complete")
    monkeypatch.setenv(NOTIFY, NotifyConfig(command=str(path)).model_dump_json())
    monkeypatch.setattr(os, "nice", lambda _: None)  # not of the tests
    monkeypatch.setattr(tracking_process, "track_sweep", fail)
    with pytest.raises(OSError, match="no space"):
        tracking_process.main([str(folder.path)])
    if alive:
        assert not path.with_name("notify.json").exists()
    else:
        assert received()["facts"]["HWCLS_STATE"] == "killed"
