"""Weights of the reconstructor, as the benchmark runs them. Needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from whim.benchmark.machine import device_name
from whim.benchmark.reconstruction.config import SetConfig
from whim.benchmark.reconstruction.types import Predicted, View
from whim.conventions import Side
from whim.geometry.camera import assumed_focal
from whim.geometry.procrustes import Floats
from whim.hands.model import HandModel
from whim.reconstructor.crops import Crops
from whim.reconstructor.inference import Inference
from whim.reconstructor.weights import load_network


class Checkpoint:
    """Crops around the given boxes -> hands in the camera of the picture.

    Raises:
        UsageError: weights of another hand, or a device that is not there.
        BadFileError: weights that cannot be read.
    """

    def __init__(self, path: Path, hand: HandModel, where: SetConfig, *, device: str = "auto") -> None:
        network = load_network(path, hand)
        self._hand, self._where = hand, where
        parameters = sum(value.numel() for value in network.parameters())
        self._run = Inference(network, device=device)
        around = "picture" if where.boxes == "picture" else "box"
        self.implementation = (
            f"whim {network.config.backbone.kind}, {parameters / 1e6:.1f} M, {self._run.precision}, "
            f"crop {where.factor:g} x {around}"
        )
        self.device = device_name(self._run.device)

    def predict(self, views: Sequence[View]) -> list[Predicted]:
        """Hands of each view; those of unknown side are taken for right ones."""
        crops = [self._crops(view) for view in views]
        side = self._run.side
        pictures = [one.cut(view.image, side) for one, view in zip(crops, views, strict=True)]
        estimate = self._run(np.concatenate(pictures) if pictures else np.zeros((0, side, side, 3), np.uint8))
        camera, joints, skin = (
            _array(part) for part in (estimate.camera, estimate.keypoints, estimate.vertices)
        )
        results = []
        at = 0
        for one, view in zip(crops, views, strict=True):
            rows = slice(at, at + len(one))
            at += len(one)
            focal = (
                assumed_focal(view.width, view.height) if view.focal is None else float(np.mean(view.focal))
            )
            middle = (view.width / 2, view.height / 2) if view.center is None else view.center
            # The crops' cameras are placed against the middle of a picture: one whose middle is the camera's axis.
            moved = one.translations(camera[rows], focal, 2 * middle[0], 2 * middle[1])[:, None]  # type: ignore[arg-type]
            flip = np.where(one.mirrored[:, None, None], [-1.0, 1.0, 1.0], 1.0)
            results.append(
                Predicted(
                    joints=joints[rows] * flip + moved,
                    vertices=skin[rows] * flip + moved,
                    topology=self._hand.topology,
                )
            )
        return results

    def _crops(self, view: View) -> Crops:
        boxes = view.boxes
        if self._where.boxes == "picture":
            boxes = np.tile([0.0, 0.0, view.width, view.height], (len(boxes), 1))
        side = np.where(view.side == Side.LEFT, Side.LEFT, Side.RIGHT)
        return Crops.around(boxes, side, factor=self._where.factor)


def _array(tensor: Any) -> Floats:
    return np.asarray(tensor.detach().cpu().float().numpy(), dtype=np.float64)
