"""Batches of the detector: what the loader's workers make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from whim.detector.data.augment import Decoded, decode, fit_whole, make_samples
from whim.detector.data.config import AugmentConfig
from whim.detector.data.draws import draw_sample
from whim.detector.data.hands import Hands
from whim.detector.data.records import Record, RecordSet
from whim.detector.targets import HandTargets
from whim.errors import BadFileError
from whim.training.sampler import epoch_order


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Pictures and hands of a micro-batch."""

    pictures: Tensor
    """(B, S, S, 3) uint8 RGB: a quarter of the memory of floats, and channels-last as it lies."""
    targets: HandTargets
    broken: tuple[str, ...] = ()
    """What could not be read, with the reason; other pictures stand in its place."""

    def pin_memory(self) -> Batch:
        """For faster copies to the device."""
        targets = HandTargets(**{name: value.pin_memory() for name, value in vars(self.targets).items()})
        return Batch(pictures=self.pictures.pin_memory(), targets=targets, broken=self.broken)

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(
            pictures=self.pictures.to(device, non_blocking=True),
            targets=self.targets.to(device, non_blocking=True),
            broken=self.broken,
        )

    def network_input(self) -> Tensor:
        """(B, 3, S, S) float32 0..1 in channels-last order."""
        return self.pictures.permute(0, 3, 1, 2).float().div_(255)


class TrainingSource:
    """Makes augmented batches: a pure function of (seed, epoch, positions)."""

    def __init__(
        self,
        sets: Sequence[RecordSet],
        weights: Sequence[float],
        *,
        size: int,
        augment: AugmentConfig,
        seed: int,
        epochs: int,
    ) -> None:
        self._sets = list(sets)
        self._weights = list(weights)
        self._size = size
        self._augment = augment
        self._seed = seed
        self._epochs = epochs
        self._order = np.zeros(0, np.int64)
        self._epoch = -1
        self._ends = np.cumsum([len(one) for one in sets])

    def __len__(self) -> int:
        """Positions in an epoch."""
        return sum(round(len(one) * w) for one, w in zip(self._sets, self._weights, strict=True))

    def make(self, epoch: int, shares: list[range]) -> list[Batch]:
        """One batch per range of positions. All positions are decoded once, ``mosaic_pool`` at a time; the partners
        of a mosaic come from the same pool.

        Raises:
            BadFileError: not one picture of a pool can be read.
        """
        positions = [position for share in shares for position in share]
        pictures = [np.empty((len(share), self._size, self._size, 3), np.uint8) for share in shares]
        targets = [picture for batch in pictures for picture in batch]
        hands: list[Hands] = []
        broken: list[str] = []
        for start in range(0, len(positions), self._augment.mosaic_pool):
            part = slice(start, start + self._augment.mosaic_pool)
            hands += self._pool(epoch, positions[part], targets[part], broken)
        batches: list[Batch] = []
        for batch in pictures:
            own, hands = hands[: len(batch)], hands[len(batch) :]
            batches.append(collate(batch, own, () if batches else tuple(broken)))
        return batches

    def _pool(
        self, epoch: int, positions: list[int], targets: list[np.ndarray], broken: list[str]
    ) -> list[Hands]:
        pool: list[Decoded] = []
        place: dict[int, int] = {}
        for position in positions:
            try:
                pool.append(decode(self._record(epoch, position), self._size))
                place[position] = len(pool) - 1
            except BadFileError as error:
                broken.append(str(error))
        if not pool:
            raise BadFileError(f"none of {len(positions)} pictures can be read; the first: {broken[-1]}")
        plain = epoch >= self._epochs - self._augment.plain_epochs
        draws = []
        for position in positions:
            rng = np.random.default_rng([self._seed, epoch, position, 3])
            own = place.get(position)
            if own is None:
                own = int(rng.integers(len(pool)))
            draws.append(draw_sample(rng, self._augment, own=own, pool=len(pool), plain=plain))
        return make_samples(pool, draws, targets, self._augment)

    def _record(self, epoch: int, position: int) -> Record:
        if epoch != self._epoch:
            sizes = [len(one) for one in self._sets]
            self._order = epoch_order(sizes, self._weights, seed=self._seed, epoch=epoch)
            self._epoch = epoch
        index = int(self._order[position % len(self._order)])
        return _pick(self._sets, self._ends, index)


class WholeSource:
    """Pictures of some sets as they are, in order; a broken one is left out of its batch."""

    def __init__(self, sets: Sequence[RecordSet], *, size: int) -> None:
        self._sets = list(sets)
        self._ends = np.cumsum([len(one) for one in sets])
        self._size = size

    def __len__(self) -> int:
        return int(self._ends[-1])

    def make(self, epoch: int, shares: list[range]) -> list[Batch]:
        """One batch per range of rows."""
        return [self._batch(share) for share in shares]

    def _batch(self, rows: range) -> Batch:
        pictures = np.empty((len(rows), self._size, self._size, 3), np.uint8)
        hands: list[Hands] = []
        broken: list[str] = []
        for row in rows:
            try:
                source = decode(_pick(self._sets, self._ends, row), self._size)
            except BadFileError as error:
                broken.append(str(error))
            else:
                hands.append(fit_whole(source, pictures[len(hands)]))
        return collate(pictures[: len(hands)], hands, tuple(broken))


def _pick(sets: Sequence[RecordSet], ends: np.ndarray, index: int) -> Record:
    """Picture ``index`` of the sets one after the other; ``ends``: running sum of their lengths."""
    number = int(np.searchsorted(ends, index, side="right"))
    return sets[number][index - int(ends[number]) + len(sets[number])]


def collate(pictures: np.ndarray, hands: Sequence[Hands], broken: tuple[str, ...] = ()) -> Batch:
    """Pictures (B, S, S, 3) RGB and the hands of each as one batch."""
    joined = Hands.join(hands)
    image_index = np.repeat(np.arange(len(hands)), [len(one) for one in hands]).astype(np.int64)
    return Batch(
        pictures=torch.from_numpy(pictures),
        targets=HandTargets(
            boxes=torch.from_numpy(joined.boxes.astype(np.float32)),
            side=torch.from_numpy(joined.side.astype(np.int64)),
            keypoints=torch.from_numpy(joined.keypoints.astype(np.float32)),
            visibility=torch.from_numpy(joined.visibility.astype(np.int64)),
            image_index=torch.from_numpy(image_index),
        ),
        broken=broken,
    )
