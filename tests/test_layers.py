"""Imports go one way, heavy packages stay where they belong, and nothing lies around unused."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "hwcls"
LAYERS = [
    {"errors", "files", "metrics", "statistics", "__init__"},
    {"format", "registry"},
    {"config"},
    {"data", "models", "tracking"},
    {"training"},
    {"inspection"},
    {"results"},
    {"report"},
    {"sweep"},
    {"cli"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
ONLY_IN = {
    "ray": {"sweep"},
    "optuna": {"sweep", "report", "results"},
    "wandb": {"tracking"},
    "tensorboardX": {"tracking"},
    "typer": {"cli"},
}
FILES = sorted(ROOT.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = ["hwcls", *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    """Every module that a file imports, `from a import b` as a and a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def registered(path: Path) -> set[str]:
    """The modules in the tables of a file's registries."""
    constants = [node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant)]
    return {value for value in constants if isinstance(value, str) and re.fullmatch(r"hwcls(\.\w+)+", value)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_package_imports_only_from_its_left(path):
    own = package(path)
    if own in ("__main__",):
        return
    for name in imports(path):
        top, *rest = name.split(".")
        if top == "hwcls" and rest and rest[0] in RANK and rest[0] != own:
            assert RANK[rest[0]] < RANK[own], f"{own} imports {name}"
        if top in ONLY_IN:
            assert own in ONLY_IN[top], f"{own} imports {top}"
        if top == "torch":
            assert own not in ("config", "cli"), f"{own} imports torch"


def test_every_module_is_reached_by_a_command():
    graph = {module_name(path): imports(path) | registered(path) for path in FILES}
    started = {"hwcls.__main__", "hwcls.sweep.monitor.tracking_process"}  # python -m
    started |= {"hwcls.sweep.cluster.aws_provider"}  # cluster.yaml names it
    started |= {"hwcls.registry"}
    reached: set[str] = set()
    waiting = list(started)
    while waiting:
        name = waiting.pop()
        if name in graph and name not in reached:
            reached.add(name)
            waiting += graph[name] | {name.rpartition(".")[0]}
    assert sorted(set(graph) - reached) == []


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("hwcls.cli", ["torch", "ray", "wandb", "timm", "optuna", "pydantic", "yaml", "rich", "numpy"]),
        ("hwcls.training.threads", ["torch", "numpy"]),  # what it sets is read when torch is imported
        ("hwcls.config.sweep_file", ["torch", "ray", "wandb", "timm", "optuna", "numpy"]),
        ("hwcls.training.trainer", ["ray", "wandb", "optuna", "timm", "sklearn", "plotly"]),
        ("hwcls.training.local", ["ray", "wandb", "optuna", "timm", "sklearn", "plotly"]),
        ("hwcls.sweep.preflight.dry_run", ["ray", "wandb", "optuna", "timm", "torch"]),
        ("hwcls.sweep.run.trial_group", ["torch", "wandb", "timm", "sklearn"]),
        ("hwcls.tracking.follower", ["torch", "ray", "wandb", "optuna", "timm"]),
    ],
)
def test_a_module_does_not_load_what_it_does_not_need(module, absent):
    code = f"import sys, {module}; print(*sorted(set({absent!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
