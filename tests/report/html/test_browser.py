"""report.html in headless Chromium, driven over its debugging pipe: nothing but the browser is needed."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from hwcls.report.html.page import write_page
from tests.results.conftest import write_whole

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]


class Browser:
    """One tab; the protocol is JSON with a zero byte after each message, on the descriptors 3 and 4."""

    def __init__(self, profile):
        to_browser, self.out = os.pipe()
        self.inn, from_browser = os.pipe()

        def connect():
            low, high = os.dup(to_browser), os.dup(from_browser)
            os.dup2(low, 3)
            os.dup2(high, 4)

        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"]
        flags += ["--disable-background-networking", f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            [CHROMIUM, *flags],
            preexec_fn=connect,
            close_fds=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.buffer, self.count, self.session, self.events = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.count:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def read(self):
        while b"\0" not in self.buffer:
            piece = os.read(self.inn, 1 << 16)
            assert piece, "the browser has gone"
            self.buffer += piece
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, path, width=1280, height=900, scheme="light"):
        """Open a file or an address and wait until all charts are drawn; returns the seconds until it could be read."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        begun = time.monotonic()
        self.call("Page.navigate", url=path if isinstance(path, str) else path.as_uri())
        deadline = begun + 30
        while self.evaluate("document.readyState") != "complete" or self.evaluate("location.protocol") == "about:":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        seconds = time.monotonic() - begun
        self.evaluate("typeof drawn === 'undefined' ? 0 : drawn.then(() => 0)")
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))")
        return seconds

    def press(self, key, text=""):
        for kind in ("keyDown", "keyUp"):
            code = {"Enter": 13, "Tab": 9, "End": 35, "Home": 36, "ArrowDown": 40}.get(key, 0)
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, text=text, windowsVirtualKeyCode=code)

    def problems(self):
        """Console errors and uncaught exceptions."""
        errors = []
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                errors.append(params["exceptionDetails"])
            if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                errors.append(params)
            if method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                errors.append(params["entry"])
        return errors

    def requests(self):
        """The addresses that the page asked for."""
        found = [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        return [url for url in found if not url.startswith(("data:", "blob:", "about:"))]

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def close(self):
        os.close(self.out)
        os.close(self.inn)
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory):
    """Where pictures of pages are kept: HWCLS_SCREENSHOTS, or the test session's folder."""
    named = os.environ.get("HWCLS_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def page(results, tmp_path):
    sweep = results.full(tmp_path / "results", name="<b>tiny</b>")
    results.confirm(sweep, "resnet", 0.9)
    results.confirm(sweep, "mlp", 0.7)
    return write_page(sweep.path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A page with everything on it: 40 trials of three alternatives, confirmed, with pictures."""
    path = tmp_path_factory.mktemp("whole")
    return write_page(write_whole(path).path)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """500 trials on 200 classes."""
    path = tmp_path_factory.mktemp("large")
    return write_page(write_whole(path, trials=500, classes=200, images=10_000, epochs=9).path)


def column(browser, name):
    place = f"[...board.tHead.rows[0].cells].findIndex(c => c.textContent.trim() === {json.dumps(name)})"
    return browser.evaluate(f"[...board.tBodies[0].rows].filter(r => !r.hidden).map(r => r.cells[{place}].textContent)")


def borders(browser):
    """The trials that stand under a line between alternatives."""
    place = "[...board.tHead.rows[0].cells].findIndex(c => c.textContent.trim() === 'trial')"
    return browser.evaluate(f"[...board.querySelectorAll('tr.begins')].map(r => r.cells[{place}].textContent)")


def test_colours_follow_a_change_of_theme(browser, page):
    browser.open(page, scheme="light")
    fill = "getComputedStyle(document.querySelector('.chart .legendtext')).fill"
    before = browser.evaluate(fill)
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    browser.evaluate("new Promise(done => setTimeout(() => done(0), 300))")
    assert browser.evaluate(fill) != before
    assert browser.problems() == []


@pytest.mark.parametrize("log", [True, False])
def test_small_numbers_are_written_as_in_a_sweep_file(browser, results, tmp_path, log):
    """A learning rate of 1e-4 is not 100µ."""
    rates = {"min": 1e-5, "max": 1e-3, "log": log}
    space = {"data": {"name": "digits"}, "model": {"name": "mlp"}, "optimizer": {"name": "adam", "lr": rates}}
    sweep = results.sweep(tmp_path / "results", compare=None, parameters=space)
    for number, rate in enumerate([1e-5, 2e-4, 5e-4] if log else [1e-5, 2e-5, 5e-5]):
        results.trial(sweep.trial(number), [0.5 + number / 10], lr=rate)
    browser.open(write_page(sweep.path))
    texts = browser.evaluate("[...document.querySelectorAll('#chart-slice-0 .xtick text')].map(t => t.textContent)")
    assert ("1e−4" if log else "0.00002") in texts
    assert "μ" not in "".join(texts)


def test_the_leaderboard_is_sorted_by_keyboard(browser, page):
    browser.open(page)
    assert column(browser, "trial") == ["1", "4", "0", "2", "5", "3"]
    assert borders(browser) == []
    browser.evaluate("document.getElementById('grouped').click()")
    assert column(browser, "trial") == ["4", "0", "2", "1", "5", "3"]  # by alternative, the better on test first
    assert borders(browser) == ["1"]
    browser.evaluate("document.getElementById('grouped').click()")
    browser.evaluate("board.closest('.scroll').focus()")
    for _ in range(5):  # over rank, model and the metrics on validation and test to the trial
        browser.press("Tab")
    assert browser.evaluate("document.activeElement.textContent") == "trial"
    browser.press("Enter", "\r")
    assert column(browser, "trial") == ["0", "1", "2", "3", "4", "5"]
    assert browser.evaluate("document.activeElement.parentElement.getAttribute('aria-sort')") == "ascending"
    browser.press("Enter", "\r")
    assert column(browser, "trial") == ["5", "4", "3", "2", "1", "0"]
    browser.evaluate("[...board.querySelectorAll('th button')].find(b => b.textContent === 'val/accuracy').click()")
    assert column(browser, "val/accuracy") == ["0.2000", "0.3000", "0.7000", "0.7200", "0.9000", "–"]
    assert browser.evaluate("board.querySelectorAll('[aria-sort]').length") == 1


def test_alternatives_stay_together_when_sorted_and_filtered(browser, page):
    browser.open(page)
    browser.evaluate("document.getElementById('grouped').click()")
    browser.evaluate("[...board.querySelectorAll('th button')].find(b => b.textContent === 'trial').click()")
    assert column(browser, "trial") == ["0", "2", "4", "1", "3", "5"]
    assert borders(browser) == ["1"]
    browser.evaluate("document.getElementById('filter').value = 'unfinished'")
    browser.evaluate("document.getElementById('filter').dispatchEvent(new Event('input'))")
    assert column(browser, "trial") == ["4", "5"]
    assert borders(browser) == ["5"]
    assert browser.problems() == []


def test_the_filter_hides_rows_and_says_how_many(browser, page):
    browser.open(page)
    browser.evaluate("document.getElementById('filter').focus()")
    for letter in "mlp comp":
        browser.press(letter, letter)
    assert column(browser, "trial") == ["1"]
    assert browser.evaluate("document.getElementById('count').textContent") == "1 of 6"


def test_columns_are_shown_and_hidden(browser, page):
    browser.open(page)
    shown = "[...board.tHead.rows[0].cells].filter(c => c.offsetWidth).map(c => c.textContent)"
    assert browser.evaluate(shown) == ["rank", "model", "val/accuracy", "test/accuracy", "trial", "lr"]
    box = "[...document.querySelectorAll('#columns label')].find(l => l.textContent.trim() === 'status')"
    browser.evaluate(f"{box}.querySelector('input').click()")
    assert "status" in browser.evaluate(shown)
    assert browser.evaluate("document.querySelector('.chooser summary').textContent") == "Columns: 7 of 15 shown"
    browser.evaluate(f"{box}.querySelector('input').click()")
    assert "status" not in browser.evaluate(shown)


@pytest.mark.parametrize("width", [1400, 390])
def test_the_leaderboard_fits_and_its_first_columns_stay(browser, whole, width):
    browser.open(whole, width=width)
    box = "board.closest('.scroll')"
    assert width == 390 or browser.evaluate(f"{box}.scrollWidth <= {box}.clientWidth")
    browser.evaluate("document.querySelectorAll('#columns input').forEach(box => box.checked || box.click())")
    lefts = "[...board.tBodies[0].rows[0].cells].slice(0, 3).map(c => Math.round(c.getBoundingClientRect().left))"
    before = browser.evaluate(lefts)
    browser.evaluate(f"{box}.scrollLeft = 150")
    after = browser.evaluate(lefts)
    assert after[:2] == before[:2]
    assert after[2] == before[2] - 150


def test_the_contents_list_stays_and_folds_on_a_phone(browser, whole):
    browser.open(whole, width=1400)
    browser.evaluate("document.getElementById('reproduce').scrollIntoView()")
    top = "Math.round(document.querySelector('nav').getBoundingClientRect().top)"
    assert browser.evaluate("document.getElementById('contents').open")
    assert browser.evaluate(top) == 0
    browser.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))")
    assert browser.evaluate("document.querySelector('nav a[aria-current]').textContent") == "Reproduce"
    browser.open(whole, width=390)
    assert not browser.evaluate("document.getElementById('contents').open")
    browser.evaluate("document.getElementById('search').scrollIntoView()")
    assert browser.evaluate(top) == 0
    assert browser.evaluate("document.querySelector('nav').offsetHeight") < 60


def test_on_a_phone_tables_begin_with_the_metric_and_fit(browser, page):
    browser.open(page, width=390)
    table = "document.querySelector('[aria-labelledby=alternatives] table')"
    shown = f"[...{table}.tHead.rows[0].cells].filter(c => c.offsetWidth).map(c => c.textContent)"
    assert browser.evaluate(shown) == ["model", "on test", "95 % interval", "val/accuracy"]
    wide = "[...document.querySelectorAll('.folds')].filter(e => e.scrollWidth > e.clientWidth)"
    wide += ".map(e => e.getAttribute('aria-labelledby') ?? e.getAttribute('aria-label'))"
    assert browser.evaluate(wide) == []
    browser.evaluate(f"{table}.closest('.folds').previousElementSibling.querySelector('input').click()")
    assert browser.evaluate(shown)[4:6] == ["trial", "search leader"]
    browser.open(page, width=1280)
    assert browser.evaluate(shown)[:4] == ["model", "on test", "95 % interval", "val/accuracy"]
    assert len(browser.evaluate(shown)) == 12
    assert browser.evaluate("document.querySelector('.more').offsetWidth") == 0


@pytest.mark.parametrize("width", [1400, 390])
def test_the_ticks_of_dots_are_apart(browser, page, width):
    browser.open(page, width=width)
    ends = browser.evaluate(
        "[...document.querySelectorAll('.dots tfoot svg')].map(s => [...s.querySelectorAll('text')]"
        ".map(t => t.getBoundingClientRect()).filter(r => r.width).map(r => [r.left, r.right]))"
    )
    assert ends
    assert all(len(one) > 1 for one in ends)
    assert all(right + 2 < left for one in ends for (_, right), (left, _) in itertools.pairwise(one))


def test_commands_are_copied_by_keyboard(browser, page):
    browser.open(page)
    browser.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    line = browser.evaluate("document.querySelector('.commands code').textContent")
    assert line.startswith("hwcls ")
    browser.evaluate("document.querySelector('.commands button').focus()")
    browser.press("Enter", "\r")
    browser.evaluate("new Promise(done => setTimeout(() => done(0), 200))")
    assert browser.evaluate("navigator.clipboard.readText()") == line
    assert browser.evaluate("copied.textContent") == f"Copied: {line}"
    count = "document.querySelectorAll('.commands {}').length"
    assert browser.evaluate(count.format("button")) == browser.evaluate(count.format("code"))


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_everything_is_drawn(browser, whole, artefacts, width, scheme):
    browser.open(whole, width=width, scheme=scheme)
    browser.evaluate("document.querySelectorAll('main details').forEach(one => { one.open = true; })")
    browser.evaluate("new Promise(done => setTimeout(() => done(0), 1000))")  # folds draw when they are opened
    assert browser.problems() == []
    assert browser.requests() == [whole.as_uri()]
    drawn = browser.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.chart')].map(c => {"
        " const b = c.querySelector('.plotly .plot-container, .svg-container, svg.main-svg').getBoundingClientRect();"
        " const marks = 'path.js-line, .bars path, .heatmaplayer image, .points path';"
        " return [c.id.slice(6), [b.width, b.height, c.querySelectorAll(marks).length]]; }))"
    )
    wanted = {"metric", "loss", "progress", "after", "parallel", "importance", "pareto-parameters", "pareto-seconds"}
    wanted |= {"pareto-inference_ms", "spent", "roc", "calibration", "gradients", "confusion"}
    wanted |= {"slice-0"}
    wanted |= {"roc-classes-0", "roc-classes-1", "roc-classes-2"}
    assert set(drawn) == wanted
    assert all(w > 200 and h > 150 and marks > 0 for w, h, marks in drawn.values()), drawn
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("[...document.images].every(i => i.src.startsWith('data:'))")
    loaded = "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))"
    assert min(browser.evaluate(loaded)) >= 8
    ink = browser.evaluate("getComputedStyle(document.querySelector('.chart .legendtext')).fill")
    assert (sum(map(int, ink.strip("rgb()").split(","))) > 380) == (scheme == "dark")
    named = "[...document.querySelectorAll('#chart-parallel .xtick text')].filter(t => t.getBBox().width).length"
    assert browser.evaluate(named) == len(browser.evaluate("figures.parallel.layout.xaxis.ticktext"))
    lefts = "[...document.querySelectorAll('#chart-parallel .xtick text')].map(t => t.getBoundingClientRect().left)"
    assert min(browser.evaluate(lefts)) >= browser.evaluate("document.getElementById('chart-parallel').offsetLeft")
    outside = (
        "[...document.querySelectorAll('.chart')].flatMap(c => {const own = c.getBoundingClientRect();"
        " return [...c.querySelectorAll('.xtitle, .ytitle')].filter(t => {const r = t.getBoundingClientRect();"
        " return r.left < own.left || r.right > own.right || r.top < own.top || r.bottom > own.bottom;})"
        ".map(t => t.textContent)})"
    )
    assert browser.evaluate(outside) == []
    browser.screenshot(artefacts / f"whole-{width}-{scheme}.png")


def test_it_prints_light_and_complete(browser, whole, artefacts):
    """From a dark screen: the charts' own ink is that of the paper, and no list is cut off."""
    browser.open(whole, scheme="dark")
    browser.evaluate(
        "(window.inks = [], addEventListener('afterprint', () => 0), addEventListener('beforeprint', () => "
        "inks.push(getComputedStyle(document.querySelector('.chart .legendtext')).fill)))"
    )
    sheet = base64.b64decode(browser.call("Page.printToPDF", printBackground=True)["data"])
    (artefacts / "whole.pdf").write_bytes(sheet)
    assert len(re.findall(rb"/Type\s*/Page\b", sheet)) > 5
    (ink,) = browser.evaluate("inks")
    assert sum(map(int, ink.strip("rgb()").split(","))) < 380, ink
    browser.call("Emulation.setEmulatedMedia", media="print")
    cut = "[...document.querySelectorAll('.scroll, .pairs')].filter(e => e.scrollHeight > e.clientHeight + 2).length"
    assert browser.evaluate(cut) == 0
    browser.call("Emulation.setEmulatedMedia", media="")


def test_every_chart_has_a_text_alternative(browser, whole):
    browser.open(whole)
    told = browser.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.chart[aria-describedby]')].map(c => "
        "[c.id.slice(6), document.getElementById(c.getAttribute('aria-describedby')).textContent]))"
    )
    assert set(browser.evaluate("Object.keys(figures)")) <= set(told)
    assert all(len(words) > 20 for words in told.values()), told
    assert "highest" in told["metric"]


def test_a_box_over_an_axis_keeps_the_trials_that_pass_there(browser, whole):
    browser.open(whole, width=1400)
    browser.evaluate("parallel.scrollIntoView()")
    place = "(({left, top}, {_fullLayout: {xaxis, yaxis}}) => [left + xaxis._offset + xaxis.d2p(1),"
    place += " top + yaxis._offset + yaxis.d2p(0.5), top + yaxis._offset + yaxis.d2p(1.05)])"
    x, middle, high = browser.evaluate(f"{place}(parallel.getBoundingClientRect(), parallel)")
    button = {"button": "left", "buttons": 1, "clickCount": 1}
    browser.call("Input.dispatchMouseEvent", type="mousePressed", x=x - 12, y=high, **button)
    for step in (x, x + 12):
        browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=step, y=middle, **button)
    browser.call("Input.dispatchMouseEvent", type="mouseReleased", x=x + 12, y=middle, **button)
    browser.evaluate("new Promise(done => setTimeout(() => done(0), 500))")
    told = browser.evaluate("parallel.closest('figure').querySelector('[role=status]').textContent")
    kept, total = map(int, re.match(r"(\d+) of (\d+) trials pass the marked ranges", told).groups())
    assert 0 < kept < total == 40
    lines = "parallel.data.filter(t => t.mode === 'lines' && t.opacity === undefined)"
    heights = browser.evaluate(f"{lines}.flatMap(t => t.y.filter((_, at) => t.x[at] === 1))")
    assert len(heights) == kept
    assert min(heights) > 0.45


