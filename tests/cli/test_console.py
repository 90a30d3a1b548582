"""Lines on a terminal break between words, and are whole elsewhere."""

import os

import pytest
from typer.testing import CliRunner

from hwcls.cli import console

LONG = "ok     data: mnist, fashion_mnist, cifar10 (in /a/folder/of/many-parts) → run `hwcls data fetch mnist`"


@pytest.fixture
def terminal(monkeypatch):
    def open_terminal(width):
        monkeypatch.setattr(console, "terminal_width", lambda: width)

    return open_terminal


@pytest.mark.parametrize("width", [40, 80])
def test_words_are_not_broken_and_further_lines_are_indented(terminal, capsys, width):
    terminal(width)
    console.echo_wrapped(LONG, 7)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert all(line.startswith(" " * 7) and line[7] != " " for line in lines[1:])
    assert " ".join(" ".join(lines).split()) == " ".join(LONG.split())


def test_a_pipe_gets_one_line(terminal, capsys):
    terminal(None)
    console.echo_wrapped(LONG, 7)
    assert capsys.readouterr().out == f"{LONG}\n"
    assert console.table_console().width == 160


def test_the_width_is_that_of_the_terminal(monkeypatch):
    monkeypatch.setattr(console.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(console.shutil, "get_terminal_size", lambda: os.terminal_size((71, 20)))
    assert console.terminal_width() == 71


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("evaluate x --split foo", "--split: 'foo' is not one of 'val', 'test', 'train' — see hwcls evaluate --help"),
        ("serve --port 99999", "--port: input should be less than or equal to 65535 — see hwcls serve --help"),
        ("predict --top 0 a b", "--top: input should be greater than or equal to 1 — see hwcls predict --help"),
        ("sweep", "missing argument 'file' — see hwcls sweep --help"),
        ("sweep --nonsense", "no such option: --nonsense — see hwcls sweep --help"),
        ("sweep a.yaml --set", "option '--set' requires an argument — see hwcls sweep --help"),
        ("data show a --split", "option '--split' requires an argument — see hwcls data show --help"),
        ("data shw", "no such command 'shw'. Did you mean 'show'? — see hwcls data --help"),
        ("--nonsense", "no such option: --nonsense — see hwcls --help"),
    ],
)
def test_a_usage_error_is_one_line(tmp_path, monkeypatch, words, line):
    from hwcls.cli.main import app

    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, words.split(), prog_name="hwcls")
    assert done.exit_code == 2
    assert done.stderr == f"hwcls: {line}\n"


def test_a_group_without_a_command_shows_its_help():
    from hwcls.cli.main import app

    assert "Before a sweep:" in CliRunner().invoke(app, []).output
    assert "Commands:" in CliRunner().invoke(app, ["data"]).output
