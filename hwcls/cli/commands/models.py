"""`hwcls models`: what models cost and what they see, before any of them is trained."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwcls.cli.commands.compare_explain import table_console
from hwcls.cli.console import app, command

if TYPE_CHECKING:
    from hwcls.config.data import DataConfig
    from hwcls.config.model import ModelConfig
    from hwcls.models.receptive_field import Field
    from hwcls.models.summary import Summary

CLASSES, CHANNELS, SIZE = 10, 3, 32  # of models that are named without a data set
Shape = tuple[int, int, int]  # classes, channels, side


@dataclasses.dataclass(frozen=True)
class Named:
    """A model by the name that the table gives it."""

    name: str
    group: str  # the alternative that it is one end of
    config: ModelConfig
    shape: Shape


@app.command()
@command
def models(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Families, timm's names, my_file.py:build, sweep files, trials' folders; else all families.",
            show_default=False,
        ),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(min=1, help=f"Pixels of one side; else the data's, or {SIZE}.", show_default=False)
    ] = None,
    channels: Annotated[
        int | None, typer.Option(min=1, max=3, help=f"1 or 3; else the data's, or {CHANNELS}.", show_default=False)
    ] = None,
    classes: Annotated[
        int | None, typer.Option(min=1, help=f"How many; else the data's, or {CLASSES}.", show_default=False)
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the named models, width=64; of a sweep file any entry. Repeatable."),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Every layer, with its receptive field.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, layers too, as JSON.")] = False,
) -> None:
    """Print parameters, FLOPs, activation memory, receptive field and output shape of models.

    FLOPs are those of one image's forward pass, two for a multiplication and an addition; activations are what a
    training step keeps of one image, in float32; the receptive field is what the last map sees, padding included,
    unknown behind operations that are not followed.

    Example: hwcls models simple_cnn resnet18 sweeps/quickstart.yaml
    """
    from hwcls.models.summary import summarise

    given = (classes, channels, image_size)
    rows: list[tuple[Named, Summary]] = []
    costs = set()
    for one in _named(names or _families(), sets or (), given):
        k, c, side = one.shape
        summary = summarise(one.config, classes=k, channels=c, image_size=side)
        # the ends of a range that changes no figure, as dropout's, are one row
        cost = (one.group, summary.parameters, summary.flops, summary.activations, summary.output)
        if cost not in costs:
            costs.add(cost)
            rows.append((one, summary))
    if as_json:
        typer.echo(json.dumps([_plain(*row) for row in rows], indent=2))
        return
    _print(rows)
    if layers:
        for one, summary in rows:
            _print_layers(one, summary)


def _families() -> list[str]:
    from hwcls.models import REGISTRY

    return [name for name in REGISTRY if name not in ("timm", "user")]


def _named(names: Sequence[str], sets: Sequence[str], given: Sequence[int | None]) -> Iterator[Named]:
    """What each name stands for; raises UserError for one that stands for nothing."""
    for name in names:
        path = Path(name)
        if ":" not in name and (path.exists() or path.suffix in (".yaml", ".yml")):
            yield from _from_file(path, sets, given)
        else:
            shape = tuple(one or default for one, default in zip(given, (CLASSES, CHANNELS, SIZE), strict=True))
            yield Named(name, name, _config(name, sets), (shape[0], shape[1], shape[2]))


def _config(name: str, sets: Sequence[str]) -> ModelConfig:
    """A family with its own settings, or a backbone of timm."""
    from pydantic import TypeAdapter, ValidationError

    from hwcls.config.annotations import sentence, variants
    from hwcls.config.model import HeadConfig, ModelConfig
    from hwcls.config.yaml_source import Source, parse_value
    from hwcls.errors import UserError, did_you_mean

    own = _families()
    near = did_you_mean(name, own)
    if name not in own and ":" not in name and near.startswith("did you mean"):
        raise UserError(f"unknown model '{name}'", remedy=near)
    values = {"name": name} if name in own or ":" in name else {"name": "timm", "backbone": name}
    source = Source(name, values)
    for item in sets:
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set {item}: no '=' in it", remedy="write --set width=64")
        source.set(key.strip(), parse_value(text, f"--set {item}"), f"--set {key.strip()}")
    try:
        return TypeAdapter[ModelConfig](ModelConfig).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        family, *loc = (str(part) for part in first["loc"])
        fields = HeadConfig if loc[:-1] == ["head"] else variants(ModelConfig).get(family, HeadConfig)
        what, remedy = sentence(first, [field for field in fields.model_fields if field != "label"])
        raise UserError(what, where=source.where(loc), remedy=remedy) from None


def _from_file(path: Path, sets: Sequence[str], given: Sequence[int | None]) -> Iterator[Named]:
    """A trial's model; of a sweep file every alternative, at both ends of its ranges."""
    from hwcls.config.model_alternatives import variants
    from hwcls.config.sweep_file import load_sweep, load_trial
    from hwcls.config.trial import flatten
    from hwcls.config.yaml_source import read_source
    from hwcls.errors import UserError

    if path.is_dir():
        path = next((path / name for name in ("config.yaml", "sweep.yaml") if (path / name).is_file()), path)
    if "model" in read_source(path).values:
        if sets:
            raise UserError("--set changes a sweep file or a named model, this is a trial", where=str(path))
        trial = load_trial(path)
        yield Named(str(path), str(path), trial.model, _shape(trial.data, given))
        return
    sweep = load_sweep(path, None, sets)
    shapes: dict[DataConfig, Shape] = {}
    for label, trials in (variants(sweep) or {sweep.config.name: list(sweep.corners)}).items():
        base = flatten({"model": trials[0].model.model_dump(mode="json")})
        for model, data in {trial.model.model_dump_json(): (trial.model, trial.data) for trial in trials}.values():
            changed = flatten({"model": model.model_dump(mode="json")})
            words = [f"{key}={value}" for key, value in changed.items() if base.get(key) != value]
            pixels = data.pixels()
            if pixels not in shapes:
                shapes[pixels] = _shape(data, given)
            yield Named(" ".join([label, *words]), f"{path} {label}", model, shapes[pixels])


