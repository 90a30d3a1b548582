"""Seconds of the small commands, also against another checkout: python benchmarks/commands.py --against ../before

Each command reads the results of version 0.1 that the tests have, or those of --results, and runs once in each checkout
for its bytecode and caches, then in turn. Prints medians: the time until the command ends, and the CPU time of all its
processes, which other programs of the machine hardly change; the ratio is that of the CPU times. Linux only.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import processes

ROOT = Path(__file__).parents[1]
FIXTURE = ROOT / "tests" / "earlier" / "results_0.1.zip"
COMMANDS = {  # in a folder with the results
    "help": ["--help"],
    "compare": ["compare", "results"],
    "report": ["report", "results"],
    "tables": ["tables", "results"],
    "figures": ["figures", "results", "--out", "figures"],
    "sweep --dry-run": ["sweep", str(ROOT / "sweeps" / "quickstart.yaml"), "--dry-run", "--no-probe"],
    "models": ["models", "resnet18"],
    "doctor": ["doctor"],
}


def prepare(folder: Path, results: Path | None) -> None:
    """Put a home, a cache and the results into a folder."""
    (folder / "home").mkdir(parents=True)
    if results is not None:
        shutil.copytree(results, folder / "results")
        return
    with zipfile.ZipFile(FIXTURE) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith("finished/")])
    (folder / "finished").rename(folder / "results")


def run(checkout: Path, folder: Path, command: Sequence[str]) -> processes.Run:
    """Run a command of a checkout in a folder."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"HOME": str(folder / "home"), "HWCLS_CACHE": str(folder / "cache"), "PYTHONPATH": str(checkout)}
    words = [sys.executable, "-P", "-m", "hwcls", *command]
    log = folder / "output.log"
    os.chdir(folder)
    found = processes.run(words, environment, log, lambda _: None)
    if found.code not in (0, 1):  # 1: the doctor found something wrong
        raise SystemExit(f"{' '.join(command)} in {checkout}:\n{log.read_text('utf-8', errors='replace')}")
    return found


def measure(places: Sequence[tuple[Path, Path]], command: Sequence[str], rounds: int) -> list[list[float]]:
    """The medians of wall and CPU seconds of a command in each checkout, which has a folder."""
    for checkout, folder in places:
        run(checkout, folder, command)
    turns = [[run(checkout, folder, command) for checkout, folder in places] for _ in range(rounds)]
    return [[median(one.wall for one in found), median(one.cpu for one in found)] for found in zip(*turns, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--results", type=Path, help="a finished sweep's folder, which is copied")
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS), metavar="COMMAND")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    checkouts = [ROOT, *([options.against.resolve()] if options.against else [])]
    results = options.results.resolve() if options.results else None
    head = f"{'command':16}{'seconds':>9}{'CPU':>8}"
    print(head + (f"{'against':>9}{'CPU':>8}{'ratio':>8}" if options.against else ""))
    with tempfile.TemporaryDirectory() as root:
        places = [(checkout, Path(root, str(number))) for number, checkout in enumerate(checkouts)]
        for _, folder in places:
            prepare(folder, results)
        for name in options.only:
            rows = measure(places, COMMANDS[name], options.rounds)
            line = "".join(f"{wall:9.2f}{cpu:8.2f}" for wall, cpu in rows)
            print(f"{name:16}{line}" + (f"{rows[0][1] / rows[1][1]:8.2f}" if options.against else ""), flush=True)
        os.chdir(ROOT)


if __name__ == "__main__":
    main()
