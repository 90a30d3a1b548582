"""A saved W&B report: the answer of a sweep in words, its alternatives as a table, and charts of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hwcls import files
from hwcls.errors import UserError, install_extra
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.tracker import SweepSummary
from hwcls.tracking.wandb.environment import project_name
from hwcls.tracking.wandb.login import require_login
from hwcls.tracking.wandb.workspace import curve_panels, find_entity, load_saved, runs_of, search_panels

TITLE_LENGTH = 128  # of a report at most


def save_report(folder: SweepFolder, summary: SweepSummary, entity: str | None = None) -> str:
    """Save the report of a sweep, in place of the one saved before; returns its address.

    Args:
        folder: The sweep's folder.
        summary: What is reported.
        entity: The user or team that owns it; None: that of the sweep's runs.

    Raises:
        UserError: wandb-workspaces is not installed, no good credentials, or W&B refuses.
    """
    try:
        from wandb_workspaces.reports import v2
    except ImportError:
        remedy = install_extra("workspace")
        raise UserError("wandb-workspaces is not installed", where="hwcls wandb report", remedy=remedy) from None
    require_login()
    project, known = project_name(summary.project), folder.path / "wandb" / "report.json"
    try:
        owner = find_entity(folder, entity)
        report = load_saved(v2.Report, known, project, owner)
        if report is None:
            title = f"hwcls {summary.sweep}"[:TITLE_LENGTH]
            report = v2.Report(project=project, entity=owner, title=title)
        report.description = summary.answer
        report.blocks = _blocks(v2, summary, owner, project)
        report.save()
        url = str(report.url)
    except UserError:
        raise
    except Exception as error:  # of requests or wandb, or a project without access
        remedy = f"can you see the project '{project}' in the browser? It is created by its first online run"
        raise UserError(f"W&B did not take the report: {error}", remedy=remedy) from None
    files.write_json(known, {"url": url})
    return url


def _blocks(v2: Any, summary: SweepSummary, entity: str, project: str) -> list[Any]:
    runs = v2.Runset(
        entity=entity,
        project=project,
        name=summary.sweep,
        filters=runs_of(summary),
        order=[v2.OrderBy(v2.SummaryMetric(f"best/{summary.metric}"), ascending=summary.goal == "minimize")],
    )
    blocks = [v2.P(summary.answer)]
    if summary.alternatives:
        blocks += [v2.H2("Alternatives"), v2.MarkdownBlock(_table(summary.alternatives))]
    blocks += [v2.H2("Curves"), v2.PanelGrid(runsets=[runs], panels=curve_panels(summary))]
    return [*blocks, v2.H2("Search"), v2.PanelGrid(runsets=[runs], panels=search_panels(summary))]


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the same columns as a table in Markdown."""

    def line(cells: Sequence[Any]) -> str:
        return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"

    names = list(rows[0])
    return "\n".join([line(names), line(["---"] * len(names)), *(line([row[name] for name in names]) for row in rows)])
