"""From raw outputs to boxes and keypoints in pixels of the input, and from cells to hands."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from whim.detector.config import DecodeConfig
from whim.detector.network.head import KEYPOINTS, Raw


def decode_boxes(raw: Raw, bins: int) -> Tensor:
    """(B, A, 4) xyxy, pixels. Distances to the four sides are expectations over ``bins`` (DFL), in strides."""
    batch, cells = raw.box.shape[:2]
    if bins > 1:
        weights = torch.arange(bins, device=raw.box.device, dtype=raw.box.dtype)
        distances = raw.box.reshape(batch, cells, 4, bins).softmax(dim=-1) @ weights
    else:
        distances = raw.box
    corners = torch.cat([raw.centres - distances[..., :2], raw.centres + distances[..., 2:]], dim=-1)
    return corners * raw.strides[:, None]


def decode_keypoints(raw: Raw) -> Tensor:
    """(B, A, 21, 3) x, y in pixels and visibility 0..1."""
    points = raw.keypoints.reshape(*raw.keypoints.shape[:2], KEYPOINTS, 3)
    place = (2.0 * points[..., :2] + raw.centres[:, None] - 0.5) * raw.strides[:, None, None]
    return torch.cat([place, points[..., 2:].sigmoid()], dim=-1)


@dataclass(frozen=True, kw_only=True)
class Found:
    """Hands of one picture, best first."""

    boxes: Tensor
    """(N, 4) xyxy, pixels of the input."""
    score: Tensor
    """(N,)."""
    side: Tensor
    """(N,) Side."""
    keypoints: Tensor
    """(N, 21, 3) x, y, visibility."""


def decode(raw: Raw, bins: int, config: DecodeConfig, *, suppress: bool) -> list[Found]:
    """Hands of each picture of a batch.

    Args:
        raw: outputs of one head.
        bins: of its distances.
        config: thresholds.
        suppress: whether several cells may answer for one hand (NMS); not so for a one-to-one head.
    """
    scores, sides = raw.side.float().sigmoid().max(dim=-1)
    found = []
    most = min(scores.shape[1], 10 * config.most if suppress else config.most)
    for row in range(len(scores)):
        values, cells = scores[row].topk(most)
        cells = cells[values >= config.least_score]
        part = Raw(
            box=raw.box[row, cells][None].float(),
            side=raw.side[row, cells][None],
            keypoints=raw.keypoints[row, cells][None].float(),
            centres=raw.centres[cells],
            strides=raw.strides[cells],
        )
        boxes = decode_boxes(part, bins)[0]
        kept = suppressed(boxes, config.nms_iou, config.most) if suppress else torch.arange(len(cells))
        kept = kept.to(cells.device)
        found.append(
            Found(
                boxes=boxes[kept],
                score=scores[row, cells[kept]],
                side=sides[row, cells[kept]],
                keypoints=decode_keypoints(part)[0, kept],
            )
        )
    return found


def suppressed(boxes: Tensor, threshold: float, most: int) -> Tensor:
    """Indices of the boxes (N, 4), best first, that overlap no better one by more than ``threshold``.

    Whole rounds at a time: a box goes when a better one that stays overlaps it. Repeating this settles in as many
    rounds as the longest chain of overlaps, mostly two or three.
    """
    overlap = pairwise_iou(boxes, boxes).triu(diagonal=1) > threshold
    stays = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    while True:
        new = ~(overlap & stays[:, None]).any(dim=0)
        if torch.equal(new, stays):
            return torch.nonzero(stays)[:most, 0]
        stays = new


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) IoU of boxes (N, 4) and (M, 4)."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=-1) for boxes in (a, b)]
    return shared / (areas[0][:, None] + areas[1][None] - shared).clamp(min=1e-9)
