"""One pass over a split: the right sums, and no device sync."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from hwcls.data.loader import Batch
from hwcls.errors import UserError
from hwcls.training.evaluation import Evaluator, score_batches
from hwcls.training.step.precision import Precision


def batches(device):
    generator = torch.Generator().manual_seed(0)
    for start, count in ((0, 5), (5, 3)):
        images, labels = torch.randn(count, 6, generator=generator), torch.randint(4, (count,), generator=generator)
        yield Batch(images.to(device), labels.to(device), torch.arange(start, start + count, device=device))


def test_sums_of_a_split():
    torch.manual_seed(0)
    model, device = nn.Linear(6, 4), torch.device("cpu")
    found = score_batches(model, batches(device), 4, device, Precision())
    images, labels = (torch.cat(parts) for parts in zip(*((b.images, b.labels) for b in batches(device)), strict=True))
    logits = model(images)
    expected = torch.zeros(4, 4, dtype=torch.int64)
    for true, predicted in zip(labels.tolist(), logits.argmax(1).tolist(), strict=True):
        expected[true, predicted] += 1
    assert torch.equal(found.confusion, expected)
    assert torch.allclose(found.loss, nn.functional.cross_entropy(logits, labels, reduction="sum").double())
    assert torch.allclose(found.scores, logits.softmax(1))
    assert found.index.tolist() == list(range(8))


def test_logits_that_are_nan_are_no_hit_of_class_0():
    device = torch.device("cpu")
    labels = torch.cat([batch.labels for batch in batches(device)])
    assert (labels == 0).any()
    broken = nn.Linear(6, 4)
    nn.init.constant_(broken.bias, float("nan"))
    found = score_batches(broken, batches(device), 4, device, Precision())
    assert found.confusion.sum() == len(labels)
    assert found.confusion.trace() == 0
    assert torch.equal(found.confusion.sum(1), torch.bincount(labels, minlength=4))


def test_no_device_sync():
    """Fake tensors know devices, but no values: to ask for one is an error."""
    device = torch.device("cuda")
    with FakeTensorMode(allow_non_fake_inputs=True):
        found = score_batches(nn.Linear(6, 4, device=device), batches(device), 4, device, Precision())
    assert {part.device.type for part in vars(found).values()} == {"cuda"}
    assert found.confusion.shape == (4, 4)
    assert found.scores.shape == (8, 4)


class Images:
    """A feed of four classes whose evaluation takes `size` images at once, and how many it was asked for."""

    def __init__(self, size):
        self.size, self.asked = size, []

    def evaluation_size(self, micro_batch):
        return self.size

    def evaluate(self, split, size, limit):
        self.asked.append(size)
        generator = torch.Generator().manual_seed(0)
        images, labels = torch.randn(60, 6, generator=generator), torch.randint(4, (60,), generator=generator)
        for start in range(0, 60, size):
            some = slice(start, start + size)
            yield Batch(images[some], labels[some], torch.arange(60)[some])


class Scarce(nn.Linear):
    """Has memory for some images at once."""

    def __init__(self, most):
        super().__init__(6, 4)
        self.most = most

    def forward(self, images):
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory, injected")
        return super().forward(images)


def test_where_memory_runs_out_evaluation_goes_on_in_smaller_batches():
    torch.manual_seed(0)
    scarce, feed = Scarce(9), Images(32)
    evaluator = Evaluator(feed, 4, Precision())
    found = evaluator.evaluate(scarce, "val", 4)
    assert feed.asked == [32, 16, 8]
    evaluator.evaluate(scarce, "train", 4)
    assert feed.asked[3:] == [8]  # it stays so
    scarce.most = 60
    expected = Evaluator(Images(60), 4, Precision()).evaluate(scarce, "val", 4)
    assert torch.equal(found.confusion, expected.confusion)
    assert torch.allclose(found.scores, expected.scores)
    assert torch.equal(found.index, expected.index)


def test_a_single_image_that_does_not_fit_is_a_user_error_and_other_errors_are_raised():
    with pytest.raises(UserError, match="does not fit into memory with a single image"):
        Evaluator(Images(4), 4, Precision()).evaluate(Scarce(0), "val", 4)
    with pytest.raises(RuntimeError, match="shapes"):
        Evaluator(Images(4), 4, Precision()).evaluate(nn.Linear(5, 4), "val", 4)
