import json
import py_compile
import subprocess
import sys
from collections import namedtuple

import pytest

from hwcls.sweep.cluster.nodes import node_versions
from hwcls.sweep.preflight import doctor


def states(checks):
    return {check.state for check in checks}


def test_a_full_and_a_forbidden_disk(tmp_path, monkeypatch):
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: Usage(10, 10, 2**20))
    (check,) = doctor._disks({"results": tmp_path / "not" / "yet"})
    assert (check.state, check.name) == ("note", "disk")
    assert "free some space" in check.remedy
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    (check,) = doctor._disks({"cache": tmp_path})
    assert check.state == "wrong"
    assert "HWCLS_CACHE" in check.remedy


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


def test_a_driver_without_a_gpu_is_wrong(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert states(doctor._gpus()) == {"note"}
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert states(doctor._gpus()) == {"wrong"}


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
