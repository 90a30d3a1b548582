"""What trackers show of a sweep as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hwcls.format import format_interval, format_number, name_metric
from hwcls.results.answer import describe_answer, name_alternative
from hwcls.results.compare import build_alternatives
from hwcls.results.confirm.plan import confirm_label
from hwcls.results.load import SweepResults
from hwcls.results.settings.marginal_effects import log_settings, trials_with_value, varied_settings
from hwcls.results.test_comparison import compare_confirmed
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.tracker import Axis, SweepSummary


def summarize_sweep(found: SweepResults, project: str, page: Path | None = None) -> SweepSummary:
    """The summary of a sweep; `page` is its report.html."""
    logs = log_settings(found)
    return SweepSummary(
        sweep=SweepFolder(found.folder).name,
        project=project,
        metric=found.metric,
        goal=found.goal,
        settings=[Axis(name, name in logs) for name in varied_settings(trials_with_value(found))],
        answer=describe_answer(found),
        alternatives=_tabulate(found) if found.compare else (),
        page=page,
    )


def _tabulate(found: SweepResults) -> list[dict[str, Any]]:
    """A row for each alternative, in words."""
    confirmed = compare_confirmed(found)
    rows = []
    for row in build_alternatives(found):
        label = confirm_label(row["label"])
        value = None if row["value"] is None else f"{format_number(row['value'])} (trial {row['trial']})"
        cells = {
            "alternative": name_alternative(found, row["label"]),
            "trials": row["trials"],
            f"best {found.metric}": value or "",
        }
        if confirmed:
            known = label in confirmed.labels
            test = format_interval(confirmed.metric, confirmed.estimate(label)) if known else ""
            cells[f"{name_metric(confirmed.metric)} on test"] = test
        rows.append(cells)
    return rows
