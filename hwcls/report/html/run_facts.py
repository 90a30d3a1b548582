"""What was run and what failed, as lines of text."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections import Counter
from collections.abc import Mapping
from typing import Any

import yaml

from hwcls.data.augment.defaults import describe_augment, spell_out_recorded
from hwcls.errors import UserError
from hwcls.format import format_count, format_duration, hide_private, hide_private_word
from hwcls.report.html.data_facts import Facts, collect_data_facts
from hwcls.results.confirm.describe import describe_missing, describe_runs
from hwcls.results.confirm.search_end import read_limits, untrainable
from hwcls.results.load import SweepResults
from hwcls.results.notes.changes import describe_left_out, describe_outdated, list_changes
from hwcls.tracking.folders import TrialFolder


def collect_facts(sweep: SweepResults) -> Facts:
    """The sweep's settings, cost, data and environment; what is not recorded is left out."""
    environment = sweep.environment or {}
    return [
        *_trial_facts(sweep),
        *_search_facts(sweep),
        *_cost_facts(sweep),
        *collect_data_facts(sweep.data or {}, sweep.folder),
        *_augment_facts(sweep),
        *_feature_facts(environment.get("features")),
        *_effective_facts(environment.get("effective")),
        *_gpu_share_facts(environment.get("gpu_share")),
        *_environment_facts(environment),
        *_change_facts(environment.get("changes")),
        *((f"Changed at {when}", text) for when, text in list_changes(sweep)),
        *_command_facts(environment.get("command")),
    ]


def collect_failures(sweep: SweepResults, most: int) -> list[dict[str, Any]]:
    """The first runs that failed, so many at most: name, error in one line, and the end of error.txt."""
    runs = [(f"trial {trial.number}", trial) for trial in sweep.trials]
    runs += [(f"confirm {confirm.label}, seed {confirm.seed}", confirm.run) for confirm in sweep.confirm]
    failures = []
    for name, run in [(name, run) for name, run in runs if run.failed][:most]:
        file = run.folder / "error.txt"
        try:
            detail = file.read_text("utf-8", errors="replace")[-4000:]
        except OSError:
            detail = ""
        failures.append({"name": name, "label": run.label, "error": run.error, "detail": detail})
    return failures


def _trial_facts(sweep: SweepResults) -> Facts:
    counts = Counter(trial.status.replace("_", " ") for trial in sweep.trials)
    by_status = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    found = [("Trials", f"{len(sweep.trials)} ({by_status}){_describe_repeats(sweep)}" if counts else "none yet")]
    if count := untrainable(sweep):
        more = f"{format_count(count, 'more trial')}, whose settings cannot be trained together"
        found.append(("Not run", f"{more}: the alternative that drew them shows fewer trials"))
    found += [("Left out", text) for text in describe_left_out(sweep)]
    facts = (
        ("Confirm runs", describe_runs(sweep)),
        ("Missing confirm runs", describe_missing(sweep)),
        ("Confirm runs left out", describe_outdated(sweep)),
    )
    return [*found, *((name, text) for name, text in facts if text)]


def _describe_repeats(sweep: SweepResults) -> str:
    """How many trials repeat the settings of another one, as they do in a small search space."""
    drawn = [json.dumps(trial.parameters, sort_keys=True, default=str) for trial in sweep.trials if trial.parameters]
    more = len(drawn) - len(set(drawn))
    return f", {more} of them with the settings of another one, on a further seed" if more else ""


def _search_facts(sweep: SweepResults) -> Facts:
    cap, (_, budget), found = sweep.settings.get("run_cap"), read_limits(sweep), []
    limits = [format_count(cap, "trial")] if isinstance(cap, int) and cap else []
    limits += [format_duration(budget)] if budget else []
    if limits:
        shared = f", shared by the alternatives of {sweep.compare}" if sweep.compare else ""
        found.append(("Budget", ", ".join(limits) + shared))
    parts = [str(sweep.settings.get("method") or ""), sweep.stopping or "", f"{sweep.goal} {sweep.metric}"]
    return [*found, ("Search", ", ".join(filter(None, parts)))]


def _cost_facts(sweep: SweepResults) -> Facts:
    runs = [*sweep.trials, *(confirm.run for confirm in sweep.confirm)]
    runs += [run for one in sweep.left_out for run in (one.trial, *(confirm.run for confirm in one.confirm))]
    epochs = format_count(sum(len(run.records) for run in runs), "epoch")
    return [("Cost", f"{epochs}, {format_duration(sum(run.seconds for run in runs))} of training")]


