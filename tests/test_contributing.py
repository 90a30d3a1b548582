"""The worked examples of docs/how-to/extend, built from the pages into a copy of hwcls, and used in one sweep."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs/how-to/extend"
KINDS = ("model family", "data set", "tracker", "search method", "early-stopping rule")
BLOCK = re.compile(r'^```python title="([^"]+)"(?: after="(\w+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
USE = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SWEEP = {"name": "examples", "run_cap": 6, "resources": {"concurrent": 1}}
PARAMETERS = {"optimizer": {"name": "adam", "lr": {"min": 1e-6, "max": 0.1, "log": True}}, "epochs": 8}


class Example(NamedTuple):
    """What a page adds to hwcls: one file, one line in a table, and its use in a sweep file."""

    path: str
    code: str
    table_path: str
    table: str
    line: str
    use: dict[str, Any]

    @property
    def name(self) -> str:
        """The component's name in a sweep file."""
        return self.line.split('"')[1]


def example(kind: str) -> Example:
    text = (PAGES / f"{kind.replace(' ', '_').replace('-', '_')}.md").read_text("utf-8")
    file, entry = BLOCK.findall(text)  # no more than that
    assert (bool(file[1]), bool(entry[1])) == (False, True)
    assert not (ROOT / file[0]).exists()
    assert entry[2].count("\n") == 1
    return Example(file[0], file[2], *entry, yaml.safe_load(USE.search(text)[1]))


def add(one: Example, root: Path) -> None:
    """Do what a page describes, in the copy of the repository at `root`."""
    (root / one.path).write_text(one.code, "utf-8")
    text = (root / one.table_path).read_text("utf-8")
    table = re.search(rf"^{one.table}\b.*?{{", text, re.MULTILINE | re.DOTALL)
    (root / one.table_path).write_text(f"{text[: table.end()]}\n{one.line}{text[table.end() :]}", "utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_is_one_file_and_one_line(kind):
    one = example(kind)
    compile(one.code, one.path, "exec")
    assert f'.register("{one.name}")' in one.code
    module = one.path.removesuffix(".py").replace("/", ".")
    assert one.line.strip() == f'"{one.name}": "{module}",'
    assert re.search(rf"^{one.table}\b.* = Registry", (ROOT / one.table_path).read_text("utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of hwcls with all examples, and the results of a sweep that uses them."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "hwcls", root / "hwcls")
    values, parameters = dict(SWEEP), dict(PARAMETERS)
    for one in map(example, KINDS):
        add(one, root)
        for key, value in one.use.items():
            (parameters if key in ("data", "model") else values)[key] = value
    (root / "examples.yaml").write_text(yaml.safe_dump({**values, "parameters": parameters}), "utf-8")
    done = hwcls(root, "sweep", "examples.yaml", "--wandb", "off", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return root


def hwcls(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hwcls", *words]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120)


def trials(root: Path) -> dict[str, dict[str, Any]]:
    """The results of the sweep's trials by number."""
    paths = (root / "results" / "examples" / "trials").glob("*/result.json")
    return {path.parent.name: json.loads(path.read_text("utf-8")) for path in paths}


@pytest.mark.slow
def test_the_model_family_is_trained(extended):
    config = yaml.safe_load((extended / "results" / "examples" / "trials" / "0" / "config.yaml").read_text("utf-8"))
    assert config["model"]["name"] == example("model family").name
    assert {result["status"] for result in trials(extended).values()} <= {"complete", "stopped"}


@pytest.mark.slow
def test_the_data_set_is_listed_and_trained_on(extended):
    name = example("data set").name
    assert name in {entry["name"] for entry in json.loads(hwcls(extended, "data", "list", "--json").stdout)}
    config = yaml.safe_load((extended / "results" / "examples" / "trials" / "0" / "config.yaml").read_text("utf-8"))
    assert config["data"]["name"] == name


@pytest.mark.slow
def test_the_tracker_has_every_epoch(extended):
    folder = extended / "results" / "examples"
    for number in trials(extended):
        lines = (folder / "trials" / number / "metrics.jsonl").read_text("utf-8").splitlines()
        with open(folder / "csv" / "trials" / f"{number}.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["epoch"]) for row in rows] == [json.loads(line)["epoch"] for line in lines]


@pytest.mark.slow
def test_the_search_method_draws_the_trials(extended):
    assert len(trials(extended)) == SWEEP["run_cap"]
    journal = (extended / "results" / "examples" / "study.journal").read_text("utf-8")
    assert "NSGAIISampler:generation" in journal


@pytest.mark.slow
def test_the_rule_stops_trials(extended):
    patience = example("early-stopping rule").use["early_terminate"]["patience"]
    stopped = {number: result for number, result in trials(extended).items() if result["status"] == "stopped"}
    assert stopped
    for number, result in stopped.items():
        path = extended / "results" / "examples" / "trials" / number / "metrics.jsonl"
        assert len(path.read_text("utf-8").splitlines()) == result["best"]["epoch"] + patience
