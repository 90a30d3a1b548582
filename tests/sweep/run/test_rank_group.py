"""Ranks as Ray actors: where one fails, dies or hangs, its error comes soon and no process is left."""

import os
import time
from pathlib import Path

import psutil
import pytest
import ray

from hwcls.config.trial import TrialConfig
from hwcls.errors import UserError
from hwcls.sweep.cluster.resources import Resources
from hwcls.sweep.run import rank_group
from hwcls.sweep.run.rank_group import RankGroup
from hwcls.sweep.run.worker import Rank
from hwcls.sweep.storage.rank_saves import SaveRequest
from hwcls.sweep.storage.user_code import read_sources
from hwcls.training.errors import LostRankError
from hwcls.training.watchdog import LEAST

SOON = 10.0  # seconds
MODEL = """
import os
import time
from pathlib import Path

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, inputs, classes, folder, stage):
        super().__init__()
        self.layer, self.folder, self.stage, self.passes = nn.Linear(inputs, classes), Path(folder), stage, 0
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else None
        self.fails = rank == 1
        (self.folder / f"pid-{rank}").write_text(str(os.getpid()))
        if self.fails and stage == "start":
            self.fail()

    def fail(self, *_):
        (self.folder / "failed").write_text(str(time.time()))
        if self.stage == "all-reduce":
            os.kill(os.getpid(), 9)
        if self.stage == "hang":
            time.sleep(600)
        raise ValueError(f"broken in {self.stage}")

    def forward(self, x):
        out = self.layer(x.flatten(1))
        if self.training and self.fails:
            self.passes += 1
            if self.stage in ("forward", "all-reduce") and self.passes == 2:
                self.fail()
            if self.stage == "hang" and self.passes == 5:  # in the second epoch of three steps
                self.fail()
            if self.stage == "backward" and out.requires_grad:
                out.register_hook(self.fail)
        return out


def build(classes, channels, image_size, folder, stage):
    return Net(channels * image_size**2, classes, folder, stage)
"""


class Group(RankGroup):
    """Ranks that share the two CPUs of the tests' Ray, however many they are."""

    def _start_rank(self, rank, placement, bundle):
        stacks = str(self.stacks / str(rank))
        return ray.remote(Rank).options(num_cpus=0).remote(rank, self.resources.workers, 1, False, stacks)


def train(group, folder, stage, size):
    """As a trial's supervisor does; two epochs."""
    (folder / "mine.py").write_text(MODEL)
    config = TrialConfig.from_dict(
        {
            "data": {"name": "digits", "batch_size": 64, "per_class": 20},
            "model": {"name": f"{folder}/mine.py:build", "folder": str(folder), "stage": stage},
            "optimizer": {"name": "sgd", "lr": 0.01},
            "epochs": 3,
            "workers": size,
        }
    )
    group.call("prepare", config, read_sources(config))
    group.call("build", config, None, 3.0)
    for _ in range(2):
        group.call("epoch")
    (folder / "failed").write_text(str(time.time()))
    (folder / "taken").write_text("no folder")
    group.call_first("begin_save", SaveRequest(str(folder / "taken/checkpoint_000002"), False, False, "", "trials-0"))
    group.call_first("saved", True)


def ended(folder):
    return not any(psutil.pid_exists(int(file.read_text())) for file in folder.glob("pid-*"))


EXPECTED = {
    "start": (UserError, "the model failed: ValueError: broken in start"),
    "forward": (ValueError, "broken in forward"),
    "backward": (ValueError, "broken in backward"),
    "all-reduce": (LostRankError, "a rank died: it was killed, it crashed, or its node was lost"),
    "checkpoint": (OSError, "taken"),
    "hang": (LostRankError, "hung: no step finished in 3.0 s; "),
}
QUICK = [("start", 2), ("backward", 2), ("all-reduce", 4), ("checkpoint", 2), ("hang", 2)]
FURTHER = [(stage, size) for size in (2, 4) for stage in EXPECTED if (stage, size) not in QUICK]
CASES = [pytest.param(*case, marks=pytest.mark.slow) for case in QUICK]
CASES += [pytest.param(*case, marks=pytest.mark.heavy) for case in FURTHER]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("stage", "size"), CASES)
def test_a_rank_that_fails_is_reported_soon_and_none_is_left(ray_here, tmp_path, stage, size):
    kind, line = EXPECTED[stage]
    group = Group(Resources(size, 1, 0.0, 1), tmp_path / "stacks", 3.0)
    try:
        with pytest.raises(kind) as caught:
            train(group, tmp_path, stage, size)
        assert time.time() - float((tmp_path / "failed").read_text()) < SOON
        last = str(caught.value).strip().splitlines()[-1]
        assert line in last
        if stage == "hang":
            assert "rank 1 was at" in last
            assert "mine.py:" in last
    finally:
        group.close()
    assert len(list(tmp_path.glob("pid-[0-9]"))) >= (1 if stage == "start" else size)
    until = time.monotonic() + SOON
    while not ended(tmp_path):
        assert time.monotonic() < until
        time.sleep(0.1)


