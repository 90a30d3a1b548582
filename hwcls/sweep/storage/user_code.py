"""The user's own model files: copied into the results, and from there to every node that runs their trials."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hwcls import files
from hwcls.config.trial import TrialConfig
from hwcls.errors import UserError
from hwcls.tracking.folders import SOURCES


def copy_sources(trials: Iterable[TrialConfig], path: Path) -> dict[str, str]:
    """Copy the user's model files of some trials, and the neighbouring files that they import, into the results.

    Returns:
        For each model name in the sweep file the name of its copy.

    Raises:
        UserError: A file is missing, or is not what this sweep started with.
    """
    names: dict[str, str] = {}
    for trial in trials:
        source = trial.model.source_file
        if source is not None and trial.model.name not in names:
            copied = _copy_source(source, path / SOURCES)
            names[trial.model.name] = f"{copied}:{trial.model.name.rsplit(':', 1)[1]}"
    return names


def _copy_source(source: Path, folder: Path) -> Path:
    # files may share a name; the path is hashed as written, since each submitted job has another working folder
    digest_of_path = hashlib.blake2b(str(source).encode(), digest_size=4).hexdigest()
    target = (folder / f"{source.stem}-{digest_of_path}").resolve()
    mark = target / ".digest"
    if not source.is_file() and mark.exists():
        return target / source.name  # moved or deleted since: the trials ran with the copy
    if not source.is_file():
        remedy = "name an existing file and its function: my_file.py:build"
        raise UserError(f"no model file '{source}'", where="model.name", remedy=remedy)
    content = {file.name: file.read_bytes() for file in with_local_imports(source.resolve(), set())}
    digest = hashlib.blake2b(repr(sorted(content.items())).encode(), digest_size=4).hexdigest()
    if mark.exists() and mark.read_text("utf-8", "replace") != digest:
        remedy = "undo the change, or pass --new to use a new folder"
        raise UserError("the model file has changed since this sweep began", where=str(source), remedy=remedy)
    for name, data in content.items():
        files.write_with(target / name, lambda file, data=data: file.write(data))  # type: ignore[misc]
    files.write_text(mark, digest)
    return target / source.name


def with_local_imports(source: Path, seen: set[Path]) -> set[Path]:
    """A file and every file of its folder that it imports, directly or not."""
    seen.add(source)
    try:
        tree = ast.parse(source.read_bytes())
    except SyntaxError:
        return seen  # reported when the model is checked
    for node in ast.walk(tree):
        found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        for name in found:
            neighbour = source.parent / f"{name.split('.')[0]}.py"
            if neighbour.is_file() and neighbour not in seen:
                with_local_imports(neighbour, seen)
    return seen


def with_copied_source(config: TrialConfig, names: dict[str, str]) -> TrialConfig:
    """The trial with its model file replaced by the copy in the results folder; `names` as `copy_sources` returns."""
    name: Any = names.get(config.model.name)
    return config.model_copy(update={"model": config.model.model_copy(update={"name": name})}) if name else config


def weight_files(trials: Iterable[TrialConfig]) -> list[str]:
    """The files of pretrained weights that some trials name."""
    return sorted({path for trial in trials if (path := trial.model.weights_file) is not None})


def read_sources(config: TrialConfig) -> dict[str, bytes]:
    """The user's model files of a trial by path; none where the model is built in."""
    source, colon, _ = str(config.model.name).rpartition(":")
    return {str(path): path.read_bytes() for path in Path(source).parent.glob("*.py")} if colon else {}


def write_sources(sources: dict[str, bytes]) -> None:
    """Write model files to the paths that they have on the driver's node, which the trial's config names."""
    for path, content in sources.items():
        if not Path(path).is_file() or Path(path).read_bytes() != content:  # an earlier sweep's may exist
            files.write_with(Path(path), lambda file, content=content: file.write(content))  # type: ignore[misc]
