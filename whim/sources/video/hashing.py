"""Difference hash: bits that stay nearly the same when a picture is re-encoded or resized."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def difference_hash(image: NDArray[np.uint8], side: int = 8) -> int:
    """Hash of an RGB picture (H, W, 3): bit set where a grid cell is brighter than its left neighbour.

    ``side`` x ``side`` bits. 8 tells pictures apart; 16 tells hand poses apart before the same background.
    """
    small = cv2.resize(image, (side + 1, side), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    bits = grey[:, 1:] > grey[:, :-1]
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hamming(a: int, b: int) -> int:
    """Number of differing bits."""
    return (a ^ b).bit_count()
