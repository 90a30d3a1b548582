"""The structure of hwcls: the order of imports, the sizes of files, and where other packages are imported."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "hwcls"
FILES = sorted(ROOT.rglob("*.py"))
MODULES = {
    ".".join(["hwcls", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__"): path for path in FILES
}

# in this order: a package imports only from earlier lines
PACKAGES = [
    {"synonyms", "escape"},
    {"errors", "files", "metrics", "statistics"},
    {"fonts", "format", "registry", "temporary", "reading"},
    {"config"},
    {"data", "models", "tracking"},
    {"training"},
    {"inspection"},
    {"results"},
    {"report", "figures"},
    {"api"},
    {"sweep"},
    {"init"},
    {"cli"},
]
WINGS = {
    "sweep": [{"storage", "monitor"}, {"cluster"}, {"search"}, {"preflight", "run"}, {"driver"}, {"from_python"}],
    "cli": [
        {"interrupt"},
        {"console"},
        {"choose_run", "completion"},
        {"options", "progress_bar", "job_keys"},
        {"commands"},
        {"main"},
    ],
}
ONLY_IN = {
    "ray": {"sweep"},
    "optuna": {"sweep"},
    "wandb": {"tracking"},
    "tensorboardX": {"tracking"},
    "mlflow": {"tracking"},
    "typer": {"cli"},
    "matplotlib": {"figures"},
}
MAX_MODULES, FLAT = 12, {"models", "training", "inspection"}
MAX_LINES, MAX_PARAMETERS = 60, 7
MAX_CLASS_LINES, MAX_ATTRIBUTES = 200, 15


def imports(path: Path) -> set[str]:
    """Every module that a file imports anywhere in it; `from a import b` is a, and a.b where that is a module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {str(node.module)} | (names & set(MODULES))
    return found


def named_modules(path: Path) -> set[str]:
    """The modules that a file names in its strings: the tables of registries, and `python -m`."""
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    return {str(node.value) for node in nodes if isinstance(node, ast.Constant)} & set(MODULES)


GRAPH = {name: imports(path) for name, path in MODULES.items()}


def against_the_order(order: list[set[str]], prefix: str) -> set[str]:
    """The imports between the parts of `prefix` that do not lead from a higher place of `order` to a lower one."""
    depth = len(prefix.split("."))
    place = {name: rank for rank, names in enumerate(order) for name in names}
    found = set()
    for name, imported in GRAPH.items():
        if not name.startswith(prefix + ".") or name == "hwcls.__main__":
            continue
        own = name.split(".")[depth]
        for other in imported:
            if other.startswith(prefix + ".") and (its := other.split(".")[depth]) != own and place[its] >= place[own]:
                found.add(f"{name} imports {other}")
    return found


def test_packages_import_one_way():
    assert against_the_order(PACKAGES, "hwcls") == set()


@pytest.mark.parametrize("package", WINGS)
def test_the_parts_of_a_package_import_one_way(package):
    assert against_the_order(WINGS[package], f"hwcls.{package}") == set()


def test_no_files_import_each_other_in_a_circle():
    graph = {name: imported & set(MODULES) - {name} for name, imported in GRAPH.items()}
    found = []
    while True:
        try:
            TopologicalSorter(graph).prepare()
            break
        except CycleError as error:  # remove one import of the circle and look for the next one
            circle = error.args[1][::-1]
            graph[circle[0]] = graph[circle[0]] - {circle[1]}
            found.append(" imports ".join(circle))
    assert found == []


@pytest.mark.parametrize("name", MODULES)
def test_packages_of_others_are_imported_where_they_belong(name):
    own = [*name.split("."), ""][1]
    for other in {imported.split(".")[0] for imported in GRAPH[name]}:
        assert own in ONLY_IN.get(other, {own}), f"{name} imports {other}"
        assert other != "torch" or own not in ("config", "cli"), f"{name} imports torch"


def test_every_module_is_reached_by_a_command():
    reached: set[str] = set()
    waiting = ["hwcls.__main__", "hwcls.sweep.cluster.aws_provider"]  # which cluster.yaml names
    while waiting:
        name = waiting.pop()
        if name in GRAPH and name not in reached:
            reached.add(name)
            waiting += GRAPH[name] | {name.rpartition(".")[0]} | named_modules(MODULES[name])
    assert set(MODULES) - reached == set()


def test_folders_are_small():
    modules = Counter(path.parent.relative_to(ROOT).as_posix() for path in FILES if path.name != "__init__.py")
    large = {folder for folder, count in modules.items() if count > MAX_MODULES}
    assert large - FLAT == set()


def is_command(function: ast.FunctionDef | ast.AsyncFunctionDef, path: Path) -> bool:
    """Whether Typer calls it: its parameters are a command's options."""
    decorators = [ast.unparse(decorator).partition("(")[0] for decorator in function.decorator_list]
    return path.parent == ROOT / "cli" / "commands" and any(name.endswith(".command") for name in decorators)


