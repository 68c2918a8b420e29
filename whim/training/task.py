"""What the loop needs from whatever is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from whim.training.distributed import Group


class Task(Protocol):
    """A network, its data, its loss and how it is measured."""

    model: nn.Module
    recipe: dict[str, Any]
    """Everything that determines the result, JSON-able: a run goes on only with the recipe that it began with."""
    monitor: str
    """Which value of :meth:`validate` decides what is best."""
    larger_is_better: bool

    @property
    def samples(self) -> int:
        """Positions in an epoch."""
        ...

    def batches(self, epoch: int, shares: Sequence[range], skip: int) -> Iterator[Any]:
        """One batch per range of positions in the epoch's order, without the first ``skip``.

        A batch depends on the epoch and its positions alone. Positions beyond the end begin again at the start.
        """
        ...

    def loss(self, model: nn.Module, batch: Any, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch (scalar, mean over pictures) and its terms for the log. ``model`` is to be called, not
        :attr:`model`: it may be wrapped."""
        ...

    def validate(self, model: nn.Module, group: Group) -> dict[str, float]:
        """Metrics of ``model`` (the running mean of the weights), the same in every process of ``group``."""
        ...

    def epoch_done(
        self, model: nn.Module, folder: Path, epoch: int, metrics: dict[str, float], *, best: bool
    ) -> None:
        """After each validation, in the main process: write weights that others can use, sample pictures."""
        ...
