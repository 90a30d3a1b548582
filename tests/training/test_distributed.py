"""Errors of DDP in one line, and the network between hosts."""

import os
import sys

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from hwcls.config.trial import TrialConfig
from hwcls.errors import UserError
from hwcls.training import distributed, local
from hwcls.training.distributed import find_free_address, join_world, leave_world, new_file_address, unused_weights

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
        address = new_file_address(folder)
        for rank in range(2):
            join_world(rank, 2, address, torch.device("cpu"))
    stores[0].set("key", "value")
    assert stores[1].get("key") == b"value"
    assert [path.parent for path in tmp_path.rglob("*") if path.is_file()] == [folder]


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


@pytest.mark.skipif(sys.platform != "linux", reason="interfaces are found by Linux's ioctl")
def test_the_network_that_leads_to_rank_0_is_chosen(monkeypatch):
    assert distributed._interface("127.0.0.1") == "lo"
    assert distributed._interface("192.0.2.77") is None  # an address of no interface
    names = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    for address in ("127.0.0.1:5000", "file:///tmp/store"):  # one machine alone
        distributed._choose_network(address)
        assert [os.environ.pop(name) for name in names] == ["lo", "lo"]
    monkeypatch.setattr(distributed, "_interface", lambda own: "eth7")
    monkeypatch.setattr(distributed, "_own_address", lambda host, port: "10.0.0.3")
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "ib0")  # the user's setting is kept
    distributed._choose_network("10.0.0.2:5000")
    assert [os.environ[name] for name in names] == ["eth7", "ib0"]
