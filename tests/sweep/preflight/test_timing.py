"""Trials that are tried: what is timed of them, and on which processes and devices."""

import pytest
import torch

from hwcls.config.space import Fixed
from hwcls.data.imageset import open_data
from hwcls.errors import UserError
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.preflight import timing as module
from hwcls.sweep.preflight.timing import FEW, TrialTime, split_evenly, time_trial, time_trials
from hwcls.training.distributed import World

VAL = 20  # images of the tiny sweep
ALONE = World(device=torch.device("cpu"))


class Trainer:
    """Takes so many seconds for an image, a third of them where it is only scored, and remembers what it did."""

    def __init__(self, batch, seconds, clock):
        self.batch, self.seconds, self.clock, self.epochs = batch, seconds, clock, 0

    def run(self, steps):
        return [self.batch * self.seconds] * steps

    def run_epochs(self, count):
        self.epochs += count
        self.clock[0] += count * 0.2

    @property
    def trainer(self):
        return self

    def evaluate(self, split, limit):
        self.clock[0] += min(limit, VAL) * self.seconds / 3
        return type("Scored", (), {"loss": torch.zeros(())})


@pytest.fixture
def timed(monkeypatch):
    """Trainers of a given speed, and a clock that only they move; what was built, by batch."""

    def use(seconds):
        built, clock = [], [0.0]

        def make(trial, data, world, batch):
            trainer = Trainer(batch or trial.data.batch_size, seconds, clock)
            built.append(trainer)
            return trainer, 0.125

        monkeypatch.setattr(module, "_warm_up", make)
        monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
        return built

    return use


@pytest.fixture
def trial(tiny):
    return tiny().trial(Fixed({"model": "cnn"}))  # batches of 64, 3 epochs


def test_of_a_short_epoch_all_is_timed(timed, trial):
    built = timed(0.001)
    assert time_trial(trial, open_data(trial.data), ALONE) == pytest.approx(TrialTime(0.125, 0.2, 3))
    assert [trainer.batch for trainer in built] == [FEW, 64]


@pytest.mark.parametrize(("seconds", "batches"), [(0.01, [FEW, 64]), (0.1, [FEW])])
def test_of_a_long_epoch_steps_are_timed_and_some_scoring(timed, trial, seconds, batches):
    """Where even one step would take long, it is tried with a few images."""
    built, data = timed(seconds), open_data(trial.data)
    images = len(data.train) + (len(data.train) + len(data.val)) / 3
    assert len(data.val) == VAL
    assert time_trial(trial, data, ALONE).epoch == pytest.approx(seconds * images)
    assert [trainer.batch for trainer in built] == batches


def test_no_learning_rate_is_too_large(trial):
    wild = trial.model_copy(update={"optimizer": trial.optimizer.model_copy(update={"lr": 1e9})})
    found = time_trial(wild, open_data(trial.data), ALONE)
    assert found.build > 0
    assert found.epoch > 0
    assert found.epochs == 3


@pytest.mark.parametrize(
    ("resources", "visible", "expected"),
    [
        (Resources(1, 1, 0.0, 3), None, ["", "", ""]),
        (Resources(1, 1, 1.0, 3), None, ["0", "1", "2"]),
        (Resources(2, 1, 1.0, 2), None, ["0,1", "2,3"]),
        (Resources(1, 1, 0.5, 3), None, ["0", "0", "1"]),
        (Resources(1, 1, 0.4, 4), "5,7", ["5", "5", "7", "7"]),
        (Resources(1, 1, 0.3333, 6), None, ["0", "0", "0", "1", "1", "1"]),
        (Resources(1, 1, 0.1428, 8), None, ["0"] * 7 + ["1"]),
        (Resources(1, 1, 0.125, 8), None, ["0"] * 8),
    ],
)
def test_groups_share_the_gpus_out_as_ray_will(monkeypatch, resources, visible, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert module._devices(resources, resources.concurrent) == expected


def test_each_rank_has_its_share_of_a_gpu(trial, monkeypatch):
    """As in the sweep: what fits, and with it the micro-batch and a capture, depends on it."""
    limits, sent = [], []
    monkeypatch.setattr("hwcls.training.memory.limit_memory", lambda share, device: limits.append((share, device)))
    monkeypatch.setattr(module, "_warm_up", lambda *values: (None, 0.0))
    monkeypatch.setattr(module, "time_trial", lambda *values: TrialTime(0.1, 0.2))
    sender = type("Sender", (), {"send": staticmethod(sent.append)})
    module._time_on_rank(ALONE, sender, [("a", trial)], Resources(1, 1, 0.25, 4), 1, 0.0, [])
    assert limits == [(0.25, ALONE.device)]
    assert [measured for _, measured, _ in sent] == [[("a", TrialTime(0.1, 0.2))]]


@pytest.mark.parametrize(
    ("count", "most", "sizes"), [(3, 2, [1, 2]), (9, 8, [1, 1, 1, 1, 1, 1, 1, 2]), (6, 2, [3, 3]), (2, 8, [1, 1])]
)
def test_every_trial_is_in_a_group(trial, count, most, sizes):
    trials = [(str(number), trial) for number in range(count)]
    parts = split_evenly(trials, most)
    assert [len(part) for part in parts] == sizes
    assert [one for part in parts for one in part] == trials


@pytest.mark.slow
@pytest.mark.parametrize("resources", [Resources(1, 1, 0.0, 2), Resources(2, 1, 0.0, 1)])
def test_trials_are_tried_side_by_side(trial, resources):
    trials = [("a", trial), ("b", trial)] * 3
    found = time_trials(trials, resources, fewest=4, seconds=0.0)
    assert found.start > 0
    assert {label: len(costs) for label, costs in found.trials.items()} == {"a": 2, "b": 2}
    assert all(one.epoch > 0 and one.epochs == 3 for costs in found.trials.values() for one in costs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("import os; os.kill(os.getpid(), 9)", "a process that measured training times crashed"),
        ("import os; os._exit(1)", r"the model ends the process: os\._exit\(1\)"),
        ("raise ValueError('no')", "no"),
    ],
)
def test_what_cannot_be_tried_is_a_users_error(trial, tmp_path, body, message):
    from hwcls.models.user_model import UserModelConfig

    (tmp_path / "mine.py").write_text(f"def build(**sizes):\n    {body}\n")
    model = UserModelConfig(name=f"{tmp_path / 'mine.py'}:build")
    broken = trial.model_copy(update={"model": model})
    with pytest.raises(UserError, match=message):
        time_trials([("a", broken)], Resources(1, 1, 0.0, 1), fewest=1, seconds=0.0)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, r"\(ended by SIGKILL\) — the memory is probably full"),
        (-11, r"\(ended by SIGSEGV\) — a library"),
        (3, "code 3"),
    ],
)
def test_a_crashed_process_is_told_from_a_full_memory(code, words):
    receiver, sender = module.get_context("spawn").Pipe(duplex=False)
    sender.close()
    process = type("Ended", (), {"exitcode": code, "join": lambda self: None})()
    with pytest.raises(UserError, match=words) as raised:
        module._receive(receiver, process)
    assert "--no-probe" not in str(raised.value)  # which only a dry run has
