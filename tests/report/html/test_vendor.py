"""The vendored plotly.js: its version, its licence, and the traces that the charts use."""

from hwcls.report.html.page import PLOTLY


def test_the_readme_names_the_version():
    header = PLOTLY.read_text("utf-8")[:400]
    version = header.split("(cartesian - minified) v")[1].split()[0]
    assert f"`plotly.js-cartesian-dist-min` {version}," in (PLOTLY.parent / "README.md").read_text("utf-8")
    assert "MIT license" in header
    assert (PLOTLY.parent / "plotly.js.LICENSE.txt").read_text("utf-8").startswith("MIT License")


def test_it_cannot_end_its_script_element():
    assert "</script" not in PLOTLY.read_text("utf-8").lower()
