"""Several processes, one per device, told apart by the environment that ``torchrun`` sets.

torchrun and not Ray Train: a training process then needs torch alone (Ray is an extra of the annotating wing), one
and many machines start the same way, and the loop stays an ordinary loop.

    torchrun --nproc-per-node 2 -m whim train-detector
    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 -m whim train-detector
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

PATIENCE = timedelta(hours=2)
"""Longest wait of a process for the others: packing and validation may take a while."""


@dataclass(frozen=True)
class Group:
    """The processes of a run as one of them sees it."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """The main process runs the block before the others do. All have to come here.

        When it fails there, the others wait until `torchrun` ends them.
        """
        if not self.is_main:
            self.wait()
        yield
        if self.is_main:
            self.wait()

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether ``flag`` is set in any process."""
        if self.size == 1:
            return flag
        value = torch.tensor(int(flag), device=device)
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return bool(value.item())

    def gather(self, part: list[Any]) -> list[Any]:
        """Parts of all processes, in the order of ranks, in every process."""
        if self.size == 1:
            return part
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, part)
        return [item for one in parts for item in one]

    def share(self, model: nn.Module) -> None:
        """Give every process the main one's buffers of ``model`` (each has seen other pictures)."""
        if self.size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """``model`` with gradients averaged over the processes."""
        if self.size == 1:
            return model
        devices = [device.index] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=devices)


def from_environment() -> Group:
    """What ``torchrun`` says; a single process otherwise."""
    return Group(
        rank=int(os.environ.get("RANK", 0)),
        size=int(os.environ.get("WORLD_SIZE", 1)),
        local_rank=int(os.environ.get("LOCAL_RANK", 0)),
    )


@contextmanager
def process_group(device: torch.device) -> Iterator[Group]:
    """Join the other processes for the time of the block: NCCL on CUDA, gloo on CPUs."""
    group = from_environment()
    if group.size == 1 or dist.is_initialized():
        yield group
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield group
    finally:
        dist.destroy_process_group()
