"""Batches of crops: what the loader's workers make."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from whim.detector.data.config import LabelConfig
from whim.detector.data.pictures import read
from whim.detector.data.pixel_shards import load_pixel_shards
from whim.detector.data.records import Records
from whim.errors import BadFileError, UsageError
from whim.reconstructor.data.crops import CropAugmentConfig, CropSample, make_sample
from whim.reconstructor.data.labels import HandLabels, read_hands
from whim.reconstructor.losses.truth import Truth
from whim.training.sampler import epoch_order


@dataclass(frozen=True, kw_only=True, eq=False)
class HandSet:
    """Some hands of one folder of shards."""

    name: str
    records: Records
    hands: HandLabels
    recordings: list[str]

    def __len__(self) -> int:
        return len(self.hands)

    def split_off(self, share: float) -> tuple[HandSet, HandSet]:
        """(rest, part): whole recordings with about ``share`` of the hands.

        Raises:
            UsageError: there is only one recording.
        """
        counts = np.bincount(self.hands.recording, minlength=len(self.recordings))
        present = [row for row in range(len(counts)) if counts[row]]
        if len(present) < 2:
            raise UsageError(f"{self.name}: a single recording cannot be split; name a set to validate on")
        # By the hash of their names, so that another run holds out the same ones; none that is far too large.
        present.sort(key=lambda row: hashlib.sha256(self.recordings[row].encode()).hexdigest())
        wanted, held = share * len(self), [min(present, key=lambda row: int(counts[row]))]
        for row in present:
            taken = int(counts[held].sum())
            if row not in held and taken < wanted and taken + counts[row] <= 1.5 * wanted:
                held.append(row)
        part = np.isin(self.hands.recording, held)
        return self._some(~part), self._some(part)

    def _some(self, rows: NDArray) -> HandSet:
        return HandSet(
            name=self.name, records=self.records, hands=self.hands[rows], recordings=self.recordings
        )


def open_hands(folder: Path, topology: str, *, least_score: float, most_residual: float) -> HandSet:
    """The hands of a folder of pixel shards.

    Raises: as ``read_hands`` and ``load_pixel_shards``.
    """
    hands, recordings = read_hands(folder, topology, least_score=least_score, most_residual=most_residual)
    return HandSet(
        name=str(folder), records=load_pixel_shards(folder, LabelConfig()), hands=hands, recordings=recordings
    )


@dataclass(frozen=True, kw_only=True)
class CropBatch:
    """Crops and what is known of their hands (without vertices: those follow from the parameters)."""

    pictures: Tensor
    """(B, S, S, 3) uint8 RGB."""
    truth: Truth
    broken: tuple[str, ...] = ()
    """Pictures that could not be read; their crops are black and nothing is known of them."""

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
        sets: Sequence[HandSet],
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

    def __len__(self) -> int:
        if not self._shuffled:
            return int(self._ends[-1])
        return sum(round(len(one) * weight) for one, weight in zip(self._sets, self._weights, strict=True))

    def make(self, epoch: int, shares: list[range]) -> list[CropBatch]:
        """One batch per range of positions."""
        order = np.arange(int(self._ends[-1]))
        if self._shuffled:
            order = epoch_order([len(one) for one in self._sets], self._weights, seed=self._seed, epoch=epoch)
        return [self._batch(epoch, share, order) for share in shares]

    def _batch(self, epoch: int, share: range, order: NDArray[np.int64]) -> CropBatch:
        samples: list[CropSample | None] = []
        broken: list[str] = []
        for position in share:
            index = int(order[position % len(order)])
            number = int(np.searchsorted(self._ends, index, side="right"))
            one = self._sets[number]
            row = index - int(self._ends[number]) + len(one)
            hand = one.hands[row : row + 1]
            rng = np.random.default_rng([self._seed, epoch, position, 5])
            try:
                picture = read(one.records[int(hand.picture[0])])
            except BadFileError as error:
                broken.append(str(error))
                samples.append(None)
                continue
            rgb = np.ascontiguousarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
            samples.append(make_sample(rgb, hand, self._size, self._augment, rng))
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
