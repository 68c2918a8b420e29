"""Where pictures of hands come from: pixel shards, or a renderer on the fly."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from whim.detector.data.config import LabelConfig
from whim.detector.data.pictures import read, reduction
from whim.detector.data.pixel_shards import load_pixel_shards
from whim.detector.data.records import Records
from whim.errors import BadFileError, UsageError
from whim.reconstructor.crops import Crops
from whim.reconstructor.data.labels import HandLabels, LabelRules, hands_of_row, read_hands
from whim.synth.config import SynthConfig
from whim.synth.dataset import SynthDataset

Image = NDArray[np.uint8]

_TRIES = 16
"""Scenes that are rendered at most until one shows a hand."""
_KNOWN = 128
"""Rendered scenes from which the means of a rendered set are taken."""


class HandSource(Protocol):
    """Hands in pictures, by number."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    @property
    def hands(self) -> HandLabels:
        """Hands of the set, all or enough to know it by."""
        ...

    def __len__(self) -> int: ...

    def sample(self, index: int, epoch: int, size: float) -> tuple[Image, HandLabels]:
        """Picture (H, W, 3) RGB of hand ``index`` and its label (one row), in pixels of that picture.

        The picture may come reduced, as long as ``size`` crop pixels are at most as fine.

        Raises:
            BadFileError: the picture cannot be read.
        """
        ...

    def split_off(self, share: float) -> tuple[HandSource, HandSource]:
        """(rest, part): about ``share`` of the hands, in pictures that have nothing to do with the rest.

        Raises:
            UsageError: that cannot be done.
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class HandSet:
    """Some hands of one folder of shards."""

    name: str
    records: Records
    hands: HandLabels
    recordings: Sequence[str]

    def __len__(self) -> int:
        return len(self.hands)

    def sample(self, index: int, epoch: int, size: float) -> tuple[Image, HandLabels]:
        """See :class:`HandSource`. JPEGs are decoded no larger than the crop needs."""
        hand = self.hands[index : index + 1]
        record = self.records[int(hand.picture[0])]
        side = float(Crops.around(hand.box, hand.side).sides[0])
        factor = reduction(record.size, size * max(record.size) / side)
        picture = cv2.cvtColor(read(record, factor), cv2.COLOR_BGR2RGB)
        scale = np.float32(1.0 / factor)
        small = replace(hand, box=hand.box * scale, keypoints_2d=hand.keypoints_2d * scale)
        return np.ascontiguousarray(picture), small

    def split_off(self, share: float) -> tuple[HandSet, HandSet]:
        """See :class:`HandSource`: whole recordings."""
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
        return replace(self, hands=self.hands[~part]), replace(self, hands=self.hands[part])


def open_hands(folder: Path, topology: str, rules: LabelRules) -> HandSet:
    """The hands of a folder of pixel shards.

    Raises: as ``read_hands`` and ``load_pixel_shards``.
    """
    hands, recordings = read_hands(folder, topology, rules)
    return HandSet(
        name=str(folder), records=load_pixel_shards(folder, LabelConfig()), hands=hands, recordings=recordings
    )


class RenderedHands:
    """``count`` hands an epoch out of an endless row of rendered scenes: no scene comes twice.

    Args:
        config: what scenes look like.
        count: hands per epoch.
        seed: of the scenes.
        topology: hand model whose parameters are wanted.
        rules: as for shards.
    """

    def __init__(
        self, config: SynthConfig, *, count: int, seed: int, topology: str, rules: LabelRules
    ) -> None:
        self.name = f"rendered-{seed}"
        self._scenes = SynthDataset(config, seed=seed)
        self._count = count
        self._topology = topology
        self._rules = rules

    def __len__(self) -> int:
        return self._count

    @cached_property
    def hands(self) -> HandLabels:
        """Hands of scenes that are not trained on."""
        # OpenGL must not be opened before workers are forked.
        config = self._scenes.config.model_copy(update={"renderer": "numpy"})
        scenes = SynthDataset(config, seed=self._scenes.seed + 1)
        return HandLabels.join(
            [hands_of_row(scenes[i][1], self._topology, self._rules) for i in range(_KNOWN)]
        )

    def sample(self, index: int, epoch: int, size: float) -> tuple[Image, HandLabels]:
        """See :class:`HandSource`."""
        first = _TRIES * (epoch * self._count + index)
        for number in range(first, first + _TRIES):
            picture, row = self._scenes[number]
            hands = hands_of_row(row, self._topology, self._rules)
            if len(hands):
                which = number % len(hands)
                return picture, hands[which : which + 1]
        raise BadFileError(f"{self.name}: {_TRIES} scenes in a row show no hand; the settings leave none")

    def split_off(self, share: float) -> tuple[RenderedHands, RenderedHands]:
        """See :class:`HandSource`: scenes of another seed."""
        seed = self._scenes.seed + 2
        part = RenderedHands(
            self._scenes.config,
            count=max(1, round(share * self._count)),
            seed=seed,
            topology=self._topology,
            rules=self._rules,
        )
        return self, part
