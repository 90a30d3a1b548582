"""Batches that are read in advance: in order, complete, and never overwritten while they are used."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import torch

from hwcls.data.transfer import staging
from hwcls.data.transfer.staging import BUFFERS, Stage
from hwcls.errors import UserError

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
LOCK = threading.RLock()  # of all streams: work is done by whoever waits for it
DATA = torch.arange(40 * 6).view(40, 6)


class PlayedStream:
    """Work in order: at once where it is `eager`, else as late as somebody waits for it."""

    def __init__(self, eager: bool) -> None:
        self.device = torch.device("cpu")
        self.eager, self.work, self.done = eager, [], 0

    def add(self, call: Callable[[], None]) -> None:
        with LOCK:
            self.work.append(call)
            if self.eager:
                self.run(len(self.work))

    def run(self, until: int) -> None:
        with LOCK:
            while self.done < until:
                self.done += 1
                self.work[self.done - 1]()

    def wait_event(self, event: PlayedEvent) -> None:
        self.add(event.synchronize)

    def wait_stream(self, other: PlayedStream) -> None:
        until = len(other.work)
        self.add(lambda: other.run(until))


class PlayedEvent:
    def __init__(self, blocking: bool = False) -> None:
        self.at: tuple[PlayedStream, int] | None = None

    def record(self, stream: PlayedStream) -> None:
        with LOCK:
            self.at = stream, len(stream.work)

    def synchronize(self) -> None:
        if (at := self.at) is not None:
            at[0].run(at[1])


class PlayedMemory:
    """A tensor of a GPU: copies into it are work of the stream that is current."""

    def __init__(self, values: torch.Tensor, gpu: PlayedGpu) -> None:
        self.values, self.gpu = values, gpu

    def __getitem__(self, some: slice) -> PlayedMemory:
        return PlayedMemory(self.values[some], self.gpu)

    def copy_(self, other: torch.Tensor, non_blocking: bool) -> None:
        assert non_blocking
        self.gpu.current().add(lambda: self.values.copy_(other))


class PlayedGpu:
    """What torch.cuda is to a stage: `main` is the stream that trains, `side` the one that copies."""

    def __init__(self, side_eager: bool) -> None:
        self.main, self.side = PlayedStream(not side_eager), PlayedStream(side_eager)
        self.local = threading.local()

    def current(self, _: object = None) -> PlayedStream:
        return getattr(self.local, "stream", self.main)

    @contextmanager
    def stream(self, stream: PlayedStream) -> Iterator[None]:
        self.local.stream = stream
        yield
        del self.local.stream

    def buffer(self, shape: tuple[int, int], dtype: torch.dtype, *_: object) -> Any:
        host, there = torch.zeros(shape, dtype=dtype), PlayedMemory(torch.zeros(shape, dtype=dtype), self)
        return staging._CopiedBuffer(host, there, self.side)  # type: ignore[arg-type]


@pytest.fixture(params=["copies early", "copies late"])
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> PlayedGpu:
    """A GPU that copies as early or as late as the events allow."""
    played = PlayedGpu(side_eager=request.param == "copies early")
    monkeypatch.setattr(torch.cuda, "Event", PlayedEvent)
    monkeypatch.setattr(torch.cuda, "stream", played.stream)
    monkeypatch.setattr(torch.cuda, "current_stream", played.current)
    monkeypatch.setattr(staging, "_side_stream", lambda device: played.side)
    monkeypatch.setattr(staging, "_new_buffer", played.buffer)
    return played


def read(rows: torch.Tensor, out: torch.Tensor) -> None:
    torch.index_select(DATA, 0, rows, out=out)


def requests(count: int = 12) -> list[torch.Tensor]:
    """Batches of different sizes, the last one the smallest."""
    drawn = torch.Generator().manual_seed(0)
    return [torch.randperm(40, generator=drawn)[: 7 - number % 3] for number in range(count)] + [torch.tensor([5])]


def stage(asked: object, device: torch.device = CPU, reader: object = read) -> Stage:
    return Stage(reader, asked, (7, 6), torch.int64, device)  # type: ignore[arg-type]


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "stage"]


def test_batches_come_in_order_and_complete() -> None:
    asked = requests()
    found = stage(asked)
    for number, rows in enumerate(asked):
        with found.batch(number) as values:
            assert values is not None
            assert torch.equal(values, DATA[rows])
    found.close()
    assert threads() == []


def test_two_buffers_take_turns_and_one_in_use_is_not_overwritten() -> None:
    places = []

    def noted(rows: torch.Tensor, out: torch.Tensor) -> None:
        places.append(out.data_ptr())
        read(rows, out)

    asked = requests()
    found = stage(asked, reader=noted)
    for number, rows in enumerate(asked):
        with found.batch(number) as values:
            assert values is not None
            deadline = time.monotonic() + 5
            while len(places) < min(number + BUFFERS, len(asked)) and time.monotonic() < deadline:
                time.sleep(0.001)  # the next one is read meanwhile
            time.sleep(0.005)
            assert len(places) == min(number + BUFFERS, len(asked))  # and no more than that
            assert torch.equal(values, DATA[rows])
    found.close()
    assert len(set(places)) == BUFFERS


def test_a_gpu_gets_each_batch_before_it_is_used_and_keeps_it_until_then(gpu: PlayedGpu) -> None:
    asked, seen = requests(30), []
    found = stage(asked, GPU)

    def use(values: PlayedMemory) -> None:
        gpu.main.add(lambda: seen.append(values.values.clone()))

    for number in range(len(asked)):
        with found.batch(number) as values:
            use(values)  # type: ignore[arg-type]
    found.close()
    gpu.main.run(len(gpu.main.work))
    assert len(seen) == len(asked)
    for values, rows in zip(seen, asked, strict=True):
        assert torch.equal(values, DATA[rows])


@pytest.mark.parametrize("missing", ["copied", "used"])
def test_the_played_gpu_would_show_a_missing_event(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Without either event, one of the two orders gives wrong values."""
    wrong = 0
    for eager in (True, False):
        played = PlayedGpu(side_eager=eager)
        with monkeypatch.context() as patch:
            patch.setattr(torch.cuda, "Event", PlayedEvent)
            patch.setattr(torch.cuda, "stream", played.stream)
            patch.setattr(torch.cuda, "current_stream", played.current)
            buffer = played.buffer((2, 6), torch.int64)
            seen: list[torch.Tensor] = []
            for number in range(4):
                setattr(buffer, missing, PlayedEvent())  # one that was never recorded
                buffer.fill(lambda out, number=number: out.fill_(number), 2)  # type: ignore[misc]
                setattr(buffer, missing, PlayedEvent())
                values = buffer.filled()
                played.main.add(lambda values=values, seen=seen: seen.append(values.values.clone()))  # type: ignore[misc]
                buffer.release()
            played.side.run(len(played.side.work))
            played.main.run(len(played.main.work))
        wrong += [int(values[0, 0]) for values in seen] != [0, 1, 2, 3]
    assert wrong


