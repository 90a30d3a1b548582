"""`hwcls models`: size, cost and receptive field of models, without training them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwcls.cli.completion.names import models as complete_model
from hwcls.cli.completion.sweep_file import model_settings
from hwcls.cli.console import app, echo, print_to_stderr, table_console
from hwcls.cli.options import TrustCode

if TYPE_CHECKING:
    from rich.console import JustifyMethod

    from hwcls.config.data import DataConfig
    from hwcls.config.model import ModelFamily
    from hwcls.models.receptive_field import FieldSize
    from hwcls.models.summary import Summary

CLASSES, CHANNELS, SIZE = 10, 3, 32  # where no data set is given
Shape = tuple[int, int, int]  # classes, channels, side

Names = Annotated[
    list[str] | None,
    typer.Argument(
        help="Families, timm backbones, my_file.py:build, sweep files, trials' folders; by default all families.",
        show_default=False,
        autocompletion=complete_model,
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A setting of the models, as width=64; any entry of a sweep file. Repeatable.",
        autocompletion=model_settings,
    ),
]


@dataclasses.dataclass(frozen=True)
class Row:
    """A model of the table."""

    name: str
    group: str  # the alternative that it belongs to
    config: ModelFamily
    shape: Shape


@app.command()
def models(
    names: Names = None,
    image_size: Annotated[
        int | None,
        typer.Option(min=1, help=f"Side in pixels; by default the data's, or {SIZE}.", show_default=False),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(min=1, max=3, help=f"By default the data's, or {CHANNELS}.", show_default=False),
    ] = None,
    classes: Annotated[
        int | None, typer.Option(min=1, help=f"By default the data's, or {CLASSES}.", show_default=False)
    ] = None,
    sets: Sets = None,
    layers: Annotated[bool, typer.Option("--layers", help="Print every layer with its receptive field.")] = False,
    trust_code: TrustCode = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything, layers too, as JSON.")] = False,
) -> None:
    """Print parameters, FLOPs, memory and output shape of models.

    The memory is that of activations. The receptive field is printed as well.

    FLOPs: one image's forward pass; a multiplication and an addition are two. Activations: what a training step keeps
    of one image, in float32. Receptive field: the pixels that a value of the last feature map depends on, padding
    included; unknown after operations that hwcls does not follow. Of a timm backbone also where its pretrained weights
    would come from; nothing is downloaded, and no hub is asked.

    Example: hwcls models simple_cnn resnet18 sweeps/quickstart.yaml
    """
    from hwcls.models.summary import summarise_model

    given = (classes, channels, image_size)
    rows: list[tuple[Row, Summary]] = []
    costs = set()
    for one in _rows(names or _families(), sets or (), given):
        k, c, side = one.shape
        summary = summarise_model(one.config, classes=k, channels=c, image_size=side)
        # both ends of a range that changes no figure (dropout) are one row
        cost = (one.group, summary.parameters, summary.flops, summary.activations, summary.output)
        if cost not in costs:
            costs.add(cost)
            rows.append((one, summary))
    if as_json:
        echo(json.dumps([_plain(*row) for row in rows], indent=2))
        return
    _print(rows)
    for line in _weights_lines([one for one, _ in rows]):
        echo(line)
    if layers:
        for one, summary in rows:
            _print_layers(one, summary)


def _families() -> list[str]:
    """The families that need no settings, so that their name alone is a model."""
    from hwcls.config.model import MODELS

    families = MODELS.all().items()
    return [name for name, family in families if not any(f.is_required() for f in family.model_fields.values())]


def _rows(names: Sequence[str], sets: Sequence[str], given: Sequence[int | None]) -> Iterator[Row]:
    """The models of each name; raises UserError for an unknown one."""
    from hwcls.models.user.code import accept_named

    for name in names:
        path = Path(name)
        if ":" not in name and (path.exists() or path.suffix in (".yaml", ".yml")):
            yield from _from_file(path, sets, given)
        else:
            shape = tuple(one or default for one, default in zip(given, (CLASSES, CHANNELS, SIZE), strict=True))
            config = _config(name, sets)
            accept_named([config])
            yield Row(name, name, config, (shape[0], shape[1], shape[2]))


def _config(name: str, sets: Sequence[str]) -> ModelFamily:
    """The config of a family with the given settings, or of a timm backbone."""
    from pydantic import TypeAdapter, ValidationError

    from hwcls.config.annotations import config_classes
    from hwcls.config.model import HeadConfig
    from hwcls.config.remedies.values import describe_error, first_error
    from hwcls.config.trial import ModelConfig
    from hwcls.config.yaml_source import YamlSource, parse_value
    from hwcls.errors import UserError, did_you_mean

    own = _families()
    near = did_you_mean(name, own, otherwise="")
    if name not in own and ":" not in name and near:
        raise UserError(f"unknown model '{name}'", remedy=near)
    values = {"name": name} if name in own or ":" in name else {"name": "timm", "backbone": name}
    source = YamlSource(name, values)
    for item in sets:
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set {item}: no '=' in it", remedy="write --set width=64")
        source.set(key.strip(), parse_value(text, f"--set {item}"), f"--set {key.strip()}")
    try:
        return TypeAdapter[ModelConfig](ModelConfig).validate_python(values)
    except ValidationError as error:
        first = first_error(error)
        family, *loc = (str(part) for part in first["loc"])
        fields = HeadConfig if loc[:-1] == ["head"] else config_classes(ModelConfig).get(family, HeadConfig)
        what, remedy = describe_error(first, [field for field in fields.model_fields if field != "label"])
        raise UserError(what, where=source.where(loc), remedy=remedy) from None


def _from_file(path: Path, sets: Sequence[str], given: Sequence[int | None]) -> Iterator[Row]:
    """A trial's model, or every alternative of a sweep file at both ends of its ranges."""
    from hwcls.config.sweep_file import load_sweep, load_trial
    from hwcls.config.trial import flatten
    from hwcls.config.yaml_source import read_source
    from hwcls.errors import UserError
    from hwcls.models.alternatives import expand_alternatives
    from hwcls.models.user.code import accept_named
    from hwcls.training.image_size import size_sweep, size_trial

    if is_folder := path.is_dir():
        path = next((path / name for name in ("config.yaml", "sweep.yaml") if (path / name).is_file()), path)
    if "model" in read_source(path).values:
        if sets:
            raise UserError("--set changes a sweep file or a named model, not a trial", where=str(path))
        trial = load_trial(path)
        trial = trial if given[2] else size_trial(trial)[0]
        yield Row(str(path), str(path), trial.model, _shape(trial.data, given))
        return
    sweep = load_sweep(path, None, sets)
    if not is_folder:
        accept_named((trial.model for trial in sweep.corners), path)
    sweep = sweep if given[2] else size_sweep(sweep)
    shapes: dict[DataConfig, Shape] = {}
    for label, trials in (expand_alternatives(sweep) or {sweep.config.name: list(sweep.corners)}).items():
        base = flatten({"model": trials[0].model.model_dump(mode="json")})
        for model, data in {trial.model.model_dump_json(): (trial.model, trial.data) for trial in trials}.values():
            changed = flatten({"model": model.model_dump(mode="json")})
            words = [f"{key}={value}" for key, value in changed.items() if base.get(key) != value]
            pixels = data.pixels()
            if pixels not in shapes:
                shapes[pixels] = _shape(data, given)
            yield Row(" ".join([label, *words]), f"{path} {label}", model, shapes[pixels])


