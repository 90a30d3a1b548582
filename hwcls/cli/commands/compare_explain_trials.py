"""`hwcls compare`, `explain` and `trials`: leaderboards, two trials side by side, and which trials count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hwcls.cli.completion import folders
from hwcls.cli.console import app, echo, echo_wrapped, print_to_stderr, table_console
from hwcls.cli.options import Everything, ResultOnly, ResultsFolder, ResultsFolders
from hwcls.errors import UserError

trials = typer.Typer(
    name="trials", help="The trials of a sweep: exclude, include.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(trials)

Numbers = Annotated[
    list[int],
    typer.Argument(
        metavar="NUMBERS",
        help="The trials.",
        show_default=False,
        min=0,
        autocompletion=folders.trial_numbers,
    ),
]


@app.command()
def compare(
    folders: ResultsFolders,
    rows: Annotated[int, typer.Option(min=1, help="How many trials to show, shared by the alternatives.")] = 20,
    as_json: Everything = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print the leaderboard as CSV; =1+1 gets an apostrophe.")
    ] = False,
) -> None:
    """Print the leaderboard of a sweep, or of several together. They may be running.

    Example: hwcls compare results/quickstart
    """
    from hwcls.errors import UserError
    from hwcls.report.terminal.leaderboard import print_leaderboard
    from hwcls.report.terminal.merged_leaderboard import print_merged_leaderboard
    from hwcls.results.compare import build_leaderboard, build_summary, find_cautions, format_csv, merge_leaderboards
    from hwcls.results.load import load_results, mark_running
    from hwcls.tracking.folders import is_in_use

    if as_json and as_csv:
        raise UserError("--json and --csv exclude each other", remedy="leave one of them out")
    in_use = [is_in_use(folder) for folder in folders]  # before their records are read: a trial may end meanwhile
    loaded = [load_results(folder) for folder in folders]
    found = [mark_running(one) if used else one for one, used in zip(loaded, in_use, strict=True)]
    if as_csv:
        echo(format_csv(merge_leaderboards(found) if len(found) > 1 else build_leaderboard(found[0])), nl=False)
    elif as_json and len(found) > 1:
        tables = {"leaderboard": merge_leaderboards(found), "cautions": find_cautions(found)}
        echo(json.dumps({**tables, "sweeps": [build_summary(one) for one in found]}, indent=2, default=str))
    elif as_json:
        echo(json.dumps(build_summary(found[0]), indent=2, default=str))
    elif len(found) > 1:
        print_merged_leaderboard(found, table_console(), rows)
    else:
        print_leaderboard(found[0], table_console(), rows)


@app.command()
def explain(
    a: Annotated[
        Path,
        typer.Argument(
            help="A trial's folder: results/SWEEP/trials/N.", show_default=False, autocompletion=folders.trials
        ),
    ],
    b: Annotated[
        Path, typer.Argument(help="Another trial's folder.", show_default=False, autocompletion=folders.trials)
    ],
    rows: Annotated[int, typer.Option(min=1, help="How many classes and images to show.")] = 10,
    as_json: Everything = False,
) -> None:
    """Compare two trials: settings, classes, single images. It names classes won and lost, and images that differ.

    Example: hwcls explain results/quickstart/trials/3 results/quickstart/trials/7
    """
    from hwcls.report.terminal.trial_comparison import print_trial_comparison
    from hwcls.results.explain import compare_trials

    found = compare_trials(a, b)
    if as_json:
        echo(json.dumps(found.to_dict(), indent=2, default=str))
        return
    names = [f"{path.resolve().parent.name}/{path.resolve().name}" for path in (a, b)]
    print_trial_comparison(found, (names[0], names[1]), table_console(), rows)


@trials.command("exclude")
def exclude(
    folder: ResultsFolder,
    numbers: Numbers,
    why: Annotated[str, typer.Option(help="The reason, which the page gives.", show_default=False)] = "",
    as_json: ResultOnly = False,
) -> None:
    """Leave trials out of ranking, search and confirm. Nothing of them is deleted.

    The sweep's command, run again, tries others in their place.

    Example: hwcls trials exclude results/quickstart 7 --why "the GPU was faulty"
    """
    from hwcls.sweep.storage.changes.exclusion import exclude_trials

    exclude_trials(folder, numbers, why)
    _print_left_out(folder, as_json)


@trials.command("include")
def include(folder: ResultsFolder, numbers: Numbers, as_json: ResultOnly = False) -> None:
    """Count excluded trials again.

    Example: hwcls trials include results/quickstart 7
    """
    from hwcls.sweep.storage.changes.exclusion import include_trials

    include_trials(folder, numbers)
    _print_left_out(folder, as_json)


def _print_left_out(folder: Path, as_json: bool) -> None:
    """Bring the page and best/ up to date, and print what is left out and what the sweep says without it."""
    from hwcls.report.html.page import write_page
    from hwcls.results.answer import describe_answer
    from hwcls.results.best.folder import update_best
    from hwcls.results.load import load_results
    from hwcls.results.notes.changes import describe_left_out, summarize_left_out

    try:
        update_best(folder)
    except UserError as error:  # the trial is left out all the same
        print_to_stderr(f"note: best/ was not written: {error}")
    page, found = write_page(folder), load_results(folder)
    if as_json:
        values = {"left_out": summarize_left_out(found), "answer": describe_answer(found), "report": str(page)}
        echo(json.dumps(values, indent=2, default=str))
        return
    for text in describe_left_out(found):
        echo_wrapped(f"left out: {text}", 2)
    echo_wrapped(describe_answer(found), 0)
    echo(f"report: {page}")
