"""Checkpoints as rank 0 writes them: on its own node, or as content for another one."""

import errno
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from hwcls.config.trial import TrialConfig
from hwcls.data.imageset import open_data
from hwcls.sweep.run.worker import Rank
from hwcls.sweep.storage import rank_saves
from hwcls.sweep.storage.rank_saves import RankSaves, SaveRequest
from hwcls.training import checkpoint
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World
from hwcls.training.watchdog import LEAST


@pytest.fixture
def trainer():
    values = {"data": {"name": "digits", "per_class": 10}, "model": {"name": "mlp"}, "epochs": 3}
    config = TrialConfig.from_dict(values | {"optimizer": {"name": "adam"}})
    found = build_trainer(config, open_data(config.data), World(device=torch.device("cpu")))
    next(found.epochs())
    return found


def request(folder, store=""):
    return SaveRequest(str(folder) if folder else None, last=False, whole=True, store=store, trial="trials-0")


def test_on_its_own_node_the_best_files_of_the_last_one_are_linked(trainer, tmp_path):
    saves = RankSaves()
    for number in (1, 2):
        saves.begin(trainer, request(tmp_path / str(number)))
        assert saves.collect(wait=True) == {}
        assert saves.latest == tmp_path / str(number)
    assert (tmp_path / "1/best.safetensors").samefile(tmp_path / "2/best.safetensors")


def test_another_node_gets_the_files_without_a_state_that_goes_to_the_storage(trainer, tmp_path, monkeypatch):
    uploaded = []

    def upload(folder, store, trial):
        uploaded.append((store, trial))
        (folder / checkpoint.STATE).rename(folder / "elsewhere.json")

    monkeypatch.setattr(rank_saves, "upload_state", upload)
    saves = RankSaves()
    saves.begin(trainer, request(None))
    content = saves.collect(wait=True)
    assert {"best.safetensors", "predictions.npz", "state.pt", "confusion/1.npz"} <= content.keys()
    assert uploaded == []
    assert not saves.uploads
    saves.begin(trainer, request(None, "s3://a/b"))
    assert content.keys() - saves.collect(wait=True).keys() == {"state.pt"}
    assert uploaded == [("s3://a/b", "trials-0")]
    assert saves.uploads
    assert saves.latest is None


def test_an_epoch_that_fails_waits_for_the_checkpoint_that_is_being_written(tmp_path):
    """Its process may be killed next, and the trial resumes from it; what went wrong in it does not hide the error."""
    settled = []

    class Failing:
        config = SimpleNamespace(model=SimpleNamespace(name="mlp"))

        def epochs(self):
            raise torch.OutOfMemoryError("CUDA out of memory, injected")

    rank = Rank.__new__(Rank)
    rank.rank, rank.size, rank.hang_after, rank.trainer, rank.compiled = 0, 1, 60.0, Failing(), True
    rank.saves = SimpleNamespace(settle=lambda: settled.append(True))
    with open(tmp_path / "stacks", "wb") as rank.stacks, pytest.raises(torch.OutOfMemoryError):
        rank.epoch()
    assert settled == [True]


def test_a_full_disk_is_raised_by_the_next_call(trainer, tmp_path, monkeypatch):
    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device", "state.pt")

    saves = RankSaves(tmp_path / "before")
    monkeypatch.setattr(checkpoint, "replace", full)
    saves.begin(trainer, request(tmp_path / "1"))
    with pytest.raises(OSError, match="No space left"):
        saves.collect(wait=True)
    assert saves.latest == tmp_path / "before"
    saves.begin(trainer, request(tmp_path / "1"))
    saves.settle()


@pytest.mark.parametrize("uploads", [False, True])
def test_the_watchdog_does_not_wait_for_storage(uploads, tmp_path, monkeypatch):
    watched = []

    @contextmanager
    def watch(limit, file):
        watched.append(limit)
        yield

    monkeypatch.setattr("hwcls.training.watchdog.watch", watch)
    rank = Rank.__new__(Rank)
    rank.hang_after, rank.stacks = 5.0, None
    rank.saves = SimpleNamespace(uploads=uploads, collect=lambda wait: {"wait": wait})
    assert rank.saved(True) == {"wait": True}
    assert watched == ([] if uploads else [LEAST])
