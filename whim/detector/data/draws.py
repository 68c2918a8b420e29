"""All random choices of one training picture, as plain data. Drawing is apart from doing, so that the fast way and
the slow one can be given the same draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whim.detector.data.config import AugmentConfig

Rng = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class TileDraw:
    """One source picture of a made picture."""

    index: int
    """Which picture: index into the pool."""
    crop: tuple[float, float, float, float]
    """x1, y1, x2, y2 as shares of the picture."""
    flip: bool


@dataclass(frozen=True, kw_only=True)
class PictureDraw:
    """One made picture: one tile, or four around a point."""

    tiles: tuple[TileDraw, ...]
    """One, or upper left, upper right, lower left, lower right."""
    centre: tuple[float, float]
    """Mosaic: where the four meet, as a share of a canvas twice the input."""
    angle: float
    """Radians, clockwise as seen in the picture (y points down)."""
    scale: float
    shift: tuple[float, float]
    """As a share of the input."""


@dataclass(frozen=True, kw_only=True)
class SampleDraw:
    """One or two made pictures (mixup) and what is done to the result."""

    pictures: tuple[PictureDraw, ...]
    blend: float
    """Share of the first picture."""
    masks: tuple[tuple[float, float, float, float], ...]
    """Rectangles x1, y1, x2, y2 as shares of the input."""
    mask_colours: tuple[tuple[int, int, int], ...]
    gains: tuple[float, float, float]
    brightness: float
    contrast: float
    gamma: float
    saturation: float
    blur: int
    """Width of the box filter, 0 for none."""


def draw_sample(rng: Rng, config: AugmentConfig, *, own: int, pool: int, plain: bool) -> SampleDraw:
    """Choices for the sample whose own picture is ``own`` of ``pool``; ``plain``: no mosaic, no mixup."""
    pictures = [_picture(rng, config, own, pool, plain)]
    blend = 1.0
    if not plain and rng.random() < config.mixup:
        pictures.append(_picture(rng, config, int(rng.integers(pool)), pool, plain))
        blend = float(rng.beta(32.0, 32.0))
    masks: list[tuple[float, float, float, float]] = []
    if rng.random() < config.masking:
        for _ in range(int(rng.integers(1, config.mask_count + 1))):
            width, height = (
                rng.uniform(0.02, config.mask_size, 2) if config.mask_size > 0.02 else (0.02, 0.02)
            )
            x, y = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
            masks.append((float(x), float(y), float(x + width), float(y + height)))
    colours = rng.integers(0, 256, (len(masks), 3)).tolist()
    grey = rng.random() < config.grey
    return SampleDraw(
        pictures=tuple(pictures),
        blend=blend,
        masks=tuple(masks),
        mask_colours=tuple((r, g, b) for r, g, b in colours),
        gains=tuple((1 + rng.uniform(-config.gain, config.gain, 3)).tolist()),
        brightness=float(rng.uniform(-config.brightness, config.brightness)),
        contrast=float(1 + rng.uniform(-config.contrast, config.contrast)),
        gamma=float(np.exp(rng.uniform(-config.gamma, config.gamma))) if rng.random() < 0.5 else 1.0,
        saturation=0.0 if grey else float(1 + rng.uniform(-config.saturation, config.saturation)),
        blur=int(rng.integers(2, 4)) if rng.random() < config.blur else 0,
    )


def _picture(rng: Rng, config: AugmentConfig, own: int, pool: int, plain: bool) -> PictureDraw:
    indices = [own]
    if not plain and rng.random() < config.mosaic:
        indices += rng.integers(0, pool, 3).tolist()
        rng.shuffle(indices)  # a picture's own place in its mosaic is any of the four
    return PictureDraw(
        tiles=tuple(_tile(rng, config, index) for index in indices),
        centre=tuple(rng.uniform(0.25, 0.75, 2).tolist()),
        angle=float(np.deg2rad(rng.uniform(-config.rotation, config.rotation))),
        scale=float(rng.uniform(*config.scale)),
        shift=tuple(rng.uniform(-config.translation, config.translation, 2).tolist()),
    )


def _tile(rng: Rng, config: AugmentConfig, index: int) -> TileDraw:
    crop = (0.0, 0.0, 1.0, 1.0)
    if rng.random() < config.crop:
        width, height = rng.uniform(config.crop_least, 1.0, 2)
        x, y = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
        crop = (float(x), float(y), float(x + width), float(y + height))
    return TileDraw(index=index, crop=crop, flip=bool(rng.random() < config.flip))
