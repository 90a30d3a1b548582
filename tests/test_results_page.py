"""docs/reference/results_folder.md has every file that a sweep writes, and every key of a record."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

from hwcls.tracking import folders
from hwcls.tracking.records import STATUSES, EpochRecord, Result

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/reference/results_folder.md").read_text("utf-8")
RUN = re.compile(r"(?:trials/\d+|confirm/[^/]+/\d+)/(.+)")


def named(heading: str) -> list[str]:
    """What the first column of a section's table has as code."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def not_named(paths: Iterable[str]) -> set[str]:
    """Those files of a results folder, by their paths in it, that the page lacks."""
    known, of_runs = named("The sweep"), named("A trial")
    lost = set()
    for path in paths:
        run = RUN.fullmatch(path)
        inner, names = (run[1], of_runs) if run else (path, known)
        fold = re.fullmatch(r"confirm/[^/]+/out_of_fold\.npz", path)
        if not fold and not any(inner == name or (name.endswith("/") and inner.startswith(name)) for name in names):
            lost.add(path)
    return lost


def test_the_files_of_an_earlier_version():
    with zipfile.ZipFile(ROOT / "tests/earlier/results_0.1.zip") as archive:
        paths = [name.partition("/")[2] for name in archive.namelist() if "/" in name and not name.endswith("/")]
    assert len(paths) > 30
    assert not_named(paths) == set()
    assert not_named(["trials/0/unheard.of", "unheard.of", "trials/0/confusion/1.npz"]) == {
        "trials/0/unheard.of",
        "unheard.of",
    }


def test_the_files_that_the_code_names():
    sweep = {folders.LOOKS, f"{folders.BEST}/", f"{folders.ENSEMBLE}/", folders.FRONT, folders.TEST_READS}
    assert sweep <= set(named("The sweep"))
    assert {folders.PAUSED, folders.COST, folders.PURPOSE} <= set(named("A trial"))


def test_the_keys_of_an_epoch_and_of_a_result():
    line = EpochRecord(1, {"val/accuracy": 0.5}, 0.1, 1.0, 10.0).to_dict()
    assert set(line) <= set(named("A line of metrics.jsonl"))
    keys = named("result.json")
    assert set(Result.__dataclass_fields__) - {"extra"} <= set(keys)
    assert all(f"`{status}`" in PAGE for status in STATUSES)
