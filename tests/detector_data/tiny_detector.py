"""A detector of a few thousand weights: one grid, one hand per cell. It stands in for the real one in fast tests."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from whim.conventions import Side
from whim.detector.targets import HandTargets
from whim.detector.training.measure import Predicted
from whim.detector.training.recipe import TrainDetectorConfig

STRIDE = 16


class TinyNetwork(nn.Module):
    """(B, 3, S, S) -> (B, 48, S / 16, S / 16): score, side, box (4), keypoints (42) in strides from the cell."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 24, 32, 32)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.SiLU()]
        self.body = nn.Sequential(*layers, nn.Conv2d(32, 32, 3, 1, 1), nn.SiLU(), nn.Conv2d(32, 48, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        return self.body(pictures)


class TinyHead:
    """Loss and decoding of the above."""

    def loss(self, outputs: Tensor, targets: HandTargets) -> tuple[Tensor, dict[str, Tensor]]:
        outputs, size = outputs.float(), STRIDE * outputs.shape[-1]
        centre = (targets.boxes[:, :2] + targets.boxes[:, 2:]) / 2
        column, row = (centre / STRIDE).long().clamp(0, size // STRIDE - 1).unbind(1)
        wanted = torch.zeros_like(outputs[:, 0])
        wanted[targets.image_index, row, column] = 1
        score = F.binary_cross_entropy_with_logits(outputs[:, 0], wanted, pos_weight=torch.tensor(5.0))
        cells = outputs[targets.image_index, :, row, column]
        origin = torch.stack([column, row], dim=1) * STRIDE
        box = (cells[:, 2:6] - (targets.boxes - origin.repeat(1, 2)) / STRIDE).abs().mean()
        known = targets.side != Side.UNKNOWN
        side = F.binary_cross_entropy_with_logits(cells[known, 1], targets.side[known].float())
        shown = targets.visibility > 0
        points = (targets.keypoints - origin[:, None]) / STRIDE
        keypoints = (cells[:, 6:].reshape(-1, 21, 2) - points)[shown].abs().mean()
        terms = {"score": score, "box": box, "side": side, "keypoints": keypoints}
        terms = {name: torch.nan_to_num(value) for name, value in terms.items()}  # a batch without hands
        return terms["score"] * 5 + terms["box"] + 0.2 * terms["side"] + terms["keypoints"], terms

    def predict(self, outputs: Tensor) -> list[Predicted]:
        result = []
        for grid in outputs.float():
            score = grid[0].sigmoid()
            peak = F.max_pool2d(score[None], 3, 1, 1)[0] == score
            row, column = torch.nonzero(peak & (score > 0.01), as_tuple=True)
            cells = grid[:, row, column].T
            origin = torch.stack([column, row], dim=1) * STRIDE
            result.append(
                Predicted(
                    boxes=(cells[:, 2:6] * STRIDE + origin.repeat(1, 2)).cpu().numpy(),
                    score=score[row, column].cpu().numpy(),
                    side=(cells[:, 1] > 0).long().cpu().numpy(),
                    keypoints=(cells[:, 6:].reshape(-1, 21, 2) * STRIDE + origin[:, None]).cpu().numpy(),
                )
            )
        return result

    def save(self, model: nn.Module, path: Path, facts: dict[str, Any]) -> None:
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
        path.with_suffix(".json").write_text(json.dumps(facts))


def build_tiny(config: TrainDetectorConfig) -> tuple[nn.Module, TinyHead]:
    """What `train` builds in place of the real detector."""
    return TinyNetwork(), TinyHead()
