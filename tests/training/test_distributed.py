"""The process group: how ranks meet and join it, and errors of DDP in one line."""

import os

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from hwcls.config.trial import TrialConfig
from hwcls.errors import UserError
from hwcls.training import distributed, local
from hwcls.training.distributed import World, join_world, leave_world, unused_weights
from hwcls.training.network import find_free_address, new_file_address

MODEL = """
from torch import nn


class Net(nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.layer, self.spare = nn.Linear(inputs, classes), nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x.flatten(1))


def build(classes, channels, image_size):
    return Net(channels * image_size**2, classes)
"""


def test_weights_without_a_gradient_are_named():
    model = nn.ModuleDict({"frozen": nn.Linear(2, 2), "used": nn.Linear(2, 2), "spare": nn.Linear(2, 2)})
    model["frozen"].requires_grad_(False)
    model.forward = model["used"].forward
    torch.distributed.init_process_group("gloo", init_method=f"tcp://{find_free_address()}", rank=0, world_size=1)
    try:
        ddp = DistributedDataParallel(model)
        ddp(torch.ones(1, 2)).sum().backward()
        with pytest.raises(RuntimeError) as caught:
            ddp(torch.ones(1, 2))
    finally:
        leave_world()
    assert unused_weights(caught.value, model) == ["spare.weight", "spare.bias"]
    assert unused_weights(RuntimeError("shape mismatch"), model) == []


@pytest.mark.parametrize("name", ["a b", "a#b/c", "a?b", "a%20b"])
def test_ranks_meet_in_a_folder_of_any_name(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir(parents=True)
    stores = []

    def join(backend, store, rank, world_size, timeout):
        stores.append(store)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.distributed, "init_process_group", join)
        patch.setattr(World, "any", lambda self, flag: flag)
        address = new_file_address(folder)
        for rank in range(2):
            join_world(rank, 2, address, torch.device("cpu"), 60.0)
    stores[0].set("key", "value")
    assert stores[1].get("key") == b"value"
    assert [path.parent for path in tmp_path.rglob("*") if path.is_file()] == [folder]


def test_gpus_join_by_nccl_with_the_limit_of_the_watchdog_and_what_the_user_has_set(monkeypatch):
    joined, chosen = [], []
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *args, **more: joined.append((args, more)))
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(World, "any", lambda self, flag: flag)
    monkeypatch.setattr(distributed, "choose_network", lambda address: None)
    monkeypatch.delenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", raising=False)
    world = join_world(1, 2, "10.0.0.2:5000", torch.device("cuda", 1), 600.0)
    ((backend,), options) = joined[0]
    assert (backend, options["init_method"]) == ("nccl", "tcp://10.0.0.2:5000")
    assert options["timeout"].total_seconds() == 660
    assert chosen == [world.device] == [torch.device("cuda", 1)]
    assert os.environ["TORCH_NCCL_ASYNC_ERROR_HANDLING"] == "3"
    monkeypatch.setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1")
    join_world(1, 2, "10.0.0.2:5000", torch.device("cuda", 1), 600.0)
    assert os.environ["TORCH_NCCL_ASYNC_ERROR_HANDLING"] == "1"


def test_machines_that_do_not_reach_each_other_are_one_line(monkeypatch, tmp_path):
    def fail(*args, **more):
        raise RuntimeError("connect() timed out\nand more")

    monkeypatch.setattr(torch.distributed, "init_process_group", fail)
    monkeypatch.setattr(distributed, "choose_network", lambda address: None)
    with pytest.raises(UserError) as caught:
        join_world(0, 2, "10.0.0.2:5000", torch.device("cpu"), 600.0)
    assert str(caught.value) == (
        "the 2 workers of a trial do not reach each other (connect() timed out) — open all TCP ports between the "
        "nodes; see docs/how-to/cluster.md for the choice of the network"
    )
    with pytest.raises(RuntimeError, match="timed out"):  # on one machine it is an error of another kind
        join_world(0, 2, new_file_address(tmp_path), torch.device("cpu"), 600.0)


@pytest.mark.slow
def test_weights_that_nothing_uses_are_a_user_error_with_two_workers(tmp_path):
    (tmp_path / "mine.py").write_text(MODEL)
    config = TrialConfig.from_dict(
        {
            "data": {"name": "digits", "batch_size": 64, "per_class": 25},
            "model": {"name": f"{tmp_path}/mine.py:build"},
            "optimizer": {"name": "sgd", "lr": 0.01},
            "epochs": 1,
            "workers": 2,
        }
    )
    with pytest.raises(UserError, match=r"does not use spare\.weight, spare\.bias — remove or use them"):
        local.train(config, tmp_path / "trial", print)