def attributes(node: ast.ClassDef) -> set[str]:
    """The names that an instance has: assigned to self in any method, and a dataclass's fields."""
    found = {
        part.attr
        for part in ast.walk(node)
        if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store)
        if isinstance(part.value, ast.Name) and part.value.id == "self"
    }
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        found |= {line.target.id for line in node.body if isinstance(line, ast.AnnAssign)}
    return found


def too_large(path: Path) -> Iterator[str]:
    """The functions and classes of a file that are beyond the limits."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        where, lines = f"{path.relative_to(ROOT.parent)}:{node.name}", node.end_lineno - node.lineno + 1
        if isinstance(node, ast.ClassDef):
            if lines > MAX_CLASS_LINES:
                yield f"{where}: {lines} lines"
            if (count := len(attributes(node))) > MAX_ATTRIBUTES:
                yield f"{where}: {count} attributes"
            continue
        arguments = node.args
        names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        count = len([name for name in names if name not in ("self", "cls")])
        count += (arguments.vararg is not None) + (arguments.kwarg is not None)
        if lines > MAX_LINES:
            yield f"{where}: {lines} lines"
        if count > MAX_PARAMETERS and not is_command(node, path):
            yield f"{where}: {count} parameters"


def test_functions_and_classes_are_small():
    assert {found for path in FILES for found in too_large(path)} == set()


def private_names(path: Path) -> set[str]:
    """What a file uses of the private parts of ray, optuna, wandb and torch, down to the first private name."""
    used = imports(path)
    tree = ast.parse(path.read_text("utf-8"))
    used |= {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            used |= {f"{node.module}.{alias.name}" for alias in node.names}
    found = set()
    for name in used:
        parts = name.split(".")
        if parts[0] not in ("ray", "optuna", "wandb", "torch"):
            continue
        private = [place for place, part in enumerate(parts) if part.startswith("_") and not part.startswith("__")]
        if parts[:2] == ["wandb", "sdk"]:
            private = [1]
        if private:
            found.add(".".join(parts[: private[0] + 1]))
    return found


def test_each_private_api_is_used_in_one_file():
    users: dict[str, set[str]] = {}
    for path in FILES:
        for name in private_names(path):
            users.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    assert {f"{name}: {', '.join(sorted(files))}" for name, files in users.items() if len(files) > 1} == set()


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("hwcls", ["torch", "ray", "pandas", "numpy", "pydantic", "rich", "hwcls.api", "hwcls.sweep"]),
        ("hwcls.api.results", ["torch", "ray", "pandas", "wandb", "timm", "optuna"]),
        ("hwcls.sweep", ["torch", "ray", "hwcls.api", "hwcls.sweep.driver"]),
        ("hwcls.cli", ["torch", "ray", "wandb", "timm", "optuna", "pydantic", "yaml", "rich", "numpy"]),
        ("hwcls.training.threads", ["torch", "numpy"]),  # what it sets is read when torch is imported
        ("hwcls.config.sweep_file", ["torch", "ray", "wandb", "timm", "optuna", "numpy"]),
        ("hwcls.training.trainer", ["ray", "wandb", "optuna", "timm", "sklearn"]),
        ("hwcls.training.local", ["ray", "wandb", "optuna", "timm", "sklearn", "simplejpeg"]),
        ("hwcls.sweep.preflight.doctor.checks", ["torch", "ray", "timm", "optuna"]),  # they are asked side by side
        ("hwcls.sweep.preflight.dry_run", ["ray", "wandb", "optuna", "timm", "torch"]),
        ("hwcls.sweep.run.trial_group", ["torch", "wandb", "timm", "sklearn"]),
        ("hwcls.sweep.driver", ["torch", "wandb", "timm", "sklearn"]),  # while Ray starts
        ("hwcls.report.html.page", ["torch", "ray", "wandb", "timm", "optuna", "pandas", "scipy.stats", "matplotlib"]),
        ("hwcls.figures.write", ["matplotlib", "torch", "ray", "optuna", "wandb", "timm"]),
        ("hwcls.config.reference.explain", ["torch", "ray", "wandb", "timm", "optuna", "numpy", "pandas"]),
        ("hwcls.config.reference.sweep_schema", ["torch", "ray", "wandb", "timm", "optuna", "numpy", "pandas"]),
        ("hwcls.tracking.follower", ["torch", "ray", "wandb", "optuna", "timm"]),
        ("hwcls.tracking.mlflow", ["torch", "ray", "wandb", "mlflow", "sqlalchemy"]),
    ],
)
def test_a_module_does_not_load_what_it_does_not_need(module, absent):
    code = f"import sys, {module}; print(*sorted(set({absent!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_commands_print_through_the_one_function_that_escapes():
    """`console.echo` and its consoles make text from files harmless; typer's and Python's own do not."""
    plain = re.compile(r"\btyper\.echo\(|(?<![\w.])print\(")
    found = [path.name for path in sorted((ROOT / "cli").rglob("*.py")) if plain.search(path.read_text("utf-8"))]
    assert found == ["console.py"]
