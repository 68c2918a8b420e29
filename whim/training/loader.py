"""Batches made in worker processes, in an order that does not depend on how many there are."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

import cv2
import torch
from torch.utils.data import DataLoader

BatchT = TypeVar("BatchT")
Job = tuple[int, list[range]]
_PR_SET_PDEATHSIG = 1


class Source(Protocol[BatchT]):
    """Makes batches: a pure function of the epoch and of positions in its order."""

    def make(self, epoch: int, shares: list[range]) -> list[BatchT]:
        """One batch per range of positions. Runs in a worker; neighbouring batches may share decoded pictures."""
        ...


class Loader(Generic[BatchT]):
    """Hands a :class:`Source` its work, ``chunk`` batches at a time, and gives the batches back in order.

    Workers stay alive between epochs.
    """

    def __init__(self, source: Source[BatchT], *, workers: int, chunk: int = 1, pin: bool = False) -> None:
        self._chunk = chunk
        self._jobs = _Jobs()
        workers = min(workers, os.cpu_count() or 1)
        self._loader: DataLoader = DataLoader(
            _Work(source),
            batch_size=None,
            sampler=self._jobs,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pin,
            worker_init_fn=_start_worker,
            # Forked whatever the default is: records are shared with the workers, not copied into each.
            multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
            prefetch_factor=2 if workers else None,
            generator=torch.Generator(),  # its own: starting an epoch must not draw from the global one
        )

    def batches(self, epoch: int, shares: Sequence[range], skip: int = 0) -> Iterator[BatchT]:
        """Batches of an epoch without the first ``skip``. Chunks lie the same whatever is skipped."""
        first = skip // self._chunk * self._chunk
        starts = range(first, len(shares), self._chunk)
        self._jobs.list = [(epoch, list(shares[start : start + self._chunk])) for start in starts]
        drop = skip - first
        # A forked worker inherits OpenCV's pool without its threads and would wait for them for ever. It is turned off
        # before the fork: a worker has one core anyway.
        cv2.setNumThreads(0)
        for made in self._loader:
            yield from made[drop:]
            drop = 0


class _Jobs:
    """What is to be done in this epoch; torch asks for an iterator at its start."""

    list: list[Job]

    def __init__(self) -> None:
        self.list = []

    def __iter__(self) -> Iterator[Job]:
        return iter(self.list)

    def __len__(self) -> int:
        return len(self.list)


class _Work:
    """The source in the form that torch's loader calls."""

    def __init__(self, source: Source[Any]) -> None:
        self._source = source

    def __getitem__(self, job: Job) -> list[Any]:
        return self._source.make(*job)


def _start_worker(number: int) -> None:
    # The main process decides when to stop: Ctrl-C and a scheduler's SIGTERM reach the whole group, and a worker that
    # dies of them would take the last checkpoint with it. Workers end when the main process does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        # However the main process ends, the kernel ends its workers with it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
