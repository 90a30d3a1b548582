"""results/<sweep>/best/: a copy of the best weights with all that predictions need, which can be moved anywhere.

best.safetensors, config.yaml and preprocessing.json; the user's own model code under source/; and best.json, which says
which run it is a copy of, its scores, and why it was chosen.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from hwcls import files
from hwcls.config.model import SOURCES
from hwcls.config.trial import use_copied_source
from hwcls.data.imageset import InputSpec
from hwcls.errors import UserError
from hwcls.models.user.code import read_code
from hwcls.results.best.choose import BestRun, choose_best
from hwcls.results.best.trained_on import describe_images
from hwcls.results.front.describe import write_front
from hwcls.results.load import SweepResults, load_results
from hwcls.tracking.folders import ABOUT, BEST, TEST_READS, TrialFolder
from hwcls.training.artifacts import WEIGHTS, read_weights_epoch, read_weights_metadata

CONFIG, PREPROCESSING = "config.yaml", "preprocessing.json"


def update_best(path: Path) -> None:
    """Make best/ of the results folder `path` the copy of its best run; without weights to copy it stays as it is.

    With several metrics front.json is written too.

    Raises:
        UserError: A file of the run is missing or damaged, or best/ is a folder of another program.
    """
    sweep = load_results(path)
    write_front(sweep)
    target = path / BEST
    for leftover in path.glob(f".{BEST}.*.tmp"):  # of a start that was killed
        files.remove(leftover)
    chosen = choose_best(sweep)
    if chosen is None or chosen.weights is None or chosen.weights == target:
        return  # none were kept, or those in best/ are the only ones left
    _check_own(target)
    content, inputs = config_and_code(chosen.weights), read_inputs(chosen.weights / WEIGHTS[0])
    about = _describe(sweep, chosen, content, inputs)
    if _is_current(target, content, about):
        return
    from hwcls.inspection.preprocessing import describe_preprocessing  # imports torch, which takes seconds

    content[PREPROCESSING] = to_json(describe_preprocessing(inputs))
    new = path / f".{BEST}.{os.getpid()}.tmp"
    try:
        _write(new, content, about, chosen.weights / WEIGHTS[0])
        files.replace_folder(new, target)
    finally:
        files.remove(new)


def config_and_code(run: Path) -> dict[str, bytes]:
    """config.yaml and the user's own code, by name."""
    values = use_copied_source(TrialFolder(run).settings(), run)
    model = values.get("model")
    source, colon, function = str(model.get("name") if isinstance(model, dict) else "").rpartition(":")
    content: dict[str, bytes] = {}
    if colon:
        code = read_code(Path(source))
        folder = f"{SOURCES}/{code.path.parent.name}"
        content |= {f"{folder}/{name}": data for name, data in code.files.items()}
        values = {**values, "model": {**values["model"], "name": f"{folder}/{code.path.name}:{function}"}}
    content[CONFIG] = files.to_yaml(values).encode()
    return content


def read_inputs(weights: Path) -> InputSpec:
    """What the model takes; raises UserError where the file, of another program, does not say it."""
    try:
        return InputSpec.from_dict(read_weights_metadata(weights)["inputs"])
    except (KeyError, TypeError, ValueError):
        raise UserError("does not say what its inputs are", where=str(weights), remedy="train it again") from None


def _describe(sweep: SweepResults, chosen: BestRun, content: dict[str, bytes], inputs: InputSpec) -> dict[str, Any]:
    """best.json, still without the checksum of the weights."""
    assert chosen.weights is not None
    weights, best = chosen.weights / WEIGHTS[0], chosen.run.best or {}
    return {
        "sweep": sweep.name,
        "run": chosen.key,
        "trial": chosen.run.number,
        "label": chosen.label,
        "seed": yaml.safe_load(content[CONFIG]).get("seed"),
        "why": chosen.why,
        "scores": {**{name: best[name] for name in best if name.startswith("val/")}, **chosen.test},
        "mean": dict(chosen.mean),
        "seeds": chosen.seeds,
        "settings": dict(chosen.run.parameters),
        "trained_on": describe_images(chosen.weights),
        "classes": list(inputs.classes),
        "weights": {"file": WEIGHTS[0], "epoch": read_weights_epoch(weights), "bytes": weights.stat().st_size},
        "files": [*content, PREPROCESSING, WEIGHTS[0]],
        "use": f"hwcls predict {BEST} IMAGES, wherever this folder is",
    }


def _is_current(target: Path, content: dict[str, bytes], about: dict[str, Any]) -> bool:
    """Whether the folder holds all of this already."""
    try:
        found = json.loads((target / ABOUT).read_bytes())
        found["weights"].pop("sha256")
        same = all((target / name).read_bytes() == data for name, data in content.items())
        same &= bool(json.loads((target / PREPROCESSING).read_bytes())["steps"])
        return same and found == about and (target / WEIGHTS[0]).stat().st_size == about["weights"]["bytes"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _write(new: Path, content: dict[str, bytes], about: dict[str, Any], weights: Path) -> None:
    for name, data in content.items():
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        (new / name).write_bytes(data)
    shutil.copyfile(weights, new / WEIGHTS[0])
    with open(new / WEIGHTS[0], "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    whole = {**about, "weights": {**about["weights"], "sha256": digest}}
    (new / ABOUT).write_bytes(to_json(whole))


def to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n").encode()


def _check_own(target: Path) -> None:
    """Raise UserError where `target` is not a best/ that hwcls wrote, complete or not."""
    if not os.path.lexists(target):
        return
    own = {ABOUT, CONFIG, PREPROCESSING, SOURCES, *WEIGHTS, TEST_READS}
    if not target.is_dir() or any(path.name not in own for path in target.iterdir()):
        raise UserError("holds files that hwcls did not write", where=str(target), remedy="move it away")
