"""The confirm runs in sentences: which did what, which are missing, and how often the verdict was looked at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from hwcls.format import format_count, format_interval, join_words
from hwcls.results.confirm.missing import MissingRun, confirm_command, count_asked, find_missing, resume_command
from hwcls.results.confirm.out_of_fold import find_out_of_fold, summarize_out_of_fold
from hwcls.results.confirm.plan import (
    confirm_label,
    confirm_metric,
    find_splits,
    point_runs,
    reports_on_picks,
    winner_runs,
)
from hwcls.results.load import PICK, SweepResults
from hwcls.results.representatives import choose_representatives, find_better
from hwcls.results.scored_runs import describe_left_out, score_on_test
from hwcls.results.test_comparison import compare_confirmed

ENDINGS = {1: "st", 2: "nd", 3: "rd"}
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
MAX_NAMED = 6  # missing runs in a sentence


def describe_confirm(sweep: SweepResults) -> list[str]:
    """What the page and the terminal say of the confirm runs; nothing where none is planned."""
    texts = (describe_runs(sweep), describe_splits(sweep), describe_out_of_fold(sweep))
    left_out = describe_left_out(score_on_test(sweep))
    rest = (left_out, describe_missing(sweep), describe_unconfirmed(sweep), describe_look(sweep))
    return [text for text in (*texts, *rest) if text]


def describe_runs(sweep: SweepResults) -> str:
    """How many confirm runs are complete, and what they did."""
    complete = [run for run in sweep.confirm if run.complete]
    if not complete:
        return ""
    text = f"{format_count(len(complete), 'confirm run')} complete"
    if reports_on_picks(sweep):
        several = len({(run.label, run.run.number) for run in sweep.confirm}) > len(
            {run.label for run in sweep.confirm}
        )
        own = "the winners were chosen and reported on the same runs: slightly optimistic"
        return f"{text}; {own}." if several else f"{text}: they report the winners on test."
    if sweep.costs:
        points = point_runs(sweep)
        scored = sum(map(len, points.values()))
        verb, front = "reports" if scored == 1 else "report", format_count(len(points), "point")
        parts = [f"{scored} {verb} {front} of the Pareto front on test"] if scored else []
        parts += [f"{len(complete) - scored} not scored yet"] if len(complete) > scored else []
        return f"{text}: {join_words(parts)}."
    picks, reports = sum(run.role == PICK for run in complete), sum(map(len, winner_runs(sweep).values()))
    parts = [f"{picks} picked the winners on validation"] if picks else []
    verb = "reports" if reports == 1 else "report"
    parts += (
        [f"{reports} {verb} {'them on test, on other seeds' if picks else 'the winners on test'}"] if reports else []
    )
    metric = confirm_metric(sweep)
    unscored = sum(run.role != PICK and metric not in (run.test or {}) for run in complete)
    parts += [f"{unscored} {'is' if unscored == 1 else 'are'} not scored on test"] if unscored else []
    other = len(complete) - picks - reports - unscored
    whose = "is of a trial" if other == 1 else "are of trials"
    parts += [f"{other} {whose} that another one overtook"] if other else []
    return f"{text}: {join_words(parts)}."


def describe_splits(sweep: SweepResults) -> str:
    """What the intervals on test cover where the runs were trained on other cuts of train and val."""
    found = find_splits(sweep)
    if found is None:
        return ""
    how = "on a cut of train and val of its own"
    if found != "cuts":
        how = "on train and val without one of their folds, which was its val"
    covers = "each interval covers the chance of that cut, of the seed and of the test images"
    return f"Each run that reports a winner was trained {how}, test stayed the same: {covers}."


def describe_out_of_fold(sweep: SweepResults) -> str:
    """The accuracy of the winners on train and val, of which each image is predicted by runs not trained on it."""
    found = find_out_of_fold(sweep)
    if not found:
        return ""
    parts = []
    for one in found:
        whose = f"{one.label} (trial {one.trial})" if sweep.compare else f"trial {one.trial}"
        value = format_interval("val/accuracy", one.accuracy) if one.accuracy else "no interval from one fold"
        lacking = f", {format_count(one.missing, 'fold')} missing" if one.missing else ""
        parts.append(f"{whose} {value} on {format_count(len(one.rows), 'image')}{lacking}")
    why = "slightly too high, as each fold also chose the epoch of its run, and val the settings; test did neither"
    return f"Out-of-fold accuracy: {'; '.join(parts)}. It is {why}."


def describe_missing(sweep: SweepResults) -> str:
    """Which confirm runs are missing, and the command that runs them."""
    missing = find_missing(sweep)
    if not missing:
        return ""
    verb, command = "is" if len(missing) == 1 else "are", resume_command(sweep, missing)
    text = f"{format_count(len(missing), 'confirm run')} {verb} missing: {'; '.join(_name_missing(missing))}."
    failed = {run.failed for run in missing}
    if sweep.running and False in failed:
        return f"{text} The running command completes {_which(missing)}."
    if command is None and all(run.replaced for run in missing):
        whose = "The winner" if len({(run.label, run.trial) for run in missing}) == 1 else "Each of these winners"
        asked = count_asked(sweep)
        verb = "was" if asked == 1 else "were"
        return f"{text} {whose} has the {format_count(asked, 'report')} that {verb} asked for."
    if command is None:
        return text
    if failed == {True}:
        others = "Another seed takes its place" if len(missing) == 1 else "Other seeds take their place"
        return f"{text} {others} with: {command}"
    # the page is written meanwhile, too
    return f"{text} Unless the sweep is running, train {_which(missing)} with: {command}"


def _which(missing: Sequence[MissingRun]) -> str:
    """Those of the missing runs that are trained again."""
    left = sum(not run.failed for run in missing)
    if left < len(missing):
        return "the one that did not fail" if left == 1 else "those that did not fail"
    return "it" if len(missing) == 1 else "them"


def describe_unconfirmed(sweep: SweepResults) -> str:
    """The trials of a longer search that are ahead of a confirmed winner, and the command that confirms them."""
    confirmed = {(run.label, run.run.number) for run in sweep.confirm}
    ahead = [(one.label, find_better(sweep, one)) for one in choose_representatives(sweep) if one.confirmed]
    later = [
        (label, trial) for label, trial in ahead if trial and (confirm_label(label), trial.number) not in confirmed
    ]
    if not later or sweep.running or resume_command(sweep, find_missing(sweep)):  # what is missing comes first
        return ""
    if not all(trial.ended for trial in sweep.trials):  # `hwcls confirm` refuses before the search has ended
        return ""
    names = [f"trial {trial.number}" + (f" of {label}" if sweep.compare else "") for label, trial in later]
    few = len(later) == 1
    text = f"Ahead of the confirmed winner{'' if few else 's'} in the search, and without a confirm run yet:"
    return f"{text} {join_words(names)}. Take {'it' if few else 'them'} in with: {confirm_command(sweep)}"


def describe_look(sweep: SweepResults) -> str:
    """The level at which the verdicts on test are given, and why it is not 5 %."""
    found = compare_confirmed(sweep)
    if found is None or len(found.labels) < 2:
        return ""
    look, alpha = found.comparison.look, f"{found.comparison.alpha:.2g}"
    seeds = join_words([_count_seeds(one) for one in sweep.looks])
    earlier = f", with {seeds} {'seed' if seeds == '1' else 'seeds'} each" if look > 1 else ""
    text = f"{name_look(look).capitalize()} look at the verdicts{earlier}: significant is p below {alpha}."
    why = "Each look is one more chance of a false verdict, so all of them share 0.05 (alpha spending)"
    return f"{text} {why}: each takes two thirds of what is left."


def name_look(look: int) -> str:
    """1 is first, 11 is 11th, 21 is 21st."""
    if look <= len(ORDINALS):
        return ORDINALS[look - 1]
    return f"{look}{'th' if look // 10 % 10 == 1 else ENDINGS.get(look % 10, 'th')}"


def summarize_confirm(sweep: SweepResults) -> dict[str, Any] | None:
    """The same as JSON-ready values; None where no confirm run is planned or there."""
    missing, found = find_missing(sweep), compare_confirmed(sweep)
    if not missing and not sweep.confirm:
        return None
    complete = [run for run in sweep.confirm if run.complete]
    verdict = found is not None and len(found.labels) > 1
    return {
        "complete": len(complete),
        "picks": sum(run.role == PICK for run in complete),
        "reports": sum(map(len, (point_runs(sweep) or winner_runs(sweep)).values())),
        "chosen_and_reported_on_the_same_runs": reports_on_picks(sweep),
        "missing": [asdict(run) for run in missing],
        "command": resume_command(sweep, missing) if missing else None,
        "look": found.comparison.look if found and verdict else None,
        "alpha": found.comparison.alpha if found and verdict else None,
        "looks": [dict(seeds) for seeds in sweep.looks],
        "splits": find_splits(sweep),
        "intervals_cover": ["seed", "test images", *(["cut of train and val"] if find_splits(sweep) else [])],
        "out_of_fold": summarize_out_of_fold(sweep),
    }


def _name_missing(missing: list[MissingRun]) -> list[str]:
    """The missing runs by alternative, trial, role and reason."""
    groups: dict[tuple[str, int | None, str | None, str], list[int | None]] = defaultdict(list)
    for run in missing:
        groups[run.label, run.trial, run.role, run.reason].append(run.seed)
    texts = []
    for (label, trial, role, reason), seeds in groups.items():
        whose = f"{label}, trial {trial}" if trial is not None else f"the winner of {label}, which is not picked yet"
        kind = {PICK: "pick", None: "run"}.get(role, "report")
        known = [str(seed) for seed in seeds if seed is not None]
        named = f" (seed{'s' if len(known) > 1 else ''} {', '.join(known[:3])}{', …' if len(known) > 3 else ''})"
        texts.append(f"{format_count(len(seeds), kind)} of {whose}{named if known else ''}: {reason}")
    return texts if len(texts) <= MAX_NAMED else [*texts[:MAX_NAMED], f"and {len(texts) - MAX_NAMED} more"]


def _count_seeds(look: Any) -> str:
    counts = sorted(set(look.values()))
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
