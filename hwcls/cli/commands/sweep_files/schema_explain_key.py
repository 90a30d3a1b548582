"""`hwcls schema` and `hwcls explain-key`: what a sweep file may hold, for editors and for people."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from hwcls.cli.console import app, echo
from hwcls.cli.options import AsJson


@app.command()
def schema() -> None:
    """Print the JSON schema of a sweep file. With it editors complete and check the file while you write.

    hwcls has it as hwcls/config/sweep.schema.json; the first line of the files in sweeps/ names it for editors.

    Example: hwcls schema > sweep.schema.json
    """
    from hwcls.config.reference.sweep_schema import build_sweep_schema, format_schema

    echo(format_schema(build_sweep_schema()), nl=False)


@app.command("explain-key")
def explain_key(
    key: Annotated[
        str, typer.Argument(help="Dotted: optimizer.lr, run_cap, model.simple_cnn.width.", show_default=False)
    ],
    as_json: AsJson = False,
) -> None:
    """Explain a key of a sweep file. It prints type, range, unit, default, how it is searched, an example.

    Example: hwcls explain-key optimizer.lr
    """
    from hwcls.config.reference.explain import explain_key

    found = explain_key(key)
    if as_json:
        echo(json.dumps([dataclasses.asdict(one) for one in found], indent=2))
        return
    for place, one in enumerate(found):
        if place == 0 or one.key != found[place - 1].key:
            echo(one.key)
        if one.owners:
            echo(f"of {', '.join(one.owners)}:")
        for line in one.lines():
            echo(line)
