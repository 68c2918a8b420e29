"""The hands of one picture as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Hands:
    """Hands of one picture. Pixels are 0-based, the centre of the first pixel at 0.5."""

    boxes: Floats
    """(n, 4): x1, y1, x2, y2."""
    side: NDArray[np.int64]
    """(n,): :class:`whim.conventions.Side` values, anatomical."""
    keypoints: Floats
    """(n, 21, 2): x, y in OpenPose order; meaningless where not labelled."""
    visibility: NDArray[np.int64]
    """(n, 21): 0 not labelled, 1 hidden, 2 visible."""

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, which: NDArray | slice) -> Hands:
        """Some of the hands, by mask, index or slice."""
        return Hands(
            boxes=self.boxes[which],
            side=self.side[which],
            keypoints=self.keypoints[which],
            visibility=self.visibility[which],
        )

    @classmethod
    def none(cls) -> Hands:
        """A picture without hands."""
        return cls(
            boxes=np.zeros((0, 4), np.float32),
            side=np.zeros(0, np.int64),
            keypoints=np.zeros((0, 21, 2), np.float32),
            visibility=np.zeros((0, 21), np.int64),
        )

    @classmethod
    def join(cls, parts: Sequence[Hands]) -> Hands:
        """The hands of several pictures, in order."""
        if not parts:
            return cls.none()
        return cls(
            boxes=np.concatenate([part.boxes for part in parts]),
            side=np.concatenate([part.side for part in parts]),
            keypoints=np.concatenate([part.keypoints for part in parts]),
            visibility=np.concatenate([part.visibility for part in parts]),
        )
