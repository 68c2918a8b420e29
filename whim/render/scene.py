"""Meshes put together and made ready for either backend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from whim.render.colour import to_linear
from whim.render.types import Floats, Ints, Mesh, Soup


def vertex_normals(vertices: ArrayLike, faces: ArrayLike) -> Floats:
    """(V, 3) unit normals: area-weighted means of the faces (F, 3) at each vertex (V, 3); zero without any."""
    v, f = np.asarray(vertices, dtype=np.float64), np.asarray(faces, dtype=np.int64)
    face_normals = np.cross(v[f[:, 1]] - v[f[:, 0]], v[f[:, 2]] - v[f[:, 0]])
    corner, weight = f.reshape(-1), np.repeat(face_normals, 3, axis=0)
    total = np.stack([np.bincount(corner, weight[:, axis], minlength=len(v)) for axis in range(3)], axis=1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.divide(total, length, out=np.zeros(total.shape), where=length > 0.0)


def assemble(meshes: Sequence[Mesh]) -> Soup:
    """One soup of all meshes, in their order."""
    first = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    normals = [
        vertex_normals(mesh.vertices, mesh.faces) if mesh.normals is None else np.asarray(mesh.normals)
        for mesh in meshes
    ]
    attributes = [
        np.concatenate([normal, to_linear(mesh.colours)], axis=1)
        for normal, mesh in zip(normals, meshes, strict=True)
    ]
    none: Floats = np.empty((0, 3))
    return Soup(
        positions=np.concatenate([none, *(mesh.vertices for mesh in meshes)]),
        attributes=np.concatenate([np.empty((0, 6)), *attributes]).astype(np.float32),
        faces=np.concatenate(
            [none.astype(np.int64), *(m.faces + start for m, start in zip(meshes, first[:-1], strict=True))]
        ),
        labels=np.concatenate([np.empty(0), *(np.asarray(m.label) for m in meshes)]).astype(np.int32),
        two_sided=np.concatenate([np.empty(0, bool), *(np.full(len(m.faces), m.two_sided) for m in meshes)]),
    )


def clip_near(corners: Floats, near: float) -> tuple[Floats, Ints]:
    """Cut triangles (F, 3, 3) at the plane z = near: what is left, (T, 3, 3), and from which of them, (T,).

    One corner in front leaves a triangle, two leave a quadrangle, that is two triangles.
    """
    front = corners[..., 2] >= near
    count = front.sum(axis=1)
    whole, one, two = (np.flatnonzero(count == n) for n in (3, 1, 2))
    if len(one) == len(two) == 0:
        return corners[whole], whole
    # Turn each triangle so that its single corner, in front or behind, comes first; the winding stays.
    a, b, c = _turned(corners[one], front[one].argmax(axis=1))
    p, q, r = _turned(corners[two], front[two].argmin(axis=1))
    single = np.stack([a, _cut(a, b, near), _cut(a, c, near)], axis=1)
    left, right = _cut(q, p, near), _cut(r, p, near)
    halves = np.stack([left, q, r], axis=1), np.stack([left, r, right], axis=1)
    return (
        np.concatenate([corners[whole], single, *halves]),
        np.concatenate([whole, one, two, two]),
    )


def _turned(corners: Floats, first: Ints) -> tuple[Floats, Floats, Floats]:
    rows = np.arange(len(corners))
    return tuple(corners[rows, (first + step) % 3] for step in range(3))  # type: ignore[return-value]


def _cut(front: Floats, behind: Floats, near: float) -> Floats:
    """Where edges from points in front (N, 3) to points behind (N, 3) meet z = near.

    Always from the front: two faces that share an edge get the same point to the last bit.
    """
    share = (front[:, 2] - near) / (front[:, 2] - behind[:, 2])
    point = front + share[:, None] * (behind - front)
    point[:, 2] = near
    return point
