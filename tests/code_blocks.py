"""The code blocks of README.md, CONTRIBUTING.md and docs/, each with the reason if it is not run."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
REASON = re.compile(r"<!-- not run: (.+?) -->")


class Block(NamedTuple):
    """A fenced or indented block."""

    page: str  # relative to the repository
    line: int  # of its first line, from 1
    info: str  # what stands behind the fence; "" for an indented block
    text: str
    reason: str | None  # of the comment `<!-- not run: ... -->` above it

    @property
    def language(self) -> str:
        """The first word of `info`."""
        return self.info.split()[0] if self.info.strip() else ""

    @property
    def where(self) -> str:
        """As an editor finds it."""
        return f"{self.page}:{self.line}"


@cache
def blocks_of(path: Path) -> list[Block]:
    """The blocks of a page, in order."""
    found, reason = [], None
    for token in MarkdownIt().parse(path.read_text("utf-8")):
        if token.type in ("fence", "code_block"):
            page, line = path.relative_to(ROOT).as_posix(), token.map[0] + 1
            found.append(Block(page, line, token.info, token.content, reason))
        comment = REASON.fullmatch(token.content.strip()) if token.type == "html_block" else None
        reason = comment[1] if comment else None
    return found


def all_blocks(*languages: str) -> list[Block]:
    """The blocks of all pages, or of these languages."""
    found = [block for path in PAGES for block in blocks_of(path)]
    return [block for block in found if block.language in languages or not languages]


def commands_in(block: Block) -> list[str]:
    """The lines of a shell block, without comments; lines that go on are one."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [command for line in lines if (command := re.split(r"(?:^|\s{2,})#", line)[0].strip())]
