"""Folders of sweeps and of their trials, as paths that begin as the user has typed."""

from __future__ import annotations

import os
from collections import deque

import typer

from hwcls.cli.completion.completer import given_words, silent

DEPTH = 3  # folders below the typed path in which sweeps are looked for
LOOKS = 5_000  # entries of folders that are looked at: a shell waits
SWEEP, TRIAL = "sweep.yaml", "config.yaml"  # as in hwcls.tracking.folders, whose import would cost time


@silent
def sweeps(ctx: typer.Context, incomplete: str) -> list[str]:
    """Results folders of sweeps."""
    return find_sweeps(incomplete)


@silent
def sweeps_or_trials(ctx: typer.Context, incomplete: str) -> list[str]:
    """Results folders of sweeps, and behind the slash of one its trials."""
    return find_trials(incomplete) or find_sweeps(incomplete)


@silent
def trials(ctx: typer.Context, incomplete: str) -> list[str]:
    """Folders of trials; as long as several sweeps are possible, these."""
    if found := find_trials(incomplete):
        return found
    above = find_sweeps(incomplete)
    return find_trials(f"{above[0]}/") if len(above) == 1 else [f"{path}/" for path in above]


@silent
def trial_numbers(ctx: typer.Context, incomplete: str) -> list[str]:
    """The numbers of the trials in the results folder that is given."""
    names = _list_folder(f"{given_words(ctx, 'folder')[0]}/trials")
    return sorted((name for name in names if name.isdecimal()), key=int)


def find_sweeps(incomplete: str) -> list[str]:
    """The sweeps whose paths begin with `incomplete`, at most DEPTH folders below it."""
    above, slash, start = incomplete.rpartition("/")
    waiting, found, looks = deque([(above + slash, start, 1)]), [], 0
    while waiting and looks < LOOKS:
        folder, start, depth = waiting.popleft()
        for name in _list_folder(folder):
            looks += 1
            path = folder + name
            if not name.startswith(start or "") or (name.startswith(".") and not start):
                continue
            if os.path.isfile(_real(f"{path}/{SWEEP}")):
                found.append(path)
            elif depth < DEPTH and os.path.isdir(_real(path)):
                waiting.append((f"{path}/", "", depth + 1))
    return found


def find_trials(incomplete: str) -> list[str]:
    """What was trained in the sweep that `incomplete` names: trials, confirm runs and best/; empty before its slash."""
    above = incomplete.rpartition("/")[0]
    for sweep in [above, *(above.rsplit("/", count)[0] for count in range(1, above.count("/") + 1))]:
        if sweep and os.path.isfile(_real(f"{sweep}/{SWEEP}")):
            trials = [f"{sweep}/trials/{name}" for name in sorted(_list_folder(f"{sweep}/trials"), key=_by_number)]
            labels = [f"{sweep}/confirm/{label}" for label in _list_folder(f"{sweep}/confirm")]
            confirm = [f"{label}/{seed}" for label in labels for seed in _list_folder(label)]
            found = [f"{sweep}/best", *trials, *confirm]
            return [path for path in found if os.path.isfile(_real(f"{path}/{TRIAL}"))]
    return []


def list_files(incomplete: str, endings: tuple[str, ...]) -> list[str]:
    """Files of these endings in the folder that is typed, and folders with a slash."""
    above, slash, start = incomplete.rpartition("/")
    names = [name for name in _list_folder(above + slash) if name.startswith(start) and not name.startswith(".")]
    paths = [above + slash + name for name in names]
    return [f"{path}/" if os.path.isdir(_real(path)) else path for path in paths if _is_offered(path, endings)]


def _is_offered(path: str, endings: tuple[str, ...]) -> bool:
    return path.endswith(endings) or os.path.isdir(_real(path))


def _list_folder(folder: str) -> list[str]:
    """The names in a folder, none where it cannot be read."""
    try:
        return sorted(os.listdir(_real(folder) or "."))
    except OSError:
        return []


def _by_number(name: str) -> tuple[int, str]:
    return int(name) if name.isdecimal() else -1, name


def _real(path: str) -> str:
    """The path that a typed one means."""
    return os.path.expanduser(path)
