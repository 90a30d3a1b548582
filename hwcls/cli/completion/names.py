"""Names of data sets and of models, without opening a data set or importing timm."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import typer

from hwcls.cli.completion.completer import silent
from hwcls.cli.completion.folders import list_files

REGISTERED = re.compile(r"^@register_model\s*\ndef (\w+)\(", re.MULTILINE)


@silent
def known_data_sets(ctx: typer.Context, incomplete: str) -> list[str]:
    """Those of hwcls that have files of their own."""
    from hwcls.data.catalog import DATA_SETS, USER_LAYOUT

    return [name for name in DATA_SETS.names() if name != USER_LAYOUT]


@silent
def data_sets(ctx: typer.Context, incomplete: str) -> list[str]:
    """Those of hwcls, and the folders that may be a user's."""
    return list_data_sets()


def list_data_sets() -> list[str]:
    """The names of data sets: the known ones, and the folders that may be a user's."""
    from hwcls.data.catalog import DATA_SETS, USER_NAME, raw_folders

    folders = [path for folder in raw_folders() if folder.is_dir() for path in folder.iterdir() if path.is_dir()]
    own = sorted(path.name for path in folders if USER_NAME.fullmatch(path.name))
    return list(dict.fromkeys([*DATA_SETS.names(), *own]))


@silent
def models(ctx: typer.Context, incomplete: str) -> list[str]:
    """Families, backbones of timm, and files that may be sweep files."""
    from hwcls.config.model import MODELS

    families = [name for name in MODELS.names() if name not in ("timm", "user")]
    return [*families, *list_backbones(), *list_files(incomplete, (".yaml", ".yml", ".py"))]


def list_backbones() -> list[str]:
    """The names of timm's models, read from its source: importing it takes seconds."""
    found = find_spec("timm")
    if found is None or found.origin is None:
        return []
    files = sorted((Path(found.origin).parent / "models").glob("*.py"))
    return sorted({name for file in files for name in REGISTERED.findall(file.read_text("utf-8"))})
