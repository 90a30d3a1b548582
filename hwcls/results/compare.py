"""The tables of a sweep, or of several: leaderboard, alternatives and differences, as rows and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hwcls import files
from hwcls.errors import UserError
from hwcls.escape import csv_text
from hwcls.format import format_cell
from hwcls.results import test_scores
from hwcls.results.answer import describe_answer
from hwcls.results.best.describe import summarize_best
from hwcls.results.confirm.describe import summarize_confirm
from hwcls.results.confirm.plan import confirm_label, confirm_metric, winner_runs
from hwcls.results.diagnostics import class_names
from hwcls.results.expected_best import choose_counts, collect_trial_sequences
from hwcls.results.front.describe import summarize_front
from hwcls.results.front.find import find_front
from hwcls.results.load import SweepResults, is_finite
from hwcls.results.notes.changes import summarize_changes, summarize_left_out
from hwcls.results.notes.find import find_notes
from hwcls.results.representatives import Representative, choose_representatives
from hwcls.results.scored_runs import score_on_test
from hwcls.results.settings.importance import summarize_importances
from hwcls.results.test_comparison import ConfirmComparison, compare_confirmed
from hwcls.training.artifacts import load_arrays

COSTS = ("parameters", "flops", "inference_ms")  # columns, if recorded


def build_leaderboard(sweep: SweepResults) -> list[dict[str, Any]]:
    """One row per trial, best on validation first, failed ones and those left out last; all have the same columns.

    A missing value is None. Where trials are left out, `left_out` is why. With several metrics `front` is whether no
    other trial beats it in all. Where there are confirm runs, `confirmed` is "winner", "point" (of the front) or
    "retrained", and a mean on test is in the row of the trial that was scored.
    """
    metrics = _metric_names(sweep)
    tests, retrained = _mean_tests(sweep), {run.run.number for run in sweep.confirm if run.run.status == "complete"}
    winners = {runs[0].run.number for runs in winner_runs(sweep).values()}
    reasons = {one.trial.number: str(one.reason) for one in sweep.left_out}
    trials = [*sweep.ranked(), *(one.trial for one in sweep.left_out)]
    searched, front = [cost.recorded for cost in sweep.costs], {point.trial.number for point in find_front(sweep)}
    names = dict.fromkeys((*COSTS, *searched))
    costs = [name for name in names if name in searched or any(name in trial.cost for trial in trials)]
    parameters = list(dict.fromkeys(name for trial in trials for name in trial.parameters))
    rows = []
    for place, trial in enumerate(trials, 1):
        best, unranked = trial.best or {}, trial.failed or trial.value is None or trial.number in reasons
        row: dict[str, Any] = {"rank": None if unranked else place, "trial": trial.number}
        if sweep.compare is not None:
            row["label"] = trial.label
        row["status"] = trial.status
        if sweep.costs:
            row["front"] = trial.number in front
        if reasons:
            row["left_out"] = reasons.get(trial.number)
        if sweep.confirm:
            won = "winner" if trial.number in winners else "point" if trial.number in tests else None
            row["confirmed"] = won or ("retrained" if trial.number in retrained else None)
        row |= {"epoch": best.get("epoch"), sweep.metric: trial.value}
        if sweep.confirm:
            row[confirm_metric(sweep)] = tests.get(trial.number)
        row |= {n: best[n] if is_finite(best.get(n)) else None for n in metrics if n != sweep.metric}
        row |= {"epochs": len(trial.records), "seconds": round(trial.seconds, 2)}
        row |= {name: trial.cost.get(name) for name in costs}
        taken = {*row, "error"}  # `epochs` may also be a searched parameter
        row |= {f"parameter/{name}" if name in taken else name: trial.parameters.get(name) for name in parameters}
        rows.append(row | {"error": trial.error})
    return rows


def write_leaderboard(sweep: SweepResults) -> Path:
    """Write leaderboard.csv into the results folder and return its path."""
    path = sweep.folder / "leaderboard.csv"
    files.write_text(path, format_csv(build_leaderboard(sweep)))
    return path


def format_csv(rows: list[dict[str, Any]]) -> str:
    """Rows of the same columns as CSV; texts as `escape.csv_text` makes them."""
    text = io.StringIO()
    names = list(rows[0]) if rows else ["rank", "trial", "status"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(csv_text, names))
    writer.writerows([csv_text(row[name]) for name in names] for row in rows)
    return text.getvalue()


def build_alternatives(sweep: SweepResults) -> list[dict[str, Any]]:
    """One row per alternative, best first: its cost, its trial that leads on validation, the expected best of k
    trials, and where confirmed its winner with that trial's interval on test.

    Without `compare` all trials are one alternative with the label None.
    """
    after = {found.label: found for found in collect_trial_sequences(sweep)}
    wanted = choose_counts(list(after.values()))
    chosen = {one.label: one for one in choose_representatives(sweep)}
    rows = []
    for label in dict.fromkeys([*chosen, *(trial.label for trial in sweep.ranked())]):
        trials, one = [trial for trial in sweep.trials if trial.label == label], chosen.get(label)
        ks = [k for k in wanted if label in after and k <= len(after[label].values)]
        row: dict[str, Any] = {
            "label": label,
            "trials": len(trials),
            "failed": sum(trial.failed for trial in trials),
            "epochs": sum(len(trial.records) for trial in trials),
            "seconds": round(sum(trial.seconds for trial in trials), 2),
            "best_trial": one.leader.number if one else None,
            "best_value": one.leader.value if one else None,
            "trial": one.trial.number if one else None,  # the confirmed winner, or else best_trial
            "value": one.trial.value if one else None,
            "best_after": dict(zip(ks, after[label].expected_best(ks), strict=True)) if ks else {},
        }
        if sweep.confirm:
            row |= _confirmed_columns(sweep, label, one)
        rows.append(row)
    return rows


def is_overtaken(sweep: SweepResults, row: Mapping[str, Any]) -> bool:
    """Whether a row of `build_alternatives` has a trial that led the search with another value, as tables show it."""
    own, best = (format_cell(sweep.metric, row[name]) for name in ("value", "best_value"))
    return own != best


def group_leaderboard(sweep: SweepResults) -> list[list[dict[str, Any]]]:
    """The leaderboard's rows by alternative, in the order of `choose_representatives`."""
    groups: dict[str | None, list[dict[str, Any]]] = {
        None if sweep.compare is None else one.label: [] for one in choose_representatives(sweep)
    }
    for row in build_leaderboard(sweep):
        groups.setdefault(row.get("label"), []).append(row)
    return list(groups.values())


