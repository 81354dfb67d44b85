"""Let several processes train one run: each has a rank, a device and a part of every batch.

The first rank has the loop of a training and is the only one that writes to the store. Before each of its acts that
needs the others it tells them an `Instruction`, and they obey (`Replica.follow`). So a run on one device and a run on
several have the same loop.

By default every rank has the whole model, and gradients are summed (DDP). A run that is `sharded` has a part of the
parameters, gradients and optimizer state on each rank (FSDP2), and a block's parameters are gathered while it computes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import FileStore, Store, TCPStore  # type: ignore[attr-defined]
from torch.utils._pytree import tree_map_only

from titans.models.backbone import Backbone
from titans_lab.tasks.task import Batch

#: No wait between ranks is too long: the others wait while the first one evaluates. Their end is noticed by
#: `titans_lab.training.followers`, not by a time-out.
TIMEOUT = timedelta(days=365)
LOOPBACK = Path("/sys/class/net/lo")
MEETING = "titans-lab-ranks-"  # the beginning of the name of the folder where ranks meet
HELD = "held"  # a file in that folder, which the first rank keeps locked as long as it lives


class Instruction(IntEnum):
    """What the first rank tells the others to do together with it."""

    STEP = 0  # take a step, with micro-batches of the given size
    MODEL = 1  # hand over the parameters
    STATE = 2  # hand over the parameters and the optimizer's state
    PEAK = 3  # hand over the peak memory
    END = 4


@dataclass(frozen=True)
class Ranks:
    """The processes that train a run, as one of them sees them.

    Attributes:
        rank: The number of this process, from 0.
        size: The number of processes.
        sharded: Whether each has a part of the model only.
    """

    rank: int = 0
    size: int = 1
    sharded: bool = False

    def share(self, batch: Batch) -> Batch:
        """Return the examples of a batch that this rank computes."""
        return batch if self.size == 1 else tuple(x.tensor_split(self.size)[self.rank] for x in batch)

    def placed(self, losses: nn.Module, model: Backbone, device: torch.device) -> nn.Module:
        """Return a module with a model inside, on a device. Where the model is sharded, this rank keeps its part."""
        if not self.sharded:
            return losses.to(device)
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(device.type, (self.size,))
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view")  # a state, which nobody overwrites
        for block in model.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(losses, mesh=mesh)
        return losses

    def joined(self, losses: nn.Module) -> nn.Module:
        """Return a module whose backward pass averages gradients over all ranks. All of them start with equal values.

        Some parameters may get no gradient: those of a model without persistent tokens have no elements. Where DDP
        looks for them, it also keeps its first division of the gradients, so that a resumed run sums in the same order.
        """
        if self.size == 1 or self.sharded:
            return losses
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(losses, gradient_as_bucket_view=True, find_unused_parameters=True)

    @contextmanager
    def accumulating(self, losses: nn.Module, last: bool) -> Iterator[None]:
        """Keep gradients on this rank in the block, until the last micro-batch. Shards are too small to keep them."""
        with nullcontext() if last or self.size == 1 or self.sharded else losses.no_sync():  # type: ignore[operator]
            yield

    def total(self, figure: Tensor) -> Tensor:
        """Return the sum of a scalar `[]` over all ranks."""
        if self.size > 1:
            dist.all_reduce(figure)
        return figure

    def total_norm(self, norm: Tensor) -> Tensor:
        """Return a norm of gradients, a scalar `[]`, as a plain tensor."""
        from torch.distributed.tensor import DTensor

        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def whole(self, state: Any) -> Any:
        """Return a state with whole tensors instead of shards: on the CPU of the first rank, and nothing elsewhere."""
        if not self.sharded:
            return state
        from torch.distributed.tensor import DTensor

        def gathered(shard: DTensor) -> Tensor | None:
            tensor = shard.full_tensor()
            return tensor.cpu() if self.rank == 0 else None

        return tree_map_only(DTensor, gathered, state)

    def part(self, tensor: Tensor, of: Tensor) -> Tensor:
        """Return this rank's part of a whole tensor, divided like a tensor of the same shape."""
        from torch.distributed.tensor import DTensor, distribute_tensor

        if not isinstance(of, DTensor) or tensor.shape != of.shape:
            return tensor
        return distribute_tensor(tensor.to(of.device), of.device_mesh, of.placements, src_data_rank=None)

    def tell(self, order: Instruction, value: int = 0) -> None:
        """Tell the other ranks what to do next, from the first one. On the others do nothing: they were told."""
        if self.size > 1 and self.rank == 0:
            dist.broadcast(torch.tensor([order, value]), 0)

    def told(self) -> tuple[Instruction, int]:
        """Return what the first rank tells, once it does."""
        told = torch.zeros(2, dtype=torch.long)
        dist.broadcast(told, 0)
        return Instruction(int(told[0])), int(told[1])

    def agree(self, text: str | None = None) -> str | None:
        """Return the text that the first rank gives, on all ranks."""
        texts = [text]
        if self.size > 1:
            dist.broadcast_object_list(texts, 0)
        return texts[0]


@contextmanager
def meeting(size: int, several_machines: bool) -> Iterator[tuple[Store, str]]:
    """Yield a store in which the ranks of a run find each other, as the first of them has it, and its place.

    On one machine it is a file in a folder that nobody else can enter. On several it is a port of the first one, as
    torchrun has it: whoever reaches that port can disturb the run.
    """
    if several_machines:
        host = socket.gethostname()
        store = TCPStore(host, 0, size, is_master=True, wait_for_workers=False, timeout=TIMEOUT)
        yield store, f"{host}:{store.port}"
        return
    remove_abandoned()
    with tempfile.TemporaryDirectory(prefix=MEETING) as folder, (Path(folder) / HELD).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        place = str(Path(folder) / "ranks")
        yield met(place, size), place


def remove_abandoned() -> None:
    """Remove the folders of meetings whose first rank was killed: nobody holds the lock in them any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{MEETING}*"):
        # A folder of another user cannot be opened. One without the file was made a moment ago.
        with suppress(OSError), (folder / HELD).open("r+") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)


def met(place: str, size: int) -> Store:
    """Return the store at a place that `meeting` has yielded, as the other ranks have it."""
    if place.startswith("/"):
        return FileStore(place, size)
    host, _, port = place.rpartition(":")
    return TCPStore(host, int(port), size, is_master=False, timeout=TIMEOUT)


def join(store: Store, rank: int, size: int, sharded: bool, device: torch.device) -> Ranks:
    """Wait until all ranks have joined.

    Args:
        store: The store in which they find each other: see `meeting`.
        rank: The number of this process, from 0.
        size: The number of processes.
        sharded: Whether each has a part of the model only.
        device: The device of this rank.
    """
    if (
        isinstance(store, FileStore) and LOOPBACK.exists()
    ):  # gloo would listen on the address of the machine's name, if it has one
        os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK.name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0")  # `Followers` ends the run and says why
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    return Ranks(rank, size, sharded)


def leave() -> None:
    """Leave the other ranks. They do the same."""
    dist.destroy_process_group()