def test_skipped_batches_are_dropped_and_do_not_come_again() -> None:
    asked = requests()
    found = stage(asked)
    with found.batch(4) as values:
        assert values is not None
        assert torch.equal(values, DATA[asked[4]])
    with found.batch(2) as values:
        assert values is None
    with found.batch(5) as values:
        assert values is not None
        assert torch.equal(values, DATA[asked[5]])
    found.close()
    with found.batch(6) as values:
        assert values is None


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_closing_ends_the_thread(taken: int) -> None:
    found = stage(requests(1000))
    for number in range(taken):
        with found.batch(number):
            pass
    found.close()
    found.close()  # once more does no harm
    assert threads() == []


@pytest.mark.parametrize("where", ["read", "requests"])
def test_an_error_in_the_thread_is_raised_where_the_batch_is_asked_for(where: str) -> None:
    def failing(rows: torch.Tensor, out: torch.Tensor) -> None:
        if where == "read" and len(rows) == 5:
            raise OSError("Input/output error: train.images.npy")
        read(rows, out)

    def asked() -> Iterator[torch.Tensor]:
        yield from requests()[:2]
        if where == "requests":
            raise OSError("Input/output error: train.images.npy")
        yield from requests()[2:]

    found = stage(asked(), reader=failing)
    for number in (0, 1):
        with found.batch(number) as values:
            assert values is not None
    for _ in range(2):  # whoever asks again learns the same
        with pytest.raises(OSError, match=r"Input/output error: train\.images\.npy"), found.batch(2):
            pass
    found.close()
    assert threads() == []


def test_buffers_may_be_made_in_inference_mode() -> None:
    asked = requests()
    with torch.inference_mode():
        found = stage(asked)
        for number, rows in enumerate(asked):
            with found.batch(number) as values:
                assert values is not None
                assert torch.equal(values, DATA[rows])
        found.close()
    values = torch.ones(7, 6, requires_grad=True)
    found = stage(asked)
    with found.batch(0) as rows:
        assert rows is not None
        (values * rows).sum().backward()  # as in training
    found.close()


def test_memory_for_large_batches_runs_out_as_that_of_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A smaller micro-batch helps; where single images do not fit, the model is not at fault."""
    empty = torch.empty

    def full(*shape: object, device: object = None, **options: object) -> torch.Tensor:
        if device == GPU:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return empty(*shape, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(torch, "empty", full)
    stream = object()
    with pytest.raises(torch.OutOfMemoryError):
        staging._new_buffer((3, 1000), torch.uint8, GPU, stream)  # type: ignore[arg-type]
    words = "cuda:0: no memory is left for 2 KB of pixels — other processes use it: `nvidia-smi` names them"
    with pytest.raises(UserError) as caught:
        staging._new_buffer((2, 1000), torch.uint8, GPU, stream)  # type: ignore[arg-type]
    assert str(caught.value) == words


def test_host_memory_is_pinned_where_that_is_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    empty, asked = torch.empty, []

    def noted(*shape: object, pin_memory: bool = False, **options: object) -> torch.Tensor:
        asked.append(pin_memory)
        if pin_memory:
            raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later")
        return empty(*shape, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(torch, "empty", noted)
    assert staging._pinned((2, 3), torch.uint8).shape == (2, 3)
    assert asked == [True, False]


def test_batches_in_use_may_overlap_up_to_the_number_of_buffers() -> None:
    asked = requests()
    found = stage(asked)
    with ExitStack() as held:
        values = [held.enter_context(found.batch(number)) for number in range(BUFFERS)]
        for number, rows in enumerate(asked[:BUFFERS]):
            assert torch.equal(values[number], DATA[rows])  # type: ignore[arg-type]
    found.close()