def build_differences(sweep: SweepResults) -> list[dict[str, Any]]:
    """One row per pair of confirmed alternatives: by how much the better one leads on test, and if significantly.

    Each interval is for its own difference; `p` and `differs` are corrected for the number of pairs (Holm).
    """
    return list_pairs(compare_confirmed(sweep))


def list_pairs(found: ConfirmComparison | None) -> list[dict[str, Any]]:
    """One row per pair of a comparison on test, as `build_differences` has them."""
    rows = []
    for better, worse, pair in found.ordered_pairs() if found else []:
        values = {"mean": pair.mean, "low": pair.low, "high": pair.high, "p": pair.p}
        verdict = {"differs": pair.differs, "more_seeds": pair.more_seeds}
        rows.append({"better": better, "worse": worse, **values, **verdict})
    return rows


def build_summary(sweep: SweepResults) -> dict[str, Any]:
    """Answer and tables as JSON-ready values."""
    tables = {
        "alternatives": build_alternatives(sweep),
        "differences": build_differences(sweep),
        "leaderboard": build_leaderboard(sweep),
    }
    names = class_names(sweep)
    return {
        "answer": describe_answer(sweep),
        "best": summarize_best(sweep),
        "front": summarize_front(sweep),
        "confirm": summarize_confirm(sweep),
        "notes": find_notes(sweep),
        "changes": summarize_changes(sweep),
        "left_out": summarize_left_out(sweep),
        **tables,
        "importance": summarize_importances(sweep),
        "classes": test_scores.summarize_classes(test_scores.score_winners(sweep, len(names)), names),
    }


