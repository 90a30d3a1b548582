"""An editable install is imported wherever Python starts."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
BUILD = "import sys; from setuptools import build_meta; build_meta.build_editable(sys.argv[1])"
IMPORT = "import site, sys; site.addsitedir(sys.argv[1]); import hwcls; print(hwcls.__file__)"


def test_the_folder_of_the_clone_does_not_hide_the_package(tmp_path):
    clone, installed = tmp_path / "hwcls", tmp_path / "site"
    (clone / "hwcls").mkdir(parents=True)
    (clone / "hwcls/__init__.py").write_text('__version__ = "1.0"\n')
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, clone)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    _run([sys.executable, "-c", BUILD, str(tmp_path)], clone, environment)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(installed)
    found = _run([sys.executable, "-S", "-c", IMPORT, str(installed)], tmp_path, environment)
    assert Path(found.strip()) == clone / "hwcls/__init__.py"


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
