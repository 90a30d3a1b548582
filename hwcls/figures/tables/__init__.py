"""Tables for papers: their rows, and LaTeX, Markdown and CSV."""
