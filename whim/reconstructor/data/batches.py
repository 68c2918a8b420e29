"""Batches of crops: what the loader's workers make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from whim.errors import BadFileError
from whim.reconstructor.data.crops import CropAugmentConfig, CropSample, make_sample
from whim.reconstructor.data.sets import HandSource
from whim.reconstructor.losses.truth import Truth
from whim.training.sampler import epoch_order


@dataclass(frozen=True, kw_only=True)
class CropBatch:
    """Crops and what is known of their hands (without vertices: those follow from the parameters)."""

    pictures: Tensor
    """(B, S, S, 3) uint8 RGB."""
    truth: Truth
    broken: tuple[str, ...] = ()
    """Pictures that could not be read; their crops are black and nothing is known of them."""

    def pin_memory(self) -> CropBatch:
        """For faster copies to the device."""
        truth = Truth(**{name: value.pin_memory() for name, value in vars(self.truth).items()})
        return CropBatch(pictures=self.pictures.pin_memory(), truth=truth, broken=self.broken)

    def to(self, device: torch.device) -> CropBatch:
        """The same on another device."""
        return CropBatch(
            pictures=self.pictures.to(device, non_blocking=True),
            truth=self.truth.to(device, non_blocking=True),
            broken=self.broken,
        )


class CropSource:
    """Makes batches of crops: a pure function of seed, epoch and positions."""

    def __init__(
        self,
        sets: Sequence[HandSource],
        weights: Sequence[float],
        *,
        size: int,
        vertices: int,
        augment: CropAugmentConfig,
        seed: int,
        shuffled: bool,
    ) -> None:
        self._sets = list(sets)
        self._weights = list(weights)
        self._ends = np.cumsum([len(one) for one in sets])
        self._size = size
        self._vertices = vertices
        self._augment = augment
        self._seed = seed
        self._shuffled = shuffled
        self._order = np.arange(int(self._ends[-1]))
        self._epoch = -1

    def __len__(self) -> int:
        if not self._shuffled:
            return int(self._ends[-1])
        return sum(round(len(one) * weight) for one, weight in zip(self._sets, self._weights, strict=True))

    def make(self, epoch: int, shares: list[range]) -> list[CropBatch]:
        """One batch per range of positions."""
        if self._shuffled and epoch != self._epoch:
            sizes = [len(one) for one in self._sets]
            self._order = epoch_order(sizes, self._weights, seed=self._seed, epoch=epoch)
            self._epoch = epoch
        return [self._batch(epoch, share) for share in shares]

    def _batch(self, epoch: int, share: range) -> CropBatch:
        samples: list[CropSample | None] = []
        broken: list[str] = []
        # The crop may be drawn smaller than it is here, down to this share of it.
        size = self._size / (1.0 - self._augment.scale)
        for position in share:
            index = int(self._order[position % len(self._order)])
            number = int(np.searchsorted(self._ends, index, side="right"))
            one = self._sets[number]
            try:
                picture, hand = one.sample(index - int(self._ends[number]) + len(one), epoch, size)
            except BadFileError as error:
                broken.append(str(error))
                samples.append(None)
                continue
            rng = np.random.default_rng([self._seed, epoch, position, 5])
            samples.append(make_sample(picture, hand, self._size, self._augment, rng))
        return collate(samples, self._size, self._vertices, tuple(broken))


def collate(
    samples: Sequence[CropSample | None], size: int, vertices: int, broken: tuple[str, ...]
) -> CropBatch:
    """Samples as one batch; None is a hand of which nothing is known."""
    batch = len(samples)
    truth = Truth.unlabelled(batch, vertices)
    pictures = torch.zeros(batch, size, size, 3, dtype=torch.uint8)
    for row, sample in enumerate(samples):
        if sample is None:
            continue
        pictures[row] = torch.from_numpy(sample.picture)
        for name, values in (
            ("keypoints_2d", sample.keypoints_2d),
            ("keypoints_3d", sample.joints_3d),
        ):
            known = np.isfinite(values).all(axis=1)
            getattr(truth, name)[row] = torch.from_numpy(np.nan_to_num(values))
            getattr(truth, f"{name}_valid")[row] = torch.from_numpy(known.astype(np.float32))
        if np.isfinite(sample.rotations).all():
            truth.rotations[row] = torch.from_numpy(sample.rotations)
            truth.global_orient_valid[row] = truth.hand_pose_valid[row] = 1.0
        if np.isfinite(sample.betas).all():
            truth.betas[row] = torch.from_numpy(sample.betas)
            truth.betas_valid[row] = 1.0
    return CropBatch(pictures=pictures, truth=truth, broken=broken)