def test_trials_are_kept_by_a_list_without_a_mouse(browser, whole):
    browser.open(whole, width=390)
    own = "parallel.closest('figure')"
    browser.evaluate(f"{own}.querySelector('details').open = true")
    names = browser.evaluate(f"[...{own}.querySelectorAll('label')].map(l => l.firstChild.textContent)")
    assert names == browser.evaluate("figures.parallel.layout.xaxis.ticktext")
    select, clear = f"{own}.querySelector('select')", f"{own}.querySelector('figure > button')"
    browser.evaluate(f"{select}.focus()")
    browser.press("ArrowDown")
    assert browser.evaluate(f"{select}.selectedOptions[0].textContent") == "cnn"
    told = browser.evaluate(f"{own}.querySelector('[role=status]').textContent")
    kept, total = map(int, re.match(r"(\d+) of (\d+) trials pass", told).groups())
    assert 0 < kept < total == 40
    assert browser.evaluate(f"{clear}.offsetHeight") > 0
    browser.evaluate(f"{clear}.click()")
    assert browser.evaluate(f"[{clear}.hidden, {select}.value]") == [True, ""]
    assert browser.problems() == []


def test_the_slider_goes_through_the_epochs(browser, whole):
    browser.open(whole)
    shown = "JSON.stringify(document.getElementById('chart-confusion').data[0].z)"
    said = "document.getElementById('matrix-now').textContent"
    assert browser.evaluate(said).endswith("(best)")
    browser.evaluate("document.getElementById('matrix-epoch').focus()")
    browser.press("Home")
    first, first_said = browser.evaluate(shown), browser.evaluate(said)
    browser.press("End")
    last, last_said = browser.evaluate(shown), browser.evaluate(said)
    assert first != last
    assert (first_said.split()[0], last_said.split()[0]) == ("1", "4")
    told = json.loads(browser.evaluate("document.getElementById('confusions').textContent"))
    model = told["models"][0]
    counts = browser.evaluate("document.getElementById('chart-confusion').data[0].text")
    stored = [[""] * 10 for _ in range(10)]
    final = model["epochs"][-1]
    for row, col, count in zip(final["row"], final["col"], final["count"], strict=True):
        stored[row][col] = count
    assert counts == stored
    browser.evaluate("document.getElementById('matrix-model').value = '1'")
    browser.evaluate("document.getElementById('matrix-model').dispatchEvent(new Event('change'))")
    assert browser.evaluate(shown) != last
    assert browser.problems() == []


