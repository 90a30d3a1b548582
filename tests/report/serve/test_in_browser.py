"""The list and a served page in headless Chromium."""

from __future__ import annotations

import fcntl
import time

import pytest

from hwcls.report.html.page import write_page
from tests.report.html.test_browser import CHROMIUM, artefacts, browser  # noqa: F401  (fixtures)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]


def wait_for(browser, expression):  # noqa: F811
    deadline = time.monotonic() + 30
    while not browser.evaluate(expression):
        assert time.monotonic() < deadline, expression
        time.sleep(0.1)


def test_the_list_updates_itself_and_a_page_is_drawn_in_its_sandbox(server, folder, results, browser, artefacts):  # noqa: F811
    home = f"http://127.0.0.1:{server.port}/"
    write_page(folder / "tiny", running=True)
    with open(folder / "tiny" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for width, scheme in ((1400, "light"), (390, "dark")):
            browser.open(home, width=width, scheme=scheme)
            browser.screenshot(artefacts / f"sweeps-{width}-{scheme}.png")
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
        browser.evaluate("window.before = true")
        browser.press("Tab")
        assert "running" in browser.evaluate("list.textContent")
        results.sweep(folder / "second")
        wait_for(browser, "list.textContent.includes('second')")
        assert browser.evaluate("window.before")
        assert browser.evaluate("document.activeElement.textContent") == "tiny"
        assert {url.removeprefix(home) for url in browser.requests()} == {"", "sweeps"}
        assert browser.problems() == []

        browser.open(f"{home}sweeps/tiny")
        assert "This sweep is running" in browser.evaluate("document.body.textContent")
        assert browser.evaluate("document.querySelectorAll('.chart svg').length") > 3
        assert browser.problems() == []
        assert browser.evaluate("fetch('/').then(() => 'read', () => 'refused')") == "refused"

    browser.open(home)
    server.close()
    wait_for(browser, "!notice.hidden")
    assert "second" in browser.evaluate("list.textContent")
