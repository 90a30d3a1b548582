"""The ranks of one training: their process group and DDP."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import FileStore  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from hwcls.errors import UserError
from hwcls.training.network import FILE, choose_network, is_one_machine

MARGIN = 60.0  # seconds by which the watchdog, which names the place, is ahead of the collectives' own limit


@dataclass(frozen=True)
class World:
    """One rank among `size`; alone it needs no process group."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: default_device())

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Add `tensor` up over all ranks, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        if self.size == 1:
            return flag
        vote = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(vote, op=dist.ReduceOp.MAX)
        return bool(vote.item())


def default_device(local_rank: int = 0, *, gpu: bool = True) -> torch.device:
    """The GPU of this rank; the CPU where there is none or `gpu` is False."""
    if gpu and torch.cuda.is_available():
        return torch.device("cuda", local_rank % torch.cuda.device_count())
    return torch.device("cpu")


def join_world(rank: int, size: int, address: str, device: torch.device, hang_after: float) -> World:
    """Join a process group of `size` ranks; gloo on CPUs, NCCL on GPUs.

    Args:
        rank: From 0.
        size: Ranks in all; one alone needs no group.
        address: host:port of rank 0, or on a single machine the URL of a new file: then nothing listens for others.
        device: Of this rank.
        hang_after: Seconds after which the watchdog ends a rank; the collectives wait a little longer.

    Raises:
        UserError: The ranks are on several machines that do not reach each other.
    """
    world = World(rank, size, device)
    if size == 1:
        return world
    if device.type == "cuda":
        torch.cuda.set_device(device)
        # the process ends when a collective fails or takes too long: another rank is gone
        os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "3")
    try:
        choose_network(address)
        _open_group(world, address, timedelta(seconds=hang_after + MARGIN))
        world.any(False)  # NCCL connects only now
    except (RuntimeError, ValueError, OSError) as error:
        if is_one_machine(address):
            raise
        what = f"the {size} workers of a trial do not reach each other ({str(error).strip().splitlines()[0][:200]})"
        remedy = "open all TCP ports between the nodes; see docs/how-to/cluster.md for the choice of the network"
        raise UserError(what, remedy=remedy) from None
    return world


def _open_group(world: World, address: str, timeout: timedelta) -> None:
    # a store, as torch would take a '#' or '?' in the path of a URL for the end of it
    file = address.removeprefix(FILE) if is_one_machine(address) else None
    meeting: dict[str, Any] = {"store": FileStore(file, world.size)} if file else {"init_method": f"tcp://{address}"}
    backend = "nccl" if world.device.type == "cuda" else "gloo"
    dist.init_process_group(backend, **meeting, rank=world.rank, world_size=world.size, timeout=timeout)


def leave_world() -> None:
    """Undo `join_world`."""
    if dist.is_initialized():
        dist.destroy_process_group()


def wrap_ddp(model: nn.Module, world: World) -> nn.Module:
    """The model within torch's DDP, weights and buffers as on rank 0; with one rank it is the model itself."""
    if world.size == 1:
        return model
    devices = [world.device] if world.device.type == "cuda" else None
    ddp = DistributedDataParallel(model, device_ids=devices, gradient_as_bucket_view=True)  # gradients once in memory
    ddp.broadcast_buffers = False  # as an argument deprecated in torch 2.14, its replacement unknown before
    return ddp


def gradient_sync(ddp: nn.Module, last: bool) -> contextlib.AbstractContextManager[Any]:
    """Around a backward pass: the ranks sum their gradients only with the last micro-batch of a step."""
    if last or not isinstance(ddp, DistributedDataParallel):
        return contextlib.nullcontext()
    return ddp.no_sync()


def join_all_reduce(ddp: nn.Module, blank: torch.Tensor, autocast: contextlib.AbstractContextManager[Any]) -> None:
    """Join the other ranks' all-reduce with zero gradients, by a pass of `blank`, one empty image, for images."""
    ddp.eval()  # so that no statistic and no dropout mask changes
    with autocast:
        (ddp(blank).sum() * 0).backward()
    ddp.train()


def check_unused_weights(error: Exception, model: nn.Module) -> None:
    """Raise UserError where `error` is DDP's about weights of `model` that got no gradient in the step before."""
    if unused := unused_weights(error, model):
        what = f"several workers need every weight, but the model does not use {', '.join(unused)}"
        raise UserError(what, where="model", remedy="remove or use them, or set workers: 1") from None


def unused_weights(error: Exception, model: nn.Module) -> list[str]:
    """The weights without a gradient, from the text of DDP's error in the step after; none for other errors."""
    if "Expected to have finished reduction" not in str(error):
        return []
    places = re.search(r"did not receive grad for rank \d+: ([\d ]+)", str(error))
    names = [name for name, weight in model.named_parameters() if weight.requires_grad]
    return [names[int(place)] for place in places[1].split()] if places else ["some"]
