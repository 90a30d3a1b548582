"""The list of all sweeps as a page that keeps itself up to date."""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hwcls.format import format_age, format_cell, format_count
from hwcls.report.html.page import HERE, build_environment
from hwcls.report.serve.library import ListedSweep
from hwcls.report.terminal.sweeps import describe_confirm_runs, describe_started, describe_trials

if TYPE_CHECKING:
    from jinja2 import Environment

SCRIPT = (HERE / "scripts" / "sweeps.js").read_text("utf-8")
SCRIPT_HASH = f"'sha256-{base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()}'"  # for the CSP
PAGES = "/sweeps/"  # the path of each page, before the quoted name of its sweep


def render_index(folder: str, rows: Sequence[ListedSweep]) -> str:
    """The whole page; all text that comes from the sweeps is escaped."""
    return _environment().get_template("sweeps.html.jinja").render(folder=folder, script=SCRIPT, **_values(rows))


def render_list(rows: Sequence[ListedSweep]) -> str:
    """The part of the page that changes."""
    return _environment().get_template("sections/sweeps.jinja").render(_values(rows))


def page_path(name: str) -> str:
    """The path of a sweep's page, whatever its name."""
    return PAGES + quote(os.fsencode(name), safe="")


@functools.cache
def _environment() -> Environment:
    return build_environment()


def _values(rows: Sequence[ListedSweep]) -> dict[str, Any]:
    running = sum(row.summary.running for row in rows)
    count = format_count(len(rows), "sweep")
    return {
        "count": f"{count}, {running} running" if running else count,
        "rows": [_row(row) for row in rows],
        "time": time.strftime("%H:%M:%S"),
    }


def _row(row: ListedSweep) -> dict[str, Any]:
    one = row.summary
    best = None if one.best is None else f"{one.metric} {format_cell(one.metric, one.best.value)}"
    return {
        "name": one.name,
        "page": page_path(one.name) if one.readable else None,
        "state": one.state,
        "progress": one.progress,
        "trials": describe_trials(one.progress),
        "started": describe_started(one.progress),
        "confirm": describe_confirm_runs(one.progress),
        "best": best,
        "best_trial": one.best and one.best.number,
        "answer": one.answer,
        "written": "" if one.written is None else format_age(time.time() - one.written),
        "wandb": row.wandb,
        "mlflow": row.mlflow,
        "commands": row.commands,
    }