def merge_leaderboards(sweeps: Sequence[SweepResults]) -> list[dict[str, Any]]:
    """One leaderboard for all sweeps, ranked by their common metric, with the sweep's name in each row.

    Sweeps of different data are ranked each for itself, one after the other. All rows have the same columns, None where
    a value is missing. Raises UserError where the metrics differ.
    """
    first = sweeps[0]
    for other in sweeps[1:]:
        if (other.metric, other.goal) != (first.metric, first.goal):
            what = f"{other.name} is ranked by {other.metric} ({other.goal}), {first.name} by {first.metric}"
            what += f" ({first.goal})"
            raise UserError(what, where=str(other.folder), remedy="compare sweeps of one metric")
    rows = [
        {"sweep": name, **row}
        for name, sweep in zip(name_sweeps(sweeps), sweeps, strict=True)
        for row in build_leaderboard(sweep)
    ]
    columns = dict.fromkeys(name for row in rows for name in row)
    order = ["rank", "sweep", *(name for name in columns if name not in ("rank", "sweep", "error")), "error"]
    merged = [{name: row.get(name) for name in order if name in columns} for row in rows]
    if not have_same_data(sweeps):
        return merged
    own = first.metric
    merged.sort(key=lambda row: (row["rank"] is None, -first.sign * (row[own] or 0.0), row["sweep"], row["trial"]))
    return [row | {"rank": None if row["rank"] is None else place} for place, row in enumerate(merged, 1)]


def name_sweeps(sweeps: Sequence[SweepResults]) -> list[str]:
    """The names of the sweeps' folders, or their paths where two have the same name."""
    short = [sweep.folder.resolve().name for sweep in sweeps]
    return short if len(set(short)) == len(short) else [str(sweep.folder) for sweep in sweeps]


def have_same_data(sweeps: Sequence[SweepResults]) -> bool:
    """Whether all sweeps are of the same classes of the same images, so that their values can be ranked together."""
    first, *others = ([sweep.data or {}, *(sweep.data or {}).get("others", ())] for sweep in sweeps)
    return all(_covers(first, other) and _covers(other, first) for other in others)


def find_cautions(sweeps: Sequence[SweepResults]) -> list[str]:
    """Why the sweeps may not be comparable, one sentence each."""
    first, found = sweeps[0], []
    names = name_sweeps(sweeps)
    for name, other in zip(names[1:], sweeps[1:], strict=True):
        if not have_same_data([first, other]):
            found.append(f"{name} uses other data than {names[0]}: their values cannot be compared")
        elif not _same_split(first, other):
            found.append(f"{name} uses another split than {names[0]}: small differences may come from the split")
    return found


def _confirmed_columns(sweep: SweepResults, label: str | None, one: Representative | None) -> dict[str, Any]:
    """The confirm runs of an alternative; mean and interval on test are those of `confirmed_trial`."""
    name = confirm_label(label)
    runs = [run for run in sweep.confirm if run.label == name]
    winner = one.trial if one and one.confirmed else None
    row: dict[str, Any] = {
        "confirm_runs": sum(run.complete for run in runs),
        "confirm_seconds": round(sum(run.run.seconds for run in runs), 2),
        "confirmed_trial": winner.number if winner else None,
        "test_runs": sum(run.test is not None for run in runs),
    }
    found = compare_confirmed(sweep)
    estimate = found.estimate(name) if found and name in found.labels else None
    row |= {confirm_metric(sweep): estimate.mean if estimate else None}
    return row | {"low": estimate.low if estimate else None, "high": estimate.high if estimate else None}


def _mean_tests(sweep: SweepResults) -> dict[int, float]:
    """The mean on test of each confirmed winner or point of the front, by its trial's number."""
    return {one.runs[0].run.number: one.mean for one in score_on_test(sweep).values()}


def _metric_names(sweep: SweepResults) -> list[str]:
    """Every recorded val/ and train/ metric, val first."""
    seen = dict.fromkeys(
        key for trial in sweep.trials for key in (trial.best or {}) if key.startswith(("val/", "train/"))
    )
    return sorted(seen, key=lambda name: name.startswith("train/"))


def _covers(sets: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> bool:
    """Whether each of the other entries of data.json has the images of one of these."""
    return all(any(_are_same_images(one, other) for one in sets) for other in others)


def _are_same_images(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Of one name, path and classes; or moved, but split and decoded to the same pixels."""
    if one.get("fingerprint") is not None and one["fingerprint"] == other.get("fingerprint"):
        return True
    return all(one.get(key) == other.get(key) for key in ("name", "path", "classes"))


def _same_split(one: SweepResults, other: SweepResults) -> bool:
    """Whether both trained and validated on the same images, however many entries data.json has of them."""
    return _split_rows(one) == _split_rows(other)


def _split_rows(sweep: SweepResults) -> set[tuple[str, tuple[int, ...]]]:
    """The images of each split, by their rows; of several data sets the names are 0/train, 1/train and so on."""
    stored = load_arrays(sweep.folder / "splits.npz")  # (N,) each
    return {(name.rpartition("/")[2], tuple(rows.ravel().tolist())) for name, rows in stored.items()}
