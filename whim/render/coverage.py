"""Which face each pixel sees: a scan-line z-buffer, vectorised over all spans of all triangles.

Each triangle is cut into the rows whose pixel centres it contains, each row into the pixels from its left edge
to its right edge. No pixel outside a triangle is ever touched, and as two triangles compute a shared edge from
the same numbers, every pixel centre on their common surface belongs to exactly one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whim.render.scene import clip_near
from whim.render.types import Camera, Floats, Ints, Soup

_AT_ONCE = 1 << 19
"""Rows or pixels worked on together: bounds the memory, and keeps the arrays near the processor."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Planes:
    """Faces as functions of the pixel (x, y, 1)."""

    inverse_depth: Floats
    """(F, 3): 1/z is linear in the picture."""
    barycentric: Floats
    """(F, 3, 3): a row per corner; times z it is that corner's weight, perspective-correct."""
    facing: NDArray[np.int8]
    """(F,): 1 seen from outside, -1 from inside, 0 edge-on and never seen."""


def face_planes(soup: Soup, camera: Camera) -> Planes:
    """Solve [p0 p1 p2] w = ray for all faces at once (homogeneous rasterisation, Olano and Greer 1997).

    Nothing is divided by a corner's depth, so that corners beside or behind the camera do no harm.
    """
    p0, p1, p2 = (soup.positions[soup.faces[:, corner]] for corner in range(3))
    normal = np.cross(p1 - p0, p2 - p0)
    volume = (normal * p0).sum(axis=1)
    size = np.linalg.norm(p1 - p0, axis=1) * np.linalg.norm(p2 - p0, axis=1) * np.linalg.norm(p0, axis=1)
    seen = np.abs(volume) > 1e-12 * size
    inverse = np.where(seen, 1.0 / np.where(seen, volume, 1.0), 0.0)[:, None]
    barycentric = (
        np.stack([np.cross(p1, p2), np.cross(p2, p0), np.cross(p0, p1)], axis=1) * inverse[..., None]
    )
    # From rays (X, Y, 1) to pixels (x, y, 1).
    to_ray = np.array(
        [[1 / camera.fx, 0, -camera.cx / camera.fx], [0, 1 / camera.fy, -camera.cy / camera.fy], [0, 0, 1]]
    )
    return Planes(
        inverse_depth=(normal * inverse) @ to_ray,
        barycentric=barycentric @ to_ray,
        facing=np.where(seen, -np.sign(volume), 0).astype(np.int8),
    )


def nearest_faces(soup: Soup, camera: Camera, planes: Planes) -> tuple[Ints, Ints, Floats]:
    """Pixels that see a face (N,), ascending, as row * width + column; the face (N,); its inverse depth (N,)."""
    shown = np.flatnonzero((planes.facing > 0) | ((planes.facing < 0) & soup.two_sided))
    corners, source = clip_near(soup.positions[soup.faces[shown]], camera.near)
    face = shown[source]
    nearest = np.zeros(camera.width * camera.height)
    seen = np.full(camera.width * camera.height, -1, dtype=np.int32)
    for fragment in _fragments(camera.project(corners), face, planes.inverse_depth, camera):
        pixel, inverse_depth, of_face = fragment
        nearer = inverse_depth > nearest[pixel]
        if not nearer.all():
            pixel, inverse_depth, of_face = pixel[nearer], inverse_depth[nearer], of_face[nearer]
        np.maximum.at(nearest, pixel, inverse_depth)
        first = inverse_depth == nearest[pixel]
        # Backwards, so that of equals the first one stays.
        seen[pixel[first][::-1]] = of_face[first][::-1]
    pixels = np.flatnonzero(seen >= 0)
    return pixels, seen[pixels].astype(np.int64), nearest[pixels]


def _fragments(
    corners: Floats, face: Ints, inverse_depth: Floats, camera: Camera
) -> Iterator[tuple[Ints, Floats, Ints]]:
    """All (pixel, inverse depth, face) of triangles (T, 3, 2) in pixels, some at a time, in order."""
    order = np.argsort(corners[..., 1], axis=1, kind="stable")
    x, y = (np.take_along_axis(corners[..., axis], order, axis=1).T for axis in (0, 1))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # Horizontal edges have no slope; no row ever asks for it.
        long, upper, lower = (
            (x[end] - x[start]) / (y[end] - y[start]) for start, end in ((0, 2), (0, 1), (1, 2))
        )
    first_row, end_row = (_whole(np.ceil(edge), camera.height) for edge in (y[0], y[2]))
    for triangle, step in _expand(end_row - first_row):
        row = first_row[triangle] + step
        top = row < y[1][triangle]
        with np.errstate(invalid="ignore", over="ignore"):
            one = x[0][triangle] + (row - y[0][triangle]) * long[triangle]
            from_top = x[0][triangle] + (row - y[0][triangle]) * upper[triangle]
            from_middle = x[1][triangle] + (row - y[1][triangle]) * lower[triangle]
        other = np.where(top, from_top, from_middle)
        start = _whole(np.ceil(np.minimum(one, other)), camera.width)
        end = _whole(np.ceil(np.maximum(one, other)), camera.width)
        kept = np.flatnonzero(end > start)
        start, length, row = start[kept], (end - start)[kept], row[kept]
        of_face = face[triangle[kept]]
        plane = inverse_depth[of_face]
        begin = plane[:, 0] * start + plane[:, 1] * row + plane[:, 2]
        pixel = row * camera.width + start
        for span, step in _expand(length):
            yield pixel[span] + step, begin[span] + plane[span, 0] * step, of_face[span]


def _whole(values: Floats, limit: int) -> Ints:
    """Integers clipped to 0..limit."""
    return np.clip(values, 0, limit).astype(np.int64)


def _expand(counts: Ints) -> Iterator[tuple[Ints, Ints]]:
    """For each i, ``counts[i]`` times (i, step) with steps from 0; yields bounded pieces of it, in order."""
    end = np.cumsum(counts)
    start = 0
    while start < len(counts):
        before = end[start] - counts[start]
        stop = max(start + 1, int(np.searchsorted(end, before + _AT_ONCE, side="right")))
        piece = counts[start:stop]
        item = np.repeat(np.arange(start, stop), piece)
        yield item, np.arange(len(item)) + (before - (end[start:stop] - piece)).repeat(piece)
        start = stop
