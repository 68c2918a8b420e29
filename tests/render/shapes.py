"""Shapes to draw."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from whim.render.types import Camera, Mesh


def camera(width: int = 24, height: int = 18, **changes: Any) -> Camera:
    """Neither square pixels nor a centre on one."""
    values = {"fx": 30.0, "fy": 27.0, "cx": 11.3, "cy": 8.6, "width": width, "height": height}
    return Camera(**{**values, **changes})


def at_pixels(view: Camera, pixels: ArrayLike, depths: ArrayLike) -> np.ndarray:
    """Points (N, 3) that project to ``pixels`` (N, 2) at ``depths`` (N,)."""
    p, z = np.asarray(pixels, dtype=np.float64), np.broadcast_to(depths, (len(np.asarray(pixels)),))
    x, y = (p[:, 0] - view.cx) / view.fx * z, (p[:, 1] - view.cy) / view.fy * z
    return np.stack([x, y, z], axis=1)


def rectangle(
    view: Camera, left: float, top: float, right: float, bottom: float, z: Any = 1.0, **kw: Any
) -> Mesh:
    """A rectangle in the picture that faces the camera; ``z`` one depth, or one per corner, clockwise."""
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return Mesh(vertices=at_pixels(view, corners, z), faces=np.array([(0, 2, 1), (0, 3, 2)]), **kw)


def soup(rng: np.random.Generator, count: int = 60, nearest: float = 0.3) -> list[Mesh]:
    """Loose triangles of all sizes and sides, in front of the camera down to ``nearest``, of two meshes."""
    meshes = []
    for two_sided in (False, True):
        middle = rng.uniform((-0.5, -0.4, nearest), (0.5, 0.4, 2.0), (count, 3))
        spread = rng.uniform(0.02, 0.5, (count, 1, 1)) * rng.normal(size=(count, 3, 3))
        points = middle[:, None] + spread
        points[..., 2] = np.maximum(points[..., 2], nearest)
        meshes.append(
            Mesh(
                vertices=points.reshape(-1, 3),
                faces=np.arange(3 * count).reshape(-1, 3),
                colours=rng.random((3 * count, 3)),
                label=np.arange(count) + 1 + count * two_sided,
                two_sided=two_sided,
            )
        )
    return meshes
