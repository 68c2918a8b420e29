"""A training small enough to be killed again and again: a little network that fits a made-up function."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from whim.training.config import EmaConfig, OptimiserConfig, ScheduleConfig, TrainingConfig
from whim.training.distributed import Group, process_group
from whim.training.loader import Loader
from whim.training.loop import fit
from whim.training.run import FitResult
from whim.training.sampler import epoch_order

SAMPLES = 50


class TinySource:
    """Pictures (B, 3, 8, 8) and targets (B,) as a pure function of epoch and position."""

    def make(self, epoch: int, shares: list[range]) -> list[tuple[Tensor, Tensor]]:
        order = epoch_order([SAMPLES], [1.0], seed=3, epoch=epoch)
        batches = []
        for share in shares:
            pictures = [
                np.random.default_rng([order[p % len(order)]]).normal(size=(3, 8, 8))
                + 0.1 * np.random.default_rng([epoch, p, 7]).normal(size=(3, 8, 8))
                for p in share
            ]
            x = torch.tensor(np.stack(pictures), dtype=torch.float32)
            batches.append((x, x[:, 0, :4].mean(dim=(1, 2)) - x[:, 1, 4:].std(dim=(1, 2))))
        return batches


class TinyTask:
    """Convolution, batch norm, dropout: everything with a state or with randomness."""

    monitor = "error"
    larger_is_better = False
    samples = SAMPLES

    def __init__(self, *, workers: int = 0, slow: float = 0.0, dropout: float = 0.2) -> None:
        torch.manual_seed(11)
        self.model: nn.Module = nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.BatchNorm2d(8),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, 1),
        )
        self.recipe: dict[str, Any] = {"network": {"width": 8}, "dropout": dropout}
        self._loader: Loader[tuple[Tensor, Tensor]] = Loader(TinySource(), workers=workers, chunk=3)
        self._slow = slow
        self.beat: Connection | None = None

    def batches(self, epoch: int, shares: Sequence[range], skip: int) -> Iterator[tuple[Tensor, Tensor]]:
        return self._loader.batches(epoch, shares, skip)

    def loss(
        self, model: nn.Module, batch: tuple[Tensor, Tensor], epoch: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        if self.beat is not None:
            self.beat.send(epoch)
        time.sleep(self._slow)
        pictures, wanted = batch
        error = (model(pictures)[:, 0].float() - wanted).square().mean()
        return error, {"square": error}

    def validate(self, model: nn.Module, group: Group) -> dict[str, float]:
        ((pictures, wanted),) = TinySource().make(1000, [range(group.rank, SAMPLES, group.size)])
        errors = (model(pictures)[:, 0].float() - wanted).square().tolist()
        gathered = sorted(group.gather(errors))
        return {"error": sum(gathered) / len(gathered)}

    def epoch_done(
        self, model: nn.Module, folder: Path, epoch: int, metrics: dict[str, float], *, best: bool
    ) -> None:
        if best:
            (folder / "best.txt").write_text(f"{epoch} {metrics['error']!r}")


def tiny_config(**changes: Any) -> TrainingConfig:
    """Four epochs of six steps; Adam, EMA, accumulation, a checkpoint after every step."""
    values: dict[str, Any] = {
        "epochs": 4,
        "batch": 8,
        "accumulate": 2,
        "workers": 0,
        "device": "cpu",
        "precision": "fp32",
        "checkpoint_minutes": 0.0,
        "log_every": 4,
        "tensorboard": False,
        "optimiser": OptimiserConfig(lr=0.01),
        "schedule": ScheduleConfig(warmup_epochs=0.5),
        "ema": EmaConfig(decay=0.9, ramp=5),
    }
    return TrainingConfig(**{**values, **changes})


def train(
    folder: Path,
    *,
    slow: float = 0.0,
    workers: int = 0,
    beat: Connection | None = None,
    say: Callable[[str], None] = print,
    **changes: Any,
) -> FitResult:
    """One call of the loop in this process, or in each of a group. ``beat`` gets a message with every micro-batch."""
    torch.set_num_threads(1)  # the order of sums, and with it the last bit, depends on it
    device = torch.device("cpu")
    with process_group(device) as group:
        task = TinyTask(workers=workers, slow=slow, dropout=changes.pop("dropout", 0.2))
        task.beat = beat
        return fit(task, tiny_config(**changes), folder, group=group, device=device, say=say)


def train_in_child(folder: Path, options: dict[str, Any]) -> None:
    """What a child process runs; its exit status is that of the command."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - progress bars of the child
    os.setpgid(0, 0)  # so that a test can signal the loader's workers with it
    result = train(folder, say=lambda text: None, **options)
    os._exit(result.exit_code)


def train_as_rank(rank: int, world: int, port: int, folder: Path, options: dict[str, Any]) -> None:
    """One process of several, as `torchrun` would start it."""
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    train_in_child(folder, options)
