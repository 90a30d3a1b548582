"""One DDP rank as a Ray actor: it is reused from trial to trial."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from hwcls.sweep.storage.rank_saves import RankSaves, SaveRequest
from hwcls.temporary import temporary_folder

if TYPE_CHECKING:
    from hwcls.config.data import DataConfig
    from hwcls.config.trial import TrialConfig
    from hwcls.data.imageset import ImageSet
    from hwcls.training.distributed import World
    from hwcls.training.trainer import Trainer


@dataclass(frozen=True)
class RankEpoch:
    """One epoch of a rank."""

    record: Mapping[str, Any] | None  # of rank 0 alone; None where the epoch failed
    micro_batch: int
    cost: Mapping[str, float]
    failure: str | None = None  # a retry would give the same: the loss is not finite
    effective: Mapping[str, Any] = field(default_factory=dict)  # of rank 0: what data, model and machine decided
    dropped: int = 0  # characters that the model's code has printed in vain


class Rank:
    """Builds a trial's trainer and runs its epochs; torch is imported only here, in the worker.

    Args:
        rank: From 0.
        size: Ranks in all.
        threads: Of torch.
        gpu: The share of a GPU that it trains on, 0: none.
        stacks: The file that the watchdog dumps to, on this node.
    """

    def __init__(self, rank: int, size: int, threads: int, gpu: float, stacks: str) -> None:
        from hwcls.training.threads import configure_threads

        configure_threads(threads)
        import torch

        torch.set_num_threads(threads)
        self.rank, self.size, self.gpu = rank, size, gpu
        Path(stacks).parent.mkdir(parents=True, exist_ok=True)  # another node has no such folder
        self.stacks = open(stacks, "wb")  # noqa: SIM115  (the watchdog needs an open file)
        self.world: World | None = None
        self.trainer: Trainer | None = None
        self.saves = RankSaves()  # of the trial
        self.data: tuple[DataConfig, ImageSet] | None = None
        self.last_step = time.time()  # of the trial before
        self.hang_after = 0.0  # seconds without a step after which the process ends
        self.compiled = False  # whether an epoch of the trial ran in this process

    def address(self) -> str:
        """Where the ranks find each other, see `join_world`."""
        from hwcls.training.network import find_free_address, new_file_address

        host = ray.util.get_node_ip_address()
        if host.startswith("127."):  # Ray is this machine alone
            return new_file_address(Path(self.stacks.name).parent)
        return find_free_address(host)

    def node(self) -> str:
        """The id of the Ray node that this rank runs on."""
        return str(ray.get_runtime_context().get_node_id())

    def watch_spot_notice(self) -> None:
        """From now on look for the notice that this node will be taken away; a node without ranks must stay idle."""
        from hwcls.sweep.cluster.spot_notice import drain_on_notice

        threading.Thread(target=drain_on_notice, daemon=True).start()

    def join(self, address: str, hang_after: float) -> None:
        """Join the process group, once for all trials; the collectives of a first epoch may take longer."""
        from hwcls.training.distributed import default_device, join_world
        from hwcls.training.gpu import require_gpu
        from hwcls.training.memory import limit_memory
        from hwcls.training.watchdog import LEAST

        if self.gpu:
            require_gpu()
        device = default_device(gpu=self.gpu > 0)
        self.world = join_world(self.rank, self.size, address, device, max(LEAST, hang_after))
        limit_memory(self.gpu, device)

    def prepare(self, config: TrialConfig, sources: dict[str, bytes]) -> dict[str, float]:
        """Open the data of a trial and compute the features that this node lacks, however long it takes.

        Args:
            config: Of the trial.
            sources: The files of the user's model, by path.

        Returns:
            The seconds of each phase since the last trial's last step.
        """
        import torch

        from hwcls.data.imageset import open_data
        from hwcls.models.user.output import start_counting
        from hwcls.sweep.storage.user_code import write_sources
        from hwcls.training.features.extract import compute_features
        from hwcls.training.features.probe_recipe import feature_trial
        from hwcls.training.memory import return_freed_memory

        called = time.time()
        write_sources(sources, config)
        start_counting()
        self.saves.settle()
        self.saves = RankSaves()
        self.trainer = None  # the last trial's memory is free before the next one's is taken
        return_freed_memory()
        torch.set_num_threads(config.threads)
        if self.data is None or self.data[0] != config.data.pixels():
            self.data = (config.data.pixels(), open_data(config.data))  # what was uploaded to a GPU stays there
        data = self.data[1]
        opened = time.time()
        probed = feature_trial(config)
        compute_features(probed, data, self._joined().device)  # of a node that joined later, or nobody foresaw
        computed = time.time()
        features = {"features": computed - opened} if probed.cached_views(data.augment) is not None else {}
        return {"wait": called - self.last_step, "data": opened - called, **features}

    def build(self, config: TrialConfig, micro_batch: int | None, hang_after: float) -> float:
        """Build the trainer of a prepared trial, the same one on all ranks; from here on the process ends if it hangs.

        Args:
            config: Of the trial.
            micro_batch: The most images at once that fit into memory, if that is known.
            hang_after: Seconds without a step after which the process ends; a first epoch has at least `LEAST`.

        Returns:
            Seconds.
        """
        from hwcls.inspection import create_recorder
        from hwcls.models.user.code import exits_as_errors
        from hwcls.models.user.output import bounded_output
        from hwcls.training.build import build_trainer

        assert self.data is not None, "prepare() comes first"
        started, data, world = time.time(), self.data[1], self._joined()
        self.hang_after, self.compiled = hang_after, False
        with self._watched(), exits_as_errors(config.model.name), bounded_output():
            self.trainer = build_trainer(config, data, world, create_recorder(), micro_batch=micro_batch)
        return time.time() - started

    def load(self, folder: str | None, content: dict[str, bytes] | None, store: str) -> list[dict[str, Any]]:
        """Resume from a checkpoint in `folder`, or from its files' `content` where that is on another node.

        `store` is the URL of the storage that may hold its state.

        Returns:
            On rank 0 the records of the epochs before it.
        """
        from hwcls.sweep.storage import checkpoint_store
        from hwcls.training import checkpoint

        trainer = self._built()
        with temporary_folder() as temporary:
            for name, data in (content or {}).items():
                path = temporary / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            checkpoint_store.download_state(temporary, store)
            with self._watched():
                checkpoint.load(trainer, temporary if content else Path(folder or ""))
        self.saves = RankSaves(None if content else Path(folder or ""))
        return [] if self.rank else trainer.history.records

    def begin_save(self, request: SaveRequest) -> None:
        """As RankSaves.begin: the next epoch may begin."""
        with self._watched():
            self.saves.begin(self._built(), request)

    def saved(self, wait: bool) -> dict[str, bytes] | None:
        """As RankSaves.collect."""
        with nullcontext() if self.saves.uploads else self._watched():
            return self.saves.collect(wait=wait)

    def epoch(self) -> RankEpoch:
        """Run one epoch.

        Raises:
            MemoryRanOutError, UserError: On the rank where it happened; the others then wait for it in vain.
        """
        from hwcls.models.user.code import exits_as_errors
        from hwcls.models.user.output import bounded_output, dropped_characters
        from hwcls.training.cost import trial_cost
        from hwcls.training.effective import effective_settings
        from hwcls.training.errors import NotFiniteError
        from hwcls.training.watchdog import watch

        trainer, failure = self._built(), None
        name = trainer.config.model.name
        watched = watch(self.hang_after, self.stacks) if self.compiled else self._watched()
        try:
            with watched, exits_as_errors(name), bounded_output():
                next(trainer.epochs())
            self.compiled = True
        except NotFiniteError as error:
            failure = str(error)
        except Exception:
            self.saves.settle()  # on the driver's node a restart resumes from what is being written
            raise
        finally:
            self.last_step = time.time()
        if self.rank:
            return RankEpoch(None, trainer.micro_batch, {}, failure)
        record = trainer.history.records[-1] if failure is None else None
        cost, effective = trial_cost(trainer), effective_settings(trainer)
        return RankEpoch(record, trainer.micro_batch, cost, failure, effective, dropped_characters())

    def _watched(self) -> AbstractContextManager[None]:
        """Around what has no steps, or compiles them: it takes its time however short `hang_after` is."""
        from hwcls.training.watchdog import LEAST, watch

        return watch(max(LEAST, self.hang_after), self.stacks)

    def _joined(self) -> World:
        assert self.world is not None, "join() comes first"
        return self.world

    def _built(self) -> Trainer:
        assert self.trainer is not None, "build() comes first"
        return self.trainer


def read_text(file: str) -> str:
    """The content of a text file, empty where there is none."""
    try:
        return Path(file).read_text("utf-8", errors="replace")
    except OSError:
        return ""
