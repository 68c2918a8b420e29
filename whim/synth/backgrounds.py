"""What stands behind the hands: pictures made from noise, shapes and light, or the user's own.

All from the given generator, so that a seed gives the same picture on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from whim.errors import BadFileError, UsageError

Image = NDArray[np.uint8]
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


def find_pictures(folder: Path) -> tuple[Path, ...]:
    """Pictures below ``folder``, sorted, so that a seed means the same picture again.

    Raises:
        UsageError: there are none.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not found:
        raise UsageError(f"{folder}: no pictures ({', '.join(sorted(_SUFFIXES))}) to use as backgrounds")
    return tuple(found)


def background(rng: np.random.Generator, width: int, height: int, pictures: Sequence[Path] = ()) -> Image:
    """A background (height, width, 3) RGB: half of the time one of ``pictures``, when there are any.

    Raises:
        BadFileError: a picture cannot be read.
    """
    if pictures and rng.random() < 0.5:
        return _cut(rng, pictures[int(rng.integers(len(pictures)))], width, height)
    kinds = (_wall, _clouds, _room, _clutter)
    # Made at half the size: four times as fast, and what stands behind is rarely sharp.
    small = (max(width // 2, 16), max(height // 2, 16))
    picture = kinds[int(rng.choice(len(kinds), p=(0.15, 0.25, 0.3, 0.3)))](rng, *small)
    sigma = rng.choice([0.0, 0.5, 1.5, 4.0]) * max(width, height) / 640
    if sigma > 0:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma))
    grain = _octaves(rng, *small, finest=4)[..., None] * np.float32(rng.uniform(0, 14))
    picture = np.clip(picture + grain, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR))


def colour(rng: np.random.Generator, *, saturation: float = 0.6) -> NDArray[np.float64]:
    """A random colour (3,) in 0..255, rarely a loud one."""
    hue, value = rng.random(), rng.uniform(0.08, 0.98)
    chroma = saturation * rng.beta(1.2, 2.5)
    wheel = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return 255.0 * value * (1 - chroma + chroma * wheel)


def _wall(rng: np.random.Generator, width: int, height: int) -> Image:
    """Two colours that run into each other."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(width, height)
    ramp = np.cos(angle) * x + np.sin(angle) * y
    ramp = ((ramp - ramp.min()) / max(float(np.ptp(ramp)), 1e-6))[..., None]
    first = colour(rng)
    second = np.clip(first + rng.normal(0, 45, 3), 0, 255)
    return (first * (1 - ramp) + second * ramp).astype(np.uint8)


def _clouds(rng: np.random.Generator, width: int, height: int) -> Image:
    """Soft spots of two colours: cloth, foliage, asphalt."""
    share = np.clip(0.5 + _octaves(rng, width, height, finest=int(rng.choice([4, 16, 64]))), 0, 1)[..., None]
    return (colour(rng) * share + colour(rng) * (1 - share)).astype(np.uint8)


def _room(rng: np.random.Generator, width: int, height: int) -> Image:
    """Wall, floor or table, and some furniture-like boxes with lit and shaded faces."""
    picture = _wall(rng, width, height)
    horizon = int(height * rng.uniform(0.4, 0.9))
    picture[horizon:] = _wall(rng, width, height)[horizon:]
    for _ in range(rng.integers(2, 9)):
        w, h = (rng.uniform(0.06, 0.45, 2) * (width, height)).astype(int)
        x, y = int(rng.uniform(-0.1, 0.95) * width), int(rng.uniform(0, 1) * horizon)
        shade = colour(rng)
        depth = int(0.3 * w * rng.random())
        cv2.rectangle(picture, (x, y), (x + w, y + h), shade.tolist(), -1, cv2.LINE_AA)
        side = np.array(
            [[x + w, y], [x + w + depth, y - depth // 2], [x + w + depth, y + h - depth // 2], [x + w, y + h]]
        )
        cv2.fillPoly(picture, [side], (0.6 * shade).tolist(), cv2.LINE_AA)
        if rng.random() < 0.4:  # a frame, a window, a screen
            inset = max(2, min(w, h) // 10)
            cv2.rectangle(
                picture, (x + inset, y + inset), (x + w - inset, y + h - inset), colour(rng).tolist(), -1
            )
    return picture


def _clutter(rng: np.random.Generator, width: int, height: int) -> Image:
    """Many shapes of all sizes over each other, skin-coloured ones among them."""
    picture = _clouds(rng, width, height)
    for _ in range(rng.integers(10, 60)):
        centre = (rng.random(2) * (width, height)).astype(int)
        size = np.maximum((rng.exponential(0.08, 2) * max(width, height)).astype(int), 2)
        tint = colour(rng) if rng.random() < 0.8 else np.array([205, 150, 120]) * rng.uniform(0.3, 1.1)
        paint = np.clip(tint, 0, 255).tolist()
        kind = rng.integers(3)
        if kind == 0:
            cv2.ellipse(
                picture,
                centre.tolist(),
                size.tolist(),
                float(rng.uniform(0, 180)),
                0,
                360,
                paint,
                -1,
                cv2.LINE_AA,
            )
        elif kind == 1:
            corners = centre + (rng.normal(size=(rng.integers(3, 7), 2)) * size).astype(int)
            cv2.fillPoly(picture, [cv2.convexHull(corners.astype(np.int32))], paint, cv2.LINE_AA)
        else:
            end = centre + (rng.normal(size=2) * size * 2).astype(int)
            cv2.line(picture, centre.tolist(), end.tolist(), paint, int(rng.integers(1, 12)), cv2.LINE_AA)
    return picture


def _octaves(rng: np.random.Generator, width: int, height: int, *, finest: int) -> NDArray[np.float32]:
    """Noise of several scales (height, width), about -0.5..0.5; the finest cell is ``finest`` pixels."""
    total = np.zeros((height, width), dtype=np.float32)
    weight, cell = 1.0, max(width, height) // 2
    norm = 0.0
    while cell >= finest:
        grid = rng.random((max(2, height // cell + 2), max(2, width // cell + 2)), dtype=np.float32) - 0.5
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        norm += weight
        weight, cell = 0.6 * weight, cell // 2
    return total / max(norm, 1e-6) * 1.6


def _cut(rng: np.random.Generator, path: Path, width: int, height: int) -> Image:
    """A random part of a picture with the wanted shape."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise BadFileError(f"{path}: not a picture that can be read")
    rows, columns = picture.shape[:2]
    share = min(columns / width, rows / height) * rng.uniform(0.5, 1.0)
    w, h = max(1, int(width * share)), max(1, int(height * share))
    x, y = int(rng.integers(0, columns - w + 1)), int(rng.integers(0, rows - h + 1))
    part = cv2.resize(picture[y : y + h, x : x + w], (width, height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(part[:, :: -1 if rng.random() < 0.5 else 1, ::-1])
