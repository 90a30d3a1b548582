"""The documentation: generated pages are current, the site builds strictly, and nothing in it is from the network."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.generate.__main__ import GENERATED, text_of
from tests.code_blocks import PAGES
from tests.report.html.test_browser import CHROMIUM, Browser
from tests.test_packages import EXTRAS, PROJECT, requirements

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LOADED = re.compile(r"""(?:<(?:link|script|img|iframe|source)\b[^>]*?(?:src|href)=|url\()["']?(?:https?:)?//""")

NAMED = re.compile(r"(?<![\w/.])docs/[\w/-]+\.(?:md|ipynb|png|svg)")
TEXTS = (".md", ".py", ".pyi", ".yaml", ".yml")
RUN_BY_OTHERS = ("contenders.py", "made_up.py")  # scripts of benchmarks/ that other ones start

# what is wider than the window and not inside something that scrolls; and tables of sentences that must be scrolled
TOO_WIDE = """[...document.querySelectorAll('html, table.sentence')]
    .filter(element => element.scrollWidth > Math.min(innerWidth, element.parentElement?.clientWidth ?? innerWidth))
    .map(element => element.innerText.slice(0, 40))"""

WIDEST = ("reference/sweep_file", "reference/metrics", "explanation/comparison", "tutorials/read_the_page")


def build(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """A strict build: warnings are errors, and all of them are printed."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", str(source), str(out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_file_is_current(name):
    assert (DOCS / name).read_text("utf-8") == text_of(name), f"{name} is not current: python -m docs.generate"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The pages, built strictly."""
    folder = tmp_path_factory.mktemp("site")
    done = build(DOCS, folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.mark.slow
def test_the_site_builds_strictly_and_loads_nothing_from_the_network(site):
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css")]
    assert len(files) > 20
    assert {path.name: found[0] for path in files if (found := LOADED.search(path.read_text("utf-8")))} == {}


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_widest_pages_fit_a_phone_and_a_desk(site, tmp_path):
    browser, wide = Browser(tmp_path), {}
    try:
        for name, width in itertools.product(WIDEST, (390, 1000)):
            browser.open(site / f"{name}.html", width=width)
            assert browser.evaluate("document.querySelectorAll('table.sentence').length"), name
            if found := browser.evaluate(TOO_WIDE):
                wide[name, width] = found
    finally:
        browser.close()
    assert wide == {}


@pytest.mark.slow
def test_the_build_refuses_what_leads_nowhere(tmp_path):
    shutil.copy(DOCS / "conf.py", tmp_path)
    (tmp_path / "index.md").write_text(
        "# Home\n\n[page](gone.md), [place](other.md#gone), [right](other.md#here)\n\n"
        "```{toctree}\nother\nmissing\n```\n"
    )
    (tmp_path / "other.md").write_text("# Other\n\n## Here\n")
    (tmp_path / "orphan.md").write_text("# Orphan\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode == 1
    assert "'gone.md'" in done.stderr
    assert "'gone'" in done.stderr
    assert "nonexisting document 'missing'" in done.stderr
    assert "orphan.md: WARNING: document isn't included in any toctree" in done.stderr
    assert "here" not in done.stderr.lower()


def test_pages_and_pictures_that_files_name_exist():
    folders = [path for name in ("hwcls", "benchmarks", "sweeps", ".github") for path in (ROOT / name).rglob("*.*")]
    files = [path for path in (*folders, *ROOT.glob("*.md"), *ROOT.glob("*.yaml")) if path.suffix in TEXTS]
    named = {(path.name, found) for path in files for found in NAMED.findall(path.read_text("utf-8"))}
    assert len(named) > 20
    assert {one for one in named if not (ROOT / one[1]).exists()} == set()


def test_every_script_that_measures_is_listed():
    page = (DOCS / "explanation/benchmarks.md").read_text("utf-8")
    scripts = [path for path in (ROOT / "benchmarks").glob("*.py") if "argparse" in path.read_text("utf-8")]
    run = [path.name for path in scripts if path.name not in RUN_BY_OTHERS]
    assert len(run) > 10
    assert [name for name in run if f"| `{name}` |" not in page] == []


def test_every_page_is_in_the_contents():
    contents = (DOCS / "index.md").read_text("utf-8").splitlines()
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")} - {"index"}
    assert pages - set(contents) == set()
    assert [page for page in contents if "/" in page and contents.count(page) > 1] == []


def test_the_page_of_weights_has_every_dependency():
    page = (DOCS / "explanation/install.md").read_text("utf-8")
    names = [requirement.name for requirement in requirements()]
    assert [name for name in names if f"| {name} |  |" not in page] == []


def test_no_file_names_a_package_index_by_its_address():
    files = [*PAGES, *(ROOT / name for name in ("pyproject.toml", "constraints.txt", "Dockerfile"))]
    assert [path for path in files if re.search(r"index.url\S*\s*\S*://", path.read_text("utf-8"))] == []


def test_the_install_page_has_every_extra_and_the_least_python():
    page = (DOCS / "tutorials/install.md").read_text("utf-8")
    extras = re.findall(r"^\| `(\w+)` \|", page.partition("## Extras")[2].partition("\n## ")[0], re.MULTILINE)
    assert sorted(extras) == sorted(EXTRAS)
    assert PROJECT["requires-python"] == ">=3.11"
    assert "| Python | 3.11 or later" in page
