"""The detector's loss (eq. 5): side, distances, box, keypoints, each over the cells that answer for a hand."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from whim.conventions import Side
from whim.detector.config import DetectorConfig
from whim.detector.decode import decode_boxes, decode_keypoints
from whim.detector.losses.assign import Assignment, Padded, assign, pad
from whim.detector.losses.overlap import ciou, keypoint_error
from whim.detector.network.detector import Outputs
from whim.detector.network.head import KEYPOINTS, SIDES, Raw
from whim.detector.targets import HandTargets


def detector_loss(
    outputs: Outputs, targets: HandTargets, config: DetectorConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum of eq. 5 over both heads, and its terms before weighting.

    Sums are divided by the sum of target scores, so the loss does not grow with the batch. Hands without a side
    train no side, hands without keypoints no keypoints.
    """
    raw = outputs.one_to_many or outputs.one_to_one
    assert raw is not None
    padded = pad(targets, len(raw.box))
    total = raw.box.new_zeros((), dtype=torch.float32)
    terms: dict[str, Tensor] = {}
    for name, head, weight in (
        ("", outputs.one_to_many, 1.0),
        ("single_", outputs.one_to_one, config.loss.one_to_one),
    ):
        if head is None:
            continue
        own = head_losses(head, padded, config, single=bool(name))
        weights = config.loss
        total = total + weight * (
            weights.side * own["side"]
            + weights.dfl * own["dfl"]
            + weights.box * own["box"]
            + weights.keypoints * own["keypoints"]
            + weights.visibility * own["visibility"]
        )
        terms |= {f"{name}{term}": value.detach() for term, value in own.items()}
    return total, terms


def head_losses(raw: Raw, targets: Padded, config: DetectorConfig, *, single: bool) -> dict[str, Tensor]:
    """The five terms of one head, unweighted, in float32."""
    raw = Raw(
        box=raw.box.float(),
        side=raw.side.float(),
        keypoints=raw.keypoints.float(),
        centres=raw.centres,
        strides=raw.strides,
    )
    boxes = decode_boxes(raw, config.network.bins)
    points = decode_keypoints(raw)[..., :2]
    assigned = assign(
        raw.side.sigmoid(),
        boxes,
        points,
        raw.centres * raw.strides[:, None],
        targets,
        config.assign,
        single=single,
    )
    norm = assigned.score.sum().clamp(min=1.0)
    picture, cell = torch.nonzero(assigned.hand >= 0, as_tuple=True)
    hand = assigned.hand[picture, cell]
    weight = assigned.score[picture, cell]
    truth = targets.boxes[picture, hand]
    predicted = boxes[picture, cell]
    keypoints, visibility = _keypoint_losses(
        raw.keypoints[picture, cell].reshape(-1, KEYPOINTS, 3)[..., 2],
        points[picture, cell],
        targets.keypoints[picture, hand],
        targets.visibility[picture, hand],
        truth,
        config.loss.keypoint_form,
    )
    return {
        "side": _side_loss(raw.side, targets, assigned).sum() / norm,
        "dfl": _dfl(raw, picture, cell, truth, weight, config.network.bins) / norm,
        "box": ((1.0 - ciou(predicted, truth)) * weight).sum() / norm,
        "keypoints": keypoints,
        "visibility": visibility,
    }


def _side_loss(logits: Tensor, targets: Padded, assigned: Assignment) -> Tensor:
    """(B, A, 2) BCE; where a hand's side is unknown, only the higher of the two logits is trained."""
    wanted = torch.zeros_like(logits)
    mask = torch.ones_like(logits)
    picture, cell = torch.nonzero(assigned.hand >= 0, as_tuple=True)
    side = targets.side[picture, assigned.hand[picture, cell]]
    unknown = side == Side.UNKNOWN
    surer = logits[picture, cell].argmax(dim=-1)
    column = torch.where(unknown, surer, side)
    wanted[picture, cell, column] = assigned.score[picture, cell].to(wanted.dtype)
    mask[picture[unknown], cell[unknown], SIDES - 1 - surer[unknown]] = 0.0
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none") * mask


def _dfl(raw: Raw, picture: Tensor, cell: Tensor, truth: Tensor, weight: Tensor, bins: int) -> Tensor:
    """Distribution focal loss (Li et al., NeurIPS 2020): cross-entropy with the two bins around each true distance.

    Without bins, the L1 of the distances in strides.
    """
    stride = raw.strides[cell, None]
    centre = raw.centres[cell]
    distances = torch.cat([centre - truth[:, :2] / stride, truth[:, 2:] / stride - centre], dim=1)
    predicted = raw.box[picture, cell]
    if bins == 1:
        return ((predicted - distances).abs().mean(dim=1) * weight).sum()
    distances = distances.clamp(0.0, bins - 1 - 0.01)
    lower = distances.long()
    share = distances - lower
    logs = predicted.reshape(-1, 4, bins).log_softmax(dim=-1)
    at_lower, at_upper = (logs.gather(2, index[..., None])[..., 0] for index in (lower, lower + 1))
    return -(((1.0 - share) * at_lower + share * at_upper).mean(dim=1) * weight).sum()


def _keypoint_losses(
    logits: Tensor, points: Tensor, truth: Tensor, visibility: Tensor, boxes: Tensor, form: str
) -> tuple[Tensor, Tensor]:
    """Mean over the cells whose hand has keypoints: distance of the labelled ones, BCE of their visibility."""
    labelled = visibility > 0
    rows = labelled.any(dim=1)
    if not rows.any():
        zero = points.sum() * 0.0 + logits.sum() * 0.0
        return zero, zero
    points, truth, labelled, boxes = points[rows], truth[rows], labelled[rows].float(), boxes[rows]
    size = boxes[:, 2:] - boxes[:, :2]
    if form == "oks":
        each = 1.0 - (-keypoint_error(points, truth, size.prod(dim=1))).exp()
    else:
        # The paper's L2, in sides of the box: pixels would let large hands drown small ones.
        each = (points - truth).pow(2).sum(dim=-1) / size.amax(dim=1).clamp(min=1.0)[:, None].pow(2)
    distance = ((each * labelled).sum(dim=1) / labelled.sum(dim=1)).mean()
    seen = (visibility[rows] == 2).float()
    return distance, F.binary_cross_entropy_with_logits(logits[rows], seen)
