"""How Sphinx builds these pages: `sphinx-build -W -n docs /tmp/site`. Nothing is loaded from the network."""

from docutils import nodes
from sphinx.application import Sphinx

project = "hwcls"
copyright = "The hwcls developers"
extensions = ["myst_parser"]
exclude_patterns = ["generate"]
suppress_warnings = ["myst.header"]  # a page may begin below a level
myst_heading_anchors = 4  # `page.md#a-heading` is checked
highlight_language = "text"
html_theme = "furo"
html_title = "hwcls"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
smartquotes = False  # options are written with two hyphens
SENTENCE = 26  # characters of a cell, from which it is not a number or a name


def mark_sentences(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Mark long cells, and repeat the headings of their tables in them: on a phone site.css shows a row as a block."""
    for table in doctree.findall(nodes.table):
        head, *rows = [list(row.children) for row in table.findall(nodes.row)]
        long = [cell for row in rows for cell in row[1:] if len(cell.astext()) >= SENTENCE]
        for marked in [table, *long] if long else []:
            marked["classes"].append("sentence")
        for heading, cell in ((head[i].astext(), row[i]) for row in rows for i in range(1, len(head)) if long):
            if heading and cell.astext():
                cell[0].insert(0, nodes.inline("", f"{heading}: ", classes=["heading"]))


def setup(app: Sphinx) -> None:
    app.connect("doctree-resolved", mark_sentences)
