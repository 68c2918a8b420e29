"""Colours of skin and things, and simple solids that stand in the way. Colours are sRGB in 0..1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whim.hands.model import HandModel

Floats = NDArray[np.float64]
Solid = tuple[Floats, NDArray[np.int64]]
"""Vertices (V, 3), metres, and faces (F, 3)."""

# Ends of a scale of skin, and what the blood adds; in between along a curve that reddens in the middle.
_FAIR = np.array([0.96, 0.82, 0.74])
_DARK = np.array([0.22, 0.14, 0.11])
_MIDDLE = np.array([0.76, 0.54, 0.41])


def skin_tone(rng: np.random.Generator) -> Floats:
    """A skin colour (3,), fair to dark with equal chance."""
    t = rng.random()
    first, second = (_FAIR, _MIDDLE) if t < 0.5 else (_MIDDLE, _DARK)
    tone = first + (second - first) * (2 * t % 1.0)
    return np.clip(tone * rng.normal(1.0, 0.04, 3), 0.03, 1.0)


def hand_colours(rng: np.random.Generator, model: HandModel, tone: Floats) -> Floats:
    """Colours (V, 3) of a hand of skin ``tone``: palm lighter, knuckles and fingertips redder, some mottle."""
    rest = model.v_template
    normals = _vertex_normals(rest, model.faces_closed)
    palm = np.clip(-normals[:, 1], 0.0, 1.0)[:, None]  # the palm faces -y
    lighter = tone + (np.array([0.86, 0.66, 0.58]) - tone) * 0.45
    colours = tone + (lighter - tone) * palm
    tips = model.tip_template
    near_tip = np.exp(-((np.linalg.norm(rest[:, None] - tips[None], axis=2).min(axis=1) / 0.012) ** 2))[
        :, None
    ]
    colours = colours * (1 + near_tip * np.array([0.06, -0.05, -0.04]))
    # Slow waves over the skin, of a strength of their own.
    waves = sum(
        np.sin(rest @ (rng.normal(size=(3, 3)) * frequency) + rng.uniform(0, 6, 3)) for frequency in (60, 160)
    )
    return np.clip(colours * (1 + rng.uniform(0.0, 0.05) * waves), 0.0, 1.0)


def cloth(rng: np.random.Generator) -> Floats:
    """Colour (3,) of a piece of clothing or of a thing."""
    value = rng.uniform(0.05, 0.95)
    return np.clip(value + rng.normal(0.0, 0.22, 3) * rng.random(), 0.02, 1.0)


def box() -> Solid:
    """The unit cube around the origin, corners apart so that its edges stay sharp."""
    corners = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    vertices = np.concatenate([corners[list(quad)] for quad in quads])
    faces = np.concatenate([np.array([(0, 1, 2), (0, 2, 3)]) + 4 * index for index in range(6)])
    return vertices, faces


def cylinder(sides: int = 20) -> Solid:
    """A closed cylinder of length and diameter 1 along z."""
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.stack([0.5 * np.cos(angle), 0.5 * np.sin(angle)], axis=1)
    low, high = (np.column_stack([ring, np.full(sides, z)]) for z in (-0.5, 0.5))
    here, after = np.arange(sides), (np.arange(sides) + 1) % sides
    wall = np.concatenate(
        [np.stack([here, after, after + sides], 1), np.stack([here, after + sides, here + sides], 1)]
    )
    lids = np.concatenate([low, high])  # again, so that the rim stays sharp
    base = 2 * sides
    fan = np.stack([np.zeros(sides - 2, dtype=int), here[1:-1], here[2:]], axis=1)
    faces = np.concatenate([wall, fan[:, ::-1] + base, fan + base + sides])
    return np.concatenate([low, high, lids]), faces


def ball(rings: int = 8) -> Solid:
    """A sphere of diameter 1."""
    polar = np.linspace(0, np.pi, rings + 1)
    around = np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False)
    p, a = np.meshgrid(polar, around, indexing="ij")
    vertices = 0.5 * np.stack([np.sin(p) * np.cos(a), np.sin(p) * np.sin(a), np.cos(p)], axis=-1).reshape(
        -1, 3
    )
    columns = 2 * rings
    faces = []
    for i in range(rings):
        for j in range(columns):
            a0, a1 = i * columns + j, i * columns + (j + 1) % columns
            faces += [(a0, a0 + columns, a1 + columns), (a0, a1 + columns, a1)]
    return vertices, np.array(faces)


def _vertex_normals(vertices: Floats, faces: NDArray[np.int64]) -> Floats:
    corners = vertices[faces]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(total, faces[:, corner], face)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
