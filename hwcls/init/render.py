"""A plan as the text of a sweep file: nested keys, and the reason of each choice as a comment."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hwcls.escape import printable
from hwcls.format import format_duration
from hwcls.init.plan import Choice, Plan

COLUMN, WIDTH = 44, 120  # where comments begin; the longest line

_PLAIN = re.compile(r"(\.{0,2}/)?[A-Za-z_][A-Za-z0-9_./-]*|([0-9]+[hms])+")  # words, paths and times
_NO_TEXT = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")


def render(plan: Plan) -> str:
    """The sweep file."""
    late = f", as {format_duration(plan.asked)} are too short here" if plan.is_late else ""
    about = f"About {format_duration(plan.seconds)}{late}. Every line can be changed; hwcls explain-key explains it."
    lines = [f"# {printable(plan.title)}", f"# {about}"]
    open_keys: list[str] = []
    for choice in plan.choices:
        *above, last = choice.key.split(".")
        shared = 0
        while shared < min(len(above), len(open_keys)) and above[shared] == open_keys[shared]:
            shared += 1
        lines += [f"{'  ' * depth}{above[depth]}:" for depth in range(shared, len(above))]
        open_keys = above
        lines += _entry(choice, last, "  " * len(above))
    return "\n".join(lines) + "\n"


def _entry(choice: Choice, key: str, indent: str) -> list[str]:
    """The lines of one choice: its comment stands right of it, or above where there is no room."""
    text = f"{indent}{'' if choice.active else '# '}{key}: {flow(choice.value)}"
    why = printable(choice.why)
    if not why:
        return [text]
    line = f"{text:{COLUMN}}  # {why}"
    return [line] if len(line) <= WIDTH else [f"{indent}# {why}", text]


def flow(value: Any) -> str:
    """A value in YAML's flow style, on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(part)}" for key, part in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(flow, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value}" if not value or abs(value) >= 0.01 else re.sub(r"\.?0*e([-+])0*", r"e\1", f"{value:e}")
    return _quoted(value) if isinstance(value, str) else str(value)


def _quoted(text: str) -> str:
    """A text as YAML takes it anywhere, in quotes where it is no plain word or path."""
    if _PLAIN.fullmatch(text) and text.lower() not in _NO_TEXT:
        return text
    return json.dumps(text, ensure_ascii=printable(text) != text)
