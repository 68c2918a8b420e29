"""The network, its losses, its decoding and its files behind what the task needs of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from whim.detector.checkpoint import save_detector
from whim.detector.config import DetectorConfig
from whim.detector.decode import decode
from whim.detector.losses.loss import detector_loss
from whim.detector.network.detector import Detector, Outputs
from whim.detector.targets import HandTargets
from whim.detector.training.measure import Predicted
from whim.detector.training.recipe import TrainDetectorConfig
from whim.detector.training.task import Head


class DetectorHead:
    """Implements :class:`whim.detector.training.task.Head`."""

    def __init__(self, config: DetectorConfig) -> None:
        self._config = config

    def loss(self, outputs: Outputs, targets: HandTargets) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 5 and its terms."""
        return detector_loss(outputs, targets, self._config)

    def predict(self, outputs: Outputs) -> list[Predicted]:
        """Hands of each picture, down to ``decode.least_score``."""
        found = decode(
            outputs.best,
            self._config.network.bins,
            self._config.decode,
            suppress=outputs.one_to_one is None,
        )
        return [
            Predicted(
                boxes=one.boxes.float().cpu().numpy(),
                score=one.score.float().cpu().numpy(),
                side=one.side.long().cpu().numpy(),
                keypoints=one.keypoints[..., :2].float().cpu().numpy(),
            )
            for one in found
        ]

    def save(self, model: nn.Module, path: Path, facts: dict[str, Any]) -> None:
        """Weights and a JSON that `whim predict` reads."""
        assert isinstance(model, Detector)
        save_detector(path, model, self._config, facts)


def build_detector(config: TrainDetectorConfig) -> tuple[nn.Module, Head]:
    """The configured network with fresh weights, and its head.

    Raises:
        MissingExtraError, UsageError: a backbone that cannot be had.
    """
    return Detector(config.detector.network), DetectorHead(config.detector)
