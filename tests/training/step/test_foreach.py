"""torch's private list operations do what their plain loops do."""

import torch

from hwcls.training.step.foreach import TESTED, copy_into, increase, move_towards, norms


def tensors():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in ((3, 2), (5,), ())]


def test_not_newer_than_what_was_tested():
    """A newer torch: run this file and the GPU checks with it, then raise TESTED."""
    assert tuple(map(int, torch.__version__.split(".")[:2])) <= TESTED


def test_copy():
    targets, sources = [torch.zeros_like(tensor) for tensor in tensors()], tensors()
    copy_into(targets, tuple(sources))
    assert all(torch.equal(target, source) for target, source in zip(targets, sources, strict=True))


def test_move_towards():
    targets, goals = tensors(), [tensor + 1 for tensor in tensors()]
    move_towards(targets, goals, torch.tensor(0.25))
    for target, start, goal in zip(targets, tensors(), goals, strict=True):
        assert torch.allclose(target, start + 0.25 * (goal - start))


def test_increase():
    counters = [torch.tensor(number) for number in (0, 3)]
    increase(counters, 2)
    assert [counter.item() for counter in counters] == [2, 5]


def test_norms():
    for order in (1, float("inf")):
        assert torch.allclose(norms(tensors(), order), torch.stack([t.norm(order) for t in tensors()]))
