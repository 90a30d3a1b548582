"""Successive halving by promotion (arXiv 1810.05934): a trial pauses at each rung and continues once it is promoted."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence

LEAST = 6  # trials that go on from every rung, however few come to it (docs/explanation/early_stopping.md)

Place = tuple[float, int, str]  # of a trial at a rung: sorted, the best is the first, of equal ones the earlier number


class Rung:
    """The trials that came to a rung, and those of them that wait there."""

    def __init__(self) -> None:
        self.most = math.inf  # that ever go on from here, without those that fail
        self.places: dict[str, Place] = {}
        self.order: list[Place] = []
        self.queue: list[Place] = []

    def enter(self, key: str, value: float) -> None:
        """Take a trial with its best value so far; more is better."""
        self.places[key] = -value, len(key), key
        insort(self.order, self.places[key])

    def remove(self, key: str) -> None:
        """A trial failed or was stopped by a user, whether it has come or not: the next one has its place."""
        if key in self.places:
            self.leave(key)
            del self.order[self.rank(key)], self.places[key]

    def rank(self, key: str) -> int:
        """Of a trial that has come: 0 is the best."""
        return bisect_left(self.order, self.places[key])

    def wait(self, key: str) -> None:
        insort(self.queue, self.places[key])

    def leave(self, key: str) -> None:
        """The trial does not wait any more."""
        place = bisect_left(self.queue, self.places[key])
        if self.queue[place : place + 1] == [self.places[key]]:
            del self.queue[place]

    def first(self, count: float) -> str | None:
        """The best one that waits and is among the best `count`; None: there is none."""
        key = self.queue[0][2] if self.queue else None
        return key if key is not None and self.rank(key) < min(count, self.most) else None

    def last(self) -> Iterator[str]:
        """Those that wait and are not among the best that ever go on."""
        for _, _, key in reversed(self.queue):
            if self.rank(key) < self.most:
                return
            yield key


class Promotion:
    """Of each rung the best 1/eta go on; the others wait, as more trials that come to it may let them go on.

    When no more trials are to come, at least `fewest` go on from each rung. One that fails takes no place of a rung. A
    trial that cannot be among those that go on is out once LEAST are at their end: before, those ahead of it may fail.
    All of it follows from the records: a restart enters them in any order.

    Args:
        rungs: Epochs, in order.
        mode: "max" or "min".
        eta: How much the trials become fewer from rung to rung.
    """

    def __init__(self, rungs: Sequence[int], mode: str, eta: int) -> None:
        self.eta, self.sign = eta, 1 if mode == "max" else -1
        self.rungs = {epoch: Rung() for epoch in rungs}
        self.compared: set[str] = set()  # trials that have come to the first rung, or failed before it
        self.waiting: dict[str, int] = {}  # the rung of each trial that waits
        self.complete: set[str] = set()  # trials that are at their end

    def expect(self, trials: int) -> None:
        """At most so many trials come: of each rung no more go on than if all of them were compared at once."""
        for place, rung in enumerate(self.rungs.values(), 1):
            rung.most = going_on(trials, self.eta, place)

    def stops(self, key: str, epoch: int, value: float | None, best: float) -> bool:
        """As StoppingRule has it: whether the trial pauses, or is out."""
        self.leave(key)
        rung = self.rungs.get(epoch)
        if rung is None:
            return False
        self.compared.add(key)
        rung.enter(key, self.sign * best)
        if rung.rank(key) < min(len(rung.order) // self.eta, rung.most):
            return False
        self.waiting[key] = epoch
        rung.wait(key)
        return True

    def hold(self, key: str, epoch: int) -> bool:
        """As PausingRule has it: after a restart a trial that stands at a rung waits."""
        if epoch in self.rungs and key not in self.waiting:
            self.waiting[key] = epoch
            self.rungs[epoch].wait(key)
        return key in self.waiting

    def leave(self, key: str) -> None:
        """The trial continues, or has ended in another way: it does not wait any more."""
        if (epoch := self.waiting.pop(key, None)) is not None:
            self.rungs[epoch].leave(key)

    def end(self, key: str) -> None:
        """As PausingRule has it: the trial is trained to its end."""
        self.complete.add(key)

    def fail(self, key: str) -> None:
        """As PausingRule has it: the trial leaves all rungs, so that another one continues in its place."""
        self.leave(key)
        self.compared.add(key)
        self.complete.discard(key)
        for rung in self.rungs.values():
            rung.remove(key)

    def promotable(self, *, last: bool, lowest: float) -> str | None:
        """The trial to go on with: the best one of the highest rung from which one may; None: there is none.

        Args:
            last: Whether no more trials are to come that are new.
            lowest: The lowest epoch at which a trial of this race is that runs now; infinite where none does.
        """
        found, settled = None, last
        least = fewest(len(self.compared))
        for epoch, rung in self.rungs.items():
            settled = settled and lowest >= epoch  # nothing comes to this rung any more
            share = len(rung.order) // self.eta
            key = rung.first(max(share, least) if settled else share)
            found, settled = key or found, settled and key is None
        return found

    def waits(self, key: str) -> bool:
        """Whether a trial waits, be it out or not."""
        return key in self.waiting

    def out(self) -> list[str]:
        """The trials that wait and cannot go on any more: the last of each queue."""
        if len(self.complete) < LEAST:
            return []
        return [key for rung in self.rungs.values() for key in rung.last()]

    def is_out(self, key: str) -> bool:
        """Whether a trial that waits is one of `out`: without a look at the others."""
        rung = self.rungs[self.waiting[key]]
        return len(self.complete) >= LEAST and rung.rank(key) >= rung.most


def fewest(trials: int) -> int:
    """Of so many trials those that go on from every rung at least: of few ones two thirds."""
    return min(LEAST, -(-2 * trials // 3))


def going_on(trials: int, eta: int, place: int) -> int:
    """Of so many trials those that go on from the rung at `place` (from 1) if all are compared at once."""
    return min(trials, max(fewest(trials), trials // int(eta**place)))


def expected_epochs(rungs: Sequence[int], epochs: int, eta: int, trials: int) -> int:
    """The epochs of so many trials if all are compared at once at each rung."""
    ends = [*rungs, epochs]
    starts = [0, *rungs]
    counts = [trials, *(going_on(trials, eta, place) for place in range(1, len(ends)))]
    return sum(count * (end - start) for count, start, end in zip(counts, starts, ends, strict=True))
