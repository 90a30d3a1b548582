"""The user's own model files: copied into the results, and from there to every node that runs their trials."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from hwcls import files
from hwcls.config.model import SOURCES
from hwcls.config.sweep_file import Sweep
from hwcls.config.trial import TrialConfig
from hwcls.errors import UserError
from hwcls.models.user.code import accept_named, copy_name, read_code, require_trusted
from hwcls.tracking.folders import SweepFolder


def copy_sources(sweep: Sweep, path: Path, into: Path | None = None) -> dict[str, str]:
    """Copy the user's model files of a sweep, and the neighbouring files that they import, into the results.

    Args:
        sweep: The sweep.
        path: Its results folder, whose copies must be the same where there are some.
        into: Another folder to copy to, so that nothing in `path` changes.

    Returns:
        For each model name in the sweep file the name of its copy.

    Raises:
        UserError: A file is missing, or is not what this sweep started with.
    """
    names: dict[str, str] = {}
    for trial in sweep.corners:
        source = trial.model.source_file
        if source is not None and trial.model.name not in names:
            written = Path(str(sweep.written_models[trial.model.name].source_file))
            known = (path / SOURCES / copy_name(written)).resolve()
            copied = _copy_source(source, known, ((into or path) / SOURCES / known.name).resolve())
            names[trial.model.name] = f"{copied}:{trial.model.name.rsplit(':', 1)[1]}"
    return names


def _copy_source(source: Path, known: Path, target: Path) -> Path:
    """Copy a model file to the folder `target`, unless it differs from the copy in `known`; the path of the copy."""
    mark = known / ".digest"
    if not source.is_file() and mark.exists():
        return known / source.name  # moved or deleted since: the trials ran with the copy
    if not source.is_file():
        remedy = "name an existing file and its function: my_file.py:build"
        raise UserError(f"no model file '{source}'", where="model.name", remedy=remedy)
    content = read_code(source).files
    digest = hashlib.blake2b(repr(sorted(content.items())).encode(), digest_size=4).hexdigest()
    if mark.exists() and mark.read_text("utf-8", "replace") != digest:
        remedy = "undo the change, or use a new folder: hwcls sweep --new"
        raise UserError("the model file has changed since this sweep began", where=str(source), remedy=remedy)
    for name, data in content.items():
        files.write_with(target / name, lambda file, data=data: file.write(data))  # type: ignore[misc]
    files.write_text(target / ".digest", digest)
    return target / source.name


def with_copied_source(config: TrialConfig, names: dict[str, str]) -> TrialConfig:
    """The trial with its model file replaced by the copy in the results folder; `names` as `copy_sources` returns."""
    name: Any = names.get(config.model.name)
    return config.model_copy(update={"model": config.model.model_copy(update={"name": name})}) if name else config


def read_sources(config: TrialConfig) -> dict[str, bytes]:
    """The user's model files of a trial by path; none where the model is built in.

    Raises UserError where their code is not trusted: the trial may come from elsewhere.
    """
    if config.model.source_file is None:
        return {}
    code = require_trusted(config.model.name)
    return {str(code.path.parent / name): content for name, content in code.files.items()}


def check_trust(folder: SweepFolder) -> None:
    """Raise UserError where an unfinished run of earlier starts would run code that is not trusted."""
    for run in (*folder.trials().values(), *folder.confirm_runs().values()):
        if run.result() is None:
            read_sources(run.config())


def write_sources(sources: dict[str, bytes], config: TrialConfig) -> None:
    """Write a trial's model files to the paths that they have on the driver's node, which may run here."""
    for path, content in sources.items():
        if not Path(path).is_file() or Path(path).read_bytes() != content:  # an earlier sweep's may exist
            files.write_with(Path(path), lambda file, content=content: file.write(content))  # type: ignore[misc]
    if sources:
        accept_named([config.model])
