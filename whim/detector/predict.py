"""Hands in pictures and videos by a trained detector.

from whim.detector.predict import load
detector = load("runs/detector/best.safetensors")
hands = detector.detect(picture)  # (H, W, 3) RGB -> Detections
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from whim.detector.checkpoint import load_detector
from whim.detector.config import DetectorConfig
from whim.detector.decode import decode
from whim.detector.detections import Detections
from whim.detector.network.detector import Detector

Image = NDArray[np.uint8]
STRIDE = 32
GREY = 114
"""Colour of the padding, as in training."""


def load(weights: str | Path, *, device: str = "auto", size: int = 640) -> HandPredictor:
    """A detector from the weights of ``whim train-detector``.

    Args:
        weights: the .safetensors file; its JSON lies beside it.
        device: ``cpu``, ``cuda``, or ``auto``.
        size: longer side of the network's input in pixels.

    Raises: as ``load_detector``.
    """
    model, config, _ = load_detector(Path(weights))
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    return HandPredictor(model.to(chosen), config, size=size)


class HandPredictor:
    """A network that is ready to look at pictures."""

    def __init__(self, model: Detector, config: DetectorConfig, *, size: int) -> None:
        self.model = model.eval()
        self.config = config
        self.size = size
        self._device = next(model.parameters()).device

    def detect(self, picture: Image, *, least_score: float = 0.3) -> Detections:
        """Hands in a picture (H, W, 3) RGB of any size."""
        return self.detect_batch([picture], least_score=least_score)[0]

    @torch.inference_mode()
    def detect_batch(self, pictures: Sequence[Image], *, least_score: float = 0.3) -> list[Detections]:
        """Hands in several pictures, one pass of the network for those of one size.

        Raises:
            ValueError: a picture that is not (H, W, 3) uint8.
        """
        fitted = [letterbox(picture, self.size) for picture in pictures]
        settings = self.config.decode.model_copy(update={"least_score": least_score})
        results: dict[int, Detections] = {}
        shapes = {canvas.shape for canvas, _, _ in fitted}
        for shape in sorted(shapes):
            rows = [row for row, (canvas, _, _) in enumerate(fitted) if canvas.shape == shape]
            batch = torch.from_numpy(np.stack([fitted[row][0] for row in rows])).to(self._device)
            outputs = self.model(to_input(batch))
            found = decode(
                outputs.best, self.config.network.bins, settings, suppress=outputs.one_to_one is None
            )
            for row, one in zip(rows, found, strict=True):
                _, scale, shift = fitted[row]
                results[row] = _in_picture(one, scale, shift, pictures[row].shape)
        return [results[row] for row in range(len(pictures))]


def to_input(batch: Tensor) -> Tensor:
    """(B, H, W, 3) bytes -> (B, 3, H, W) float in 0..1, channels last."""
    return (
        batch.permute(0, 3, 1, 2).to(torch.float32).div(255.0).contiguous(memory_format=torch.channels_last)
    )


def letterbox(picture: Image, size: int) -> tuple[Image, float, tuple[int, int]]:
    """The picture scaled to ``size`` on its longer side, padded to multiples of the stride; scale and shift (x, y).

    Raises:
        ValueError: not (H, W, 3) uint8, or empty.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
        raise ValueError(
            f"a picture must be (H, W, 3) uint8 and not empty; got {picture.dtype} {picture.shape}"
        )
    height, width = picture.shape[:2]
    scale = size / max(height, width)
    w, h = max(1, round(width * scale)), max(1, round(height * scale))
    mode = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = picture if (w, h) == (width, height) else cv2.resize(picture, (w, h), interpolation=mode)
    rows, columns = (-(-value // STRIDE) * STRIDE for value in (h, w))
    top, left = (rows - h) // 2, (columns - w) // 2
    canvas = np.full((rows, columns, 3), GREY, dtype=np.uint8)
    canvas[top : top + h, left : left + w] = scaled
    return canvas, scale, (left, top)


def _in_picture(found: Any, scale: float, shift: tuple[int, int], shape: tuple[int, ...]) -> Detections:
    offset = np.array(shift, dtype=np.float32)
    boxes = (found.boxes.cpu().numpy() - np.tile(offset, 2)) / scale
    points = found.keypoints.cpu().numpy()
    points[..., :2] = (points[..., :2] - offset) / scale
    height, width = shape[:2]
    return Detections(
        boxes=np.clip(boxes, 0, [width, height, width, height]).astype(np.float32),
        side=found.side.cpu().numpy().astype(np.int64),
        score=found.score.float().cpu().numpy(),
        keypoints=points.astype(np.float32),
    )
