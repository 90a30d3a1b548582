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

SLOWEST = 60.0  # seconds that building, loading and saving, which have no steps, may take however short hang_after is


@dataclass(frozen=True)
class RankEpoch:
    """One epoch of a rank."""

    record: Mapping[str, Any] | None  # of rank 0 alone; None where the epoch failed
    micro_batch: int
    cost: Mapping[str, float]
    failure: str | None = None  # a retry would give the same: the loss is not finite, the model ends the process
    effective: Mapping[str, Any] = field(default_factory=dict)  # of rank 0: what data, model and machine decided
    dropped: int = 0  # characters that the model's code has printed in vain


class Rank:
    """Builds a trial's trainer and runs its epochs; torch is imported only here, in the worker.

    Args:
        rank: From 0.
        size: Ranks in all.
        threads: Of torch.
        gpu: Whether it trains on one.
        stacks: The file that the watchdog dumps to, on this node.
    """

    def __init__(self, rank: int, size: int, threads: int, gpu: bool, stacks: str) -> None:
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

    def address(self) -> str:
        """Where the ranks find each other, see `join_world`."""
        from hwcls.training.distributed import find_free_address, new_file_address

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

    def join(self, address: str) -> None:
        """Join the process group, once for all trials."""
        from hwcls.training.distributed import default_device, join_world, require_gpu

        if self.gpu:
            require_gpu()
        self.world = join_world(self.rank, self.size, address, default_device(gpu=self.gpu))

    def start(
        self, config: TrialConfig, sources: dict[str, bytes], micro_batch: int | None, hang_after: float
    ) -> dict[str, float]:
        """Build the trainer of a trial; from here on the process ends if it hangs, except while it opens the data.

        Features that it needs and the cache does not have are computed first, without that limit.

        Args:
            config: Of the trial.
            sources: The files of the user's model, by path.
            micro_batch: The most images at once that fit into memory, if that is known.
            hang_after: Seconds without a step after which the process ends.

        Returns:
            The seconds of each phase since the last trial's last step.
        """
        import torch

        from hwcls.data.imageset import open_data
        from hwcls.inspection import create_recorder
        from hwcls.models.user.code import exits_as_errors
        from hwcls.models.user.output import bounded_output, start_counting
        from hwcls.sweep.storage.user_code import write_sources
        from hwcls.training.build import build_trainer
        from hwcls.training.features.extract import compute_features
        from hwcls.training.features.probe_recipe import feature_trial
        from hwcls.training.memory import return_freed_memory

        called, self.hang_after = time.time(), hang_after
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
        assert self.world is not None, "join() comes first"
        probed = feature_trial(config)
        compute_features(probed, data, self.world.device)  # of a node that joined later, or of settings nobody foresaw
        computed = time.time()
        with self._watched(), exits_as_errors(config.model.name), bounded_output():
            self.trainer = build_trainer(config, data, self.world, create_recorder(), micro_batch=micro_batch)
        built = time.time()
        features = {"features": computed - opened} if probed.cached_views(data.augment) is not None else {}
        return {"wait": called - self.last_step, "data": opened - called, **features, "model": built - computed}

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
            MemoryRanOutError: On the rank where it did; the others then wait for it in vain.
        """
        from hwcls.errors import UserError
        from hwcls.models.user.code import exits_as_errors
        from hwcls.models.user.output import bounded_output, dropped_characters
        from hwcls.training.cost import trial_cost
        from hwcls.training.effective import effective_settings
        from hwcls.training.errors import NotFiniteError
        from hwcls.training.watchdog import watch

        trainer, failure = self._built(), None
        name = trainer.config.model.name
        try:
            with watch(self.hang_after, self.stacks), exits_as_errors(name), bounded_output():
                next(trainer.epochs())
        except NotFiniteError as error:
            failure = str(error)
        except UserError as error:
            if self.size > 1:  # the others may wait for this rank: they end with it
                raise
            failure = str(error)
        except Exception:
            self.saves.settle()  # a restart resumes from what is being written
            raise
        finally:
            self.last_step = time.time()
        if self.rank:
            return RankEpoch(None, trainer.micro_batch, {}, failure)
        record = trainer.history.records[-1] if failure is None else None
        cost, effective = trial_cost(trainer), effective_settings(trainer)
        return RankEpoch(record, trainer.micro_batch, cost, failure, effective, dropped_characters())

    def _watched(self) -> AbstractContextManager[None]:
        from hwcls.training.watchdog import watch

        return watch(max(SLOWEST, self.hang_after), self.stacks)

    def _built(self) -> Trainer:
        assert self.trainer is not None, "start() comes first"
        return self.trainer


def read_text(file: str) -> str:
    """The content of a text file, empty where there is none."""
    try:
        return Path(file).read_text("utf-8", errors="replace")
    except OSError:
        return ""
