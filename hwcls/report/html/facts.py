"""What ran, and what failed, as the page says it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from typing import Any

import yaml

from hwcls.format import format_count, format_duration
from hwcls.results.load import SweepResults


def facts(sweep: SweepResults) -> list[tuple[str, str]]:
    """What ran, as (what, value) lines; what is not on record is left out."""
    settings = sweep.settings
    counts = Counter(trial.status.replace("_", " ") for trial in sweep.trials)
    listed = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    found = [("Trials", f"{len(sweep.trials)} ({listed})" if counts else "none yet")]
    if sweep.confirm:
        found.append(("Confirm runs", str(len(sweep.confirm))))
    budget = [str(settings[key]) + end for key, end in (("run_cap", " trials"), ("budget", "")) if settings.get(key)]
    if budget:
        found.append(
            (
                "Budget",
                ", ".join(budget) + (f", shared by the alternatives of {sweep.compare}" if sweep.compare else ""),
            )
        )
    early = settings.get("early_terminate")
    stop = str(early.get("type", "")) if isinstance(early, Mapping) else ""
    found.append(
        ("Search", ", ".join(filter(None, [str(settings.get("method") or ""), stop, f"{sweep.goal} {sweep.metric}"])))
    )
    runs = [*sweep.trials, *(confirm.run for confirm in sweep.confirm)]
    epochs = format_count(sum(len(run.records) for run in runs), "epoch")
    found.append(("Spent", f"{epochs}, {format_duration(sum(run.seconds for run in runs))} of training"))
    found += _data_facts(sweep.data or {})
    environment = sweep.environment or {}
    for key in ("hardware", "versions"):
        if isinstance(environment.get(key), Mapping):
            found.append(
                (
                    key.capitalize(),
                    ", ".join(
                        f"{name.replace('_', ' ')} {_plain(value)}"
                        for name, value in environment[key].items()
                        if value is not None
                    ),
                )
            )
    for key in ("started", "git"):
        if environment.get(key):
            found.append((key.capitalize(), _plain(environment[key])))
    found += _changes(environment.get("changes"))
    command = environment.get("command")
    if isinstance(command, list):
        found.append(("Command", shlex.join(map(str, command))))
    return found


def _changes(said: object) -> list[tuple[str, str]]:
    """What presets and options set in the sweep file: what ran is then not what the file describes."""
    changes = said if isinstance(said, Mapping) else {}
    return [
        (f"Changed by {where}", "; ".join(f"{key}: {_flow(value)}" for key, value in values.items()))
        for where, values in changes.items()
        if isinstance(values, Mapping)
    ]


def _flow(value: object) -> str:
    """A value as it would stand in the sweep file, on one line."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6).removesuffix("...\n").strip()


def _data_facts(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not data:
        return []
    parts = [str(data.get("name", "?"))]
    parts += [f"{data[split]:,} {split}" for split in ("train", "val", "test") if isinstance(data.get(split), int)]
    classes, per_class = data.get("classes"), data.get("per_class")
    if isinstance(classes, list):
        parts.append(f"{len(classes)} classes")
    found = [("Data", ", ".join(parts))]
    if isinstance(per_class, list) and len(per_class) == 2:
        low, high = per_class
        found.append(("Training images per class", f"{low:,}" if low == high else f"{low:,} to {high:,}"))
    return found


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items() if item is not None)
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def failures(sweep: SweepResults) -> list[dict[str, Any]]:
    """What failed: its name, the error in a line, and the end of error.txt."""
    runs = [(f"trial {trial.number}", trial) for trial in sweep.trials]
    runs += [(f"confirm {confirm.label}, seed {confirm.seed}", confirm.run) for confirm in sweep.confirm]
    failures = []
    for name, run in runs:
        if run.failed:
            file = run.folder / "error.txt"
            try:
                detail = file.read_text("utf-8", errors="replace")[-4000:]
            except OSError:
                detail = ""
            failures.append({"name": name, "label": run.label, "error": run.error, "detail": detail})
    return failures
