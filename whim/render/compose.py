"""Meshes over pictures, and meshes from all around."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from whim.render.choose import open_renderer
from whim.render.colour import Image
from whim.render.types import Camera, Light, Mesh, Renderer

_DEFAULT_LIGHT = Light()
_FOCAL = 3.0  # of a turntable's camera, in widths of the picture: 19 degrees, little perspective
_MARGIN = 1.04


def overlay(
    picture: Image,
    meshes: Sequence[Mesh],
    camera: Camera,
    *,
    opacity: float = 0.85,
    light: Light = _DEFAULT_LIGHT,
    supersample: int = 2,
    renderer: Renderer | None = None,
) -> Image:
    """A copy of a picture (H, W, 3), uint8 RGB, with meshes over it; nearer meshes hide others completely.

    Args:
        picture: of the camera's size.
        meshes: in the camera's axes.
        camera: that took the picture.
        opacity: 0 shows the picture alone, 1 hides it behind the meshes.
        light: on the meshes.
        supersample: its square is the number of samples per pixel.
        renderer: by default ``open_renderer()``.

    Raises:
        ValueError: for a picture of another size, or an opacity outside 0..1.
    """
    if not 0.0 <= opacity <= 1.0:
        raise ValueError(f"opacity must be in 0..1; got {opacity}")
    if picture.shape != (camera.height, camera.width, 3):
        raise ValueError(f"the camera takes {camera.width} x {camera.height}, the picture is {picture.shape}")
    drawn = (renderer or open_renderer()).render(meshes, camera, light, supersample=supersample)
    return drawn.over(picture, opacity=opacity)


def turntable(
    meshes: Sequence[Mesh],
    *,
    views: int = 8,
    size: int = 256,
    background: tuple[int, int, int] = (255, 255, 255),
    light: Light = _DEFAULT_LIGHT,
    supersample: int = 2,
    renderer: Renderer | None = None,
) -> list[Image]:
    """Pictures (size, size, 3) of meshes, turned in equal steps about the upright axis through their middle.

    The first is how they lie in the camera's axes. All fit, at one scale; ``np.hstack`` makes a strip of them.

    Raises:
        ValueError: for meshes without any vertex, or no views.
    """
    points = np.concatenate([np.empty((0, 3)), *(mesh.vertices for mesh in meshes)])
    if len(points) == 0 or views < 1:
        raise ValueError("a turntable needs at least one vertex and one view")
    middle = 0.5 * (points.min(axis=0) + points.max(axis=0))
    radius = max(float(np.linalg.norm(points - middle, axis=1).max()), 1e-6)
    # The sphere around everything touches the borders: its tangents leave the camera at this angle.
    distance = radius * _MARGIN * np.hypot(1.0, 2.0 * _FOCAL)
    camera = Camera(
        fx=_FOCAL * size, fy=_FOCAL * size, cx=(size - 1) / 2, cy=(size - 1) / 2,
        width=size, height=size, near=0.1 * radius,
    )  # fmt: skip
    renderer = renderer or open_renderer()
    pictures = []
    for angle in np.arange(views) * 2.0 * np.pi / views:
        turn = Rotation.from_rotvec([0.0, angle, 0.0]).as_matrix()
        turned = [mesh.moved(turn, np.array([0.0, 0.0, distance]) - turn @ middle) for mesh in meshes]
        pictures.append(renderer.render(turned, camera, light, supersample=supersample).picture(background))
    return pictures
