"""What axe-core finds on the page: nothing serious."""

from __future__ import annotations

import shutil
import subprocess
import tarfile

import pytest

from tests.report.html.test_browser import CHROMIUM, browser, whole  # noqa: F401  (fixtures)

NPM, PACKAGE = shutil.which("npm"), "axe-core@4.14.1"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(NPM is None, reason="npm is not installed"),
]


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """The source of axe-core."""
    folder = tmp_path_factory.mktemp("axe")
    done = subprocess.run([NPM, "pack", PACKAGE], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot fetch {PACKAGE}: {done.stderr.strip().splitlines()[-1:]}")
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as opened:
        return opened.extractfile("package/axe.min.js").read().decode()


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (390, "dark")])
def test_nothing_serious_is_found(browser, whole, axe, width, scheme):  # noqa: F811
    browser.open(whole, width=width, scheme=scheme)
    browser.evaluate(f"{axe};0")
    found = browser.evaluate(
        "axe.run().then(r => r.violations.map(v => [v.impact, v.id, v.nodes.map(n => n.target.join(' ')).slice(0, 5)]))"
    )
    assert [one for one in found if one[0] in ("serious", "critical")] == []
