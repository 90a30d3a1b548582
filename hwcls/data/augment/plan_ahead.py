"""Each epoch's plan, drawn by a thread while the epoch before trains."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from hwcls.data.augment.parameters import AugmentPlan


class PlanAhead:
    """Hands out plans in the order of epochs; a plan is a function of its epoch, whenever it is drawn.

    Args:
        last: The last epoch that is drawn ahead; 0: none is.
    """

    def __init__(self, last: int = 0) -> None:
        self.last = last
        self._thread: ThreadPoolExecutor | None = None
        self._next: tuple[int, Future[AugmentPlan]] | None = None

    def take(self, epoch: int, draw: Callable[[int], AugmentPlan]) -> AugmentPlan:
        """The plan that `draw` gives for `epoch`; that of the next one is begun."""
        ahead, self._next = self._next, None
        plan = ahead[1].result() if ahead and ahead[0] == epoch else draw(epoch)
        if epoch < self.last:
            self._thread = self._thread or ThreadPoolExecutor(1, "plan")
            self._next = epoch + 1, self._thread.submit(draw, epoch + 1)
        return plan