def test_the_classes_are_sorted(browser, whole):
    browser.open(whole)
    table = "document.querySelector('table.sortable')"
    names = f"[...{table}.tBodies[0].rows].map(r => r.cells[0].textContent)"
    scores = f"[...{table}.tBodies[0].rows].map(r => Number(r.cells[4].textContent))"
    heading = f"{table}.tHead.rows[0].cells[4].querySelector('button')"
    before = browser.evaluate(names)
    browser.evaluate(f"{heading}.click()")
    assert browser.evaluate(scores) == sorted(browser.evaluate(scores), reverse=True)
    browser.evaluate(f"{heading}.click()")
    assert browser.evaluate(scores) == sorted(browser.evaluate(scores))
    browser.evaluate(f"{table}.tHead.rows[0].cells[0].querySelector('button').click()")
    assert browser.evaluate(names) == sorted(before)


def test_two_hundred_classes_and_five_hundred_trials(browser, large, artefacts):
    assert large.stat().st_size < 8e6
    seconds = min(browser.open(large) for _ in range(2))
    assert browser.problems() == []
    assert browser.evaluate("document.querySelectorAll('#board tbody tr').length") == 501
    ticks = browser.evaluate("document.getElementById('chart-confusion').layout.xaxis.tickvals.length")
    assert ticks <= 32
    browser.evaluate(
        "Plotly.relayout('chart-confusion', {'xaxis.range': [9.5, 19.5], 'yaxis.range': [19.5, 9.5]}).then(() => 0)"
    )
    browser.evaluate("new Promise(done => setTimeout(() => done(0), 300))")
    assert browser.evaluate("document.getElementById('chart-confusion').layout.xaxis.tickvals") == list(range(10, 20))
    browser.screenshot(artefacts / "large.png")
    assert seconds < 3


def test_a_small_page_opens_in_a_second(browser, whole):
    assert whole.stat().st_size < 2e6
    assert min(browser.open(whole) for _ in range(3)) < 1


def test_an_empty_sweep_opens_without_an_error(browser, results, tmp_path):
    results.sweep(tmp_path)
    browser.open(write_page(tmp_path))
    assert browser.problems() == []
    assert "No trial has started yet." in browser.evaluate("document.body.innerText")
