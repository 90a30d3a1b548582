"""`hwcls data`: list, fetch, import, show and verify data sets."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwcls.cli.completion import names
from hwcls.cli.completion.completer import words
from hwcls.cli.completion.sweep_file import data_settings
from hwcls.cli.console import app, echo, echo_wrapped, print_to_stderr, table_console, terminal_width
from hwcls.cli.options import (
    AsJson,
    DataOptions,
    Overwrite,
    ask_to_replace,
    can_ask,
    check_overwrite,
    takes_data_options,
)
from hwcls.cli.progress_bar import progress_reporter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hwcls.config.data import ChosenSize, DataConfig
    from hwcls.config.model import ModelFamily
    from hwcls.data.decoding.image_sizes import ImageSizes

OWN = "any folder or archive: hwcls init PATH"  # where images of your own are
MAX_LINES = 20  # of a list; --json has all of it

data = typer.Typer(
    name="data",
    help="Data sets: list, fetch, import, show, verify, clean.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(data)

Name = Annotated[
    str,
    typer.Argument(
        help="A data set's name: see `hwcls data list`.",
        show_default=False,
        autocompletion=names.known_data_sets,
    ),
]
NameOrPlace = Annotated[
    str,
    typer.Argument(
        help="A data set's name, a folder or archive, or a sweep file.",
        show_default=False,
        autocompletion=names.data_sets,
    ),
]
Folder = Annotated[
    str | None, typer.Option("--path", help="The folder or archive of an imagefolder.", show_default=False)
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="An entry of a sweep file's data section: classes=3. Repeatable.",
        show_default=False,
        autocompletion=data_settings,
    ),
]


@data.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List known data sets, those you imported, and their files.

    Example: hwcls data list
    """
    from hwcls.data.cache.limit import FEATURES, describe_cache, list_entries
    from hwcls.data.catalog import DATA_SETS, list_data_sets
    from hwcls.format import format_bytes

    found = list_data_sets()
    sizes = {str(entry["name"]): {"decoded": 0, "features": 0} for entry in found}
    for one in list_entries():
        if one.data_set in sizes:
            sizes[one.data_set]["features" if one.kind == FEATURES else "decoded"] += one.bytes
    if as_json:
        bytes_of = {name: {f"{kind}_bytes": size for kind, size in some.items()} for name, some in sizes.items()}
        echo(json.dumps([{**entry, **bytes_of[str(entry["name"])]} for entry in found], indent=2))
        return
    widths = [max(len(entry[key] or "") for entry in found) for key in ("name", "what")]
    width = terminal_width() or sys.maxsize
    for entry in found:
        where = entry["found"] or (OWN if DATA_SETS[str(entry["name"])].needs_path else "not found")
        for kind, size in sizes[str(entry["name"])].items():
            where += f"  {kind} {format_bytes(size)}" if size else ""
        line = f"{entry['name']:{widths[0]}}  {entry['what']:{widths[1]}}  {where}".rstrip()
        if len(line) > width:  # a path is not broken
            line = f"{entry['name']:{widths[0]}}  {entry['what']}\n{'':{widths[0]}}  {where}"
        echo(line)
    echo_wrapped(describe_cache(), 2)


