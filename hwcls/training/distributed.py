"""The ranks of one training: their process group, DDP, and processes on this machine."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import FileStore  # type: ignore[attr-defined]
from torch.multiprocessing.spawn import ProcessException, spawn
from torch.nn.parallel import DistributedDataParallel

from hwcls.errors import UserError
from hwcls.temporary import temporary_folder
from hwcls.training.errors import MemoryRanOutError

SIOCGIFADDR = 0x8915  # of Linux: an interface's address
FILE = "file://"
TIMEOUT = timedelta(minutes=30)  # one rank may prepare data so long while the others wait


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


def require_gpu() -> None:
    """Raise UserError where a GPU is lent to this process, but torch cannot use it."""
    if not torch.cuda.is_available():
        what = f"this trial has a GPU, but torch {torch.__version__} cannot use it"
        raise UserError(what, remedy="run `hwcls doctor`, or set gpus_per_worker: 0 to train on CPUs")


def find_free_address(host: str = "127.0.0.1") -> str:
    """A host:port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return f"{host}:{probe.getsockname()[1]}"


def new_file_address(folder: Path) -> str:
    """The URL of a file of `folder` through which the ranks of one machine find each other."""
    return f"{FILE}{folder / uuid4().hex}"


def join_world(rank: int, size: int, address: str, device: torch.device) -> World:
    """Join a process group of `size` ranks; gloo on CPUs, NCCL on GPUs.

    `address` is host:port of rank 0, or on a single machine the URL of a new file: then nothing listens for others.
    """
    if size > 1:
        backend = "nccl" if device.type == "cuda" else "gloo"
        if device.type == "cuda":
            torch.cuda.set_device(device)
        _choose_network(address)
        # a store, as torch would take a '#' or '?' in the path of a URL for the end of it
        file = address.removeprefix(FILE) if address.startswith(FILE) else None
        meeting: dict[str, Any] = {"store": FileStore(file, size)} if file else {"init_method": f"tcp://{address}"}
        dist.init_process_group(backend, **meeting, rank=rank, world_size=size, timeout=TIMEOUT)
    return World(rank, size, device)


def _choose_network(address: str) -> None:
    """Let gloo and NCCL use the network that leads to rank 0: they may choose one that other hosts do not have.

    On a single machine it is the loopback interface.
    """
    if sys.platform != "linux":
        return
    host, _, port = address.rpartition(":")
    own = "127.0.0.1" if address.startswith(FILE) else _own_address(host, int(port))
    for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        if name := _interface(own):
            os.environ.setdefault(variable, name)


def _own_address(host: str, port: int) -> str:
    """This host's address on the network that leads to another one; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        return str(probe.getsockname()[0])


def _interface(own: str) -> str | None:
    """The network interface that has the address `own`."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            with contextlib.suppress(OSError):  # one without an address
                if socket.inet_ntoa(fcntl.ioctl(probe, SIOCGIFADDR, request)[20:24]) == own:
                    return name
    return None


def leave_world() -> None:
    """Undo `join_world`."""
    if dist.is_initialized():
        dist.destroy_process_group()


def wrap_ddp(model: nn.Module, world: World) -> nn.Module:
    """The model within torch's DDP, weights and buffers as on rank 0; with one rank it is the model itself."""
    if world.size == 1:
        return model
    ddp = DistributedDataParallel(model, device_ids=[world.device] if world.device.type == "cuda" else None)
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


def launch(size: int, run: Callable[..., None], *args: Any) -> None:
    """Call `run(world, *args)` in `size` processes of this machine and wait for all; one rank runs in this process.

    When one fails the others are terminated; its UserError or MemoryRanOutError is raised here.
    """
    if size == 1:
        run(World(), *args)
        return
    if torch.cuda.is_available() and size > torch.cuda.device_count():
        what = f"each of the {size} workers needs a GPU of its own, but there are {torch.cuda.device_count()}"
        raise UserError(what, where="workers", remedy='lower it, or set CUDA_VISIBLE_DEVICES="" to train on CPUs')
    errors: SimpleQueue[Exception] = get_context("spawn").SimpleQueue()
    try:
        with temporary_folder() as folder:
            arguments = size, new_file_address(folder), run, args, errors
            spawn(_rank_main, arguments, nprocs=size)  # type: ignore[no-untyped-call]
    except ProcessException:
        if errors.empty():
            raise
        error = errors.get()
    else:
        return
    raise error


def _rank_main(
    rank: int,
    size: int,
    address: str,
    run: Callable[..., None],
    args: tuple[Any, ...],
    errors: SimpleQueue[Exception],
) -> None:
    status = 0
    try:
        world = join_world(rank, size, address, default_device(rank))
        run(world, *args)
        leave_world()
    except (UserError, MemoryRanOutError) as error:
        errors.put(error)
        status = 1
    except Exception:
        errors.put(RuntimeError(traceback.format_exc()))
        status = 1
    # a failed rank does not leave: NCCL would wait for peers that wait in an all-reduce; `spawn` ends those
    # gloo's threads may still hold tensors, and releasing those while the interpreter ends aborts it (pytorch#190489)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
