"""Difference hash: 64 bits that stay nearly the same when a picture is re-encoded or resized."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def difference_hash(image: NDArray[np.uint8]) -> int:
    """Hash of an RGB picture (H, W, 3): bit set where a cell of a 9x8 grid is brighter than its left neighbour."""
    grey = cv2.cvtColor(cv2.resize(image, (9, 8), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    bits = grey[:, 1:] > grey[:, :-1]
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hamming(a: int, b: int) -> int:
    """Number of differing bits."""
    return (a ^ b).bit_count()
