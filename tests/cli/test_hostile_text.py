"""Names and errors with escape sequences, markup and formulas, through the commands that show them."""

import csv
import io
import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from rich.table import Table
from typer.testing import CliRunner

import hwcls.cli.main  # noqa: F401  (registers the commands)
from hwcls.cli.commands.evaluate_predict import _print_scores
from hwcls.cli.console import app
from hwcls.files import write_json
from hwcls.report.terminal.console import terminal_console

FIXTURE = Path(__file__).parents[1] / "earlier" / "results_0.1.zip"
HOSTILE = "[red]=1+1\x1b[2J\x1b]8;;http://evil\x07\u202eexe[/blue]\nhwcls: all is well"
HARMFUL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Results whose classes, labels and errors are hostile."""
    with zipfile.ZipFile(FIXTURE) as archive:
        archive.extractall(tmp_path, [name for name in archive.namelist() if name.startswith("finished")])
    folder = tmp_path / "finished"
    data = json.loads((folder / "data.json").read_text())
    write_json(folder / "data.json", data | {"classes": [f"{n}{HOSTILE}" for n in range(10)]})
    for number, label in ((0, HOSTILE), (1, f"={HOSTILE}"), (2, HOSTILE), (3, HOSTILE)):
        file = folder / "trials" / str(number) / "result.json"
        values = json.loads(file.read_text()) | {"label": label}
        values |= {"status": "failed", "error": HOSTILE} if number == 3 else {}
        write_json(file, values | {"parameters": values["parameters"] | {"model": label}})
    monkeypatch.chdir(tmp_path)
    return folder


def shown(*words):
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    assert not HARMFUL.search(done.output), repr(done.output)
    assert "\nhwcls: all is well" not in done.output
    return done.stdout


def test_tables_show_hostile_text_as_letters(results):
    assert r"[red]=1+1\x1b[2J" in shown("compare", "finished")
    assert r"[red]=1+1\x1b[2J" in shown("explain", "finished/trials/0", "finished/trials/1")
    shown("compare", "finished", "finished")
    shutil.rmtree("finished/confirm")
    assert r"[red]=1+1\x1b[2J" in shown("runs", ".")


@pytest.mark.parametrize("format", ["latex", "markdown"])
def test_tables_for_papers_hold_no_such_text(results, format):
    assert "x1b" in shown("tables", "finished", "--format", format, "--only", "leaderboard")


def test_the_values_of_tables_hold_no_such_text(results):
    shown("tables", "finished", "--json")
    done = CliRunner().invoke(app, ["tables", "finished", "--format", "csv", "--only", "leaderboard"])
    assert "'=[red]=1+1" in done.output
    assert not HARMFUL.search(done.output)


def test_figures_show_hostile_text_as_letters(results):
    shown("figures", "finished", "--format", "svg", "--json")
    for path in (results / "figures").iterdir():
        assert not re.search("[\x1b\u202e\x07]", path.read_text("utf-8")), path


def test_the_page_and_the_csv_hold_no_such_text(results):
    shown("report", "finished")
    page = (results / "report.html").read_text("utf-8")
    assert not re.search("[\x1b\u202e\x07]", page)
    assert "[red]=1+1" in page
    text = (results / "leaderboard.csv").read_text("utf-8")
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert any(cell.startswith("'=[red]") for cell in cells)
    assert not any(cell.startswith(("=", "+", "@", "\t")) for cell in cells)
    assert "\x1b" not in text


def test_names_of_files_are_shown_in_one_line(results):
    (results.parent / "photos").mkdir()
    Image.new("L", (8, 8), 100).save(results.parent / "photos" / "\x1b[31mred\nhwcls: all is well.png")
    (line,) = shown("predict", "finished/trials/1", "photos").splitlines()
    assert line.startswith(r"photos/\x1b[31mred\nhwcls: all is well.png  ")


def test_scores_show_a_class_without_markup(capsys):
    row = {"class": HOSTILE, "precision": 1.0, "recall": 1.0, "f1": 1.0, "auc": None, "images": 3}
    found = {"accuracy": 1.0, "top5": 1.0, "auc": None, "ece": 0.1, "loss": 0.1, "split": "val", "images": 3}
    mean = {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    _print_scores({**found, "macro": mean, "weighted": mean, "classes": [row], "confusion": [[3]]})
    printed = capsys.readouterr().out
    assert "[red]" in printed
    assert not HARMFUL.search(printed)


def test_a_terminal_gets_richs_own_escapes_alone():
    file = io.StringIO()
    console = terminal_console(file=file, force_terminal=True, color_system="standard", width=100)
    table = Table("name", style="red")
    table.add_row("\x1b[2J[bold]x")
    console.print(table)
    console.print("\x1b]0;title\x07", style="red")
    text = file.getvalue()
    assert "\x1b[31m" in text
    assert r"\x1b[2J[bo" in text
    assert "\x1b[2J" not in text
    assert "\x1b]0" not in text
