"""Settings of the detector: network, assignment, losses. The paper's numbers are named."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from whim.config import Config

Scale = Literal["n", "s", "m"]


class NetworkConfig(Config):
    """The network (paper section 4.1): backbone, PANet neck, three decoupled heads."""

    scale: Scale = "s"
    """Width and depth. The paper's S is ``n`` (6.9 MB in half precision), its M is ``m`` (26.6 M parameters, the
    size of the released one); ``s`` lies between."""
    backbone: str = "csp-darknet"
    """``csp-darknet`` (the paper's DarkNet), or a network of timm, such as ``resnet50`` and ``hrnet_w32`` of
    Table 2. The neck keeps the widths of ``scale``."""
    bins: int = Field(default=16, ge=1)
    """Bins of the distribution over each distance to a side of the box (DFL). 1: the distance itself, no DFL."""
    one_to_one: bool = False
    """A second head that learns one cell per hand: inference without NMS."""


class AssignConfig(Config):
    """Which cells answer for which hand (task-aligned; Feng et al., ICCV 2021)."""

    candidates: int = Field(default=10, ge=1)
    """Best cells per hand."""
    alpha: float = Field(default=0.5, ge=0)
    """Exponent of the score of the hand's side."""
    beta: float = Field(default=6.0, ge=0)
    """Exponent of the overlap."""
    smallest: float = Field(default=16.0, ge=0)
    """Boxes are grown to so many pixels a side when cells are looked for: tiny hands may hold no cell's centre."""
    keypoints: float = Field(default=0.0, ge=0, le=1)
    """Share of keypoint similarity (OKS) in the overlap, for hands that have keypoints: scores then rank poses too."""


class LossConfig(Config):
    """Weights of eq. 5 (section 7.1 of the paper)."""

    side: float = Field(default=0.5, ge=0)
    """BCE of score and side. Paper: 0.5."""
    dfl: float = Field(default=1.5, ge=0)
    """Distribution focal loss of the distances. Paper: 1.5."""
    box: float = Field(default=15.0, ge=0)
    """1 - CIoU. Paper: 15."""
    keypoints: float = Field(default=10.0, ge=0)
    """Distance of the keypoints. Paper: 10."""
    keypoint_form: Literal["oks", "l2"] = "oks"
    """``l2`` is the paper's; ``oks``, 1 - exp(-d^2 / ...), is what the released detector was trained with."""
    visibility: float = Field(default=1.0, ge=0)
    """BCE of the keypoints' visibility. Not in the paper."""
    one_to_one: float = Field(default=1.0, ge=0)
    """Weight of the second head's losses, when there is one."""


class DecodeConfig(Config):
    """From raw outputs to hands."""

    least_score: float = Field(default=0.001, ge=0, le=1)
    """For evaluation; prediction for people takes a higher one."""
    nms_iou: float = Field(default=0.65, gt=0, le=1)
    """Hands that overlap more are one, whatever their sides: nobody has a left and a right hand in one place."""
    most: int = Field(default=100, ge=1)
    """Hands per picture."""


class DetectorConfig(Config):
    """Everything about the detector but its data and its training."""

    network: NetworkConfig = NetworkConfig()
    assign: AssignConfig = AssignConfig()
    loss: LossConfig = LossConfig()
    decode: DecodeConfig = DecodeConfig()
