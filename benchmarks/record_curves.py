"""Records the learning curves that benchmarks/replay.py plays: python benchmarks/record_curves.py curves_cifar10

Trains every point of a space, benchmarks/curves*.yaml, to its last epoch with hwcls's Trainer on one thread, and writes
the .npz beside it: accuracy on the half of val by which a search chooses (the plateau sees it too), accuracy on the
half that only scores, and seconds of CPU, each (configurations, epochs), NaN after a loss that was not finite; and the
settings of each configuration. Each configuration is a file in the work folder, so that an interrupted run resumes.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from hwcls import files
from hwcls.config.space import Fixed
from hwcls.config.sweep_file import load_sweep
from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import ImageSet, Split, open_data
from hwcls.data.splits import split_stratified
from hwcls.training.build import build_trainer
from hwcls.training.errors import NotFiniteError

HERE = Path(__file__).parent
SPLITS = ("selection", "scoring")


def halved(data: ImageSet, seed: int) -> ImageSet:
    """The data with val cut in two, stratified: `val` selects, and `test` is the half that scores."""
    val = data.val

    def part(places: np.ndarray) -> Split:
        return Split(val.images, val.labels[places], val.rows[places])

    selection, scoring = split_stratified(val.labels, np.arange(len(val)), 0.5, seed)
    return replace(data, val=part(selection), test=part(scoring))


def curves(config: TrialConfig, data: ImageSet) -> dict[str, list[float]]:
    """One training to its end: accuracy on both halves, and seconds of CPU without those of scoring, by epoch."""
    found: dict[str, list[float]] = {"selection": [], "scoring": [], "seconds": []}
    trainer = build_trainer(config, data)
    started = time.process_time()
    try:
        for record in trainer.epochs():
            found["seconds"].append(time.process_time() - started)
            confusion = trainer.evaluate("test").confusion
            found["selection"].append(record.metrics["val/accuracy"])
            found["scoring"].append(float(confusion.trace() / confusion.sum()))
            started = time.process_time()
    except NotFiniteError:
        for values in found.values():
            values += [float("nan")] * (config.epochs - len(values))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", nargs="?", default="curves", help="the name of its files")
    parser.add_argument("--work", type=Path, required=True, help="a folder for the configurations that are done")
    parser.add_argument("--images", help="the folder of the images where the space has its own")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sets = [f"parameters.data.path={options.images}"] if options.images else []
    sweep, out = load_sweep(HERE / f"{options.space}.yaml", sets=sets), HERE / f"{options.space}.npz"
    points = sweep.space.grid()
    configs = [sweep.trial(Fixed(point), seed=number) for number, point in enumerate(points)]
    data = halved(open_data(configs[0].data), seed=0)
    for number, (point, config) in enumerate(zip(points, configs, strict=True)):
        path = options.work / f"{number}.json"
        if path.exists():
            continue
        found = curves(config, data)
        files.write_json(path, {"settings": point, **found})
        best = np.nanmax([0.0, *found["selection"]])
        print(f"{number + 1}/{len(points)} {point}: {best:.4f}", flush=True)
    done = [json.loads((options.work / f"{number}.json").read_text()) for number in range(len(points))]
    with files.open_atomic(out) as file:
        arrays = {name: np.array([one[name] for one in done], np.float32) for name in (*SPLITS, "seconds")}
        np.savez_compressed(file, settings=np.array([json.dumps(one["settings"]) for one in done]), **arrays)
    print(f"{out}: {out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
