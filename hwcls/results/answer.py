"""The answer in words: a few sentences that can be quoted, however many alternatives there are."""

from __future__ import annotations

from collections import Counter

from hwcls.format import gap, interval, listed, noun, number, of
from hwcls.results.load import UNFINISHED, SweepResults
from hwcls.results.test_comparison import Confirmed, confirmed
from hwcls.statistics import Difference

CAUTION = "Each figure is the best epoch of one run, picked on the validation images: small differences may be chance."
NAMED = 3  # alternatives that a sentence names at most


def answer(sweep: SweepResults) -> str:
    """What the sweep found."""
    found = confirmed(sweep)
    if found is not None and len(found.labels) > 1:
        return _verdict(sweep, found)
    winners = [trial for trial in sweep.ranked() if trial.value is not None and not trial.failed]
    if not winners:
        return _nothing_yet(sweep)
    best, text = winners[0], f"Best on {sweep.metric}: "
    where = f"epoch {(best.best or {}).get('epoch')}"
    if sweep.compare is None or best.label is None:
        text += f"trial {best.number} with {number(best.value)} ({where}), of {of(len(winners), 'trial')}."
    else:
        text += f"{named(sweep, best.label)} with {number(best.value)} (trial {best.number}, {where})"
        firsts = {trial.label: trial for trial in reversed(winners) if trial.label != best.label}
        others = [trial for trial in winners if firsts.get(trial.label) is trial]
        level = [named(sweep, trial.label) for trial in others if trial.value == best.value]
        behind = [f"{named(sweep, trial.label)} {number(trial.value)}" for trial in others if trial.value != best.value]
        text += f", level with {_few(level)}" if level else ""
        text += f", ahead of {_few(behind)}." if behind else "."
    if found is not None:
        label = found.labels[0]
        who, seeds = named(sweep, label) if sweep.compare else "the winner", of(found.seeds(label), "seed")
        value = interval(found.metric, found.estimate(label))
        return f"{text} Confirmed: on test the {noun(found.metric)} of {who} is {value} over {seeds}."
    running = sum(trial.status == UNFINISHED for trial in sweep.trials)
    unfinished = f" {of(running, 'trial')} not finished." if running else ""
    return f"{text} {CAUTION}{unfinished}"


def named(sweep: SweepResults, label: str | None) -> str:
    """An alternative as a sentence names it: cnn, but batch_size 64."""
    text = number(label)
    plain = text.replace(".", "").replace("-", "").replace("+", "").replace("e", "").isdecimal()
    if sweep.compare and (plain or text in ("True", "False", "None")):
        return f"{sweep.compare.rpartition('.')[2]} {text}"
    return text


def _verdict(sweep: SweepResults, found: Confirmed) -> str:
    """The best alternative on test against all others."""
    best, metric = found.best, found.metric
    most = "lowest" if found.goal == "minimize" else "highest"
    value = interval(metric, found.estimate(best))
    parts = [f"On test {named(sweep, best)} has the {most} {noun(metric)}, {value} over {_seeds(found, best)}."]
    pairs = [(named(sweep, other), pair) for other, pair in found.against(best)]
    beaten = [row for row in pairs if row[1].differs]
    open_ = [row for row in pairs if not row[1].differs]
    if beaten:
        nearest = f"; the nearest, {beaten[0][0]}," if len(beaten) > 1 else ""
        parts.append(f"It beats {_few([other for other, _ in beaten])}{nearest} by {_gap(metric, beaten[0][1])}.")
    if open_:
        whom, (nearest, pair) = _few([other for other, _ in open_], "or"), open_[0]
        why = f" from a difference of {_gap(metric, pair)}"
        if len(open_) > 1:
            why = f": the nearest, {nearest}, is {_gap(metric, pair)} behind"
        parts.append(f"Whether it beats {whom} cannot be told{why}; {_would_tell(open_)}.")
    return " ".join(parts)


def _would_tell(pairs: list[tuple[str, Difference]]) -> str:
    needed = {other: pair.more_seeds for other, pair in pairs if pair.more_seeds}
    if not needed:
        return "more seeds alone would not tell"
    seeds = f"about {of(max(needed.values()), 'more seed')} each would tell"
    if len(needed) == len(pairs):
        return seeds
    return f"{seeds} for {_few(list(needed))}, more seeds alone not for the rest"


def _gap(metric: str, pair: Difference) -> str:
    low, high = (gap(metric, end, unit=False) for end in (pair.low, pair.high))
    return f"{gap(metric, pair.mean)} (95 % interval {low} to {high})"


def _seeds(found: Confirmed, label: str) -> str:
    return of(found.seeds(label), "seed")


def _few(words: list[str], joint: str = "and") -> str:
    """The first words, and how many there are beside them."""
    if len(words) > NAMED + 1:
        words = [*words[:NAMED], of(len(words) - NAMED, "other")]
    return listed(words, joint)


def _nothing_yet(sweep: SweepResults) -> str:
    if not sweep.trials:
        return "No trial has started yet."
    counts = Counter(trial.status for trial in sweep.trials)
    ended = listed([f"{count} {status.replace('_', ' ')}" for status, count in counts.items()])
    return f"No trial has a value of {sweep.metric} yet: {ended}."