def _shape(data: DataConfig, given: Sequence[int | None]) -> Shape:
    """The data set's shape, or what is known of it before it is downloaded."""
    from hwcls.data.catalog import find_data_set, locate
    from hwcls.data.imageset import open_data

    classes, channels, side = given
    spec = find_data_set(data.name)
    if spec.embedded or data.path is not None or locate(data.name) is not None:
        opened = open_data(data, print_to_stderr)
        return classes or len(opened.classes), channels or opened.channels, side or opened.image_size
    known = data.classes if isinstance(data.classes, int) else len(data.classes or ())
    if not classes and not known:
        print_to_stderr(f"note: {data.name} is not downloaded yet; assuming {CLASSES} classes (--classes changes it)")
    return (
        classes or known or CLASSES,
        channels or data.channels or spec.channels or CHANNELS,
        side or data.image_size or spec.image_size or SIZE,
    )


def _plain(one: Row, summary: Summary) -> dict[str, Any]:
    _, channels, side = one.shape
    settings = one.config.model_dump(mode="json", exclude={"label"})
    expected = one.config.expects
    found = {"name": one.name, "image": [channels, side, side], **dataclasses.asdict(summary), "settings": settings}
    weights = [place.to_dict() for place in one.config.look_for_pretrained()]
    return {**found, "expects": expected and vars(expected), **({"weights": weights} if weights else {})}