def _shape(data: DataConfig, given: Sequence[int | None]) -> Shape:
    """Of the data set where it is here, else as far as it is known."""
    from hwcls.data.catalog import EMBEDDED, locate, source_of
    from hwcls.data.imageset import open_data

    classes, channels, side = given
    if data.name in EMBEDDED or data.path is not None or locate(data.name) is not None:
        opened = open_data(data, lambda text: typer.echo(text, err=True))
        return classes or len(opened.classes), channels or opened.channels, side or opened.image_size
    source = source_of(data.name)
    known = data.classes if isinstance(data.classes, int) else len(data.classes or ())
    if not classes and not known:
        typer.echo(f"note: {data.name} is not here yet, {CLASSES} classes are assumed: --classes", err=True)
    return (
        classes or known or CLASSES,
        channels or data.channels or source.channels or CHANNELS,
        side or data.image_size or source.image_size or SIZE,
    )


def _plain(one: Named, summary: Summary) -> dict[str, Any]:
    _, channels, side = one.shape
    settings = one.config.model_dump(mode="json", exclude={"label"})
    return {"name": one.name, "image": [channels, side, side], **dataclasses.asdict(summary), "settings": settings}


def _print(rows: Sequence[tuple[Named, Summary]]) -> None:
    from rich.table import Table

    from hwcls.config.model_alternatives import sentence

    console = table_console()
    frozen = any(summary.trainable != summary.parameters for _, summary in rows)
    table = Table("model", "image", box=None, pad_edge=False)
    trained = ["trained"] if frozen else []
    for name in ("parameters", *trained, "MFLOPs", "activations kB", "receptive field", "output"):
        table.add_column(name, justify="right")
    for one, summary in rows:
        _, channels, side = one.shape
        table.add_row(
            one.name,
            f"{channels}x{side}x{side}",
            f"{summary.parameters:,}",
            *([f"{summary.trainable:,}"] if frozen else []),
            f"{summary.flops / 1e6:,.2f}",
            f"{summary.activations / 1e3:,.1f}",
            _field(summary.receptive_field),
            "x".join(map(str, summary.output)),
        )
    console.print(table)
    alike: dict[tuple[str, Shape], list[str]] = {}
    for one, summary in rows:
        alike.setdefault((summary.signature, one.shape), []).append(one.name)
    for labels in alike.values():
        if len(labels) > 1:
            typer.echo(f"note: {sentence(labels)}")


def _print_layers(one: Named, summary: Summary) -> None:
    from rich.table import Table

    typer.echo(f"\n{one.name}")
    table = Table("layer", "kind", box=None, pad_edge=False)
    for name in ("output", "parameters", "receptive field"):
        table.add_column(name, justify="right")
    for layer in summary.layers:
        shape = "x".join(map(str, layer.shape))
        table.add_row(layer.name, layer.kind, shape, f"{layer.parameters:,}", _field(layer.receptive_field))
    table_console().print(table)


def _field(pixels: Field) -> str:
    return "whole image" if pixels is None else f"{pixels}"
