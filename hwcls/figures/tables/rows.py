"""The rows of each table: as people read them, and unrounded for CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hwcls.config.space import Choice, Range
from hwcls.config.sweep_file import load_sweep
from hwcls.errors import UserError
from hwcls.figures.drawable import NothingToShow
from hwcls.figures.metric_axis import MetricAxis, choose_digits, format_estimate
from hwcls.figures.settings_order import order_settings
from hwcls.figures.test_scores import collect_test_scores, compare_on_test, name_scored
from hwcls.format import format_count, format_duration, format_fixed, format_number
from hwcls.results.answer import name_alternative
from hwcls.results.compare import build_leaderboard
from hwcls.results.confirm.plan import confirm_metric
from hwcls.results.load import SweepResults
from hwcls.results.representatives import choose_representatives, describe_representatives
from hwcls.results.scored_runs import score_on_test
from hwcls.results.settings.marginal_effects import trials_with_value

MAX_SETTINGS = 5  # columns of the leaderboard; CSV has all
SMALLEST_P = 0.001


@dataclass(frozen=True)
class Table:
    """One table: `cells` for readers, `records` with the same rows unrounded."""

    name: str  # a key of TABLES
    caption: str
    header: tuple[str, ...]
    words: frozenset[int]  # the columns of words, aligned left; numbers are aligned right
    cells: tuple[tuple[str, ...], ...]
    records: tuple[Mapping[str, Any], ...]  # all of the same columns


def build_table(sweep: SweepResults, name: str, most: int | None = None) -> Table:
    """The table of a name; `most` is how many trials the leaderboard has, None: all.

    Raises NothingToShow where the results lack what it is about.
    """
    return TABLES[name](sweep, most)


def _leaderboard(sweep: SweepResults, most: int | None) -> Table:
    trials = trials_with_value(sweep)
    if not trials:
        raise NothingToShow("no trial has a value yet")
    shown, settings = trials[:most], order_settings(sweep, trials)
    kept, axis = settings[:MAX_SETTINGS], MetricAxis(sweep.metric)
    model = [_alternative(sweep)] if sweep.compare else []
    header = ("rank", "trial", *model, axis.title, "epochs", "time", *kept)
    digits = 2 if axis.scale == 100 else 4
    cells = [
        (
            str(place),
            str(trial.number),
            *([name_alternative(sweep, trial.label)] if model else []),
            format_fixed(axis.scale * (trial.value or 0.0), digits),
            str(len(trial.records)),
            format_duration(trial.seconds),
            *(format_number(trial.parameters.get(name)) for name in kept),
        )
        for place, trial in enumerate(shown, 1)
    ]
    count = format_count(len(trials), "trial")
    which = f"All {count}" if len(shown) == len(trials) else f"The best {len(shown)} of {count}"
    caption = f"{which} of {sweep.name} by {axis.name} (best epoch of one run each)."
    if len(settings) > len(kept):
        caption += f" {format_count(len(settings) - len(kept), 'further setting')} not shown."
    words = {2} if model else set()
    words |= {header.index(name) for name in kept if any(isinstance(t.parameters.get(name), str) for t in trials)}
    numbers = {trial.number for trial in shown}
    records = tuple(row for row in build_leaderboard(sweep) if row["trial"] in numbers)
    return Table("leaderboard", caption, header, frozenset(words), tuple(cells), records)


def _confirmed(sweep: SweepResults, _: int | None) -> Table:
    found = collect_test_scores(sweep)
    axis, own = found.axis, MetricAxis(sweep.metric)
    digits = choose_digits([(row.low, row.high) for row in found.rows], axis.scale)
    values = {trial.number: trial.value for trial in sweep.trials}
    searched = [values.get(row.trial) for row in found.rows]
    between = any(row.low is not None for row in found.rows)
    interval = ", 95 % interval" if between else ""
    header = (_alternative(sweep), "trial", "seeds", f"{axis.title}{interval}", own.title)
    cells = [
        (
            row.name,
            str(row.trial),
            str(len(row.seeds)),
            format_estimate((row.mean, row.low, row.high), axis.scale, digits),
            "–" if value is None else format_fixed(own.scale * value, digits),
        )
        for row, value in zip(found.rows, searched, strict=True)
    ]
    records = list[dict[str, Any]]()
    for row, value in zip(found.rows, searched, strict=True):
        known: dict[str, Any] = {_alternative(sweep): row.name, "trial": row.trial, "seeds": len(row.seeds)}
        records.append(known | {axis.metric: row.mean, "low": row.low, "high": row.high, sweep.metric: value})
    caption = f"Confirmed models of {sweep.name}: mean {axis.name} over seeds, and {own.name} in the search."
    if between:
        caption += f" Intervals: bootstrap over {found.images:,} test images, Student's t over seeds."
    caption = f"{caption} {found.left_out}".rstrip()
    return Table("confirmed", caption, header, frozenset({0}), tuple(cells), tuple(records))


def _comparisons(sweep: SweepResults, _: int | None) -> Table:
    scored, found = score_on_test(sweep), compare_on_test(sweep)
    if found is None or len(found.labels) < 2:
        raise NothingToShow("fewer than two alternatives have been scored on test with two seeds each")
    axis, pairs = MetricAxis(confirm_metric(sweep)), found.ordered_pairs()
    digits = choose_digits([(pair.low, pair.high) for _, _, pair in pairs], axis.scale)
    unit = " (points)" if axis.unit else ""
    header = ("better", "worse", f"difference in {axis.name}{unit}, 95 % interval", "p", "significant")
    cells, records = [], []
    for better, worse, pair in pairs:
        names = [name_scored(sweep, name, scored[name].runs) for name in (better, worse)]
        estimate = format_estimate((pair.mean, pair.low, pair.high), axis.scale, digits)
        p = f"< {SMALLEST_P}" if pair.p < SMALLEST_P else f"{pair.p:.3f}"
        cells.append((*names, estimate, p, "yes" if pair.differs else "no"))
        row: dict[str, Any] = {"better": names[0], "worse": names[1]}
        row |= {"mean": pair.mean, "low": pair.low, "high": pair.high}
        records.append(row | {"p": pair.p, "significant": pair.differs, "more_seeds": pair.more_seeds})
    caption = f"Differences in {axis.name} of {sweep.name}. Each interval is for its own difference; p is two-sided,"
    caption += f" adjusted for {format_count(len(pairs), 'pair')} (Holm), significant below"
    caption += f" {found.comparison.alpha:.2g}."
    return Table("comparisons", caption, header, frozenset({0, 1, 4}), tuple(cells), tuple(records))


def _settings(sweep: SweepResults, _: int | None) -> Table:
    chosen, trials = choose_representatives(sweep), trials_with_value(sweep)
    settings = order_settings(sweep, trials)
    others = dict.fromkeys(name for trial in trials for name in trial.parameters)
    settings += [name for name in others if name not in settings and name != sweep.compared]
    if not chosen or not settings:
        raise NothingToShow("no trial has a value yet" if not chosen else "no setting is searched")
    names = [
        f"trial {one.trial.number}"
        if sweep.compare is None
        else f"{name_alternative(sweep, one.label)} (trial {one.trial.number})"
        for one in chosen
    ]
    searched = _searched(sweep)
    own = [[one.trial.parameters.get(name) for one in chosen] for name in settings]
    header = ("setting", *(["searched"] if searched else []), *names)
    cells = [
        (name, *([searched.get(name, "–")] if searched else []), *map(format_number, values))
        for name, values in zip(settings, own, strict=True)
    ]
    records = [
        {"setting": name, "searched": searched.get(name)} | dict(zip(names, values, strict=True))
        for name, values in zip(settings, own, strict=True)
    ]
    words = frozenset({0, 1} if searched else {0})
    caption = f"Settings in {sweep.name} of {describe_representatives(chosen)}."
    return Table("settings", caption, header, words, tuple(cells), tuple(records))


def _searched(sweep: SweepResults) -> dict[str, str]:
    """What the sweep file searches, by setting; empty where this version cannot read the file."""
    try:
        space = load_sweep(sweep.folder / "sweep.yaml").space
    except UserError:
        return {}
    found: dict[str, list[str]] = {}
    for parameter, _ in space.parameters():
        if isinstance(parameter, Range):
            text = f"{parameter.low:g} to {parameter.high:g}{' (log)' if parameter.log else ''}"
        else:
            text = _join(parameter.branches if isinstance(parameter, Choice) else parameter.choices())
        own = found.setdefault(space.flat_names[parameter.path], [])
        own += [text] if text not in own else []  # another branch may search another range
    return {name: "; ".join(texts) for name, texts in found.items()}


def _join(values: Iterable[Any]) -> str:
    return ", ".join(map(format_number, values))


def _alternative(sweep: SweepResults) -> str:
    """The name of the column of alternatives: model, optimizer."""
    return sweep.compared or "model"


TABLES: Mapping[str, Callable[[SweepResults, int | None], Table]] = {
    "leaderboard": _leaderboard,
    "confirmed": _confirmed,
    "comparisons": _comparisons,
    "settings": _settings,
}


def build_tables(
    sweep: SweepResults, names: Sequence[str], most: int | None = None
) -> tuple[list[Table], dict[str, str]]:
    """The named tables, and why others are left out."""
    built, left_out = [], {}
    for name in names:
        try:
            built.append(build_table(sweep, name, most))
        except NothingToShow as reason:
            left_out[name] = str(reason)
    return built, left_out
