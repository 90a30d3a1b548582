"""A function of some positions of the epoch as one CUDA graph: small models wait for launches otherwise."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from hwcls.config.trial import TrialConfig
from hwcls.data.loader import EpochFeed
from hwcls.training.distributed import World
from hwcls.training.memory import available_bytes, step_bytes

CAPTURED = ("cuda",)  # kinds of device; elsewhere there are no graphs
WARM_UP = 3  # calls before the capture: they choose kernels and allocate the optimizer's state

_log = logging.getLogger(__name__)


class NotCapturedError(Exception):
    """A step cannot be captured; the message is the reason."""


def find_obstacle(config: TrialConfig, world: World, feed: EpochFeed) -> str | None:
    """Why no step of a trial can be captured, whatever its kernels are; None where it may."""
    obstacles = {
        "it runs on a CPU": world.device.type not in CAPTURED,
        "several workers": world.size > 1,
        "norm_batch": config.norm_batch is not None,
        "the code of your own model may depend on the host": config.model.source_file is not None,
        "the training images are not on the GPU": not feed.resident,
    }
    return next((why for why, found in obstacles.items() if found), None)


class StepGraph:
    """Calls `body` with runs of `size` positions; after WARM_UP calls it is captured, then only replayed.

    A replay runs the same kernels on the same memory: `body` reads its positions, learning rate and random seeds from
    the device, and nothing of it may depend on the host. Where it cannot be captured, or memory is short, `body` is
    called each time.

    Args:
        body: Gets the positions, (size,) int64.
        size: Positions of a call.
        device: On which `body` works.
    """

    def __init__(self, body: Callable[[Tensor], None], size: int, device: torch.device) -> None:
        self.body, self.size, self.device = body, size, device
        self.offsets = torch.arange(size, device=device)  # (size,)
        self.positions = self.offsets.clone()  # (size,)
        self.calls = 0
        self.needed = 0  # bytes that a call takes beside what stays allocated
        self.failure: str | None = None  # why `body` cannot be captured
        self.replay: Callable[[], None] | None = None  # once it is captured

    def __call__(self, first: int) -> None:
        """Run `body` for the positions from `first` on."""
        torch.add(self.offsets, first, out=self.positions)
        self.calls += 1
        if self.calls <= WARM_UP:
            self._warm_up()
            return
        if self.calls == WARM_UP + 1 and self.failure is None:
            self._capture()
        (self.replay or self._call)()

    @property
    def captured(self) -> bool:
        """Whether calls replay a graph by now."""
        return self.replay is not None

    def why_eager(self) -> str | None:
        """Why calls do not replay a graph by now; None where they do."""
        if self.captured or self.failure is not None:
            return self.failure
        return f"it is captured after {WARM_UP} steps of a complete batch"

    def reset(self) -> None:
        """Capture again: tensors that `body` refers to have been replaced."""
        self.calls, self.needed, self.replay = 0, 0, None

    def _capture(self) -> None:
        if self.device.type == "cuda" and not has_room(self.needed, self.device):
            return self._give_up("too little memory is free")
        try:
            self.replay = capture(self._call, self.device)
        except NotCapturedError as error:
            self._give_up(str(error))
        return None

    def _give_up(self, why: str) -> None:
        if self.failure is None:
            _log.info("the training step is not captured as a CUDA graph: %s", why)
        self.failure = why

    def _call(self) -> None:
        self.body(self.positions)

    def _warm_up(self) -> None:
        """A call on a stream of its own, as a capture needs: see "CUDA graphs" in torch's notes."""
        if self.device.type != "cuda":
            return self._call()
        stream = _warm_up_stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            if waits_for_device(self._call):
                self._give_up("it waits for the GPU")
        torch.cuda.current_stream(self.device).wait_stream(stream)
        self.needed = max(self.needed, step_bytes(self.device))  # now: the peak may be reset before the capture
        return None


@functools.cache
def _warm_up_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all trainings of this process: cuBLAS keeps a workspace of up to 32 MB for every stream."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def waits_for_device(call: Callable[[], None]) -> bool:
    """Make the `call`; whether the host had to wait for the device, as a captured one must not: it cannot be undone."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")  # it warns that it is a prototype
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    return any("synchronizing CUDA operation" in str(warning.message) for warning in caught)


def capture(call: Callable[[], None], device: torch.device) -> Callable[[], None] | None:
    """What replays `call`, which is captured but not run; None where there are no graphs.

    Raises NotCapturedError where it is impossible.
    """
    if device.type != "cuda":
        return None
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            call()
    except Exception as error:
        raise NotCapturedError(str(error).split("\n", 1)[0]) from None
    replay: Callable[[], None] = graph.replay
    return replay


def has_room(needed: int, device: torch.device) -> bool:
    """Whether a graph's own memory fits beside that of the calls without it; each takes `needed` bytes."""
    return available_bytes(device) > 2 * needed
