"""The README is short, and every command in it and in docs/ works, in the order in which the pages have them."""

import contextlib
import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.core import TyperGroup
from typer.testing import CliRunner

from hwcls.cli.main import app
from hwcls.errors import UserError
from tests.code_blocks import PAGES, ROOT, all_blocks, blocks_of, commands_in
from tests.test_results_page import not_named

README = (ROOT / "README.md").read_text("utf-8")
SET_UP = (
    "python3 -m venv .venv && . .venv/bin/activate && pip install -e .",
    "pip install -e '.[test]' && pytest",
)
FIRST = (
    "hwcls sweep sweeps/quickstart.yaml",
    "hwcls confirm results/quickstart --add-seeds 5",
    "hwcls init photos/",
    "hwcls sweep photos.yaml",
    "hwcls predict results/photos new_photos/",
)
ELSEWHERE = ("hwcls dashboard",)  # serves until it is ended: tests/cli/test_cli.py
SMALL = {  # settings added to a command, so that it takes seconds
    "mine.yaml": ("run_cap=2", "parameters.epochs=1", "parameters.data.per_class=30", "confirm=null"),
    "photos.yaml": ("run_cap=3", "parameters.epochs=1", "confirm=null"),
    "sweeps/quickstart.yaml": ("run_cap=8", "parameters.epochs=2", "parameters.data.per_class=30"),
    "sweeps/fashion_mnist.yaml": ("run_cap=3", "parameters.data.per_class=30", "parameters.epochs=2"),
}


def commands(*, every=False, page=None):
    """The commands of hwcls in shell blocks, once each; without `every` of those that are run."""
    shell = [block for block in all_blocks("sh") if block.page == page or page is None]
    lines = [line for block in shell if every or not block.reason for line in commands_in(block)]
    return list(dict.fromkeys(line for line in lines if line.startswith("hwcls ")))


def test_the_first_screen_has_the_set_up_and_the_first_commands():
    first = "\n".join(README.splitlines()[:40])
    assert tuple(commands(page="README.md")) == FIRST
    assert all(line in first for line in (*SET_UP, *FIRST))
    assert "docs/report.png" in first


def test_the_readme_is_short():
    assert len(README.split()) <= 700
    assert [name for name in ROOT.glob("docs/**/*.png") if name.stat().st_size > 150_000] == []


def anchors_of(page):
    """The anchors of a page's headings, as a repository shows it."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)  # comments in code
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_its_links_lead_somewhere(path):
    links = re.findall(r'(?:\]\(|src=")(?!https?://)([^)#"]*)(?:#([^)"]+))?', path.read_text("utf-8"))
    assert [name for name, _ in links if not (path.parent / name).exists()] == []
    pages = {(path.parent / name if name else path, anchor) for name, anchor in links if anchor}
    assert [f"{page}#{anchor}" for page, anchor in pages if anchor not in anchors_of(page)] == []


@pytest.mark.parametrize("line", commands(every=True))
def test_its_options_exist(line):
    command, words = typer.main.get_command(app), shlex.split(re.split(r" (?:>|&&) ", line)[0])[1:]
    while isinstance(command, TyperGroup) and not words[0].startswith("-"):
        assert words[0] in command.commands
        command, words = command.commands[words[0]], words[1:]
    with contextlib.suppress(UserError, typer.Exit):  # of a folder that is not there yet, and of --version
        command.make_context("hwcls", words)  # raises click's own errors for an unknown option or a missing argument


def test_the_own_model_is_built():
    import torch

    (block,) = [block for block in blocks_of(ROOT / "docs/how-to/own_model.md") if block.language == "python"]
    values = {}
    exec(compile(block.text, "my_file.py", "exec"), values)
    model = values["build"](classes=3, channels=1, image_size=8, width=4)
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


def take_photos(folder):
    """photos/, of two classes, new_photos/, and the same as inbox/ and inbox.zip."""
    random = np.random.default_rng(0)
    for name in [*(f"photos/{kind}/{i}.jpg" for kind in ("day", "night") for i in range(12)), "new_photos/1.jpg"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(100 * ("day" in name), 120 + 100 * ("day" in name), (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)
    shutil.copytree(folder / "new_photos", folder / "inbox")
    shutil.make_archive(str(folder / "inbox"), "zip", folder / "new_photos")


def run(line: str) -> str:
    """Run a command with small settings; its output."""
    words = shlex.split(line)[1:]
    extra = [word for name, sets in SMALL.items() if name in words for one in sets for word in ("--set", one)]
    if words[0] == "sweep":  # what the line itself sets comes last and holds
        words = [*words[:2], *extra, *words[2:]]
    if "--dry-run" in words and words[1] in ("photos.yaml", "mine.yaml"):  # one dry run with a probe is enough
        words.append("--no-probe")
    done = CliRunner().invoke(app, [word.replace("run_cap=24", "run_cap=10") for word in words])
    trouble = f"{line}\n{done.output}\n{done.exception}"
    assert done.exit_code == 0 or (words[0] == "doctor" and done.exit_code == 1), trouble
    return done.output


@pytest.fixture
def clone(tmp_path, monkeypatch, request):
    """A folder with sweeps/ and photos, in which of all downloaded data sets Fashion-MNIST alone is there."""
    (tmp_path / "data").mkdir()
    if Path(os.environ.get("HWCLS_DATA") or "/nowhere", "FashionMNIST").is_dir():
        have = request.getfixturevalue("small_data") / "FashionMNIST"
        (tmp_path / "data" / "FashionMNIST").symlink_to(have)
    (tmp_path / "sweeps").symlink_to(ROOT / "sweeps")
    take_photos(tmp_path)
    for block in blocks_of(ROOT / "docs/how-to/own_model.md"):
        if name := {"python": "my_file.py", "yaml": "mine.yaml"}.get(block.language):
            (tmp_path / name).write_text(block.text, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HWCLS_DATA", str(tmp_path / "data"))
    return tmp_path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_they_run(ray_here, clone, capsys):
    have = (clone / "data" / "FashionMNIST").exists()
    lines = [line for line in commands() if not line.startswith(ELSEWHERE) and (have or "fashion" not in line)]
    lines.sort(key=lambda line: "run_cap=24" in line)  # last: fewer trials than were run are refused
    outputs = {line: run(line) for line in lines}
    assert len(outputs) > 40
    results = clone / "results" / "quickstart"
    assert not_named(str(path.relative_to(results)) for path in results.rglob("*") if path.is_file()) == set()
    assert (clone / "results" / "quickstart-2" / "report.html").exists()
    assert (clone / "grid.png").exists()
    assert "imagefolder" in (clone / "results" / "photos" / "data.json").read_text()
    blocks = blocks_of(ROOT / "README.md")
    (shown,) = [block for block in blocks if block.language == "text"]
    output = outputs["hwcls confirm results/quickstart --add-seeds 5"]
    assert [line for line in shown.text.splitlines() if line.split()[0] not in (*output.split(), "…")] == []
    assert shown.text.splitlines()[0].split() in [line.split() for line in output.splitlines()]
    assert "report: results/quickstart/report.html" in shown.text
    assert "report: results/quickstart/report.html" in output
    (python,) = [block for block in blocks if block.language == "python"]
    assert len(python.text.split("\n")) == 7
    capsys.readouterr()
    exec(compile(python.text, "README.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[-1] in ("['day']", "['night']")
    (python,) = [block for block in blocks_of(ROOT / "docs/how-to/export.md") if block.language == "python"]
    exec(compile(python.text, "export.md", "exec"), {})
    assert re.fullmatch(r"\['\d', '\d'\]\n", capsys.readouterr().out)
