"""Published layouts, built small."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.io import savemat

SIZE = (96, 64)


def picture(path: Path, *, seed: int = 0, size: tuple[int, int] = SIZE, orientation: int = 0) -> bytes:
    """Write a picture of smooth colours by its suffix, with a rotation tag if wanted; returns its bytes."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
    image = cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = cv2.imencode(path.suffix, image)[1].tobytes()
    if orientation:
        entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
        tiff = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1) + entry + struct.pack("<I", 0)
        body = b"Exif\0\0" + tiff
        data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    path.write_bytes(data)
    return data


def points21(x: float = 20.0, y: float = 20.0) -> np.ndarray:
    """(21, 2) points in a grid of 14 x 8 pixels."""
    index = np.arange(21)
    return np.column_stack([x + 2.0 * (index % 7) + index / 10, y + 4.0 * (index // 7)])


def coco(folder: Path, images: list[dict], annotations: list[dict], categories: Any = ("hand",)) -> Path:
    """A COCO json; pictures are not made."""
    folder.mkdir(parents=True, exist_ok=True)
    tree = {
        "info": {"licence": "CC0", "source": "a test"},
        "images": [{"width": SIZE[0], "height": SIZE[1], **one} for one in images],
        "annotations": [
            {"id": number, "category_id": 1, "iscrowd": 0, **one} for number, one in enumerate(annotations, 1)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(categories, start=1)],
    }
    (folder / "annotations.json").write_text(json.dumps(tree))
    return folder


def oxford(folder: Path, split: str, name: str, quads: list[np.ndarray]) -> None:
    """One picture's annotation: a cell of structs with a, b, c, d = (y, x), from 1."""
    cells = np.empty((1, len(quads)), dtype=object)
    for number, quad in enumerate(quads):
        cells[0, number] = {key: (quad[i][::-1] + 1.0)[None] for i, key in enumerate("abcd")}
    home = folder / f"{split}_dataset" / f"{split}_data"
    (home / "annotations").mkdir(parents=True, exist_ok=True)
    savemat(str(home / "annotations" / f"{name}.mat"), {"boxes": cells})
    picture(home / "images" / f"{name}.jpg", seed=len(name))


def whim_hand(side: int = 1, *, shift: float = 0.0) -> dict[str, Any]:
    """One record of the WHIM release: a flat hand half a metre away, seen by a camera of 100 pixels focal length."""
    camera = np.array([[100.0, 0, 48], [0, 100.0, 32], [0, 0, 1]])
    joints = np.column_stack([(points21(0, 0) - 8) * 0.01, np.zeros(21)])
    translation = np.array([0.02, 0.0, 0.5])
    seen = (joints + translation) @ camera.T
    seen = seen[:, :2] / seen[:, 2:]
    box = np.concatenate([seen.min(axis=0) - 1, seen.max(axis=0) + 1]) + shift
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    return {
        "bbox": box,
        "joints_3d": joints,
        "trans": translation,
        "K": camera,
        "side": side,
        "mano": {
            "global_orient": turn[None],
            "hand_pose": np.stack([turn] * 15),
            "betas": np.arange(10) / 10,
        },
    }


def whim_frame(path: Path, hands: list[dict[str, Any]]) -> None:
    """One annotation file of the release."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = np.empty(len(hands), dtype=object)
    content[:] = hands
    np.save(path, content, allow_pickle=True)
