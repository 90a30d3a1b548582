"""README, tutorials and the guides beside them are short, and each of their blocks works or says why it is not run."""

import contextlib
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml
from PIL import Image
from typer.core import TyperGroup
from typer.testing import CliRunner

from hwcls.cli.main import app
from hwcls.config.sweep_file import load_sweep
from hwcls.errors import UserError

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in sorted((ROOT / "docs").rglob("*.md"))}
TUTORIALS = [f"docs/tutorials/{name}.md" for name in ("first_sweep", "your_photos", "tinyimagenet", "cluster")]
GUIDES = [f"docs/how-to/{name}.md" for name in ("running", "data", "models", "results")]
TRIED = {"README.md": README} | {name: PAGES[name] for name in TUTORIALS + GUIDES}
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
    "photos.yaml": ("run_cap=4", "parameters.epochs=1", "confirm=null"),
    "sweeps/quickstart.yaml": ("run_cap=8", "parameters.epochs=2", "parameters.data.per_class=30"),
    "sweeps/fashion_mnist.yaml": ("run_cap=3", "parameters.data.per_class=30", "parameters.epochs=2"),
}
BLOCK = re.compile(r"(?:^<!-- not run: (?P<reason>.+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    reason: str | None  # why it is not run

    @property
    def lines(self) -> list[str]:
        """Its commands without what the comment at their end says."""
        return [line.partition("  #")[0].strip() for line in self.text.splitlines() if line.strip()]


def blocks(page: str, language: str = "") -> Iterator[Block]:
    for found in BLOCK.finditer(page):
        if language in ("", found["language"]):
            yield Block(found["language"], found["text"], found["reason"])


def commands(page: str, *, run: bool = False) -> list[str]:
    """The lines of a page's shell blocks that call hwcls, once each; with `run` of those that are not marked."""
    shell = [block for block in blocks(page, "sh") if not (run and block.reason)]
    return list(dict.fromkeys(line for block in shell for line in block.lines if line.startswith("hwcls ")))


def test_the_first_screen_has_the_set_up_and_the_first_commands():
    first = "\n".join(README.splitlines()[:40])
    assert tuple(commands(first)) == FIRST
    assert all(line in first for line in SET_UP)
    assert "docs/report.png" in first


def test_the_readme_is_short():
    assert len(README.split()) <= 700
    assert [name for name in ROOT.glob("docs/**/*.png") if name.stat().st_size > 150_000] == []


@pytest.mark.parametrize("name", ["README.md", *PAGES])
def test_its_links_lead_somewhere(name):
    page = README if name == "README.md" else PAGES[name]
    links = re.findall(r'(?:\]\(|src=")(?!https?://|#)([^)#"]+)', page)
    assert [one for one in links if not ((ROOT / name).parent / one).exists()] == []


@pytest.mark.parametrize("line", dict.fromkeys(line for page in [README, *PAGES.values()] for line in commands(page)))
def test_its_options_exist(line):
    command, words = typer.main.get_command(app), shlex.split(line)[1:]
    while isinstance(command, TyperGroup):
        assert words[0] in command.commands
        command, words = command.commands[words[0]], words[1:]
    with contextlib.suppress(UserError):  # of a folder that is not there yet
        command.make_context("hwcls", words)  # raises click's own errors for an unknown option or a missing argument


@pytest.mark.parametrize("name", TRIED)
def test_each_block_is_run_or_says_why_not(name):
    for block in blocks(TRIED[name]):
        assert block.language in ("sh", "python", "yaml", "text"), block.text
        if block.language == "sh" and not block.reason:
            assert [line for line in block.lines if not line.startswith("hwcls ") and line not in SET_UP] == []


@pytest.mark.parametrize(
    "text",
    [
        block.text
        for name, page in PAGES.items()
        if name in TRIED or "overview" in name
        for block in blocks(page, "yaml")
    ],
)
def test_each_piece_of_a_sweep_file_is_valid(text, tmp_path):
    """What is no whole file is a section of `parameters`."""
    piece = yaml.safe_load(text)
    whole = {
        "name": "mine",
        "run_cap": 4,
        "parameters": {"data": {"name": "digits"}, "model": "mlp", "optimizer": "adam"},
    }
    whole = piece if "parameters" in piece else whole | {"parameters": whole["parameters"] | piece}
    (tmp_path / "my_file.py").write_text(own_model())
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(whole))
    assert load_sweep(tmp_path / "mine.yaml").config.name == "mine"


def own_model() -> str:
    """The file that docs/how-to/models.md shows."""
    (block,) = blocks(PAGES["docs/how-to/models.md"], "python")
    return block.text


def test_the_own_model_is_built():
    import torch

    values = {}
    exec(compile(own_model(), "my_file.py", "exec"), values)
    model = values["build"](classes=3, channels=1, image_size=8, width=4)
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


def take_photos(folder):
    """photos/, of two classes, and new_photos/."""
    random = np.random.default_rng(0)
    for name in [*(f"photos/{kind}/{i}.jpg" for kind in ("day", "night") for i in range(12)), "new_photos/1.jpg"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(100 * ("day" in name), 120 + 100 * ("day" in name), (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)


def run(line: str) -> str:
    """Run a command with small settings; its output."""
    words = shlex.split(line)[1:]
    extra = [word for name, sets in SMALL.items() if name in words for one in sets for word in ("--set", one)]
    if words[0] == "sweep":  # what the line itself sets comes last and holds
        words = [*words[:2], *extra, *words[2:]]
    if "--dry-run" in words and "photos.yaml" in words:  # one dry run with a probe is enough
        words.append("--no-probe")
    done = CliRunner().invoke(app, [word.replace("run_cap=24", "run_cap=10") for word in words])
    trouble = f"{line}\n{done.output}\n{done.exception}"
    assert done.exit_code == 0 or (words[0] == "doctor" and done.exit_code == 1), trouble
    return done.output


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder with sweeps/ and photos, in which of all downloaded data sets Fashion-MNIST alone is there."""
    have = Path(os.environ.get("HWCLS_DATA") or "/nowhere", "FashionMNIST").resolve()
    (tmp_path / "data").mkdir()
    if have.is_dir():
        (tmp_path / "data" / "FashionMNIST").symlink_to(have)
    (tmp_path / "sweeps").symlink_to(ROOT / "sweeps")
    take_photos(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HWCLS_DATA", str(tmp_path / "data"))
    return tmp_path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_they_run(ray_here, clone, capsys):
    have = (clone / "data" / "FashionMNIST").exists()
    lines = dict.fromkeys(line for page in TRIED.values() for line in commands(page, run=True))
    lines = [line for line in lines if not line.startswith(ELSEWHERE) and (have or "fashion" not in line)]
    outputs = {line: run(line) for line in lines}
    assert len(outputs) > 25
    assert (clone / "results" / "quickstart-2" / "report.html").exists()
    assert (clone / "grid.png").exists()
    assert "imagefolder" in (clone / "results" / "photos" / "data.json").read_text()
    (shown,) = blocks(README, "text")
    output = outputs["hwcls confirm results/quickstart --add-seeds 5"]
    assert [line for line in shown.text.splitlines() if line.split()[0] not in (*output.split(), "…")] == []
    assert "report: results/quickstart/report.html" in shown.text
    assert "report: results/quickstart/report.html" in output
    (python,) = blocks(README, "python")
    assert len([line for line in python.lines if line]) == 5
    capsys.readouterr()
    exec(compile(python.text, "README.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[-1] in ("['day']", "['night']")
