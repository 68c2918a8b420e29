"""sRGB and linear light (IEC 61966-2-1), by tables."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats32 = NDArray[np.float32]
Image = NDArray[np.uint8]

_STEPS = 1 << 14  # fine enough that two neighbours in the dark differ by a fifth of a level of uint8


def to_linear(srgb: ArrayLike) -> NDArray[np.float64]:
    """Linear light of sRGB values in 0..1."""
    s = np.asarray(srgb, dtype=np.float64)
    return np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: ArrayLike) -> NDArray[np.float64]:
    """sRGB values in 0..1 of linear light, which is clipped to 0..1."""
    x = np.clip(np.asarray(linear, dtype=np.float64), 0.0, 1.0)
    return np.where(x <= 0.0031308, x * 12.92, 1.055 * x ** (1.0 / 2.4) - 0.055)


@lru_cache(maxsize=1)
def _tables() -> tuple[Floats32, Image]:
    decode = to_linear(np.arange(256) / 255.0).astype(np.float32)
    encode = np.round(to_srgb(np.arange(_STEPS) / (_STEPS - 1)) * 255.0).astype(np.uint8)
    return decode, encode


def decode(picture: Image) -> Floats32:
    """Linear light of a uint8 picture of any shape."""
    return _tables()[0][picture]


def encode(linear: Floats32) -> Image:
    """uint8 sRGB, nearest level within a fifth, of linear light, which is clipped to 0..1."""
    steps = (np.clip(linear, 0.0, 1.0) * np.float32(_STEPS - 1) + np.float32(0.5)).astype(np.int32)
    return _tables()[1][steps]


def blend(picture: Image, colour: Floats32, alpha: Floats32, opacity: float) -> Image:
    """A copy of a picture (H, W, 3) with premultiplied linear colours (H, W, 3) over it; alpha (H, W).

    Raises:
        ValueError: when the sizes differ, or the picture is not uint8 RGB.
    """
    if picture.shape != colour.shape or picture.dtype != np.uint8:
        raise ValueError(
            f"expected a uint8 picture of shape {colour.shape}; got {picture.dtype} {picture.shape}"
        )
    result = picture.copy()
    flat = result.reshape(-1, 3)
    # Most of a picture is not covered: touch only what is.
    covered = np.flatnonzero(alpha > 0.0)
    kept = np.float32(1.0) - np.float32(opacity) * alpha.reshape(-1)[covered]
    light = np.float32(opacity) * colour.reshape(-1, 3)[covered] + decode(flat[covered]) * kept[:, None]
    flat[covered] = encode(light)
    return result
