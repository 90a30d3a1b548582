"""The training loss against its definition, and class weights through a whole training."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import log_softmax, one_hot

from hwcls.data.imageset import open_data
from hwcls.data.loader import Batch
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World
from hwcls.training.step.loss import Loss, balanced_weights

CPU = torch.device("cpu")
LABELS = np.repeat([0, 1, 2], [60, 30, 10])


def test_balanced_as_scikit_learn():
    ours = balanced_weights(LABELS, 3).numpy()
    assert ours == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=LABELS))
    assert ours[LABELS].mean() == pytest.approx(1)
    assert np.isfinite(balanced_weights(LABELS, 4).numpy()).all(), "a class without images"


@pytest.mark.parametrize("class_weights", [None, "balanced"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("mixed", [False, True])
def test_definition(class_weights, smoothing, mixed):
    torch.manual_seed(0)
    logits = torch.randn(8, 3, dtype=torch.float64)
    labels, other, share = torch.arange(8) % 3, torch.arange(8) % 2, torch.rand(8, dtype=torch.float64)
    loss = Loss(smoothing, class_weights, LABELS, 3, CPU, torch.float64)
    batch = Batch(torch.zeros(8, 1, 1, 1), labels, labels, *((other, share) if mixed else ()))
    weights = balanced_weights(LABELS, 3) if class_weights else torch.ones(3)

    def one(chosen):
        target = (1 - smoothing) * one_hot(chosen, 3).double() + smoothing / 3
        return -(target * log_softmax(logits, 1)).sum(1) * weights[chosen]

    expected = share * one(labels) + (1 - share) * one(other) if mixed else one(labels)
    assert loss(logits, batch).item() == pytest.approx(expected.sum().item(), rel=1e-12)
    parts = [
        loss(logits[cut], Batch(*(None if t is None else t[cut] for t in vars(batch).values())))
        for cut in (slice(0, 5), slice(5, 8))
    ]
    assert sum(parts).item() == pytest.approx(expected.sum().item(), rel=1e-12), "however it is cut"


def test_class_weights_do_not_depend_on_micro_batches(trial):
    found = []
    for micro_batch in (60, 7):
        config = trial(model__norm="none", model__head={"depth": 1}, data__batch_size=60, class_weights="balanced")
        trainer = build_trainer(
            config, open_data(config.data), World(device=CPU), micro_batch=micro_batch, dtype=torch.float64
        )
        next(trainer.epochs())
        found.append(trainer.model.state_dict())
    assert all((found[0][key] - found[1][key]).abs().max() < 1e-12 for key in found[0])
