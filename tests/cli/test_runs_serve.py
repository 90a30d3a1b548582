"""`hwcls runs` and `hwcls serve` as commands."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request

from typer.testing import CliRunner

from hwcls.cli.main import app
from hwcls.report.serve.listen import listen
from hwcls.report.serve.process import served
from tests.results.conftest import full_sweep, write_sweep


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_runs_lists_sweeps_also_as_json(tmp_path):
    full_sweep(tmp_path / "one")
    write_sweep(tmp_path / "two")
    shown = run("runs", tmp_path)
    assert shown.exit_code == 0
    assert [line.split()[0] for line in shown.stdout.splitlines()[1::2]] == ["one", "two"]
    found = json.loads(run("runs", tmp_path, "--json").stdout)
    assert [(one["name"], one["state"]) for one in found] == [("one", "interrupted"), ("two", "interrupted")]


def test_runs_of_no_sweeps_and_of_no_folder_are_one_line(tmp_path):
    shown = run("runs", tmp_path)
    assert (shown.exit_code, shown.stdout) == (0, f"{tmp_path}: no sweeps\n")
    assert run("runs", tmp_path, "--json").stdout == "[]\n"
    for command in ("runs", "serve"):
        shown = run(command, tmp_path / "nowhere")
        assert (shown.exit_code, shown.stderr.count("\n")) == (2, 1)
        assert "there is no such folder" in shown.stderr


def test_runs_loads_no_heavy_library(tmp_path):
    full_sweep(tmp_path / "one")
    heavy = ["torch", "ray", "optuna", "wandb", "timm", "pandas", "scipy"]
    code = f"import sys; from hwcls.cli.main import app; app(['runs', {str(tmp_path)!r}], standalone_mode=False)"
    code += f"; print(*sorted(set({heavy!r}) & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.split() == []


def test_serve_refuses_a_port_that_is_taken(tmp_path):
    with listen(0) as taken:
        shown = run("serve", tmp_path, "--port", taken.getsockname()[1])
    assert (shown.exit_code, shown.stderr.count("\n")) == (2, 1)
    assert "--port 0" in shown.stderr


def test_serve_ends_with_one_line_at_ctrl_c(tmp_path):
    full_sweep(tmp_path / "one")
    command = [sys.executable, "-m", "hwcls", "serve", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        first = process.stderr.readline()
        address = re.fullmatch(rf"serving {tmp_path} on (http://127\.0\.0\.1:\d+/) until Ctrl-C\n", first)[1]
        with urllib.request.urlopen(address, timeout=60) as answer:
            assert b"/sweeps/one" in answer.read()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("", "hwcls: interrupted\n")
    assert process.returncode == 130


def test_the_server_beside_a_sweep_ends_with_it(tmp_path):
    with served(tmp_path / "results") as address:
        full_sweep(tmp_path / "results" / "one")
        with urllib.request.urlopen(address, timeout=60) as answer:
            assert b"/sweeps/one" in answer.read()
    try:
        urllib.request.urlopen(address, timeout=5)
    except OSError as error:
        assert "refused" in str(error)
    else:
        raise AssertionError("it still serves")
