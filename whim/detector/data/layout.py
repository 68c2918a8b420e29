"""Where the tiles of a made picture lie: every step is one affine map, and all are multiplied into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whim.detector.data.draws import PictureDraw, TileDraw

Affine = NDArray[np.float64]
"""(3, 3), last row 0 0 1: source pixels -> input pixels; the centre of the first pixel is at 0.5."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One source picture's part in a made picture."""

    index: int
    crop: tuple[float, float, float, float]
    """x1, y1, x2, y2 in source pixels: nothing outside is shown."""
    matrix: Affine


def compose(draw: PictureDraw, sizes: Sequence[tuple[int, int]], size: int) -> list[Tile]:
    """Tiles of ``draw`` in an input of ``size`` x ``size``; ``sizes``: width, height of each tile's source.

    Four tiles, each fitted into ``size``, touch the point ``centre`` of a canvas twice as large; the canvas is turned
    and scaled about its middle, which comes to the middle of the input, shifted. A single tile is fitted into the
    input first. Unlike the usual mosaic nothing is cut off at the edge of the canvas.
    """
    after = (
        move(size * (0.5 + draw.shift[0]), size * (0.5 + draw.shift[1])) @ turn(draw.angle) @ zoom(draw.scale)
    )
    tiles = []
    for place, (tile, source) in enumerate(zip(draw.tiles, sizes, strict=True)):
        x1, y1, x2, y2 = tile.crop
        crop = (x1 * source[0], y1 * source[1], x2 * source[0], y2 * source[1])
        width, height = crop[2] - crop[0], crop[3] - crop[1]
        scale = size / max(width, height)
        fitted = zoom(scale) @ _flipped(tile, width) @ move(-crop[0], -crop[1])
        if len(draw.tiles) == 1:
            placed = move(-scale * width / 2, -scale * height / 2) @ fitted
        else:
            x = 2 * size * draw.centre[0] - (scale * width if place in (0, 2) else 0)
            y = 2 * size * draw.centre[1] - (scale * height if place in (0, 1) else 0)
            placed = move(x - size, y - size) @ fitted
        tiles.append(Tile(index=tile.index, crop=crop, matrix=after @ placed))
    return tiles


def letterbox(source: tuple[int, int], size: int) -> Affine:
    """The map of a picture of width and height ``source`` that is fitted into the middle of the input."""
    scale = size / max(source)
    return move((size - scale * source[0]) / 2, (size - scale * source[1]) / 2) @ zoom(scale)


def move(x: float, y: float) -> Affine:
    """Shift."""
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def zoom(factor: float) -> Affine:
    """Scale about the origin."""
    return np.diag([factor, factor, 1.0])


def turn(angle: float) -> Affine:
    """Rotation about the origin by ``angle`` radians, clockwise as seen in the picture."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def _flipped(tile: TileDraw, width: float) -> Affine:
    """Mirror left to right within ``width``, or nothing."""
    return np.array([[-1.0, 0.0, width], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) if tile.flip else np.eye(3)
