"""Every command in README.md and docs/ works, in the order in which the pages have them."""

import re
import shlex
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.core import TyperGroup
from typer.testing import CliRunner

from hwcls.cli.main import app
from hwcls.errors import UserError
from tests.test_results_page import not_named

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = {str(path): path.read_text("utf-8") for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]}
FIRST = ("hwcls init photos/", "hwcls sweep photos.yaml", "hwcls predict results/photos new_photos/")
ELSEWHERE = (
    "hwcls dashboard",  # serves until it is ended: tests/cli/test_cli.py
    "hwcls submit",  # needs a cluster: tests/sweep/cluster/test_submit.py
    "hwcls sweep sweeps/quickstart.yaml --address",  # the same: tests/sweep/cluster/test_nodes.py
)
SMALL = {  # settings added to a command, so that it takes seconds
    "photos.yaml": ("run_cap=4", "parameters.epochs=1", "confirm=null"),
    "sweeps/quickstart.yaml": ("run_cap=8", "parameters.epochs=2", "parameters.data.per_class=30"),
    "sweeps/fashion_mnist.yaml": ("run_cap=3", "parameters.data.per_class=30", "parameters.epochs=2"),
}


def commands(page=README, *, every=False):
    """The lines of a page's shell blocks that call hwcls; of those that are not run only if `every`."""
    blocks = re.findall(r"(<!-- not run: [^\n]+ -->\n *)?```sh\n(.*?)```", page, re.DOTALL)
    lines = [line.strip() for reason, block in blocks if every or not reason for line in block.splitlines()]
    return list(dict.fromkeys(line.partition("  #")[0].strip() for line in lines if line.startswith("hwcls ")))


def test_the_first_screen_has_the_three_commands():
    first = README[: README.index("## Sweeps")]
    assert commands(first) == [*FIRST, "hwcls sweep sweeps/quickstart.yaml"]
    assert len(first.splitlines()) <= 40
    assert len(commands()) > 15


@pytest.mark.parametrize("line", dict.fromkeys(line for page in PAGES.values() for line in commands(page, every=True)))
def test_its_options_exist(line):
    command, words = typer.main.get_command(app), shlex.split(line)[1:]
    while isinstance(command, TyperGroup):
        assert words[0] in command.commands
        command, words = command.commands[words[0]], words[1:]
    with suppress(UserError):  # of a folder that is not there yet
        command.make_context("hwcls", words)  # raises click's own errors for an unknown option or a missing argument


def take_photos(folder):
    """photos/, of two classes, new_photos/, and the same as inbox/ and inbox.zip."""
    random = np.random.default_rng(0)
    for name in [*(f"photos/{kind}/{i}.jpg" for kind in ("day", "night") for i in range(12)), "new_photos/1.jpg"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(100 * ("day" in name), 120 + 100 * ("day" in name), (40, 50, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)
    shutil.copytree(folder / "new_photos", folder / "inbox")
    shutil.make_archive(str(folder / "inbox"), "zip", folder / "new_photos")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_they_run(ray_here, tmp_path, monkeypatch):
    import os

    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").symlink_to(ROOT / "sweeps")
    take_photos(tmp_path)
    have = Path(os.environ.get("HWCLS_DATA") or "/nowhere", "FashionMNIST").is_dir()
    ran = []
    for line in dict.fromkeys(line for page in PAGES.values() for line in commands(page)):
        if line.startswith(ELSEWHERE) or ("fashion" in line and not have):
            continue
        words = shlex.split(line)[1:]
        extra = [word for name, sets in SMALL.items() if name in words for one in sets for word in ("--set", one)]
        if words[0] == "sweep":  # what the line itself sets comes last and holds
            words = [*words[:2], *extra, *words[2:]]
        words = [word.replace("run_cap=24", "run_cap=10") for word in words]
        done = CliRunner().invoke(app, words)
        trouble = f"{line}\n{done.output}\n{done.exception}"
        assert done.exit_code == 0 or (words[0] == "doctor" and done.exit_code == 1), trouble
        ran.append(line)
    assert len(ran) > 30
    results = tmp_path / "results" / "quickstart"
    assert not_named(str(path.relative_to(results)) for path in results.rglob("*") if path.is_file()) == set()
    assert (tmp_path / "results" / "quickstart-2" / "report.html").exists()
    assert (tmp_path / "grid.png").exists()
    assert (tmp_path / "results" / "photos" / "report.html").exists()
    assert "imagefolder" in (tmp_path / "results" / "photos" / "data.json").read_text()
