"""The wheel, installed alone, has every file that hwcls reads: the quickstart runs in a new environment."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "NOTICE")
SMALL = ("run_cap=2", "parameters.epochs=1", "parameters.data.per_class=10", "early_terminate=null")

pytestmark = pytest.mark.slow


def run(*words, cwd, **variables):
    """Run a command apart from the clone; its output."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(list(map(str, words)), cwd=cwd, env=kept | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that the clone keeps no build folder."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "hwcls", source / "hwcls", ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", target, ".", cwd=source)
    (found,) = target.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The scripts' folder of an environment with the wheel, in which the other packages are those of this one."""
    folder = tmp_path_factory.mktemp("new")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    # a path in a .pth file, unlike --system-site-packages, leaves out this environment's editable install
    Path(site, "others.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    install = ("install", "-q", "--no-deps", "--no-index", "--no-compile", wheel)
    run(sys.executable, "-m", "pip", "--python", python, *install, cwd=folder)
    return python.parent


def test_the_wheel_has_every_file_of_the_package(wheel):
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    own = [path for path in (ROOT / "hwcls").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {str(path.relative_to(ROOT)) for path in own} - names == set()
    assert not {name.partition("/")[0] for name in names} - {"hwcls", wheel.name.partition("-py3")[0] + ".dist-info"}


def test_the_metadata_is_complete(wheel):
    with zipfile.ZipFile(wheel) as packed:
        folder = next(name.partition("/")[0] for name in packed.namelist() if ".dist-info/" in name)
        metadata = Parser().parsestr(packed.read(f"{folder}/METADATA").decode())
        licences = {name.rpartition("/")[2] for name in packed.namelist() if f"{folder}/licenses/" in name}
    assert metadata["License-Expression"] == "Apache-2.0"
    assert licences == {"LICENSE", "NOTICE", "DejaVuSans.LICENSE.txt", "plotly.js.LICENSE.txt"}
    assert "Typing :: Typed" in metadata.get_all("Classifier")


def test_the_quickstart_runs(installed, tmp_path):
    shutil.copy(ROOT / "sweeps" / "quickstart.yaml", tmp_path)
    where = run(installed / "python", "-c", "import hwcls; print(hwcls.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    sets = [word for entry in SMALL for word in ("--set", entry)]
    run(installed / "hwcls", "sweep", "quickstart.yaml", "--wandb", "off", *sets, cwd=tmp_path)
    results = tmp_path / "results" / "quickstart"
    ended = [json.loads(path.read_text("utf-8"))["status"] for path in results.glob("trials/*/result.json")]
    assert ended == ["complete", "complete"]
    page = (results / "report.html").read_text("utf-8")
    for part in ("plotly.js", "<style>", 'id="leaderboard"'):
        assert part in page
    assert json.loads(run(installed / "hwcls", "schema", cwd=tmp_path))["title"] == "A sweep file of hwcls"
    run(installed / "hwcls", "data", "show", "digits", "--out", "digits.png", cwd=tmp_path)  # draws with the font
