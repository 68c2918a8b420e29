"""Which cell answers for which hand: task-aligned assignment (Feng et al., ICCV 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from whim.conventions import Side
from whim.detector.config import AssignConfig
from whim.detector.losses.overlap import ciou, keypoint_error
from whim.detector.targets import HandTargets


@dataclass(frozen=True, kw_only=True)
class Padded:
    """Targets by picture, padded to M hands."""

    boxes: Tensor
    """(B, M, 4)."""
    side: Tensor
    """(B, M)."""
    keypoints: Tensor
    """(B, M, 21, 2)."""
    visibility: Tensor
    """(B, M, 21)."""
    real: Tensor
    """(B, M) bool: a hand, no padding."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """For every cell."""

    hand: Tensor
    """(B, A) int64 row of the picture's hands, -1 for none."""
    score: Tensor
    """(B, A) what the cell's score should be: 0 where there is no hand, up to the overlap with it."""


def pad(targets: HandTargets, batch: int) -> Padded:
    """Targets of ``batch`` pictures, in their order within each picture."""
    index = targets.image_index
    count = torch.bincount(index, minlength=batch)
    most = int(count.max()) if len(index) else 0
    order = torch.argsort(index, stable=True)
    first = torch.cumsum(count, 0) - count
    place = torch.arange(len(index), device=index.device) - first[index[order]]

    def spread(values: Tensor) -> Tensor:
        result = values.new_zeros((batch, most, *values.shape[1:]))
        result[index[order], place] = values[order]
        return result

    return Padded(
        boxes=spread(targets.boxes),
        side=spread(targets.side),
        keypoints=spread(targets.keypoints),
        visibility=spread(targets.visibility),
        real=torch.arange(most, device=index.device)[None] < count[:, None],
    )


@torch.no_grad()
def assign(
    scores: Tensor,
    boxes: Tensor,
    points: Tensor | None,
    centres: Tensor,
    targets: Padded,
    config: AssignConfig,
    *,
    single: bool = False,
) -> Assignment:
    """Assign cells to hands by score^alpha x overlap^beta.

    Args:
        scores: (B, A, 2) 0..1.
        boxes: (B, A, 4) predicted, pixels.
        points: (B, A, 21, 2) predicted keypoints, pixels; read when ``config.keypoints`` is above 0.
        centres: (A, 2) of the cells, pixels.
        targets: of the pictures.
        config: exponents and numbers.
        single: one cell per hand (the one-to-one head).
    """
    batch, cells, _ = scores.shape
    most = targets.boxes.shape[1]
    nobody = Assignment(
        hand=torch.full((batch, cells), -1, dtype=torch.int64, device=scores.device),
        score=scores.new_zeros((batch, cells)),
    )
    if most == 0:
        return nobody
    overlap = ciou(targets.boxes[:, :, None], boxes[:, None]).clamp(min=0)  # (B, M, A)
    if config.keypoints > 0 and points is not None:
        overlap = _with_keypoints(overlap, points, targets, config.keypoints)
    # Of an unknown side, the surer of the two counts.
    known = targets.side.clamp(min=0)[:, :, None].expand(-1, -1, cells)
    own = torch.gather(scores.transpose(1, 2), 1, known)
    own = torch.where((targets.side == Side.UNKNOWN)[:, :, None], scores.amax(dim=-1)[:, None], own)
    inside = _inside(centres, targets.boxes, config.smallest) & targets.real[:, :, None]
    metric = torch.where(inside, own.pow(config.alpha) * overlap.pow(config.beta), -1.0)
    best, chosen = metric.topk(min(1 if single else config.candidates, cells), dim=-1)
    # Without any overlap a cell answers for nothing: which of many such cells would be chance.
    claimed = torch.zeros_like(inside).scatter_(2, chosen, best > 0)
    # A cell that several hands claim goes to the one that it overlaps most.
    winner = torch.where(claimed, overlap, -1.0).argmax(dim=1)  # (B, A)
    taken = claimed.any(dim=1)
    claimed &= torch.arange(most, device=scores.device)[None, :, None] == winner[:, None]
    metric = torch.where(claimed, metric, 0.0)
    highest = torch.where(claimed, overlap, 0.0).amax(dim=-1, keepdim=True)
    score = metric / metric.amax(dim=-1, keepdim=True).clamp(min=1e-9) * highest
    return Assignment(
        hand=torch.where(taken, winner, nobody.hand), score=torch.where(taken, score.amax(dim=1), 0.0)
    )


def _inside(centres: Tensor, boxes: Tensor, smallest: float) -> Tensor:
    """(B, M, A) whether a cell's centre lies in a box, which is grown to a least size."""
    middle, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    half = size.clamp(min=smallest) / 2
    return ((centres - middle[:, :, None]).abs() < half[:, :, None]).all(dim=-1)


def _with_keypoints(overlap: Tensor, points: Tensor, targets: Padded, share: float) -> Tensor:
    """Overlap mixed with OKS, for hands that have keypoints."""
    size = targets.boxes[..., 2:] - targets.boxes[..., :2]
    error = keypoint_error(
        points[:, None],
        targets.keypoints[:, :, None],
        size.prod(dim=-1)[:, :, None].expand(-1, -1, points.shape[1]),
    )
    shown = (targets.visibility > 0).to(overlap.dtype)[:, :, None]
    oks = ((-error).exp() * shown).sum(dim=-1) / shown.sum(dim=-1).clamp(min=1)
    mixed = (1 - share) * overlap + share * oks
    return torch.where(shown.any(dim=-1), mixed, overlap)
