"""`hwcls check` and `hwcls profile`: whether each model can learn, and how fast it is."""

from __future__ import annotations

import json
import os
from collections.abc import Container
from pathlib import Path
from typing import Annotated, Any

import typer

from hwcls.cli.choose_run import choose_config
from hwcls.cli.completion.sweep_file import alternatives
from hwcls.cli.console import app, echo, print_to_stderr, table_console
from hwcls.cli.options import AsJson, Overwrite, Preset, Sets, TrustCode, check_overwrite
from hwcls.files import check_writable_folder
from hwcls.format import format_count
from hwcls.training.threads import configure_threads

Subject = Annotated[Path, typer.Argument(help="A sweep file, a trial's folder, or a sweep's.", show_default=False)]
Only = Annotated[
    list[str] | None,
    typer.Option(help="Only this alternative. Repeatable.", show_default=False, autocompletion=alternatives),
]


@app.command()
def check(
    file: Subject,
    preset: Preset = None,
    sets: Sets = None,
    only: Only = None,
    steps: Annotated[int, typer.Option(min=2, help="Training steps at each learning rate that is tried.")] = 200,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Build every model of a sweep file and check that it learns. Each alternative must overfit two small batches.

    One that cannot is broken: the reason is printed, and the exit code is 1.

    Example: hwcls check sweeps/quickstart.yaml
    """
    configure_threads()
    from hwcls.inspection.sanity_check import overfit
    from hwcls.inspection.targets import check_models

    sweep, opened = _open(file, preset, sets, only)
    count, broken = check_models(sweep, list({id(data): data for _, _, data in opened}.values())) if sweep else (0, [])
    if not as_json:
        for line in broken:
            echo(f"cannot be built: {line}")
        if sweep:
            echo(f"{count - len(broken)} of {format_count(count, 'model')} in the search space can be built")
    verdicts = {}
    for name, config, data in opened:
        verdicts[name] = found = overfit(config, data, steps)
        if not as_json:
            echo(f"{name}: {'passed' if found.passed else 'FAILED'}, {found.reason}{_curve(found.losses)}")
    failed = [name for name, verdict in verdicts.items() if not verdict.passed]
    if as_json:
        models = {"distinct": count, "broken": broken}
        checks = {name: verdict.to_dict() for name, verdict in verdicts.items()}
        echo(json.dumps({"models": models, "checks": checks, "failed": failed}, indent=2))
    if failed or broken:
        raise typer.Exit(1)


@app.command()
def profile(
    files: Annotated[list[Path], typer.Argument(help="Sweep files, trials' folders, or sweeps'.", show_default=False)],
    preset: Preset = None,
    sets: Sets = None,
    only: Only = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps to time.")] = 20,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Trace complete epochs instead of a few steps.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder for the traces.")] = Path("profile"),
    overwrite: Overwrite = False,
    trust_code: TrustCode = False,
    as_json: AsJson = False,
) -> None:
    """Measure step time, memory and slowest operators of models. It times inference as well, and writes a trace.

    Traces open in ui.perfetto.dev or chrome://tracing.

    Example: hwcls profile sweeps/quickstart.yaml
    """
    check_writable_folder(out)
    configure_threads()
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler's library writes to stderr
    from hwcls.inspection.profile import profile_training

    models: dict[str, Any] = {}
    for file in files:
        for name, config, data in _open(file, preset, sets, only)[1]:
            models[_free_name(name, file, models)] = config, data
    traces = {name: out / f"{name}.trace.json" for name in models}
    check_overwrite(traces.values(), overwrite)
    found: dict[str, Any] = {}
    for name, (config, data) in models.items():
        found[name] = vars(profile_training(config, data, traces[name], steps=steps, epochs=epochs))
    if as_json:
        echo(json.dumps(found, indent=2))
        return
    _print_costs(found)


def _open(file: Path, preset: str | None, sets: list[str] | None, only: list[str] | None) -> Any:
    """The sweep, where `file` is one, and the name, config and data of each model."""
    from hwcls.data.imageset import open_data
    from hwcls.errors import UserError, did_you_mean
    from hwcls.inspection.targets import find_targets

    if (file / "sweep.yaml").is_file():
        file = choose_config(file)
    found, sweep = find_targets(file, preset, sets or ())
    for name in only or ():
        known = [target.name for target in found]
        if name not in known:
            raise UserError(f"no alternative '{name}'", where=str(file), remedy=did_you_mean(name, known))
    sets_of: dict[str, Any] = {}
    opened = []
    for target in found:
        if only and target.name not in only:
            continue
        key = target.config.data.pixels().model_dump_json()
        if key not in sets_of:
            sets_of[key] = open_data(target.config.data, print_to_stderr)
        opened.append((target.name, target.config, sets_of[key]))
    return sweep, opened


def _free_name(name: str, file: Path, taken: Container[str]) -> str:
    """The name of a model of `file` that no earlier file has: after a clash with the name of its file or sweep."""
    free, place = name, 1
    while free in taken:
        free = f"{_owner(file)}-{name}" + (f"-{place}" if place > 1 else "")
        place += 1
    return free


def _owner(file: Path) -> str:
    """What the models of a sweep file, a trial or a sweep belong to."""
    from hwcls.inspection.load_trained import find_sweep_folder

    if file.is_file() and file.name != "config.yaml":
        return file.stem
    folder = file.absolute() if file.is_dir() else file.absolute().parent
    is_sweep = (folder / "sweep.yaml").is_file()
    return (folder if is_sweep else find_sweep_folder(folder) or folder.parent).name


def _curve(losses: list[float]) -> str:
    """Five losses from the first step to the last."""
    if len(losses) < 2:
        return ""
    places = sorted({round(i * (len(losses) - 1) / 4) for i in range(5)})
    return "; loss " + " → ".join(f"{losses[place]:.3g}" for place in places)


def _print_costs(found: dict[str, Any]) -> None:
    from rich.table import Table

    from hwcls.format import format_bytes

    console = table_console()
    table = Table("model", box=None, pad_edge=False)
    columns = ("parameters", "step ms", "batch", "images/s", "memory", "ms/image", "ms/image in batches")
    for name in columns:
        table.add_column(name, justify="right")
    for name, cost in found.items():
        table.add_row(
            name,
            f"{cost['parameters']:,}",
            f"{cost['step_ms']:.1f}",
            str(cost["batch_size"]),
            f"{cost['images_per_second']:,.0f}",
            format_bytes(cost["memory_mb"] * 2**20),
            f"{cost['inference_ms']:.2f}",
            f"{cost['inference_batch_ms']:.3f}",
        )
    console.print(table)
    for name, cost in found.items():
        slowest = ", ".join(f"{row['operator']} {row['share']:.0%}" for row in cost["slowest"])
        echo(f"{name}: slowest {slowest}; trace {cost['trace']}")
    first = next(iter(found.values()))
    echo(f"memory: {first['memory']}; CPU threads: {first['threads']}")
