"""The detector as the loop sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from whim.detector.data.batches import Batch, TrainingSource, WholeSource
from whim.detector.targets import HandTargets
from whim.detector.training.measure import Judged, Predicted, measure
from whim.detector.training.sheets import write_sheet
from whim.training.broken import BrokenPictures
from whim.training.distributed import Group
from whim.training.loader import Loader
from whim.training.sampler import shares_of_whole

SAMPLES = 8
"""Validation pictures on the sheet of each epoch."""


class Head(Protocol):
    """What the task needs of the network's surroundings."""

    def loss(self, outputs: Any, targets: HandTargets) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss (scalar) of the raw outputs, and its terms."""
        ...

    def predict(self, outputs: Any) -> list[Predicted]:
        """Hands of each picture, for evaluation: low scores included."""
        ...

    def save(self, model: nn.Module, path: Path, facts: dict[str, Any]) -> None:
        """Write weights for others to use: ``path`` (safetensors) and a JSON beside it."""
        ...


class DetectorTask:
    """Implements :class:`whim.training.task.Task`."""

    def __init__(
        self,
        *,
        model: nn.Module,
        head: Head,
        training: TrainingSource,
        validation: WholeSource,
        batch: int,
        pool: int,
        workers: int,
        monitor: str,
        recipe: dict[str, Any],
        device: torch.device,
        folder: Path,
        say: Callable[[str], None],
    ) -> None:
        self.model = model
        self.recipe = recipe
        self.monitor = monitor
        self.larger_is_better = monitor != "val_loss"
        self._head = head
        self._training = training
        self._validation = validation
        self._batch = batch
        self._device = device
        pin = device.type == "cuda"
        self._loader: Loader[Batch] = Loader(training, workers=workers, chunk=max(1, pool // batch), pin=pin)
        self._val_loader: Loader[Batch] = Loader(validation, workers=min(workers, 2), pin=pin)
        self._broken = BrokenPictures(folder, say)
        self._sheet: tuple[list[np.ndarray], list[Judged]] = ([], [])

    @property
    def samples(self) -> int:
        """Positions in an epoch."""
        return len(self._training)

    def batches(self, epoch: int, shares: Sequence[range], skip: int) -> Iterator[Batch]:
        """Augmented batches on the device."""
        for batch in self._loader.batches(epoch, shares, skip):
            self._broken.note(batch.broken)
            yield batch.to(self._device)

    def loss(self, model: nn.Module, batch: Batch, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch and its terms."""
        return self._head.loss(model(batch.network_input()), batch.targets)

    def validate(self, model: nn.Module, group: Group) -> dict[str, float]:
        """AP and its companions, and the loss, over the validation pictures of all processes."""
        shares = shares_of_whole(len(self._validation), self._batch, rank=group.rank, world=group.size)
        judged: list[Judged] = []
        losses: list[tuple[float, int]] = []
        self._sheet = ([], [])
        for batch in self._val_loader.batches(0, shares):
            self._broken.note(batch.broken)
            number = len(batch.pictures)
            if not number:
                continue
            batch = batch.to(self._device)
            outputs = model(batch.network_input())
            losses.append((float(self._head.loss(outputs, batch.targets)[0]), number))
            new = _judge(batch.targets, self._head.predict(outputs))
            room = SAMPLES - len(self._sheet[0])
            self._sheet[0].extend(batch.pictures[:room].cpu().numpy())
            self._sheet[1].extend(new[:room])
            judged += new
        judged, losses = group.gather(judged), group.gather(losses)
        total = sum(number for _, number in losses)
        mean = sum(value * number for value, number in losses) / total if total else float("nan")
        return {**measure(judged), "val_loss": mean, "broken": self._broken.count(group)}

    def epoch_done(
        self, model: nn.Module, folder: Path, epoch: int, metrics: dict[str, float], *, best: bool
    ) -> None:
        """Write the weights and the sheet of samples."""
        facts = {"epoch": epoch + 1, "metrics": metrics, "recipe": self.recipe}
        self._head.save(model, folder / "last.safetensors", facts)
        if best:
            self._head.save(model, folder / "best.safetensors", facts)
        if self._sheet[0]:
            write_sheet(folder / "samples" / f"epoch-{epoch + 1:04d}.jpg", *self._sheet)


def _judge(targets: HandTargets, predicted: Sequence[Predicted]) -> list[Judged]:
    boxes, side = targets.boxes.cpu().numpy(), targets.side.cpu().numpy()
    keypoints, visibility = targets.keypoints.cpu().numpy(), targets.visibility.cpu().numpy()
    index = targets.image_index.cpu().numpy()
    return [
        Judged(
            predicted=one,
            boxes=boxes[index == number],
            side=side[index == number],
            keypoints=keypoints[index == number],
            visibility=visibility[index == number],
        )
        for number, one in enumerate(predicted)
    ]
