"""How Sphinx builds these pages: `sphinx-build -W -n docs /tmp/site`. Nothing is loaded from the network."""

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
