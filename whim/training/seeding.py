"""Randomness as a function of where the run stands, never of what happened before.

Every micro-batch begins with its own seed, made of (seed, process, number). A run that goes on after a kill draws
the same numbers without any generator state in the checkpoint.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

import numpy as np
import torch


def derive(numbers: Iterable[int]) -> int:
    """63-bit seed out of several whole numbers >= 0; other numbers, unrelated seed."""
    words = np.random.SeedSequence(list(numbers)).generate_state(2, np.uint32)
    return int(words[0]) << 31 | int(words[1]) >> 1


def seed_step(seed: int, rank: int, step: int) -> None:
    """Seed ``random``, numpy's and torch's global generators (all devices) for one micro-batch of one process."""
    value = derive((seed, rank, step))
    random.seed(value)
    np.random.seed(value & 0xFFFFFFFF)  # noqa: NPY002 - other people's code may draw from it
    torch.manual_seed(value)


def make_deterministic() -> None:
    """Ask for kernels that give the same bits every time; an operation without one only warns."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
