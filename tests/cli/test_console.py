"""Lines on a terminal break between words, and are whole elsewhere."""

import os

import pytest

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
