"""The renderer that needs nothing but numpy; the reference for the OpenGL one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whim.render.coverage import Planes, face_planes, nearest_faces
from whim.render.scene import assemble
from whim.render.shading import shade
from whim.render.types import NO_LABEL, Camera, Floats, Floats32, Ints, Light, Mesh, Rendered, Soup

_AT_ONCE = 1 << 15
_DEFAULT_LIGHT = Light()


class NumpyRenderer:
    """Draws with numpy on the processor; never needs more memory than some times the picture's own."""

    name = "numpy"
    device = "numpy"

    def render(
        self, meshes: Sequence[Mesh], camera: Camera, light: Light = _DEFAULT_LIGHT, *, supersample: int = 1
    ) -> Rendered:
        """As ``Renderer.render``."""
        if supersample < 1:
            raise ValueError(f"supersample must be at least 1; got {supersample}")
        soup = assemble(meshes)
        planes = face_planes(soup, camera)
        pixels, faces, inverse_depth = nearest_faces(soup, camera, planes)
        size = camera.width * camera.height
        depth = np.full(size, np.inf, dtype=np.float32)
        depth[pixels] = 1.0 / inverse_depth
        labels = np.full(size, NO_LABEL, dtype=np.int32)
        labels[pixels] = soup.labels[faces]
        colour = np.zeros((size, 3), dtype=np.float32)
        alpha = np.zeros(size, dtype=np.float32)
        if supersample == 1:
            colour[pixels] = _colours(soup, camera, planes, light, pixels, faces, inverse_depth)
            alpha[pixels] = 1.0
        else:
            _add_samples(colour, alpha, soup, camera, light, supersample)
        shape = camera.height, camera.width
        return Rendered(
            colour=colour.reshape(*shape, 3),
            alpha=alpha.reshape(shape),
            depth=depth.reshape(shape),
            labels=labels.reshape(shape),
        )


def _add_samples(
    colour: Floats32, alpha: Floats32, soup: Soup, camera: Camera, light: Light, factor: int
) -> None:
    """Means of ``factor`` squared samples into the picture, without a large picture of colours."""
    fine = camera.scaled(factor)
    planes = face_planes(soup, fine)
    samples, faces, inverse_depth = nearest_faces(soup, fine, planes)
    values = _colours(soup, fine, planes, light, samples, faces, inverse_depth)
    row, column = np.divmod(samples, fine.width)
    pixel = (row // factor) * camera.width + column // factor
    share = 1.0 / factor**2
    for channel in range(3):
        colour[:, channel] = np.bincount(pixel, values[:, channel], minlength=len(alpha)) * share
    alpha[:] = np.bincount(pixel, minlength=len(alpha)) * share


def _colours(
    soup: Soup, camera: Camera, planes: Planes, light: Light, pixels: Ints, faces: Ints, inverse_depth: Floats
) -> Floats32:
    """Light (N, 3) of pixels (N,) that see faces (N,) at inverse depths (N,)."""
    result = np.empty((len(pixels), 3), dtype=np.float32)
    towards_camera: Floats32 = np.where(planes.facing < 0, -1.0, 1.0).astype(np.float32)
    for first in range(0, len(pixels), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        face = faces[part]
        row, column = np.divmod(pixels[part], camera.width)
        depth = 1.0 / inverse_depth[part]
        plane = planes.barycentric[face]
        weight = plane[..., 0] * column[:, None] + plane[..., 1] * row[:, None] + plane[..., 2]
        # A centre on an edge may be outside by rounding.
        share: Floats32 = np.clip(weight * depth[:, None], 0.0, 1.0).astype(np.float32)
        corner = soup.faces[face]
        mixed = share[:, :1] * soup.attributes[corner[:, 0]]
        mixed += share[:, 1:2] * soup.attributes[corner[:, 1]]
        mixed += share[:, 2:] * soup.attributes[corner[:, 2]]
        position = np.empty((len(face), 3), dtype=np.float32)
        position[:, 0] = (column - camera.cx) / camera.fx * depth
        position[:, 1] = (row - camera.cy) / camera.fy * depth
        position[:, 2] = depth
        normal = mixed[:, :3] * towards_camera[face, None]
        result[part] = shade(normal, position, mixed[:, 3:], light)
    return result