def _weights_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Where the weights come from of each backbone that is pretrained or was named itself."""
    from hwcls.models.weights.describe import describe_places

    told = set()
    for one in rows:
        looked = one.config.look_for_pretrained()
        is_asked = one.config.pretrained_from is not None or one.name == one.group
        if looked and is_asked and looked[0] not in told:
            told.add(looked[0])
            yield from describe_places(looked)


def _print(rows: Sequence[tuple[Row, Summary]]) -> None:
    from hwcls.data.input_words import describe_expected
    from hwcls.models.alternatives import describe_same_models

    _print_table(rows)
    alike: dict[tuple[str, Shape], list[str]] = {}
    for one, summary in rows:
        alike.setdefault((summary.signature, one.shape), []).append(one.name)
    for one, _ in rows:
        for note in one.config.notes(channels=one.shape[1], image_size=one.shape[2]):
            echo(f"note: {note}")
    expected = {one.name: inputs for one, _ in rows if (inputs := one.config.expects) is not None}
    for name, inputs in expected.items():
        echo(f"{name}: its weights were trained on {describe_expected(inputs)}")
    for labels in alike.values():
        if len(labels) > 1:
            echo(f"note: {describe_same_models(labels)}")


def _print_table(rows: Sequence[tuple[Row, Summary]]) -> None:
    """Print a row for each model; a narrow table has no column for an image size that is the same for all."""
    from rich.table import Table

    from hwcls.report.terminal.columns import drop_columns, measure_columns, total_width

    console = table_console()
    frozen = any(summary.trainable != summary.parameters for _, summary in rows)
    cells = [_cells(*row, frozen=frozen) for row in rows]
    images = {row["image"] for row in cells}
    expendable = ["image"] if len(images) == 1 else []
    needed = measure_columns(cells[0], cells)
    widths, is_narrow = drop_columns(needed, expendable, console.width), total_width(needed) > console.width
    table = Table(box=None, pad_edge=False)
    for name in widths:
        header = name.replace(" ", "\n") if is_narrow else name
        # no figure is broken or cut: the name takes several lines
        justify: JustifyMethod = "left" if name in ("model", "image") else "right"
        table.add_column(header, justify=justify, no_wrap=name != "model", overflow="fold")
    for row in cells:
        table.add_row(*(row[name] for name in widths))
    console.print(table)
    if "image" not in widths:
        echo(f"each on images of {images.pop()}")


def _cells(one: Row, summary: Summary, *, frozen: bool) -> dict[str, str]:
    """A row of the table, by column; `frozen`: with what is trained."""
    _, channels, side = one.shape
    return {
        "model": one.name,
        "image": f"{channels}x{side}x{side}",
        "parameters": f"{summary.parameters:,}",
        **({"trained": f"{summary.trainable:,}"} if frozen else {}),
        "MFLOPs": f"{summary.flops / 1e6:,.2f}",
        "activations kB": f"{summary.activations / 1e3:,.1f}",
        "receptive field": _field(summary.receptive_field),
        "output": "x".join(map(str, summary.output)),
    }


def _print_layers(one: Row, summary: Summary) -> None:
    from rich.table import Table

    echo(f"\n{one.name}")
    table = Table("layer", "kind", box=None, pad_edge=False)
    for name in ("output", "parameters", "receptive field"):
        table.add_column(name, justify="right")
    for layer in summary.layers:
        shape = "x".join(map(str, layer.shape))
        table.add_row(layer.name, layer.kind, shape, f"{layer.parameters:,}", _field(layer.receptive_field))
    table_console().print(table)


def _field(pixels: FieldSize) -> str:
    return "whole image" if pixels is None else f"{pixels}"
