"""The best that hwcls and its peers find within the same CPU time, each with a search of its own. By hand, on Linux.

    pip install 'ray[default]' lightning 'optuna-integration[pytorch_lightning]' keras keras-tuner
    HWCLS_DATA=... python benchmarks/peers.py [--minutes 15] [--only NAME ...] [--per-class 6000] [--json FILE]

All search the same space on Fashion-MNIST: SimpleCNN of width 16 or 32, AdamW or SGD, learning rate and weight decay,
9 epochs at most, the same split, shifts by up to 2 pixels and flips. What to try, and when to stop it, is each peer's
own, as its documentation shows it. Each runs alone until it and all processes that it started have spent the CPU time,
and is killed then; its best trial on val is scored on test once, outside the budget: with its best weights, or, where
hwcls was killed while it trained that trial, with those of its last checkpoint. Keras Tuner builds the same layers in
Keras and trains them on the backend of torch; peer_keras.py names what differs. A peer that is not installed is a line
of the table.

Rows are added to FILE, so that the peers can run at different times; those of another task or budget are refused.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import processes
from sweep import HERE, environment, hwcls_sweep, specification, write_task

TRIALS = 500  # more than any has time for
MINUTE = 60.0


@dataclass(frozen=True)
class Peer:
    """A system, the script that runs it with the word for its search, and what it needs beside hwcls's packages."""

    title: str
    script: tuple[str, str]
    needs: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        return [name for name in self.needs if importlib.util.find_spec(name) is None]

    def search(self, folder: Path) -> list[str]:
        """What Python runs until the CPU time is spent."""
        return [str(HERE / self.script[0]), self.script[1], str(folder / "spec.json")]

    def score(self, folder: Path, best: Path) -> list[str]:
        """What Python runs to score the best trial on test; `spec.json` names it."""
        return [str(HERE / self.script[0]), "score", str(folder / "spec.json")]


class Hwcls(Peer):
    """hwcls by its commands."""

    def search(self, folder: Path) -> list[str]:
        return hwcls_sweep(folder)

    def score(self, folder: Path, best: Path) -> list[str]:
        return ["-m", "hwcls", "evaluate", str(best), "--split", "test", "--json"]


OURS = "hwcls"
PEERS = {
    OURS: Hwcls("hwcls", ("", "")),
    "tune": Peer("Ray Tune + TorchTrainer", ("contenders.py", "tune"), ("opencensus",)),
    "optuna": Peer("Optuna, one process", ("contenders.py", "optuna")),
    "lightning": Peer("Lightning + Optuna", ("peer_lightning.py", "search"), ("lightning", "optuna_integration")),
    "keras": Peer("Keras Tuner (Hyperband)", ("peer_keras.py", "search"), ("keras", "keras_tuner")),
}


@dataclass
class Progress:
    """The best accuracy on val over the CPU time, read from the trials' files while they grow."""

    trials: Path
    limit: float  # CPU seconds; what is written after them does not count
    best: list[tuple[float, float]] = field(default_factory=list)  # (CPU seconds, accuracy), each better than before
    best_trial: str = ""
    epochs: dict[str, int] = field(default_factory=dict)  # by trial

    def look(self, spent: float) -> None:
        """Note what is new."""
        if spent > self.limit:
            return
        for path in self.trials.glob("*/metrics.jsonl"):
            whole, trial = path.read_text("utf-8").rpartition("\n")[0], path.parent.name  # the last line may grow still
            lines = whole.splitlines()
            new = [json.loads(line)["val/accuracy"] for line in lines[self.epochs.get(trial, 0) :]]
            self.epochs[trial] = len(lines)
            if new and max(new) > (self.best[-1][1] if self.best else 0.0):
                self.best.append((spent, max(new)))
                self.best_trial = trial


