"""The answer in words: a few sentences that can be quoted, however many alternatives there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from hwcls.format import (
    format_count,
    format_difference,
    format_interval,
    format_metric,
    format_number,
    format_p,
    join_words,
    name_metric,
)
from hwcls.results.confirm.plan import confirm_metric, confirm_winners, find_splits
from hwcls.results.load import PAUSED, SweepResults
from hwcls.results.representatives import choose_representatives
from hwcls.results.scored_runs import ScoredRuns, score_confirmed, score_records
from hwcls.results.test_comparison import ConfirmComparison, compare_confirmed
from hwcls.statistics import Difference

CAUTION = "Each value is the best epoch of one run, selected on the validation images: small differences may be chance."
MAX_NAMED = 3  # alternatives that a sentence names


def describe_answer(sweep: SweepResults) -> str:
    """What the sweep found; a value on test is always named with the trial that it is of."""
    found, chosen = compare_confirmed(sweep), choose_representatives(sweep)
    if not chosen:
        return _describe_no_value(sweep)
    if found is None:
        running = sum(not trial.ended for trial in sweep.trials)
        paused = sum(trial.status == PAUSED for trial in sweep.trials)
        waiting = f" ({paused:,} paused: those among the best go on)" if paused else ""
        unfinished = f" {format_count(running, 'trial')} not finished{waiting}." if running else ""
        text = f"Best on {sweep.metric}: {_describe_leaders(sweep)} {CAUTION}{unfinished}"
        return text + _describe_without_interval(sweep)
    single = _describe_without_interval(sweep, found.labels)
    if len(found.labels) > 1:
        verdict = f"{_describe_verdict(sweep, found)}{_describe_guessing(found, found.best)}"
        return f"{verdict}{_describe_overtaken(sweep)}{single}"
    value = format_interval(found.metric, found.estimate(found.labels[0]))
    who, seeds = _name_winner(sweep, found.labels[0]), _seeds(sweep, found, found.labels[0])
    text = f"Confirmed: on test the {name_metric(found.metric)} of {who} is {value} {seeds}."
    text += _describe_guessing(found, found.labels[0])
    if len(chosen) == 1:
        one = chosen[0]
        values = f"{format_number(one.leader.value)} on {sweep.metric}"
        first = f"It also leads the search, with {values}." if one.is_leader else _describe_overtaken(sweep).strip()
        return f"{text} {first}"
    return f"{text}{single} Best in the search on {sweep.metric}: {_describe_leaders(sweep)}"


def describe_briefly(sweep: SweepResults) -> str:
    """The answer in a sentence, from the records alone: an interval or a verdict needs the predictions on test."""
    if scored := score_records(sweep):
        best_first = sorted(scored.items(), key=lambda one: -sweep.sign * one[1].mean)
        return f"{_test_metric(sweep)} on test: {_join_scores(sweep, dict(best_first))}."
    if all(trial.value is None or trial.failed for trial in sweep.trials):
        return _describe_no_value(sweep)
    return f"Best on {sweep.metric}: {_describe_leaders(sweep)}"


def name_alternative(sweep: SweepResults, label: str | None) -> str:
    """An alternative in a sentence: cnn, but batch_size 64."""
    text = format_number(label)
    plain = text.replace(".", "").replace("-", "").replace("+", "").replace("e", "").isdecimal()
    if sweep.compare and (plain or text in ("True", "False", "None")):
        return f"{sweep.compared} {text}"
    return text


def _describe_leaders(sweep: SweepResults) -> str:
    """The best trial on validation, and the best of every other alternative."""
    ranked = [trial for trial in sweep.ranked() if trial.value is not None and not trial.failed]
    best = ranked[0]
    value, epoch = format_number(best.value), f"epoch {(best.best or {}).get('epoch')}"
    if sweep.compare is None or best.label is None:
        return f"trial {best.number} with {value} ({epoch}), of {format_count(len(ranked), 'trial')}."
    text = f"{name_alternative(sweep, best.label)} with {value} (trial {best.number}, {epoch})"
    firsts = {trial.label: trial for trial in reversed(ranked) if trial.label != best.label}
    others = [(trial, name_alternative(sweep, trial.label)) for trial in ranked if firsts.get(trial.label) is trial]
    shown = [(name, format_number(trial.value)) for trial, name in others]
    equal = [name for name, own in shown if own == value]
    behind = [f"{name} {own}" for name, own in shown if own != value]
    text += f", equal to {_join_few(equal)}" if equal else ""
    return f"{text}, ahead of {_join_few(behind)}." if behind else f"{text}."


def _describe_overtaken(sweep: SweepResults) -> str:
    """The winners that did not lead the search, with the trials that did."""
    overtaken = [one for one in choose_representatives(sweep) if one.is_overtaken]
    pairs = [
        f"trial {one.leader.number} ({format_number(one.leader.value)})"
        f" {'of ' + name_alternative(sweep, one.label) + ' ' if sweep.compare and one.label else ''}"
        f"was ahead of trial {one.trial.number} ({format_number(one.trial.value)})"
        for one in overtaken
    ]
    return f" In the search, on {sweep.metric}, {_join_few(pairs)}." if pairs else ""


def _describe_verdict(sweep: SweepResults, found: ConfirmComparison) -> str:
    """The best alternative on test, compared with all others."""
    best, metric = found.best, found.metric
    name, most = _name_winner(sweep, best), "lowest" if found.goal == "minimize" else "highest"
    value = format_interval(metric, found.estimate(best))
    equal = [name_alternative(sweep, other) for other in found.equal_to(best)]
    same = f", and {_join_few(equal)} the same" if equal else ""
    parts = [f"On test {name} has the {most} {name_metric(metric)}, {value} {_seeds(sweep, found, best)}{same}."]
    pairs = [(name_alternative(sweep, other), pair) for other, pair in found.differences_to(best)]
    beaten = [row for row in pairs if row[1].differs]
    tied = [row for row in pairs if not row[1].differs]
    if beaten:
        nearest = f"; the nearest, {beaten[0][0]}," if len(beaten) > 1 else ""
        parts.append(f"It beats {_join_few([other for other, _ in beaten])}{nearest} by {_gap(metric, beaten[0][1])}.")
    if tied:
        nearest, pair = tied[0]
        gap = _gap(metric, pair, format_p(pair.p, found.comparison.alpha))
        size = f"the nearest, {nearest}, is {gap} behind" if len(tied) > 1 else gap
        whom = _join_few([other for other, _ in tied], "or")
        parts.append(f"No significant difference from {whom}: {size}; {_describe_seeds_needed(tied)}.")
    return " ".join(parts)


def _describe_guessing(found: ConfirmComparison, label: str) -> str:
    """That a winner may know nothing, where its interval includes what guessing gives."""
    if found.guessing is None or not found.is_guessing(label):
        return ""
    level = format_metric(found.metric, found.guessing)
    return f" That may be no better than guessing ({level}): use more photos or a pretrained backbone."


def _describe_without_interval(sweep: SweepResults, compared: Sequence[str] = ()) -> str:
    """The winners without an interval or a verdict: scored on a single seed, or their predictions are gone."""
    rest = {label: one for label, one in score_confirmed(sweep).items() if label not in compared}
    return f" {_test_metric(sweep)} on test, without an interval: {_join_scores(sweep, rest)}." if rest else ""


def _test_metric(sweep: SweepResults) -> str:
    """The metric at the start of a sentence."""
    name = name_metric(confirm_metric(sweep))
    return f"{name[:1].upper()}{name[1:]}"


def _join_scores(sweep: SweepResults, scored: Mapping[str, ScoredRuns]) -> str:
    """Winners with their means on test: cnn (trial 1) 94.4 % (5 seeds)."""
    metric = confirm_metric(sweep)
    return _join_few(
        [
            f"{_name_winner(sweep, label)} {format_metric(metric, one.mean)} ({format_count(len(one.runs), 'seed')})"
            for label, one in scored.items()
        ]
    )


def _name_winner(sweep: SweepResults, label: str) -> str:
    """A confirmed alternative with its trial: cnn (trial 1)."""
    number = confirm_winners(sweep)[label]
    return f"trial {number}" if sweep.compare is None else f"{name_alternative(sweep, label)} (trial {number})"


def _describe_seeds_needed(pairs: list[tuple[str, Difference]]) -> str:
    needed = {other: pair.more_seeds for other, pair in pairs if pair.more_seeds}
    if not needed:
        return "more seeds alone would not decide it"
    seeds = f"about {format_count(max(needed.values()), 'more seed')} each would decide it"
    return seeds if len(needed) == len(pairs) else f"{seeds} for {_join_few(list(needed))}, not for the others"


def _gap(metric: str, pair: Difference, test: str = "") -> str:
    low, high = (format_difference(metric, end, unit=False) for end in (pair.low, pair.high))
    return f"{format_difference(metric, pair.mean)} (95 % interval {low} to {high}{'; ' if test else ''}{test})"


def _seeds(sweep: SweepResults, found: ConfirmComparison, label: str) -> str:
    """What the mean is over: where seeds have cuts of train and val of their own, or are folds, that too."""
    seeds = format_count(found.seeds(label), "seed")
    words = {"cuts": f"over {seeds}, each on another cut of train and val", "folds": f"over {seeds}, a fold each"}
    splits = find_splits(sweep)
    return words[splits] if splits else f"over {seeds}"


def _join_few(words: list[str], joint: str = "and") -> str:
    """The first words and the number of the others."""
    if len(words) > MAX_NAMED + 1:
        words = [*words[:MAX_NAMED], format_count(len(words) - MAX_NAMED, "other")]
    return join_words(words, joint)


def _describe_no_value(sweep: SweepResults) -> str:
    if not sweep.trials:
        count = len(sweep.left_out)
        return f"No trial counts: {format_count(count, 'trial')} left out." if count else "No trial has started yet."
    counts = Counter(trial.status for trial in sweep.trials)
    ended = join_words([f"{count} {status.replace('_', ' ')}" for status, count in counts.items()])
    return f"No trial has a value of {sweep.metric} yet: {ended}."
