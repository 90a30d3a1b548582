"""results/<sweep>/ensemble/: the models of an ensemble with all that predictions need, which can be moved anywhere.

Each member is a folder as best/ is: best.safetensors, config.yaml, preprocessing.json, the user's own model code.
ensemble.json says which runs they are, how often each counts, and how the ensemble scored on val and test.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hwcls import files
from hwcls.data.cache.working_copies import refuse_working_copy
from hwcls.errors import UserError
from hwcls.format import format_metric, join_words, name_metric
from hwcls.inspection.ensemble.model import Ensemble
from hwcls.inspection.load_trained import Trained
from hwcls.inspection.preprocessing import describe_preprocessing
from hwcls.results.best.choose import BestRun
from hwcls.results.best.folder import CONFIG, PREPROCESSING, config_and_code, to_json
from hwcls.results.confirm.plan import confirm_metric
from hwcls.results.load import SweepResults
from hwcls.statistics import Estimate, PairedComparison
from hwcls.tracking.folders import ENSEMBLE, MEMBERS, TEST_READS
from hwcls.training.artifacts import WEIGHTS


@dataclass(frozen=True)
class Chosen:
    """The models of an ensemble.

    Attributes:
        model: The average, of probabilities or, as a single member, of weights.
        keys: The runs that are averaged.
        times: How often each of them counts.
        alone: The sweep's metric on val of the best one alone.
    """

    kind: Literal["ensemble", "soup"]
    model: Ensemble
    keys: tuple[str, ...]
    times: tuple[int, ...]
    alone: float


@dataclass(frozen=True)
class Scored:
    """How an ensemble scored: its metrics on val and test, and on test beside the winner's."""

    scores: dict[str, float]
    compared: PairedComparison
    winner: BestRun


def write_ensemble(sweep: SweepResults, chosen: Chosen, scored: Scored) -> dict[str, Any]:
    """Write ensemble/, complete or not at all; returns its ensemble.json."""
    target = sweep.folder / ENSEMBLE
    for leftover in sweep.folder.glob(f".{ENSEMBLE}.*.tmp"):  # of a start that was killed
        files.remove(leftover)
    new = sweep.folder / f".{ENSEMBLE}.{os.getpid()}.tmp"
    try:
        about = _describe(sweep, chosen, scored)
        soup = chosen.kind == "soup"
        for place, member in enumerate(chosen.model.members, 1):
            digest = (_write_soup if soup else _copy_member)(member, new / str(place))
            size = (new / str(place) / WEIGHTS[0]).stat().st_size
            own: dict[str, Any] = {
                "folder": str(place),
                "run": "+".join(chosen.keys) if soup else chosen.keys[place - 1],
            }
            own |= {"times": 1 if soup else chosen.times[place - 1], "weights": {"sha256": digest, "bytes": size}}
            about["members"].append(own)
        (new / MEMBERS).write_bytes(to_json(about))
        files.replace_folder(new, target)
    finally:
        files.remove(new)
    return about


def _describe(sweep: SweepResults, chosen: Chosen, scored: Scored) -> dict[str, Any]:
    """ensemble.json, still without its members."""
    compared, metric = scored.compared, sweep.metric
    name, value = name_metric(metric), format_metric(metric, scored.scores[metric])
    runs = [key if n == 1 else f"{key} ({n} times)" for key, n in zip(chosen.keys, chosen.times, strict=True)]
    what = f"the {'weights' if chosen.kind == 'soup' else 'probabilities'} of "
    what += f"{len(runs)} models, {join_words(runs)}" if len(runs) > 1 else runs[0]
    views = f", over {chosen.model.views} views of each image" if chosen.model.views > 1 else ""
    alone = format_metric(metric, chosen.alone)
    return {
        "sweep": sweep.name,
        "kind": chosen.kind,
        "why": f"the average of {what}{views}, chosen on val, where its {name} is {value} (of the best alone: {alone})",
        "averaged": list(chosen.keys),
        "views": chosen.model.views,
        "members": [],
        "winner": scored.winner.key,
        "scores": {**scored.scores, "alone": {metric: chosen.alone}},
        "test": {
            "metric": confirm_metric(sweep),
            "images": compared.images,
            "ensemble": _bounds(compared.first),
            "winner": _bounds(compared.second),
            "difference": _bounds(compared.difference),
            "p": compared.p,
        },
        "classes": list(chosen.model.classes),
        "use": f"hwcls predict {ENSEMBLE} IMAGES, wherever this folder is",
    }


def _bounds(estimate: Estimate) -> list[float]:
    return [estimate.mean, estimate.low, estimate.high]


def _copy_member(member: Trained, folder: Path) -> str:
    """Copy a run's config, code and weights; returns the checksum of the weights."""
    _write(folder, {**config_and_code(member.path), PREPROCESSING: to_json(describe_preprocessing(member.inputs))})
    shutil.copyfile(member.path / WEIGHTS[0], folder / WEIGHTS[0])
    with open(folder / WEIGHTS[0], "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_soup(member: Trained, folder: Path) -> str:
    """Write the config and the weights of a model that is nowhere yet; returns the checksum of the weights."""
    from safetensors.torch import save

    config = member.config.to_dict()
    described = json.dumps({"config": config, "inputs": member.inputs.to_dict()})
    weights = save({key: one.contiguous() for key, one in member.model.state_dict().items()}, {"hwcls": described})
    text = files.to_yaml(config).encode()
    preprocessing = to_json(describe_preprocessing(member.inputs))
    _write(folder, {CONFIG: text, PREPROCESSING: preprocessing, WEIGHTS[0]: weights})
    return hashlib.sha256(weights).hexdigest()


def _write(folder: Path, content: dict[str, bytes]) -> None:
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def check_own(target: Path) -> None:
    """Raise UserError where `target` is not an ensemble/ that hwcls wrote, or is in a working copy of results."""
    refuse_working_copy(target.parent)
    if not os.path.lexists(target):
        return
    if not target.is_dir() or any(
        path.name not in (MEMBERS, TEST_READS) and not path.name.isdecimal() for path in target.iterdir()
    ):
        raise UserError("holds files that hwcls did not write", where=str(target), remedy="move it away")