def _effective_facts(effective: object) -> Facts:
    """What the machine and the space decided at the last start."""
    if not isinstance(effective, Mapping):
        return []
    found, rungs = effective.get("resources"), effective.get("rungs")
    resources = [("Resources of a trial", _flatten(found).replace("_", " "))] if isinstance(found, Mapping) else []
    early = effective.get("early_terminate")
    pauses = isinstance(early, Mapping) and early.get("rule") == "promotion"
    what = "Trials pause, and the best go on, at epochs" if pauses else "Early stopping at epochs"
    stopping = [(what, _flatten(rungs))] if isinstance(rungs, list) and rungs else []
    return resources + stopping


def _gpu_share_facts(share: object) -> Facts:
    """Why so many trials share a GPU, where it was measured."""
    return [("Trials on a GPU", str(share["reason"]))] if isinstance(share, Mapping) and "reason" in share else []


def _augment_facts(sweep: SweepResults) -> Facts:
    """The augmentation of each data set and alternative of `augment`, from the config of its first trial."""
    firsts = {(t.parameters.get("data"), t.parameters.get("augment")): t for t in reversed(sweep.trials)}
    searched = sorted({name for t in sweep.trials for name in t.parameters if name.startswith("augment_")})
    words = []
    for (data, label), trial in sorted(firsts.items(), key=str):
        with contextlib.suppress(UserError, ValueError, TypeError, KeyError):
            augment = spell_out_recorded(TrialFolder(trial.folder).settings())["data"]["augment"]
            fixed = {name: value for name, value in augment.items() if f"augment_{name}" not in searched}
            words.append(": ".join([*(str(part) for part in (data, label) if part), describe_augment(fixed)]))
    more = f"; searched: {', '.join(name.removeprefix('augment_') for name in searched)}" if searched else ""
    return [("Augmentation", "; ".join(words) + more)] if words else []


def _feature_facts(features: object) -> Facts:
    """Which features of frozen backbones were computed once, before the first trial, and how long that took."""
    if not isinstance(features, Mapping) or not isinstance(features.get("of"), list):
        return []
    words = []
    for one in features["of"]:
        if isinstance(one, Mapping) and isinstance(one.get("images"), int):
            size, views = one.get("image_size"), one.get("views")
            text = f"of {format_count(one['images'], 'image')} by {one.get('backbone')}"
            text += f" at {size} x {size}" if size else ""
            text += f", {views} views of each training image" if isinstance(views, int) and views > 1 else ""
            words.append(f"{text} (weights from {one['weights']})" if one.get("weights") else text)
    seconds = features.get("seconds")
    took = "by an earlier sweep"  # so that they were there
    if isinstance(seconds, int | float) and seconds >= 1:
        took = f"in {format_duration(seconds)}"
    return [("Features", f"{'; '.join(words)}: computed once, {took}, and shared by all trials")] if words else []


def _environment_facts(environment: Mapping[str, Any]) -> Facts:
    found = []
    for key in ("hardware", "versions"):
        if isinstance(environment.get(key), Mapping):
            known = [(name, value) for name, value in environment[key].items() if value is not None]
            words = ", ".join(
                "no GPU" if name == "gpus" and not value else f"{name.replace('_', ' ')} {_flatten(value)}"
                for name, value in known
            )
            found.append((key.capitalize(), words))
    started, git = environment.get("started"), environment.get("git")
    found += [("Started", _flatten(started))] if started else []
    return found + ([("Git", _describe_git(git))] if git else [])


def _describe_git(git: object) -> str:
    """The commit of the folder that the sweep was started in, and whether files differed from it."""
    if not isinstance(git, Mapping):
        return str(git)
    words = [f"{key} {_flatten(value)}" for key, value in git.items() if not isinstance(value, bool)]
    changes = [
        f"{'with' if value else 'without'} uncommitted changes" for value in git.values() if isinstance(value, bool)
    ]
    return ", ".join(words + changes)


def _change_facts(changes: object) -> Facts:
    """What presets and options changed in the sweep file."""
    sources = changes if isinstance(changes, Mapping) else {}
    return [
        (
            f"Changed by {source}",
            "; ".join(f"{key}: {_one_line_yaml(hide_private(value, key))}" for key, value in values.items()),
        )
        for source, values in sources.items()
        if isinstance(values, Mapping)
    ]


def _command_facts(command: object) -> Facts:
    """Credentials are hidden here, too: earlier versions recorded them."""
    return [("Command", shlex.join(map(hide_private_word, map(str, command))))] if isinstance(command, list) else []


def _one_line_yaml(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6).removesuffix("...\n").strip()


def _flatten(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_flatten(item)}" for key, item in value.items() if item is not None)
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)
