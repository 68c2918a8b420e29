"""Meshes as Wavefront OBJ and binary glTF (GLB), for any 3D program.

glTF has y up and z backwards: GLB files are turned from the camera axes (y down, z forwards); OBJ, which has no
convention, keeps them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from whim.files import atomic_path, write_text
from whim.render.colour import to_linear
from whim.render.scene import vertex_normals
from whim.render.types import Mesh

_FLOAT, _UINT = 5126, 5125  # glTF's numbers for float32 and uint32
_VERTICES, _FACES = 34962, 34963  # kinds of buffer views
_TURN = np.array([1.0, -1.0, -1.0])


def write_obj(path: Path, meshes: Sequence[Mesh], names: Sequence[str] = ()) -> None:
    """Write meshes as objects of one OBJ file, metres, with colours after each vertex."""
    lines = ["# metres; camera axes: x right, y down, z forward"]
    first = 1
    for index, mesh in enumerate(meshes):
        lines.append(f"o {_name(names, index)}")
        for vertex, colour in zip(mesh.vertices, np.asarray(mesh.colours), strict=True):
            lines.append("v " + " ".join(f"{value:.6f}" for value in (*vertex, *colour)))
        lines += ["f " + " ".join(str(int(corner) + first) for corner in face) for face in mesh.faces]
        first += len(mesh.vertices)
    write_text(path, "\n".join(lines) + "\n")


def write_glb(path: Path, meshes: Sequence[Mesh], names: Sequence[str] = ()) -> None:
    """Write meshes as nodes of one GLB file, metres, with normals and vertex colours."""
    data = bytearray()
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []

    def add(array: np.ndarray, kind: str, target: int, component: int, **limits: Any) -> int:
        views.append({"buffer": 0, "byteOffset": len(data), "byteLength": array.nbytes, "target": target})
        data.extend(array.tobytes())
        data.extend(b"\0" * (-len(data) % 4))
        accessors.append(
            {
                "bufferView": len(views) - 1,
                "componentType": component,
                "count": len(array),
                "type": kind,
                **limits,
            }
        )
        return len(accessors) - 1

    nodes, parts = [], []
    for index, mesh in enumerate(meshes):
        vertices = (mesh.vertices * _TURN).astype("<f4")
        normals = (vertex_normals(mesh.vertices, mesh.faces) * _TURN).astype("<f4")
        normals[np.linalg.norm(normals, axis=1) < 0.5] = (
            0.0,
            0.0,
            1.0,
        )  # glTF wants a unit vector everywhere
        colours = to_linear(np.asarray(mesh.colours)).astype("<f4")
        limits = {"min": vertices.min(axis=0).tolist(), "max": vertices.max(axis=0).tolist()}
        primitive = {
            "attributes": {
                "POSITION": add(vertices, "VEC3", _VERTICES, _FLOAT, **limits),
                "NORMAL": add(normals, "VEC3", _VERTICES, _FLOAT),
                "COLOR_0": add(colours, "VEC3", _VERTICES, _FLOAT),
            },
            "indices": add(mesh.faces.astype("<u4").reshape(-1, 1), "SCALAR", _FACES, _UINT),
            "material": 0,
        }
        accessors[-1]["count"] = mesh.faces.size
        parts.append({"primitives": [primitive], "name": _name(names, index)})
        nodes.append({"mesh": index, "name": _name(names, index)})
    tree = {
        "asset": {"version": "2.0", "generator": "WHIM"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(nodes)))}],
        "nodes": nodes,
        "meshes": parts,
        "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.7}}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(data)}],
    }
    text = json.dumps(tree, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + 8 + len(data)
    with atomic_path(path) as temporary:
        temporary.write_bytes(
            struct.pack("<4sII", b"glTF", 2, total)
            + struct.pack("<I4s", len(text), b"JSON")
            + text
            + struct.pack("<I4s", len(data), b"BIN\0")
            + bytes(data)
        )


def _name(names: Sequence[str], index: int) -> str:
    return names[index] if index < len(names) else f"hand_{index}"
