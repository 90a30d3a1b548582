import errno
import json
import os
import py_compile
import subprocess
import sys
from collections import namedtuple

import pytest

from hwcls import temporary
from hwcls.errors import UserError
from hwcls.sweep.cluster.nodes import node_versions
from hwcls.sweep.preflight.doctor import checks as doctor


def states(checks):
    return {check.state for check in checks}


def test_a_full_and_a_forbidden_disk(tmp_path, monkeypatch):
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: Usage(10, 10, 2**20))
    check = doctor._disk("results", tmp_path / "not" / "yet")
    assert (check.state, check.name) == ("note", "disk")
    assert "free some space" in check.remedy
    (tmp_path / "file").write_text("")
    check = doctor._disk("cache", tmp_path / "file" / "below")
    assert (check.state, check.found) == ("wrong", f"cache: {tmp_path / 'file'} is not a folder")
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    check = doctor._disk("cache", tmp_path)
    assert check.state == "wrong"
    assert "HWCLS_CACHE" in check.remedy


def test_a_home_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert doctor._home().state == "ok"
    monkeypatch.setenv("HOME", str(tmp_path / "absent"))
    check = doctor._home()
    assert (check.state, check.remedy) == ("note", "set HOME to a folder that you may write")
    assert "cannot be written" in check.found


def test_a_tmpdir_whose_path_is_too_long_is_named(tmp_path, monkeypatch):
    long = tmp_path / ("d" * 100)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    check = doctor._sockets()
    assert check.state == "ok"
    assert "the path of TMPDIR is too long" in check.found
    monkeypatch.setattr(temporary, "COMMON", ())
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with pytest.raises(UserError, match="too long a path — set TMPDIR"):
        doctor._sockets()


def test_little_or_no_shared_memory_is_named(tmp_path, monkeypatch):
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: Usage(64 * 2**20, 0, 0))
    monkeypatch.setattr(doctor, "SHARED_MEMORY", str(tmp_path))
    assert "--shm-size" in doctor._shared_memory().remedy
    monkeypatch.setattr(doctor, "SHARED_MEMORY", str(tmp_path / "absent"))
    assert "mount it" in doctor._shared_memory().remedy


@pytest.mark.parametrize("broken", ["_bytecode", "ask_torch", "_disk", "_home", "_sockets", "_data", "_logins", "_ray"])
def test_a_check_that_fails_does_not_keep_the_others_from_it(broken, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "_ray", lambda address: [doctor.Check("ray", "ok", "starts")])
    monkeypatch.setattr(doctor, "ask_torch", lambda: [doctor.Check("gpu", "ok", "one")])

    def fail(*_):
        raise OSError(errno.EACCES, "Permission denied", "/somewhere")

    every = list(doctor.run_checks(tmp_path, None))
    monkeypatch.setattr(doctor, broken, fail)
    found = list(doctor.run_checks(tmp_path, None))
    wrong = [check for check in found if check.state == "wrong"]
    assert wrong
    assert all("cannot be checked" in check.found and "/somewhere" in check.found for check in wrong)
    names = {check.name for check in every} - {check.name for check in found if check.state == "ok"}
    assert {check.name for check in found} >= {check.name for check in every} - names


def test_a_locale_without_arrows():
    code = "import sys; from hwcls.cli import main; sys.argv = ['hwcls', '--version']\n"
    code += "try: main()\nfinally: print('\\N{RIGHTWARDS ARROW}')"
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.stdout.splitlines()[-1], done.stderr) == ("?", "")


def test_data_that_is_not_where_it_should_be(tmp_path, monkeypatch):
    monkeypatch.setenv("HWCLS_DATA", str(tmp_path / "nowhere"))
    found = list(doctor._data())
    assert "wrong" in states(found)
    assert any("hwcls data fetch" in check.remedy for check in found)


def test_data_that_is_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(
        doctor, "list_data_sets", lambda: [{"name": "mnist", "found": "/x"}, {"name": "cifar10", "found": None}]
    )
    there, missing = doctor._data()
    assert (there.state, "mnist" in there.found) == ("ok", True)
    assert (missing.state, "cifar10" in missing.found) == ("note", True)


def test_packages_without_bytecode_are_named(tmp_path, monkeypatch):
    (tmp_path / "bare.py").write_text("")
    (tmp_path / "done.py").write_text("")
    py_compile.compile(str(tmp_path / "done.py"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(doctor, "COMPILED", ("bare", "done", "not_installed"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    check = doctor._bytecode()
    assert (check.state, check.found.split(":")[0]) == ("note", "bare")
    assert "compileall" in check.remedy
    assert "PYTHONDONTWRITEBYTECODE" in check.remedy
    monkeypatch.setattr(doctor, "COMPILED", ("done",))
    assert doctor._bytecode().state == "ok"


def test_nodes_with_other_versions():
    mine = node_versions()
    assert doctor._same_versions("10.0.0.2", mine, dict(mine)).state == "ok"
    other = doctor._same_versions("10.0.0.2", mine, {**mine, "torch": "1.0"})
    assert other.state == "wrong"
    assert f"torch 1.0 instead of {mine['torch']}" in other.found


def test_nodes_whose_gpus_torch_cannot_use():
    assert doctor._gpus_of("10.0.0.2", "").state == "ok"
    check = doctor._gpus_of("10.0.0.2", "has a GPU, but torch 2 cannot use it — run `hwcls doctor` there")
    assert (check.state, check.remedy) == ("wrong", "run `hwcls doctor` there")
    assert check.found == "10.0.0.2 has a GPU, but torch 2 cannot use it"


@pytest.mark.slow
def test_every_node_of_a_cluster_is_asked(ray_here):
    runs, node = doctor._ray("auto")
    assert (runs.state, node.state) == ("ok", "ok")
    assert "has the same versions" in node.found


@pytest.mark.slow
def test_the_whole_examination(tmp_path, monkeypatch):
    """In a process of its own, as it starts a Ray; an address where nobody answers is wrong and exits with 1."""
    command = [sys.executable, "-m", "hwcls", "doctor", "--json", "--results", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    checks = json.loads(done.stdout)
    assert {"python", "gpu", "disk", "open files", "data", "wandb", "ray"} <= {check["name"] for check in checks}
    assert next(check for check in checks if check["name"] == "ray")["state"] == "ok"
    assert done.returncode == (1 if "wrong" in {check["state"] for check in checks} else 0)
    assert "Traceback" not in done.stderr