def measure(name: str, spec: dict[str, Any], minutes: float, folder: Path) -> dict[str, Any]:
    """A peer's row: its progress, and its score on test."""
    results, log, keras = folder / "headline", folder / "log.txt", {"KERAS_BACKEND": "torch"}
    write_task(spec, folder)
    progress = Progress(results / "trials", minutes * MINUTE)
    search = [sys.executable, *PEERS[name].search(folder)]
    run = processes.run(search, environment(folder) | keras, log, progress.look, minutes * MINUTE)
    if not progress.best:
        last_words = "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-30:])
        raise SystemExit(f"{last_words}\n{name} ends with {run.code}, and no epoch")
    best = results / "trials" / progress.best_trial
    (folder / "spec.json").write_text(json.dumps({**spec, "best": str(best)}), encoding="utf-8")
    score = [sys.executable, *PEERS[name].score(folder, best)]
    done = subprocess.run(score, env=environment(folder) | keras, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{done.stderr}\n{name} cannot be scored")
    test = json.loads(done.stdout)["accuracy"] if name == OURS else float(done.stdout.splitlines()[-1])
    found = {key: value for key, value in asdict(progress).items() if key != "trials"}
    return {**found, "trials": len(progress.epochs), "cpu": run.cpu, "wall": run.wall, "test": test}


def minutes_to(target: float, row: dict[str, Any]) -> float | None:
    """CPU minutes until the best on val is `target`; None where it never is."""
    return next((spent / MINUTE for spent, accuracy in row["best"] if accuracy >= target), None)


def table(rows: dict[str, dict[str, Any]]) -> str:
    """In Markdown; of each the CPU minutes until its best on val, and until hwcls is as good."""
    lines = [
        "| | test accuracy | best on val | after CPU min | hwcls there at | trials | epochs | CPU min | wall min |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, peer in PEERS.items():
        if name in rows:
            row = rows[name]
            spent, best = row["best"][-1]
            reached = minutes_to(best, rows[OURS]) if OURS in rows else None
            counted = f"{row['trials']} | {sum(row['epochs'].values())} | {row['cpu'] / MINUTE:.1f}"
            scores = f"{row['test']:.4f} | {best:.4f} | {spent / MINUTE:.1f}"
            ours = "–" if reached is None else f"{reached:.1f}"
            lines.append(f"| {peer.title} | {scores} | {ours} | {counted} | {row['wall'] / MINUTE:.1f} |")
        elif missing := peer.missing():
            lines.append(f"| {peer.title} | not installed: {', '.join(missing)} | | | | | | | |")
    return "\n".join(lines)


def main() -> None:
    """Print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15.0, help="of CPU time for each")
    parser.add_argument("--per-class", type=int, default=6000, help="images of each class, to train and validate on")
    parser.add_argument("--loaders", type=int, default=2, help="worker processes of each DataLoader")
    parser.add_argument("--only", choices=PEERS, action="append", help="these peers (repeatable)")
    parser.add_argument("--json", type=Path, help="a file of rows, also of earlier runs")
    options = parser.parse_args()
    if not Path(os.environ.get("HWCLS_DATA", ""), "FashionMNIST", "raw").is_dir():
        raise SystemExit("HWCLS_DATA names no folder with FashionMNIST/raw in it")
    task = {"minutes": options.minutes, "per_class": options.per_class, "loaders": options.loaders}
    rows = json.loads(options.json.read_text("utf-8")) if options.json and options.json.exists() else {}
    if any({key: row[key] for key in task} != task for row in rows.values()):
        raise SystemExit(f"{options.json} has rows of another task or budget: choose another file")
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["HWCLS_CACHE"] = str(Path(scratch, "cache"))
        spec = specification([], TRIALS, options.per_class, options.loaders, grace=1)
        for name in options.only or PEERS:
            if not PEERS[name].missing():
                rows[name] = {**measure(name, spec, options.minutes, Path(scratch, name)), **task}
                print(f"{PEERS[name].title}: {rows[name]['test']:.4f}", flush=True)
                if options.json:
                    options.json.write_text(json.dumps(rows) + "\n", encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
