"""Little made-up pictures of hands, to try a training on: no data, no download."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from whim.conventions import HAND_BONES
from whim.files import write_text

SIDES = ("left", "right")


def write_smoke_set(folder: Path, *, count: int = 48, size: int = 160, seed: int = 0) -> Path:
    """A COCO folder of ``count`` pictures with one or two drawn hands each, four pictures to a recording.

    The thumb points to one side or the other, so that even the side can be learnt.
    """
    rng = np.random.default_rng(seed)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        picture = cv2.resize(
            rng.integers(60, 160, (6, 6, 3), np.uint8), (size, size), interpolation=cv2.INTER_CUBIC
        )
        for half in rng.permutation(2)[: int(rng.integers(1, 3))]:
            side = int(rng.integers(2))
            length = rng.uniform(0.25, 0.36) * size
            centre = np.array([(0.27 + 0.46 * half) * size, rng.uniform(0.35, 0.65) * size])
            points = _hand(rng, side, length) + centre
            _draw(picture, points, length, rng)
            low, high = points.min(axis=0) - length * 0.09, points.max(axis=0) + length * 0.09
            flat = np.concatenate([points, np.full((21, 1), 2)], axis=1).reshape(-1)
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": side,
                    "bbox": [*low.tolist(), *(high - low).tolist()],
                    "keypoints": flat.tolist(),
                }
            )
        name = f"{number:04d}.jpg"
        cv2.imwrite(str(folder / "images" / name), picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
        images.append(
            {
                "id": number,
                "file_name": name,
                "width": size,
                "height": size,
                "recording": f"made up {number // 4}",
            }
        )
    categories = [{"id": side, "name": f"{name}_hand"} for side, name in enumerate(SIDES)]
    tree = {"images": images, "annotations": annotations, "categories": categories}
    path = folder / "annotations.json"
    write_text(path, json.dumps(tree))
    return path


def _hand(rng: np.random.Generator, side: int, length: float) -> np.ndarray:
    """(21, 2) around the origin: five rays from the wrist, upright, palm towards the camera."""
    points = np.zeros((21, 2))
    lean = rng.uniform(-0.25, 0.25)
    mirror = 1 if side == 1 else -1  # the thumb of a right palm is on the left in the picture
    for parent, child in HAND_BONES:
        finger = (child - 1) // 4
        apart = 0.55 if finger == 0 else 0.0
        angle = -np.pi / 2 + lean + mirror * ((finger - 2.5) * 0.22 - apart)
        step = length * (0.45 if parent == 0 else 0.17) * (0.7 if finger == 0 else 1.0)
        points[child] = points[parent] + step * np.array([np.cos(angle), np.sin(angle)])
    return points - (points.min(axis=0) + points.max(axis=0)) / 2


def _draw(picture: np.ndarray, points: np.ndarray, length: float, rng: np.random.Generator) -> None:
    skin = (rng.uniform(0.7, 1.0) * np.array([150, 180, 230])).tolist()  # BGR
    pixels = np.round(points - 0.5).astype(np.int32)
    palm = pixels[[0, 1, 5, 9, 13, 17]]
    cv2.fillConvexPoly(picture, cv2.convexHull(palm), skin, cv2.LINE_AA)
    for parent, child in HAND_BONES:
        ends = tuple(pixels[parent].tolist()), tuple(pixels[child].tolist())
        cv2.line(picture, *ends, skin, max(2, round(length * 0.11)), cv2.LINE_AA)
