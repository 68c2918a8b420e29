"""From boxes of hands to the square crops that the network sees, and from crops back to the picture.

Left hands are cut out mirrored: the network knows right hands alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from whim.conventions import Side

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

FACTOR = 2.0
"""Size of the crop over that of the box, as released (the command line's default there)."""
SHAPE = (192, 256)
"""Width and height that boxes are grown to in proportion: what the network sees of its square."""
_BLUR_FROM = 1.1


@dataclass(frozen=True, kw_only=True)
class Crops:
    """Where N crops lie in their picture."""

    centers: Floats
    """(N, 2) pixels of the picture."""
    sides: Floats
    """(N,) pixels of the picture."""
    mirrored: NDArray[np.bool_]
    """(N,) left hands."""

    @classmethod
    def around(cls, boxes: ArrayLike, side: ArrayLike, *, factor: float = FACTOR) -> Crops:
        """Squares around boxes (N, 4) of hands of these sides (N,)."""
        b = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        size = factor * np.maximum(b[:, 2:] - b[:, :2], 1.0)
        # The shorter side is grown to the proportions of SHAPE; the square has the longer one.
        grown = np.maximum(size, size[:, ::-1] * np.array([SHAPE[0] / SHAPE[1], SHAPE[1] / SHAPE[0]]))
        return cls(
            centers=(b[:, :2] + b[:, 2:]) / 2,
            sides=grown.max(axis=1),
            mirrored=np.asarray(side, dtype=np.int64) == Side.LEFT,
        )

    def __len__(self) -> int:
        return len(self.sides)

    def cut(self, picture: Image, size: int) -> Image:
        """(N, size, size, 3) crops of a picture (H, W, 3); black outside of it."""
        crops = np.zeros((len(self), size, size, 3), dtype=np.uint8)
        for row in range(len(self)):
            crops[row] = self._cut(picture, row, size)
        return crops

    def _cut(self, picture: Image, row: int, size: int) -> Image:
        flip = np.diag([-1.0 if self.mirrored[row] else 1.0, 1.0])
        return self.view(picture, self.centers[row], float(self.sides[row]), size, flip)

    @staticmethod
    def view(picture: Image, center: Floats, side: float, size: int, linear: Floats) -> Image:
        """(size, size, 3) the square around ``center`` of ``side`` pixels, turned or mirrored by ``linear`` (2, 2)."""
        zoom = size / side
        # Continuous pixels, first centre at 0.5, of the picture -> of the crop.
        matrix = zoom * linear
        forward = np.concatenate([matrix, (size / 2 - matrix @ center)[:, None]], axis=1)
        # OpenCV's first centre is at 0.
        forward[:, 2] += matrix @ [0.5, 0.5] - 0.5
        source, shift = _smooth_part(picture, center, side, 1.0 / zoom / 2)
        forward[:, 2] += matrix @ shift
        return np.asarray(cv2.warpAffine(source, forward, (size, size), flags=cv2.INTER_LINEAR))

    def to_picture(self, fractions: ArrayLike) -> Floats:
        """(N, K, 2) pixels of the picture from fractions of the crops, 0 at their centres."""
        f = np.asarray(fractions, dtype=np.float64)
        flip = np.where(self.mirrored, -1.0, 1.0)[:, None]
        x, y = f[..., 0] * flip, f[..., 1]
        return np.stack([x, y], axis=-1) * self.sides[:, None, None] + self.centers[:, None]

    def translations(self, camera: ArrayLike, focal: float, width: int, height: int) -> Floats:
        """(N, 3) metres in the camera of the whole picture, from the crops' cameras (N, 3): scale, shift x, y.

        A scale s puts a metre on s / 2 crop sides; that fixes the depth for a focal length in pixels.
        """
        s, tx, ty = np.asarray(camera, dtype=np.float64).reshape(-1, 3).T
        metre = np.maximum(self.sides * s / 2, 1e-6)  # pixels of the picture
        offset = (self.centers - np.array([width, height]) / 2) / metre[:, None]
        flip = np.where(self.mirrored, -1.0, 1.0)
        return np.stack([flip * tx + offset[:, 0], ty + offset[:, 1], focal / metre], axis=1)


def _smooth_part(picture: Image, center: Floats, side: float, shrink: float) -> tuple[Image, Floats]:
    """The part of the picture under a crop, blurred when it will shrink, and where it begins (x, y).

    ``shrink``: half of how many pixels become one; the released code's measure.
    """
    height, width = picture.shape[:2]
    half = 0.75 * side + 16  # the corners of a turned square reach out
    low = np.clip(np.floor(center - half), 0, [width - 1, height - 1]).astype(int)
    high = np.clip(np.ceil(center + half), low + 1, [width, height]).astype(int)
    part = picture[low[1] : high[1], low[0] : high[0]]
    if shrink > _BLUR_FROM:
        part = cv2.GaussianBlur(part, (0, 0), (shrink - 1) / 2, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(part), low.astype(np.float64)
