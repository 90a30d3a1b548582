"""Where MLflow's runs go, and that no password is kept or shown."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import sqlite3
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from hwcls.cli.main import app
from hwcls.config.sweep import TRACKERS
from hwcls.config.sweep_file import load_sweep
from hwcls.errors import UserError
from hwcls.models.user import trust
from hwcls.sweep.preflight.dry_run import describe_tracking
from hwcls.sweep.preflight.validate import Options, check_sweep
from hwcls.tracking.cursor import Cursor
from hwcls.tracking.follower import Follower
from hwcls.tracking.mlflow.media_files import write_media
from hwcls.tracking.mlflow.place import (
    PASSWORD,
    SECRETS,
    USER,
    VARIABLE,
    find_place,
    find_servers,
    plain_errors,
    prepare,
)
from hwcls.tracking.mlflow.store import open_cursor
from tests.tracking.test_trackers import MEDIA

FILE = """
name: demo
run_cap: 2
track: [mlflow]
trackers: {mlflow: {uri: %s}}
parameters: {data: {name: digits}, model: {name: mlp}, optimizer: {name: adam}, epochs: 2}
"""


def load(tmp_path, uri):
    (tmp_path / "sweep.yaml").write_text(FILE % uri)
    return load_sweep(tmp_path / "sweep.yaml")


@pytest.mark.parametrize("uri", ["http://host:5000", "https://host/mlflow/", "sqlite:////data/mlflow.db"])
def test_a_server_or_a_database_is_a_place(tmp_path, sweep, uri):
    loaded = load(tmp_path, uri)
    assert loaded.resolved()["trackers"] == {"mlflow": {"uri": uri}}
    (sweep.path / "sweep.yaml").write_text((tmp_path / "sweep.yaml").read_text())
    place = find_place(sweep)
    assert (place.uri, place.is_own) == (uri, False)
    assert place.cursor != find_place(type(sweep)(tmp_path)).cursor


@pytest.mark.parametrize(
    ("uri", "message"),
    {
        "mlruns": "'mlruns' is not a place where MLflow keeps runs",
        "file:///data/mlruns": "given up folders of files",
        "sqlite:///": "is not a place",
        "http://host:port": "is not a place",
        "databricks": "is not a place",
        "https://me:hunter2@host": "'https://host' has a user or password in it",
        "https://me:hunter2/se@cret@host": "'https://host' has a user or password in it",
        "https://hunter2@host": "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    }.items(),
)
def test_other_places_are_refused(tmp_path, uri, message):
    with pytest.raises(UserError, match=r"sweep.yaml:5: ") as caught:
        load(tmp_path, f"'{uri}'")
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_an_unknown_setting_names_the_nearest(tmp_path):
    (tmp_path / "sweep.yaml").write_text((FILE % "http://host").replace("uri:", "url:"))
    with pytest.raises(UserError, match="did you mean 'uri'"):
        load_sweep(tmp_path / "sweep.yaml")


@pytest.mark.parametrize(
    ("written", "password"),
    [("hunter%232", "hunter#2"), ("se/cret", "se/cret"), ("se@cret", "se@cret"), ("a:b?c", "a:b?c")],
)
def test_the_environment_decides_and_its_password_is_shown_nowhere(tmp_path, sweep, monkeypatch, written, password):
    for name in (USER, PASSWORD):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)  # prepare sets it
    loaded = load(tmp_path, "http://host")
    assert describe_tracking(loaded.config) == []
    monkeypatch.setenv(VARIABLE, f"https://me:{written}@other:5000/x")
    assert describe_tracking(loaded.config) == ["mlflow: server https://other:5000/x (MLFLOW_TRACKING_URI)"]
    (sweep.path / "sweep.yaml").write_text((tmp_path / "sweep.yaml").read_text())
    assert find_place(sweep).uri == "https://other:5000/x"
    prepare()
    assert [os.environ[name] for name in (VARIABLE, USER, PASSWORD)] == ["https://other:5000/x", "me", password]
    assert set(TRACKERS["mlflow"].secrets) == set(SECRETS) > {VARIABLE, PASSWORD, "MLFLOW_TRACKING_TOKEN"}


def test_a_bad_variable_is_an_error_before_the_sweep(monkeypatch):
    monkeypatch.setenv(VARIABLE, "ftp://me:hunter2@host")
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI: 'ftp://host' is not a place"):
        TRACKERS["mlflow"].check_login("auto")


def test_an_error_is_one_line_without_a_password(sweep):
    place = find_place(sweep)
    with pytest.raises(ConnectionError) as caught, plain_errors(place):
        raise ValueError("failed at https://me:hunter2@host\nand\n" + "x" * 1000)
    assert str(caught.value).startswith(f"MLflow at {place.database}: failed at https://host and xxx")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(), "refuses the connection"),
        (socket.gaierror(), "there is no server 'host' (DNS)"),
        (RuntimeError("failed with error code 401 != 200"), "does not accept the credentials"),
    ],
)
def test_the_cause_of_an_error_is_named(sweep, monkeypatch, error, words):
    monkeypatch.setenv(VARIABLE, "http://host:5000")
    outer = RuntimeError(str(error))
    outer.__cause__ = error
    with pytest.raises(ConnectionError) as caught, plain_errors(find_place(sweep)):
        raise outer
    assert words in str(caught.value)


@pytest.mark.parametrize("damage", ["deleted", "garbled", "cut", "moved"])
def test_the_own_database_is_created_again_where_it_is_of_no_use(sweep, damage):
    place = find_place(sweep)
    first = open_cursor(place)
    first.update("trials/0", id="1")
    if damage != "deleted":
        with sqlite3.connect(place.database) as connection:
            connection.execute("create table runs (id text)")
        connection.close()
        assert open_cursor(place).get("trials/0") == {"id": "1"}
    if damage == "garbled":
        place.database.write_bytes(b"no database" + place.database.read_bytes()[11:])
    if damage == "cut":
        place.database.write_bytes(place.database.read_bytes()[:-3])
    if damage == "moved":
        sweep.path.rename(sweep.path.with_name("elsewhere"))
        place = find_place(type(sweep)(sweep.path.with_name("elsewhere")))
    again = open_cursor(place)
    assert again.get("trials/0") == {}
    assert again.identity != first.identity
    assert not place.database.exists()


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "hunter2")
    monkeypatch.setenv(trust.VARIABLE, "")


@pytest.mark.parametrize(
    ("variable", "value"),
    [(VARIABLE, "http://host:5000"), (trust.VARIABLE, trust.ALL), ("MLFLOW_TRACKING_TOKEN", "")],
)
def test_credentials_go_to_the_server_of_a_results_folder_only_if_the_user_names_it(
    tmp_path, token, monkeypatch, variable, value
):
    own = load(tmp_path, "http://host:5000")
    check_sweep(own, Options(tmp_path / "results"))
    (tmp_path / "trials").mkdir()  # it is that of a results folder now
    words = r"sweep.yaml:5: .* credentials would go to http://host:5000, .* set MLFLOW_TRACKING_URI=http://host"
    with pytest.raises(UserError, match=words) as caught:
        check_sweep(own, Options(tmp_path / "results"))
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv(variable, value)
    check_sweep(own, Options(tmp_path / "results"))


def test_sync_sends_no_credentials_to_the_server_of_a_results_folder(tmp_path, sweep, token, monkeypatch):
    load(tmp_path, "http://127.0.0.1:9")
    (sweep.path / "sweep.yaml").write_text((tmp_path / "sweep.yaml").read_text())
    sweep.add(sweep.trial(0), range(1, 3), "complete")
    delivered = []
    monkeypatch.setattr("hwcls.tracking.mlflow.sync.sync_sweep", lambda *rest, **more: delivered.append(1) or (1, "x"))
    found = CliRunner().invoke(app, ["mlflow", "sync", str(sweep.path)])
    assert found.exit_code == 2
    assert "would go to http://127.0.0.1:9, " in found.stderr
    assert not delivered
    assert CliRunner().invoke(app, ["mlflow", "sync", "--trust-code", str(sweep.path)]).exit_code == 0
    assert delivered


def test_a_symbolic_link_to_the_folder_costs_no_database(sweep, tmp_path):
    (tmp_path / "link").symlink_to(sweep.path.parent)
    linked = type(sweep)(tmp_path / "link" / sweep.path.name)
    first = open_cursor(find_place(sweep))
    sqlite3.connect(find_place(sweep).database).execute("create table runs (id text)").connection.close()
    assert open_cursor(find_place(linked)).identity == first.identity
    first.update("folder", path=str(linked.path / "mlflow"))  # as earlier versions kept it
    assert open_cursor(find_place(sweep)).identity == first.identity
    assert find_place(linked).database.exists()


def test_a_locked_database_is_kept_and_tried_again(sweep, monkeypatch):
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *rest, **more: connect(*rest, **more, timeout=0.1))
    place = find_place(sweep)
    first = open_cursor(place)
    sweep.add(sweep.trial(0), range(1, 3), "complete")
    with contextlib.closing(connect(place.database, isolation_level=None)) as other:
        other.execute("create table runs (id text)")
        other.execute("BEGIN EXCLUSIVE")
        follower = Follower(sweep, TRACKERS["mlflow"].open(sweep, "auto"), "p")
        follower.poll()
        (error,) = follower.undelivered().values()
        assert error == f"ConnectionError: MLflow at {place.database}: database is locked"
    assert open_cursor(place).identity == first.identity


def test_a_moved_folder_still_knows_what_a_server_has(sweep, monkeypatch):
    monkeypatch.setenv(VARIABLE, "http://host:5000")
    open_cursor(find_place(sweep)).update("trials/0", id="1")
    sweep.path.rename(sweep.path.with_name("elsewhere"))
    place = find_place(type(sweep)(sweep.path.with_name("elsewhere")))
    assert open_cursor(place).get("trials/0") == {"id": "1"}
    assert isinstance(open_cursor(place), Cursor)


def test_one_server_has_one_cursor_however_its_address_is_spelled(tmp_path, sweep, monkeypatch):
    load(tmp_path, "http://Lab:5000/")
    (sweep.path / "sweep.yaml").write_text((tmp_path / "sweep.yaml").read_text())
    first = open_cursor(find_place(sweep))
    for spelling in ("http://lab:5000", "http://lab:5000/", "HTTP://LAB:5000"):
        monkeypatch.setenv(VARIABLE, spelling)
        assert open_cursor(find_place(sweep)).identity == first.identity
        assert len(find_servers(sweep)) == 1
    for other in ("http://lab:5001", "https://lab:5000", "http://lab:5000/x", "http://lab:5000/X"):
        monkeypatch.setenv(VARIABLE, other)
        assert open_cursor(find_place(sweep)).identity != first.identity
    assert len(list((sweep.path / "mlflow").iterdir())) == 5


@pytest.mark.parametrize("written", ["http://lab:5000", "http://lab:5000/", "http://Lab:5000", "http://Lab:5000/"])
def test_a_cursor_of_version_0_2_0_is_found(sweep, monkeypatch, written):
    digest = hashlib.blake2b(written.encode(), digest_size=6).hexdigest()
    earlier = Cursor(sweep.path / "mlflow" / f"cursor-{digest}.jsonl")
    spellings = [written] if "L" in written else ["http://lab:5000", "http://lab:5000/"]
    for spelling in spellings:
        monkeypatch.setenv(VARIABLE, spelling)
        assert open_cursor(find_place(sweep)).identity == earlier.identity


def test_two_cursors_of_one_server_stay_as_they_are(sweep, monkeypatch):
    for spelling in ("http://lab:5000", "http://lab:5000/"):
        digest = hashlib.blake2b(spelling.encode(), digest_size=6).hexdigest()
        earlier = Cursor(sweep.path / "mlflow" / f"cursor-{digest}.jsonl")
        monkeypatch.setenv(VARIABLE, spelling)
        assert open_cursor(find_place(sweep)).identity == earlier.identity


def test_without_mlflow_the_remedy_is_named(sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UserError, match=r"pip install 'hwcls\[mlflow\]'"):
        TRACKERS["mlflow"].open(sweep, "off")


def test_media_become_files(tmp_path):
    write_media(MEDIA, tmp_path)
    assert (tmp_path / "per_class.csv").read_text().splitlines() == ["class,images,auc", "cat,2,0.75", "dog,1,nan"]
    rows = ["true,predicted,images", "cat,cat,1", "cat,dog,1", "dog,dog,1"]
    assert (tmp_path / "confusion.csv").read_text().splitlines() == rows
    bins = ["name,epoch,from,to,count", "weights/first,2,-1.0,0.0,4", "weights/first,2,0.0,3.0,5"]
    assert (tmp_path / "histograms.csv").read_text().splitlines() == bins
    assert (tmp_path / "predictions.png").read_bytes().startswith(b"\x89PNG")


def test_opening_and_reading_settings_does_not_import_mlflow():
    code = "import sys, hwcls.tracking.mlflow.tracker, hwcls.tracking.mlflow.sync; print('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
