"""What a trial takes of a GPU: from a profiler's kernels and from torch's counts, both made up."""

import pytest
import torch

from hwcls.config.space import Fixed
from hwcls.data.imageset import open_data
from hwcls.errors import UserError
from hwcls.sweep.preflight.gpu_share import measure as module
from hwcls.sweep.preflight.gpu_share.choose import GpuUse
from hwcls.sweep.preflight.gpu_share.measure import TRACED, kernel_seconds, measure_in_process, measure_trial
from hwcls.sweep.preflight.timing import CrashedError
from hwcls.training.distributed import World

ALONE = World(device=torch.device("cpu"))
GB = 10**9


def kernel(start, length, blocks=None):
    """A kernel's trace event, in microseconds."""
    return {"ts": start, "dur": length, "args": {} if blocks is None else {"blocks per SM": blocks}}


@pytest.mark.parametrize(
    ("kernels", "busy", "occupied"),
    [
        ([], 0, 0),
        ([kernel(0, 10), kernel(20, 10)], 20, 20),
        ([kernel(20, 10), kernel(0, 10)], 20, 20),  # in any order
        ([kernel(0, 10, 0.25), kernel(10, 10, 7.5)], 20, 12.5),  # the first leaves most multiprocessors idle
        ([kernel(0, 10, 0.25), kernel(5, 10, 0.25)], 15, 5),  # side by side, on two streams
        ([kernel(0, 30, 1), kernel(5, 10, 1)], 30, 40),
    ],
)
def test_kernels_are_counted_once_where_they_overlap(kernels, busy, occupied):
    assert kernel_seconds(kernels) == pytest.approx((busy / 1e6, occupied / 1e6))


@pytest.fixture
def counted(monkeypatch):
    """torch's counts of a GPU of 80 GB: 60 GB free, 15 GB kept by torch, of which 18 GB at the peak."""
    events = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (60 * GB, 80 * GB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 15 * GB)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 18 * GB)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: events.append("reset"))
    return events


@pytest.fixture
def trial(tiny):
    return tiny().trial(Fixed({"model": "cnn"}))


@pytest.mark.parametrize(
    ("kernels", "busy", "occupied"),
    [
        ([kernel(0, 4_000 * TRACED, 0.5)], 0.4, 0.2),
        ([kernel(0, 40_000 * TRACED)], 1.0, 1.0),  # the profiler slows steps down
        ([], 1.0, 1.0),  # it saw nothing: nothing is shared
    ],
)
def test_a_trial_is_trained_and_measured(counted, monkeypatch, trial, kernels, busy, occupied):
    monkeypatch.setattr(module, "_step_seconds", lambda training, device: 0.01)
    monkeypatch.setattr(module, "_record_kernels", lambda training, device: kernels)
    found = measure_trial(("cnn", trial), open_data(trial.data), ALONE)
    assert (found.label, found.memory) == ("cnn", 23 * GB)  # the peak, and 5 GB that are not torch's
    assert (found.busy, found.occupied) == pytest.approx((busy, occupied))
    assert counted == ["reset"]


@pytest.mark.filterwarnings("ignore:CUDA is not available, disabling CUDA profiling")
def test_steps_are_timed_one_after_the_other_and_recorded(counted, monkeypatch, trial):
    """On a CPU, which has no kernels: the loops are real."""
    monkeypatch.setattr(module, "SECONDS", 0.0)
    found = measure_trial(("cnn", trial), open_data(trial.data), ALONE)
    assert found == GpuUse("cnn", 23 * GB, 1.0, 1.0)


def test_every_trial_is_measured_on_its_own_data(counted, monkeypatch, trial):
    """The data set stays open from trial to trial as long as it is the same, as in a worker."""
    seen = []

    def measured(labelled, data, world):
        seen.append((labelled[0], data))
        return GpuUse(labelled[0], 1, 0.1, 0.1)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "H200")
    monkeypatch.setattr(module, "measure_trial", measured)
    other = trial.model_copy(update={"data": trial.data.model_copy(update={"per_class": 10})})
    found = module.measure_here([("a", trial), ("b", trial), ("c", other)])
    assert (found.gpu, found.memory, len(found.uses)) == ("H200", 80 * GB, 3)
    assert [label for label, _ in seen] == ["a", "b", "c"]
    assert seen[0][1] is seen[1][1]
    assert len(seen[2][1].train) < len(seen[1][1].train)


def test_without_a_gpu_that_torch_can_use_nothing_is_measured(monkeypatch, trial):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="cannot use the GPU"):
        module.measure_here([("cnn", trial)])


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (UserError("the model cannot be built", remedy="build another"), "the model cannot be built"),
        (RuntimeError("CUDA error: unknown\nmore"), "RuntimeError: CUDA error: unknown"),
    ],
)
def test_what_fails_is_said_in_one_line(monkeypatch, error, what):
    def fail(trials):
        raise error

    monkeypatch.setattr(module, "measure_here", fail)
    assert module.try_measuring([]).what == what


class Process:
    """Sends what it is given and ends; `silent` ones only end, `slow` ones do nothing."""

    def __init__(self, message):
        self.message, self.exitcode, self.killed = message, None, False

    def __call__(self, target, args, daemon):
        self.sender = args[0]
        return self

    def start(self):
        if self.message == "silent":
            self.sender.close()
            self.exitcode = -9
        elif self.message != "slow":
            self.sender.send(self.message)

    def kill(self):
        self.killed = True

    def join(self):
        pass


@pytest.mark.parametrize(
    ("message", "error", "words"),
    [
        (UserError("the model cannot be built"), UserError, "the model cannot be built"),
        ("silent", CrashedError, "SIGKILL"),
        ("slow", UserError, "took longer than 0 s"),
    ],
)
def test_what_ends_the_measurement_is_a_users_error(monkeypatch, message, error, words):
    process = Process(message)
    context = module.get_context("spawn")
    monkeypatch.setattr(module, "get_context", lambda kind: type("C", (), {"Pipe": context.Pipe, "Process": process}))
    monkeypatch.setattr(module, "TIMEOUT", 0.0)
    if message == "slow":  # its end of the pipe stays open
        monkeypatch.setattr(module.Connection, "close", lambda self: None, raising=False)
    with pytest.raises(error, match=words):
        measure_in_process([])
    assert process.killed


@pytest.mark.slow
def test_a_process_of_its_own_says_what_it_found(trial):
    """On a machine without a GPU, that torch cannot use one."""
    if torch.cuda.is_available():
        found = measure_in_process([("cnn", trial)])
        assert found.uses[0].memory > 0
        assert 0 < found.uses[0].busy <= 1
    else:
        with pytest.raises(UserError, match="cannot use the GPU"):
            measure_in_process([("cnn", trial)])
