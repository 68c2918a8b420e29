"""Light on a surface: wrapped Lambert, a sky and a ground, Blinn-Phong highlights. Linear light, float32.

``opengl.py`` holds the same in its shading language; a test compares the two.
"""

from __future__ import annotations

import numpy as np

from whim.render.types import Floats32, Light


def shade(normals: Floats32, positions: Floats32, colours: Floats32, light: Light) -> Floats32:
    """Light (N, 3) that reaches the camera, not clipped.

    Args:
        normals: (N, 3), of any length; turned towards the camera where faces are seen from behind.
        positions: (N, 3) metres, camera axes.
        colours: (N, 3) share of light thrown back.
        light: lights and surface.
    """
    normal, view = _unit(normals), _unit(-positions)
    up = (np.float32(0.5) - np.float32(0.5) * normal[:, 1])[:, None]
    sky, ground = np.asarray(light.sky, dtype=np.float32), np.asarray(light.ground, dtype=np.float32)
    diffuse = ground + (sky - ground) * up
    highlight = np.zeros_like(colours)
    wrap = np.float32(light.wrap)
    for towards, strength in zip(light.directions.astype(np.float32), light.strengths, strict=True):
        facing = normal @ towards
        rgb = np.asarray(strength, dtype=np.float32)
        diffuse += np.maximum((facing + wrap) / (1 + wrap), 0)[:, None] * rgb
        if light.specular > 0.0:
            half = np.maximum(_dot(normal, _unit(view + towards)), 0)
            # Times the cosine, so that no highlight ends abruptly at the edge of the shade.
            gloss = half ** np.float32(light.shininess) * np.maximum(facing, 0)
            highlight += (np.float32(light.specular) * gloss)[:, None] * rgb
    return colours * diffuse + highlight


def _dot(a: Floats32, b: Floats32) -> Floats32:
    return np.einsum("ij,ij->i", a, b)


def _unit(vectors: Floats32) -> Floats32:
    length: Floats32 = np.maximum(np.sqrt(_dot(vectors, vectors)), np.float32(1e-20))
    return vectors / length[:, None]
