"""What torch's DDP cannot have, said in one line."""

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from hwcls.config.trial import TrialConfig
from hwcls.errors import UserError
from hwcls.training import local
from hwcls.training.distributed import free_address, leave, unused_weights

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


def test_the_weights_that_ddp_waited_for_are_named():
    model = nn.ModuleDict({"frozen": nn.Linear(2, 2), "used": nn.Linear(2, 2), "spare": nn.Linear(2, 2)})
    model["frozen"].requires_grad_(False)
    model.forward = model["used"].forward
    torch.distributed.init_process_group("gloo", init_method=f"tcp://{free_address()}", rank=0, world_size=1)
    try:
        ranked = DistributedDataParallel(model)
        ranked(torch.ones(1, 2)).sum().backward()
        with pytest.raises(RuntimeError) as caught:
            ranked(torch.ones(1, 2))
    finally:
        leave()
    assert unused_weights(caught.value, model) == ["spare.weight", "spare.bias"]
    assert unused_weights(RuntimeError("shape mismatch"), model) == []


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
