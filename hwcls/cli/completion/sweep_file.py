"""What the sweep file on the command line offers: its presets, its alternatives, and paths for --set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from hwcls.cli.completion.completer import given_words, silent
from hwcls.cli.completion.names import list_backbones, list_data_sets


@silent
def presets(ctx: typer.Context, incomplete: str) -> list[str]:
    """The presets of the file."""
    return list(_read(given_words(ctx, "file")[0])["presets"])


@silent
def alternatives(ctx: typer.Context, incomplete: str) -> list[str]:
    """The alternatives that the file compares, where it lists them under a choice."""
    values = _read(given_words(ctx, "file" if "file" in ctx.params else "files")[0])
    section = values["parameters"]
    for key in values["compare"].split("."):
        section = section[key]
    return list(section["choice"])


@silent
def settings(ctx: typer.Context, incomplete: str) -> list[str]:
    """Settings of a sweep, by its file where one is given."""
    from hwcls.cli.completion.key_paths import SWEEP

    given = given_words(ctx, "file")
    return _complete(replace(SWEEP, raw=_read(given[0])) if given else SWEEP, incomplete)


@silent
def data_settings(ctx: typer.Context, incomplete: str) -> list[str]:
    """Settings of a data section."""
    from hwcls.cli.completion.key_paths import DATA_SECTION

    return _complete(DATA_SECTION, incomplete)


@silent
def model_settings(ctx: typer.Context, incomplete: str) -> list[str]:
    """Settings of the models that are named: of a family or a backbone, or of the first sweep file."""
    from hwcls.cli.completion.key_paths import MODEL_SECTION, SWEEP
    from hwcls.config.model import MODELS

    names = given_words(ctx, "names")
    if files := [name for name in names if name.endswith((".yaml", ".yml"))]:
        return _complete(replace(SWEEP, raw=_read(files[0])), incomplete)
    family = {"name": names[0] if names[0] in MODELS.names() else "timm"} if names else {}
    return _complete(replace(MODEL_SECTION, raw=family), incomplete)


def _read(file: str) -> dict[str, Any]:
    """The values of a sweep file, also of that in a results folder; raises UserError."""
    from hwcls.config.yaml_source import read_source

    path = Path(file).expanduser()  # the shell expands ~ only once the line is complete
    values: dict[str, Any] = read_source(path / "sweep.yaml" if path.is_dir() else path).values
    return values


def _complete(root: Any, incomplete: str) -> list[str]:
    """The settings of a tree, with the names of data sets and backbones where a value is one."""
    from hwcls.cli.completion.key_paths import complete_setting

    found = complete_setting(root, incomplete)
    key = incomplete.partition("=")[0]
    if "=" in incomplete and key.endswith("backbone"):
        found += [f"{key}={name}" for name in list_backbones()]
    if "=" in incomplete and key in ("parameters.data.name", "parameters.data"):
        found += [f"{key}={name}" for name in list_data_sets()]
    return list(dict.fromkeys(found))
