"""The user's own model files: copied into the results, and from there to every node that runs their trials; weights."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path
from typing import Any

from hwcls import files
from hwcls.config.model import TimmConfig, UserModelConfig
from hwcls.config.sweep_file import Sweep
from hwcls.config.trial import TrialConfig
from hwcls.errors import UserError
from hwcls.tracking.folders import SOURCES


def keep_sources(sweep: Sweep, path: Path) -> dict[str, str]:
    """Copy the user's own model files, and what they import from beside them, into the results.

    Returns:
        For each model name in the sweep file the name that trials use instead.

    Raises:
        UserError: A file is missing, or is not what this sweep started with.
    """
    names: dict[str, str] = {}
    for trial in sweep.corners:
        if isinstance(trial.model, UserModelConfig) and trial.model.name not in names:
            from hwcls.models.user_model import source_of

            copied = _keep_source(source_of(trial.model), path / SOURCES)
            names[trial.model.name] = f"{copied}:{trial.model.name.rsplit(':', 1)[1]}"
    return names


def _keep_source(source: Path, folder: Path) -> Path:
    # two files may share a name; as the sweep file has it: a submitted job's own folder is another one each time
    place = hashlib.blake2b(str(source).encode(), digest_size=4).hexdigest()
    target = (folder / f"{source.stem}-{place}").resolve()
    mark = target / ".digest"
    if not source.is_file() and mark.exists():
        return target / source.name  # moved or deleted since: the copy is what the trials ran
    if not source.is_file():
        raise UserError(
            f"no model file '{source}'", where="model.name", remedy="name a file of yours: my_file.py:build"
        )
    content = {file.name: file.read_bytes() for file in with_neighbours(source.resolve(), set())}
    digest = hashlib.blake2b(repr(sorted(content.items())).encode(), digest_size=4).hexdigest()
    if mark.exists() and mark.read_text("utf-8") != digest:
        remedy = "undo the change, or pass --new to use a new folder"
        raise UserError("the model file has changed since this sweep began", where=str(source), remedy=remedy)
    for name, data in content.items():
        files.write_with(target / name, lambda file, data=data: file.write(data))  # type: ignore[misc]
    files.write_text(mark, digest)
    return target / source.name


def with_neighbours(source: Path, seen: set[Path]) -> set[Path]:
    """A file and every file beside it that it imports, directly or not."""
    seen.add(source)
    try:
        tree = ast.parse(source.read_bytes())
    except SyntaxError:
        return seen  # the check of the model says what is wrong
    for node in ast.walk(tree):
        found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        for name in found:
            neighbour = source.parent / f"{name.split('.')[0]}.py"
            if neighbour.is_file() and neighbour not in seen:
                with_neighbours(neighbour, seen)
    return seen


def with_sources(config: TrialConfig, names: dict[str, str]) -> TrialConfig:
    """The trial with its model taken from the results folder's copy."""
    name: Any = names.get(config.model.name)
    return config.model_copy(update={"model": config.model.model_copy(update={"name": name})}) if name else config


def weight_files(sweep: Sweep) -> list[str]:
    """The files of pretrained weights that the sweep's alternatives name."""
    found = (trial.model.pretrained for trial in sweep.corners if isinstance(trial.model, TimmConfig))
    return sorted({path for path in found if isinstance(path, str)})


def pack(values: dict[str, Any]) -> dict[str, bytes]:
    """The files of a trial's model by their paths, from its config's values; none where the model is hwcls's own."""
    source, colon, _ = str(values["model"]["name"]).rpartition(":")
    return {str(path): path.read_bytes() for path in Path(source).parent.glob("*.py")} if colon else {}


def unpack(packed: dict[str, bytes]) -> None:
    """Put the files where the driver's node has them, unless they lie there: a trial's config names that place."""
    for path, content in packed.items():
        if not Path(path).is_file() or Path(path).read_bytes() != content:  # an earlier sweep's may lie there
            files.write_with(Path(path), lambda file, content=content: file.write(content))  # type: ignore[misc]
