"""`hwcls figures` and `hwcls tables`, as commands."""

from __future__ import annotations

import json
import sys

import pytest
from typer.testing import CliRunner

from hwcls.cli.main import app
from tests.results.conftest import full_sweep, write_overtaken, write_sweep


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def fail(*words):
    """The one line of a command that fails with 2."""
    done = run(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    return done.stderr.removesuffix("\n")


def test_figures_go_beside_the_results_and_again(tmp_path):
    write_overtaken(tmp_path)
    for _ in range(2):
        done = run("figures", tmp_path, "--format", "svg")
        assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "budget.svg",
        "confusion.svg",
        "curves.svg",
        "figures.json",
        "slices.svg",
        "test.svg",
    ]
    assert f"test: {tmp_path / 'figures' / 'test.svg'}\n" in done.stdout
    assert "left out: importance, as 4 trials with a value are too few" in done.stderr


def test_figures_as_json(tmp_path):
    full_sweep(tmp_path)
    done = run("figures", tmp_path, "--only", "curves", "--only", "test", "--out", tmp_path / "a" / "b", "--json")
    found = json.loads(done.stdout)
    assert found["figures"]["curves"]["file"] == str(tmp_path / "a" / "b" / "curves.pdf")
    assert found["left_out"] == {"test": "no confirm run has been scored on test"}


def test_a_sweep_that_has_not_ended_is_said(tmp_path):
    full_sweep(tmp_path)
    note = "note: 2 trials have not ended: this is what is recorded now\n"
    assert run("figures", tmp_path, "--only", "curves", "--format", "png").stderr == note
    assert run("tables", tmp_path, "--only", "leaderboard").stderr == note


def test_a_file_that_hwcls_did_not_write_is_kept(tmp_path):
    full_sweep(tmp_path)
    out = tmp_path / "paper"
    out.mkdir()
    (out / "curves.png").write_text("mine")
    words = ("figures", tmp_path, "--out", out, "--format", "png", "--only", "curves")
    assert "curves.png: exists already" in fail(*words)
    assert (out / "curves.png").read_text() == "mine"
    assert [path.name for path in out.iterdir()] == ["curves.png"]
    assert run(*words, "--overwrite").exit_code == 0
    assert (out / "curves.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("figures", "--format", "jpg"), "--format: unknown word 'jpg' — did you mean 'png'?"),
        (("figures", "--width", "three"), "--width: unknown word 'three'"),
        (("figures", "--only", "test"), "has nothing for a figure (test: no confirm run has been scored on test)"),
        (("tables", "--format", "html"), "--format: unknown word 'html'"),
        (("tables", "--only", "setting"), "--only: unknown name 'setting' — did you mean 'settings'?"),
        (
            ("tables",),
            "has nothing for a table (leaderboard, settings: no trial has a value yet; confirmed: no confirm",
        ),
    ],
)
def test_bad_usage_is_one_line(tmp_path, words, message):
    write_sweep(tmp_path)
    text = fail(words[0], tmp_path, *words[1:])
    assert message in text
    assert "\n" not in text
    assert not (tmp_path / "figures").exists()


def test_a_missing_matplotlib_is_one_line_and_tables_need_none(tmp_path, monkeypatch):
    full_sweep(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = fail("figures", tmp_path)
    assert text == "hwcls: hwcls figures: matplotlib is not installed — pip install 'hwcls[figures]'"
    assert not (tmp_path / "figures").exists()
    assert run("tables", tmp_path).exit_code == 0


@pytest.mark.parametrize(
    ("command", "out", "work"),
    [
        ("figures", "taken", "hwcls.figures.write.plan_figures"),
        ("tables", "taken/tables.md", "hwcls.figures.tables.rows.build_tables"),
    ],
)
def test_a_file_in_place_of_a_folder_is_an_error_before_the_work(tmp_path, monkeypatch, command, out, work):
    full_sweep(tmp_path)
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setattr(work, lambda *arguments: pytest.fail("the work began"))
    assert fail(command, tmp_path, "--out", tmp_path / out).startswith(f"hwcls: {tmp_path / 'taken'}: not a directory")


def test_no_results_folder(tmp_path):
    for command in ("figures", "tables"):
        assert "is not a results folder" in fail(command, tmp_path)


def test_tables_are_printed(tmp_path):
    write_overtaken(tmp_path)
    done = run("tables", tmp_path, "--format", "latex", "--only", "confirmed")
    assert done.exit_code == 0
    assert done.stdout.startswith("% \\usepackage{booktabs}\n")
    assert r"\label{tab:tiny-confirmed}" in done.stdout
    plain = run("tables", tmp_path, "--format", "csv", "--only", "leaderboard", "--rows", 3)
    assert len(plain.stdout.splitlines()) == 4
    found = json.loads(run("tables", tmp_path, "--json").stdout)
    assert list(found["tables"]) == ["leaderboard", "confirmed", "comparisons", "settings"]
    assert found["tables"]["confirmed"]["rows"][0]["model"] == "cnn"


def test_tables_go_to_a_file_which_is_not_replaced_unasked(tmp_path):
    full_sweep(tmp_path)
    out = tmp_path / "paper" / "tables.md"
    done = run("tables", tmp_path, "--out", out)
    assert (done.stdout, done.exit_code) == ("", 0)
    assert "left out: confirmed, as no confirm run has been scored on test" in done.stderr
    before = out.read_text()
    assert before.startswith("All 4 trials of tiny by validation accuracy")
    assert "exists already" in fail("tables", tmp_path, "--out", out, "--only", "settings")
    assert out.read_text() == before
    assert run("tables", tmp_path, "--out", out, "--only", "settings", "--overwrite").exit_code == 0
    assert out.read_text() != before
