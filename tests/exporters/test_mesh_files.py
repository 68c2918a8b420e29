"""OBJ and GLB files, read back by the letter of their formats."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

from whim.conventions import Side
from whim.exporters.meshes import write_glb, write_obj
from whim.hands.open_hand import load_open_hand
from whim.render.hand import hand_mesh
from whim.render.types import Mesh


def hands() -> list[Mesh]:
    still = np.zeros(10), np.zeros((15, 3)), np.zeros(3)
    return [
        hand_mesh(load_open_hand(), *still, np.array([0.1 * s, 0, 0.5]), s, label=1)
        for s in (Side.LEFT, Side.RIGHT)
    ]


def test_an_obj_file_holds_every_vertex_and_face(tmp_path: Path) -> None:
    meshes = hands()
    write_obj(tmp_path / "h.obj", meshes, ["left", "right"])
    lines = [line.split() for line in (tmp_path / "h.obj").read_text().splitlines()]
    assert [line[1] for line in lines if line[0] == "o"] == ["left", "right"]
    vertices = np.array([line[1:4] for line in lines if line[0] == "v"], dtype=float)
    np.testing.assert_allclose(vertices, np.concatenate([m.vertices for m in meshes]), atol=1e-6)
    faces = np.array([line[1:] for line in lines if line[0] == "f"], dtype=int)
    assert faces.min() == 1
    assert faces.max() == len(vertices)


def test_a_glb_file_is_valid_and_upright(tmp_path: Path) -> None:
    meshes = hands()
    write_glb(tmp_path / "h.glb", meshes)
    data = (tmp_path / "h.glb").read_bytes()
    magic, version, total = struct.unpack("<4sII", data[:12])
    assert (magic, version, total) == (b"glTF", 2, len(data))
    length, kind = struct.unpack("<I4s", data[12:20])
    assert kind == b"JSON"
    assert length % 4 == 0
    tree = json.loads(data[20 : 20 + length])
    binary = data[28 + length :]
    assert tree["buffers"][0]["byteLength"] == len(binary)

    def read(index: int) -> np.ndarray:
        accessor = tree["accessors"][index]
        view = tree["bufferViews"][accessor["bufferView"]]
        kind = {5126: "<f4", 5125: "<u4"}[accessor["componentType"]]
        width = {"VEC3": 3, "SCALAR": 1}[accessor["type"]]
        assert view["byteOffset"] % 4 == 0
        values = np.frombuffer(binary, kind, accessor["count"] * width, view["byteOffset"])
        return values.reshape(-1, width)

    for mesh, part in zip(meshes, tree["meshes"], strict=True):
        (primitive,) = part["primitives"]
        places = read(primitive["attributes"]["POSITION"])
        np.testing.assert_allclose(places, mesh.vertices * [1, -1, -1], atol=1e-6)
        accessor = tree["accessors"][primitive["attributes"]["POSITION"]]
        np.testing.assert_allclose(accessor["min"], places.min(axis=0))
        faces = read(primitive["indices"]).reshape(-1, 3)
        np.testing.assert_array_equal(faces, mesh.faces)
        normals = read(primitive["attributes"]["NORMAL"])
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-3)
        # A turn keeps the winding: faces still look outwards.
        corners = places[faces]
        volume = np.einsum("fi,fi->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum()
        assert volume > 0
