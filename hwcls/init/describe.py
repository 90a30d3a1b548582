"""What `hwcls init` found and chose, in plain lines and as JSON-ready values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from hwcls.escape import shell_word
from hwcls.format import format_count, format_duration, format_significant, join_words
from hwcls.init.budget import PROBE
from hwcls.init.create import Found, Written
from hwcls.init.facts import DataFacts
from hwcls.init.plan import UNEVEN

NAMES = 6  # classes that are named


def describe_found(path: str, found: Found) -> Iterator[str]:
    """What was found, a line each."""
    data = found.data
    total = sum(sum(counts) for counts in data.counts.values())
    names = ", ".join(data.classes[:NAMES]) + (", ..." if len(data.classes) > NAMES else "")
    yield f"{path}: {format_count(total, 'image')} of {len(data.classes):,} classes: {names}"
    yield from (f"  {line}" for line in data.found)
    yield from (f"  {line}" for line in _describe_splits(data))
    least, middle, most = data.sides
    if data.square:
        yield f"  {data.square} x {data.square} pixels"
    elif least == most:
        yield f"  {least:,} pixels on the short side"
    else:
        yield f"  short sides of {least:,} to {most:,} pixels, {middle:,} at the middle"
    yield f"  {_describe_balance(data)}"
    weights = f"of {found.weights}" if found.weights else "none"
    yield f"  pretrained weights on this machine: {weights}"
    yield f"  {found.machine}"
    yield from (f"note: {note}" for note in data.notes)
    if found.machine.is_busy:
        cores = format_count(found.machine.cpus, "core")
        yield f"note: other programs use this machine (load {found.machine.load:g} on {cores}): times are as of now"


def _describe_splits(data: DataFacts) -> Iterator[str]:
    counts = {split: sum(found) for split, found in data.counts.items()}
    if "val" in data.cut:  # its share is chosen later
        counts["train"] += counts.pop("val")
    numbers = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    if not data.cut:
        yield f"{numbers}, as the files are split"
        return
    shares = [f"test ({data.cut['test']:.0%})"] if "test" in data.cut else []
    shares += ["val"] if "val" in data.cut else []
    yield f"{numbers}; {join_words(shares)} {'are' if len(shares) > 1 else 'is'} cut off train, of every class alike"
    kept = [format_count(count, noun) for count, noun in ((data.groups, "group"), (data.copies, "duplicate")) if count]
    if kept:
        yield f"kept on one side of the cut: {join_words(kept)}"


def _describe_balance(data: DataFacts) -> str:
    least, most = data.extremes
    if least == most:
        text = f"{least:,} training images of each class"
    else:
        smallest, largest = (data.classes[data.per_class.index(count)] for count in (least, most))
        text = f"{least:,} ({smallest}) to {most:,} ({largest}) training images of a class"
        uneven = data.unevenness >= UNEVEN
        text += f", {format_significant(data.unevenness, 3)} times as many: uneven" if uneven else ": even"
    if data.is_small:
        text += "; these are few: more images will help more than all else"
    return text


def describe_written(written: Written) -> Iterator[str]:
    """What was written, and what comes next."""
    plan, schedule = written.plan, written.schedule
    for label, (low, high) in written.epoch_seconds.items():
        left_out = "" if label in schedule.models else "; too slow for this time, left out"
        span = format_duration(low) if high < 1.1 * low else f"{format_duration(low)} to {format_duration(high)}"
        yield f"  an epoch of {label} on all training images takes {span} here{left_out}"
    if schedule.features:
        yield f"  the features of {PROBE} take {format_duration(schedule.features)} here, once for all of its trials"
    side, used = plan.value("parameters.data.image_size"), plan.images
    yield (
        f"  trains on {used['train']:,} images of {side} x {side} pixels, chooses by {used['val']:,} (val),"
        f" scores on {used['test']:,} (test)"
    )
    about, asked = format_duration(plan.seconds), format_duration(plan.asked)
    if schedule.share < 1:
        share = f"{100 * schedule.share:.3g}%"
        yield f"note: only {share} of the training images are used, for the time: a longer --for uses more"
    if written.for_two is not None:
        only = f"only {schedule.models[0]} fits into {asked}, so no models are compared"
        yield f"note: {only}: {written.for_two} gives about enough time for two"
    if plan.is_late:
        remedy = f"--for {math.ceil(plan.seconds / 60)}m, or fewer classes (data.classes), or a faster machine"
        yield f"note: {asked} are too short on this machine, with as few images and epochs as make sense: {remedy}"
    yield f"{written.path}: a sweep of about {about}, with the reason of each choice"
    yield "next:"
    yield from (f"  {command}" for command in _next_commands(written))


def _next_commands(written: Written) -> list[str]:
    results = f"results/{written.plan.value('name')}"
    return [f"hwcls sweep {shell_word(written.path)}", f"hwcls predict {results} NEW_IMAGES"]


def to_json(found: Found, written: Written) -> dict[str, Any]:
    """All of it, as JSON-ready values."""
    data = found.data
    return {
        "file": str(written.path),
        "classes": list(data.classes),
        "images": {split: dict(zip(data.classes, counts, strict=True)) for split, counts in data.counts.items()},
        "cut": dict(data.cut),
        "groups": data.groups,
        "copies": data.copies,
        "notes": list(data.notes),
        "found": list(data.found),
        "short_sides": list(data.sides),
        "weights": found.weights,
        "machine": vars(found.machine),
        "epoch_seconds": written.epoch_seconds,
        "features_seconds": written.schedule.features,
        "seconds": written.plan.seconds,
        "for_two_models": written.for_two,
        "share": written.schedule.share,
        "used": dict(written.plan.images),
        "choices": [vars(choice) for choice in written.plan.choices],
        "next": _next_commands(written),
    }