@data.command("clean")
def clean(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A data set's name; without it those of all.", show_default=False, autocompletion=names.data_sets
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove decoded images and features that nothing uses now. They are made again when needed. Imports stay.

    The cache also removes what was used least recently by itself, above HWCLS_CACHE_LIMIT: 50GB, or 20% of the disk,
    which is the default.

    Example: hwcls data clean my_images
    """
    from hwcls.data.cache.limit import remove_entries
    from hwcls.format import format_bytes

    gone, kept = remove_entries(name)
    freed = sum(entry.bytes for entry in gone)
    if as_json:
        names = {"removed": [entry.path.name for entry in gone], "in_use": [entry.path.name for entry in kept]}
        echo(json.dumps({**names, "bytes": freed}, indent=2))
        return
    _print_some([*(f"removed: {entry}" for entry in gone), *(f"in use, kept: {entry}" for entry in kept)])
    echo(f"freed {format_bytes(freed)}")


@data.command("fetch")
def fetch_one(name: Name, as_json: AsJson = False) -> None:
    """Download a data set, or resume an interrupted download.

    Example: hwcls data fetch fashion_mnist
    """
    from hwcls.data.fetch import fetch_data_set

    with progress_reporter() as progress:
        path = fetch_data_set(name, progress)
    if as_json:
        echo(json.dumps({"name": name, "path": str(path) if path else None}, indent=2))
    else:
        echo(f"{name}: {path}" if path else f"{name} needs no download")


@data.command("import")
@takes_data_options
def import_one(
    name: Annotated[
        str,
        typer.Argument(
            help="A known data set's name, or a new one for your own images.",
            show_default=False,
            autocompletion=names.known_data_sets,
        ),
    ],
    path: Annotated[Path, typer.Argument(help="An archive or a folder.", show_default=False)],
    own: DataOptions,
    skip_corrupt: Annotated[
        bool, typer.Option("--skip-corrupt", help="Leave out images that cannot be read, and list them.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what was imported under this name, without asking.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Import a data set from a zip, a tar or a folder. Your own images lie in class folders, or a table names them.

    Example: hwcls data import my_images archive.zip, then in a sweep file: data: {name: my_images}
    """
    from hwcls.data.formats.image_types import summarise
    from hwcls.data.importer import find_imported, import_data_set

    layout = _check_section({"name": name, **own.entries()}).layout
    if not overwrite and can_ask() and (before := find_imported(name)):
        ask_to_replace(str(before))
        overwrite = True
    with progress_reporter() as progress:
        done = import_data_set(
            name,
            path,
            skip_corrupt=skip_corrupt,
            overwrite=overwrite,
            report=progress,
            layout=layout,
            test=own.test,
        )
    chosen = _chosen_size(name, done.sizes)
    if as_json:
        size = {"image_size": chosen and chosen.side, "image_size_reason": chosen and chosen.reason}
        left_out = {"skipped": done.skipped, "passed_over": list(done.left_out), **size}
        left_out |= {"left_out": summarise(done.left_out), "found": list(done.found)}
        scaled = {"pixel_range": done.pixel_range and done.pixel_range.to_dict()}
        echo(json.dumps({"name": name, "path": str(done.path), **left_out, **scaled}, indent=2))
        return
    _print_some([f"left out: {file}: {problem}" for file, problem in done.skipped.items()])
    corrupt = f"; corrupt and left out: {len(done.skipped)}" if done.skipped else ""
    echo(f"{name}: {done.path}{corrupt}")
    for line in [
        *done.found,
        *summarise(done.left_out),
        *_describe(name),
        *([f"{chosen}; pretrained weights may get another, and data.image_size sets it"] if chosen else []),
        *([_cost(name, chosen.side)] if chosen else []),
        *([f"note: {done.pixel_range.describe()}"] if done.pixel_range else []),
    ]:
        echo(line)


def _chosen_size(name: str, sizes: ImageSizes | None) -> ChosenSize | None:
    """The `image_size` that a sweep of models from scratch will choose; None where the data set has its own."""
    from hwcls.data.catalog import find_data_set
    from hwcls.training.image_size import choose_image_size

    return choose_image_size(sizes) if sizes is not None and find_data_set(name).user_files else None


def _cost(name: str, side: int) -> str:
    """What the images will take once they are decoded."""
    from hwcls.config.data import DataConfig
    from hwcls.data.cache.limit import LIMIT, cache_limit
    from hwcls.data.store import read_raw_data, store_bytes
    from hwcls.format import format_bytes

    count = sum(len(part.labels) for part in read_raw_data(DataConfig(name=name)).splits.values())
    size = format_bytes(store_bytes(count, side, 3))
    return (
        f"decoded they take up to {size} of the cache, which may take {format_bytes(cache_limit())} ({LIMIT} sets it)"
    )


def _describe(name: str) -> list[str]:
    """The imported data set as a sweep will see it, and how to name it in a sweep file."""
    from hwcls.config.data import DataConfig
    from hwcls.data import catalog
    from hwcls.data.cuts.describe import describe_shares
    from hwcls.data.cuts.index import describe_copies
    from hwcls.data.imageset import count_images
    from hwcls.data.store import read_raw_data
    from hwcls.results.notes.test_size import split_notes

    config = DataConfig(name=name)
    given = read_raw_data(config).splits
    with progress_reporter() as progress:
        classes, counts = count_images(config, progress)
        found = describe_copies(config, progress)
    numbers = ", ".join(f"{sum(count):,} {split}" for split, count in counts.items())
    cut = describe_shares({split: getattr(config, split) for split in ("test", "val") if split not in given})
    images = f"images: {numbers}; {cut}" if cut else f"images: {numbers}"
    lines = [f"{len(classes)} classes; {images}; in a sweep file: data: {{name: {name}}}"]
    if catalog.find_data_set(name).user_files:
        lines.append("no augmentation by default; where a mirrored image keeps its class: augment: {hflip: true}")
    return lines + [f"note: {note}" for note in (*found, *split_notes(name, classes, counts))]


@data.command("show")
@takes_data_options
def show_one(
    name: NameOrPlace,
    own: DataOptions,
    out: Annotated[Path | None, typer.Option(help="The PNG to write; by default NAME.png.", show_default=False)] = None,
    path: Folder = None,
    split: Annotated[
        str, typer.Option(help="train, val or test.", autocompletion=words("train", "val", "test"))
    ] = "train",
    sets: Sets = None,
    plain: Annotated[bool, typer.Option("--plain", help="Only the original images.")] = False,
    columns: Annotated[int, typer.Option(min=1, max=64, help="Images of each class.")] = 8,
    rows: Annotated[int, typer.Option(min=1, max=1000, help="At most this many classes.")] = 10,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Draw what training sees, and count the images. The picture has some of each class, original and augmented.

    Example: hwcls data show photos/, hwcls data show photos.yaml, hwcls data show cifar10 --set augment.crop=4
    """
    from hwcls.errors import UserError, did_you_mean

    if split not in ("train", "val", "test"):
        raise UserError(f"no split '{split}'", where="--split", remedy=did_you_mean(split, ("train", "val", "test")))
    config, stem, models = _find_config(name, path, sets or [], own)
    target = out or Path(f"{stem}.png")
    check_overwrite([target], overwrite)
    from hwcls.data.cuts.describe import describe_shares
    from hwcls.data.imageset import open_data
    from hwcls.data.pictures.image_grid import Shown, write_image_grid
    from hwcls.data.pictures.overview import describe_sizes
    from hwcls.report.terminal.class_balance import print_class_balance
    from hwcls.training.image_size import measure_data

    config = _sized(config, models)
    with progress_reporter() as progress:
        opened = open_data(config, progress)
        sides = measure_data(config).short_sides or [opened.image_size]
    write_image_grid(opened, config, target, Shown(split, not plain, columns, rows), sides)
    counts = opened.counts()
    if as_json:
        shape: dict[str, object] = {"image_size": opened.image_size, "channels": opened.channels}
        images: dict[str, object] = {"images": {part: sum(found) for part, found in counts.items()}}
        images |= {"images_per_class": counts, "cut_from_train": dict(opened.origin.shares)}
        shape["short_sides"] = [sides[0], sides[len(sides) // 2], sides[-1]]
        found = {"name": name, "picture": str(target), "classes": opened.classes, **shape, **images}
        echo(json.dumps(found, indent=2))
        return
    print_class_balance(opened.classes, counts, table_console())
    echo(describe_sizes(sides, opened.image_size))
    numbers = ", ".join(f"{sum(found):,} {part}" for part, found in counts.items())
    cut = describe_shares(opened.origin.shares)
    echo(f"{name}: {target} ({len(opened.classes)} classes; images: {numbers}{'; ' if cut else ''}{cut})")


@data.command("verify")
@takes_data_options
def verify_one(
    name: NameOrPlace, own: DataOptions, path: Folder = None, sets: Sets = None, as_json: AsJson = False
) -> None:
    """Check a data set's decoded pixels, and list duplicates. Of your own images it lists near copies as well.

    Named are near copies that have different labels, and those of training images in given val and test splits.

    Example: hwcls data verify digits, hwcls data verify photos/, hwcls data verify photos.yaml
    """
    config, _, models = _find_config(name, path, sets or [], own)
    from hwcls.data.cuts.index import find_copies
    from hwcls.data.imageset import count_images
    from hwcls.data.integrity import describe_duplicates
    from hwcls.data.store import open_pixel_store, read_raw_data

    config = _sized(config, models)
    with progress_reporter() as progress:
        store = open_pixel_store(config, progress)
        index = find_copies(config, progress)
        counts = {split: sum(found) for split, found in count_images(config, progress)[1].items()}
    near = index.named_pairs() if index else {}
    wrong, again, pairs = store.verify(), store.find_duplicates(), []
    if again:
        raw = read_raw_data(config)
        pairs = [(raw.image_name(one.split, one.row), raw.image_name(one.of_split, one.of_row)) for one in again]
    if as_json:
        found = {"name": name, "store": str(store.folder), "wrong": wrong}
        listed = [
            {**dataclasses.asdict(one), "file": first, "of_file": second}
            for one, (first, second) in zip(again, pairs, strict=True)
        ]
        echo(json.dumps(found | {"images": counts, "duplicates": listed, "near_copies": near}, indent=2))
    else:
        _print_some(wrong)
        if again:
            _print_some([f"the same pixels: {first} and {second}" for first, second in pairs])
            echo(f"{name}: {describe_duplicates(again)}")
        _print_some([f"near copies with different labels: {a} and {b}" for a, b in near.get("conflicts", ())])
        _print_some([f"a near copy of a training image: {a} of {b}" for a, b in near.get("across", ())])
        for line in index.describe() if index else ():
            echo(f"{name}: {line}")
        echo(f"{name}: images: {', '.join(f'{count:,} {split}' for split, count in counts.items())}")
        echo(
            f"{name}: {len(wrong)} wrong; remove {store.folder} to decode it again"
            if wrong
            else f"{name}: no pixel has changed since it was decoded"
        )
    if wrong:
        raise typer.Exit(1)


def _sized(config: DataConfig, models: Sequence[ModelFamily] = ()) -> DataConfig:
    """The data section with an image size, which is said where it has been chosen now."""
    from hwcls.training.image_size import size_data

    config, chosen = size_data(config, models)
    if chosen is not None:
        print_to_stderr(f"{chosen}; --set image_size=N takes another")
    return config


def _find_config(
    name: str, path: str | None, sets: list[str], own: DataOptions
) -> tuple[DataConfig, str, list[ModelFamily]]:
    """The data section that a data set's name, a path or a sweep file stands for, and a name for its picture.

    Also the models of a sweep file, but for a user's own, whose code is not run here.
    """
    from hwcls.config.sweep_file import load_sweep
    from hwcls.data.catalog import DATA_SETS
    from hwcls.format import plain_name

    if path is None and name not in DATA_SETS.names() and os.path.exists(name):
        if name.endswith((".yaml", ".yml")):
            dotted = [f"parameters.data.{item.removeprefix('data.')}" for item in sets]
            sweep = load_sweep(Path(name), sets=dotted)
            models = [trial.model for trial in sweep.corners if trial.model.source_file is None]
            section = _check_section({**sweep.corners[0].data.model_dump(exclude_unset=True), **own.entries()})
            return section, sweep.config.name, models
        return _config("imagefolder", name, sets, own), plain_name(name), []
    return _config(name, path, sets, own), name, []


def _config(name: str, path: str | None, sets: list[str], own: DataOptions) -> DataConfig:
    """The data section that the options describe; raises UserError."""
    from hwcls.config.yaml_source import parse_value
    from hwcls.data.catalog import find_data_set
    from hwcls.errors import UserError

    spec = find_data_set(name, where="")
    if spec.needs_path and path is None:
        raise UserError(f"{name} needs --path", remedy=spec.expects)
    values: dict[str, object] = {"name": name, "path": path, **own.entries()}
    for item in sets:
        dotted, equals, text = item.partition("=")
        if not equals:
            raise UserError(f"--set {item}: no '=' in it", remedy="write --set classes=3")
        *above, last = dotted.strip().removeprefix("data.").split(".")
        inner = values
        for key in above:
            inner = inner.setdefault(key, {})  # type: ignore[assignment]
            if not isinstance(inner, dict):
                raise UserError(f"--set {item}: {key} is set already")
        inner[last] = parse_value(text, f"--set {item}")
    return _check_section(values)


def _check_section(values: dict[str, object]) -> DataConfig:
    """A data section from its entries; raises UserError."""
    from pydantic import ValidationError

    from hwcls.config.data import AugmentConfig, DataConfig, LayoutConfig
    from hwcls.config.remedies.values import describe_error, first_error
    from hwcls.errors import UserError

    try:
        return DataConfig.model_validate(values)
    except ValidationError as error:
        first = first_error(error)
        section = str(first["loc"][0])
        nested = section in ("augment", "layout")
        inner = AugmentConfig.model_fields if section == "augment" else LayoutConfig.model_fields
        known = inner if nested and len(first["loc"]) > 1 else DataConfig.model_fields
        what, remedy = describe_error(first, [name for name in known if name != "label"], DataConfig)
        place = map(str, first["loc"][: 1 + nested])  # without the member of a union that pydantic tried
        raise UserError(what, where=".".join(("data", *place)), remedy=remedy) from None


def _print_some(lines: list[str]) -> None:
    for line in lines[:MAX_LINES]:
        echo(line)
    if (more := len(lines) - MAX_LINES) > 0:
        echo(f"... and {more:,} more; --json has them all")
