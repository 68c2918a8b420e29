"""Cutting, decimating and closing the hand's mesh. Vertices are only ever dropped, never moved."""

from __future__ import annotations

import heapq

import numpy as np


def cut(vertices: np.ndarray, faces: np.ndarray, at: float, ring: int) -> np.ndarray:
    """Faces (F', 3) on the finger side of a closed mesh ring of ``ring`` edges nearest to the plane x =
    ``at``.

    Raises:
        ValueError: when no plane near ``at`` falls between two such rings.
    """
    for plane in at + np.array(sorted(np.arange(-0.010, 0.010, 0.0001), key=abs)):
        kept = faces[(vertices[faces, 0] < plane).all(axis=1)]
        if len(boundary(kept)) == ring:
            return kept
    raise ValueError(f"no ring of {ring} edges within 1 cm of x = {at}")


def boundary(faces: np.ndarray) -> list[int]:
    """Vertices of the longest open border in the direction that faces of a cap would run; empty if none
    closes."""
    edges = {(int(a), int(b)) for f in faces for a, b in ((f[0], f[1]), (f[1], f[2]), (f[2], f[0]))}
    following: dict[int, int] = {}
    for a, b in edges:
        if (b, a) not in edges:
            if b in following:
                return []  # a vertex with two borders
            following[b] = a
    loops = []
    while following:
        start = min(following)
        loop, vertex = [], start
        while vertex in following:
            loop.append(vertex)
            vertex = following.pop(vertex)
        loops.append(loop)
    return max(loops, key=len, default=[])


def cap(loop: list[int]) -> np.ndarray:
    """A fan (len(loop) - 2, 3) over a border, without a new vertex."""
    return np.array([[loop[0], loop[k], loop[k + 1]] for k in range(1, len(loop) - 1)])


def decimate(
    poses: list[np.ndarray], faces: np.ndarray, target: int, locked: set[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Collapse edges onto one of their ends until ``target`` vertices are left.

    The cost of a collapse is its quadric error (Garland and Heckbert 1997) summed over several ``poses``
    (each (V, 3)) of the mesh, so that creases which appear in a bent hand keep their vertices.

    Returns:
        Numbers of the kept vertices, ascending, and the faces in terms of them.
    """
    poses = [np.asarray(pose, dtype=np.float64) for pose in poses]
    quadrics = [_quadrics(pose, faces) for pose in poses]
    triangles = {number: tuple(int(v) for v in face) for number, face in enumerate(faces)}
    around: list[set[int]] = [set() for _ in poses[0]]
    for number, face in triangles.items():
        for vertex in face:
            around[vertex].add(number)
    age = [0] * len(around)
    alive = {vertex for vertex, numbers in enumerate(around) if numbers}
    heap: list[tuple[float, int, int, int, int]] = []

    def neighbours(vertex: int) -> set[int]:
        return {v for number in around[vertex] for v in triangles[number]} - {vertex}

    def push(gone: int, kept: int) -> None:
        if gone not in locked:
            cost = 1e-9 * float(np.sum((poses[0][gone] - poses[0][kept]) ** 2))
            for pose, quadric in zip(poses, quadrics, strict=True):
                place = np.append(pose[kept], 1.0)
                cost += float(place @ (quadric[gone] + quadric[kept]) @ place)
            heapq.heappush(heap, (cost, gone, kept, age[gone], age[kept]))

    def flips(gone: int, kept: int) -> bool:
        """Whether a triangle would turn by more than about 70 degrees or vanish, in any pose."""
        for number in around[gone]:
            before = triangles[number]
            if kept in before:
                continue
            after = tuple(kept if v == gone else v for v in before)
            for pose in poses:
                old, new = _normal(pose, before), _normal(pose, after)
                size = np.linalg.norm(new)
                if size < 1e-12 or old @ new < 0.3 * np.linalg.norm(old) * size:
                    return True
        return False

    for vertex in sorted(alive):
        for other in sorted(neighbours(vertex)):
            push(vertex, other)
    while len(alive) > target and heap:
        _, gone, kept, age_gone, age_kept = heapq.heappop(heap)
        if gone not in alive or kept not in alive or (age[gone], age[kept]) != (age_gone, age_kept):
            continue
        # Two common neighbours: the collapse keeps the surface a manifold.
        if kept not in neighbours(gone) or len(neighbours(gone) & neighbours(kept)) != 2 or flips(gone, kept):
            continue
        for number in list(around[gone]):
            face = triangles[number]
            if kept in face:
                for vertex in face:
                    around[vertex].discard(number)
                del triangles[number]
            else:
                triangles[number] = tuple(kept if v == gone else v for v in face)
                around[kept].add(number)
        around[gone].clear()
        alive.discard(gone)
        for quadric in quadrics:
            quadric[kept] += quadric[gone]
        ring = sorted(neighbours(kept) | {kept})
        for vertex in ring:
            age[vertex] += 1
        for vertex in ring:
            for other in sorted(neighbours(vertex)):
                push(vertex, other)
                if other not in ring:
                    push(other, vertex)
    kept_vertices = np.array(sorted(alive))
    new = np.full(len(around), -1)
    new[kept_vertices] = np.arange(len(kept_vertices))
    return kept_vertices, new[np.array([triangles[number] for number in sorted(triangles)])]


def _normal(pose: np.ndarray, face: tuple[int, ...]) -> np.ndarray:
    a, b, c = pose[list(face)]
    u, v = b - a, c - a
    return np.array([u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]])


def _quadrics(pose: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Sums (V, 4, 4) of squared distance to the planes of the adjacent triangles, weighted by area."""
    normal = np.cross(pose[faces[:, 1]] - pose[faces[:, 0]], pose[faces[:, 2]] - pose[faces[:, 0]])
    double_area = np.linalg.norm(normal, axis=1)
    normal = normal / np.maximum(double_area, 1e-15)[:, None]
    plane = np.concatenate([normal, -(normal * pose[faces[:, 0]]).sum(axis=1, keepdims=True)], axis=1)
    quadrics = np.zeros((len(pose), 4, 4))
    for k in range(3):
        np.add.at(quadrics, faces[:, k], plane[:, :, None] * plane[:, None, :] * double_area[:, None, None])
    return quadrics
