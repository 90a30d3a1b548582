"""One DDP rank as a Ray actor: it lives on from trial to trial."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

SLOWEST = 60.0  # seconds that building, loading and saving, which have no steps, may take however short hang_after is

if TYPE_CHECKING:
    from hwcls.config.data import DataConfig
    from hwcls.data.imageset import ImageSet
    from hwcls.training.distributed import World
    from hwcls.training.trainer import Trainer


class Rank:
    """Builds a trial's trainer and runs its epochs; imports torch only here, in the worker."""

    def __init__(self, rank: int, size: int, threads: int, gpu: bool, last_words: str) -> None:
        from hwcls.training.threads import configure_threads

        configure_threads(threads)
        import torch

        torch.set_num_threads(threads)
        self.rank, self.size, self.gpu = rank, size, gpu
        Path(last_words).parent.mkdir(parents=True, exist_ok=True)  # on a node of its own
        self.last_words = open(last_words, "wb")  # noqa: SIM115  (stays open: where it stands when it hangs)
        self.world: World | None = None
        self.trainer: Trainer | None = None
        self.data: tuple[DataConfig, ImageSet] | None = None
        self.ended = time.time()  # of the last step of the trial before
        self.hang_after = 0.0  # seconds without a step after which the process ends

    def address(self) -> str:
        """Where rank 0 will meet the others, host:port."""
        from hwcls.training.distributed import find_free_address

        return find_free_address(ray.util.get_node_ip_address())

    def node(self) -> str:
        """The Ray node that this rank runs on."""
        return str(ray.get_runtime_context().get_node_id())

    def watch(self) -> None:
        """See from here on the notice that this node will be taken away; a node without ranks has to stay idle."""
        from hwcls.sweep.cluster.spot_notice import drain_on_notice

        threading.Thread(target=drain_on_notice, daemon=True).start()

    def join(self, address: str) -> None:
        """Meet the other ranks, once for all trials."""
        from hwcls.training.distributed import default_device, join_world

        self.world = join_world(self.rank, self.size, address, default_device(gpu=self.gpu))

    def start(
        self, values: dict[str, Any], sources: dict[str, bytes], micro_batch: int | None, hang_after: float
    ) -> dict[str, float]:
        """Build the trainer of a trial; returns the seconds of each phase since the last trial's last step.

        From here on the process ends where it stands still for `hang_after` seconds, but while it opens the data.

        `sources` are the files of the user's model. `micro_batch` is the most images at once that memory is known to
        take, if it is known.
        """
        import torch

        from hwcls.config.trial import TrialConfig
        from hwcls.data.imageset import open_data
        from hwcls.inspection import create_recorder
        from hwcls.sweep.storage.user_code import write_sources
        from hwcls.training.build import build_trainer
        from hwcls.training.memory import return_freed_memory

        called, self.hang_after = time.time(), hang_after
        write_sources(sources)
        self.trainer = None  # the last trial's memory is free before the next one's is taken
        return_freed_memory()
        config = TrialConfig.from_dict(values)
        torch.set_num_threads(config.threads)
        if self.data is None or self.data[0] != config.data.pixels():
            self.data = (config.data.pixels(), open_data(config.data))  # what was uploaded to a GPU stays there
        data = self.data[1]
        opened = time.time()
        with self._watched():
            self.trainer = build_trainer(config, data, self.world, create_recorder(), micro_batch=micro_batch)
        built = time.time()
        return {"wait": called - self.ended, "data": opened - called, "model": built - opened}

    def load(self, folder: str | None, content: dict[str, bytes] | None, store: str) -> None:
        """Go on from a checkpoint in `folder`, or from its files' content where that is on another node.

        `store` is where states go that do not lie with them.
        """
        import tempfile

        from hwcls.sweep.storage import checkpoint_store
        from hwcls.training import checkpoint

        with tempfile.TemporaryDirectory() as temporary:
            for name, data in (content or {}).items():
                path = Path(temporary, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            checkpoint_store.download_state(Path(temporary), store)
            with self._watched():
                checkpoint.load(self._running(), Path(temporary if content else folder or ""))

    def save(self, folder: str, last: bool) -> None:
        """Write a checkpoint into `folder` on this node."""
        from hwcls.training import checkpoint

        with self._watched():
            checkpoint.save(self._running(), Path(folder), last=last)

    def save_content(self, last: bool, store: str, trial: str) -> dict[str, bytes]:
        """A checkpoint as file names and contents, for a supervisor on another node; its state goes to `store`."""
        import tempfile

        from hwcls.sweep.storage import checkpoint_store

        with tempfile.TemporaryDirectory() as folder:
            self.save(folder, last)
            if store:
                checkpoint_store.upload_state(Path(folder), store, trial)
            return read_folder(folder)

    def epoch(self) -> dict[str, Any]:
        """Run one epoch; a loss that is not finite comes back as `failure`, since a retry would give the same.

        Raises MemoryRanOutError; the other ranks then wait for this one in vain.
        """
        from hwcls.training.errors import NotFiniteError
        from hwcls.training.watchdog import watch

        trainer = self._running()
        try:
            with watch(self.hang_after, self.last_words):
                next(trainer.epochs())
        except NotFiniteError as error:
            return {"failure": str(error), **self._so_far(trainer)}
        finally:
            self.ended = time.time()
        return self._so_far(trainer)

    def _so_far(self, trainer: Trainer) -> dict[str, Any]:
        from hwcls.training.cost import trial_cost

        costs = {} if self.rank else trial_cost(trainer)
        return {"records": trainer.history.records, "micro_batch": trainer.micro_batch, "cost": costs}

    def _watched(self) -> AbstractContextManager[None]:
        from hwcls.training.watchdog import watch

        return watch(max(SLOWEST, self.hang_after), self.last_words)

    def _running(self) -> Trainer:
        assert self.trainer is not None, "start() comes first"
        return self.trainer


def read_folder(folder: str) -> dict[str, bytes]:
    """All files below a folder, by relative name."""
    root = Path(folder)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def read_words(file: str) -> str:
    """What a rank left in its file, nothing where there is none."""
    try:
        return Path(file).read_text("utf-8", errors="replace")
    except OSError:
        return ""
