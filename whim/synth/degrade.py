"""From a clean rendering to what a camera and a video site make of it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from whim.config import Config

Image = NDArray[np.uint8]


_TILE = 160


class DegradeConfig(Config):
    """How often, and how badly."""

    blur: float = Field(default=0.25, ge=0, le=1)
    """Share of pictures out of focus or shaken."""
    blur_share: float = Field(default=0.012, ge=0)
    """Longest smear, as a share of the longer side of the picture."""
    noise: float = Field(default=0.6, ge=0, le=1)
    """Share of pictures with sensor noise."""
    noise_levels: float = Field(default=14.0, ge=0)
    """Most noise, grey levels of 255."""
    rescale: float = Field(default=0.2, ge=0, le=1)
    """Share of pictures that were smaller once."""
    jpeg: float = Field(default=0.7, ge=0, le=1)
    """Share of pictures that were compressed once more."""
    jpeg_quality: tuple[int, int] = (25, 95)
    """Range of its quality."""


def degrade(rng: np.random.Generator, image: Image, config: DegradeConfig) -> Image:
    """``image`` (H, W, 3) RGB with the faults of cameras; nothing moves, so that labels stay right."""
    height, width = image.shape[:2]
    picture = _tone(rng, image)
    if rng.random() < config.blur:
        picture = _blurred(rng, picture, config.blur_share * max(height, width))
    if rng.random() < config.rescale:
        factor = rng.uniform(0.4, 0.9)
        small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        picture = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < config.noise:
        picture = _noisy(rng, picture, config.noise_levels)
    if rng.random() < config.jpeg:
        quality = int(rng.integers(config.jpeg_quality[0], config.jpeg_quality[1] + 1))
        _, coded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        picture = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))[..., ::-1]
    return np.ascontiguousarray(picture)


def _tone(rng: np.random.Generator, image: Image) -> Image:
    """White balance, exposure and contrast, by one table per channel."""
    levels = np.arange(256) / 255.0
    gain = rng.normal(1.0, 0.06, 3) * rng.uniform(0.75, 1.2)
    gamma = np.exp(rng.normal(0.0, 0.15))
    table = np.clip(levels[:, None] ** gamma * gain * 255.0, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table.reshape(1, 256, 3)))


def _blurred(rng: np.random.Generator, image: Image, longest: float) -> Image:
    """Out of focus, or shaken along a line."""
    length = rng.uniform(1.0, max(longest, 1.0))
    if rng.random() < 0.5:
        return cv2.GaussianBlur(image, (0, 0), 0.3 * length + 0.3)
    size = 2 * int(np.ceil(length / 2)) + 1
    kernel = np.zeros((size, size), dtype=np.float32)
    angle = rng.uniform(0, np.pi)
    step = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    centre = np.array([size // 2] * 2)
    ends = [tuple(np.round((centre + sign * step) * 16).astype(int).tolist()) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA, 4)
    # The line is drawn with grey levels of 255 when anti-aliased: only its shape counts. Symmetric about the
    # middle, so nothing moves on average.
    kernel = kernel + kernel[::-1, ::-1]
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def _noisy(rng: np.random.Generator, image: Image, most: float) -> Image:
    """Noise that grows in the dark, as of a sensor, smoothed a little as by a codec."""
    height, width = image.shape[:2]
    # One tile of noise over and over: nobody sees it, and random numbers would cost more than the rendering.
    tile = rng.standard_normal((_TILE, _TILE, 3), dtype=np.float32)
    if rng.random() < 0.5:
        tile = 1.7 * cv2.GaussianBlur(tile, (3, 3), 0)
    tile *= np.float32(rng.uniform(0.1, 1.0) * most)
    noise = np.tile(tile, (-(-height // _TILE), -(-width // _TILE), 1))[:height, :width]
    fall = (1.2 - np.arange(256, dtype=np.float32) / 320.0)[image]
    return np.clip(image + noise * fall, 0, 255).astype(np.uint8)