class Answers:
    """Stands for Ray: `get` of all calls raises the error of the first one, as Ray does."""

    def __init__(self, *errors):
        self.errors, self.exceptions = errors, ray.exceptions

    def get(self, calls):
        raise self.errors[0 if isinstance(calls, list) else calls]

    def wait(self, calls, num_returns, timeout):
        return calls, []


@pytest.fixture
def group(tmp_path, monkeypatch):
    """A group without Ray whose calls end with an error."""

    def build(*errors):
        found = RankGroup.__new__(RankGroup)
        found.ranks, found.nodes, found.node, found.stacks = [object()] * 2, ["a", "a"], "a", tmp_path
        monkeypatch.setattr(rank_group, "ray", Answers(*errors))
        return found

    return build


def task_error(cause):
    return ray.exceptions.RayTaskError("epoch", str(cause), cause).as_instanceof_cause()


def test_a_lost_connection_is_a_lost_rank_and_an_error_of_the_trial_is_itself(group):
    lost = RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer")
    with pytest.raises(LostRankError) as caught:
        group(task_error(lost)).wait([0])
    assert str(caught.value).endswith("a rank has lost another one: the network between them fails")
    with pytest.raises(LostRankError) as caught:  # the consequence came before the cause
        group(task_error(lost), ray.exceptions.RayActorError()).wait([0, 1])
    assert str(caught.value).endswith("a rank died: it was killed, it crashed, or its node was lost")
    with pytest.raises(ValueError, match="broken"):
        group(task_error(ValueError("broken"))).wait([0])
    with pytest.raises(UserError, match="broken"):
        group(task_error(UserError("broken by DistBackendError"))).wait([0])


def test_of_a_hang_the_place_is_named_whichever_rank_answers_first(group, tmp_path):
    (tmp_path / "0").write_text("")
    (tmp_path / "1").write_text('Timeout (0:10:00)!\n\nThread 1\n  File "mine.py", line 3 in forward\n')
    lost = RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer")
    with pytest.raises(LostRankError) as caught:
        group(task_error(lost)).wait([0])
    assert str(caught.value).endswith("hung: no step finished in 10 min; rank 1 was at mine.py:3 in forward")


def test_ranks_that_cannot_join_are_tried_again(group):
    found = group(None)
    found.resources, killed = Resources(2, 1, 0.0, 1), []
    found._start_rank = lambda *arguments: object()
    found.kill = lambda: killed.append(True)

    def refuse():
        raise UserError("the 2 workers of a trial do not reach each other")

    found._join = refuse
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rank_group, "get_current_placement_group", lambda: None)
        with pytest.raises(LostRankError, match="do not reach each other"):
            found.start()
    assert killed == [True]


def test_a_first_epoch_has_time_to_compile_however_short_hang_after_is(monkeypatch):
    limits = []

    class Watch:
        def __init__(self, limit, file):
            limits.append(limit)

        def __enter__(self):
            pass

        def __exit__(self, *exception):
            pass

    class Trainer:
        micro_batch = 1
        config = type("Config", (), {"model": type("Model", (), {"name": "mlp"})})

        def epochs(self):
            return iter([None])

    monkeypatch.setattr("hwcls.training.watchdog.watch", Watch)
    found = Rank.__new__(Rank)
    found.rank, found.size, found.trainer, found.stacks = 1, 2, Trainer(), Path(os.devnull)
    found.hang_after, found.compiled = 5.0, False
    found.epoch()
    found.epoch()
    assert limits == [LEAST, 5.0]
    assert LEAST >= 600
    found.hang_after, found.compiled = 4000.0, False
    found.epoch()
    assert limits[2:] == [4000.0]
