"""The losses as loops over hands and numbers, in float64: slow, plain, compared with ``objective.py`` by the tests."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from whim.reconstructor.config import LossConfig

Arrays = dict[str, Any]
"""Arrays by the field names of ``HandEstimate`` and ``Truth``."""


def supervised(config: LossConfig, made: Arrays, truth: Arrays) -> dict[str, float]:
    """Weighted terms of one stage."""
    batch = len(truth["betas"])
    total = dict.fromkeys(
        ("keypoints_2d", "vertices", "keypoints_3d", "hand_pose", "global_orient", "betas"), 0.0
    )
    for b in range(batch):
        for j in range(21):
            if (weight := truth["keypoints_2d_valid"][b, j]) > 0:
                for d in range(2):
                    error = abs(made["keypoints_2d"][b, j, d] - truth["keypoints_2d"][b, j, d])
                    total["keypoints_2d"] += config.keypoints_2d * weight * error
        rooted = truth["keypoints_3d_valid"][b, 0] > 0
        has_vertices = rooted and truth["vertices_valid"][b] > 0
        if has_vertices:
            count = len(truth["vertices"][b])
            scale = 1.0 if config.vertices_count_as is None else config.vertices_count_as / count
            error = _relative(made, truth, "vertices", b, [truth["vertices_valid"][b]] * count)
            total["vertices"] += config.vertices * scale * error
        if rooted:
            error = _relative(made, truth, "keypoints_3d", b, truth["keypoints_3d_valid"][b])
            total["keypoints_3d"] += config.keypoints_3d * error
            if config.keypoints_for_vertices and not has_vertices:
                total["keypoints_3d"] += config.vertices * error
        if (weight := truth["hand_pose_valid"][b]) > 0:
            total["hand_pose"] += config.hand_pose * weight * _pose(config, made, truth, b, range(1, 16))
        if (weight := truth["global_orient_valid"][b]) > 0:
            total["global_orient"] += config.global_orient * weight * _pose(config, made, truth, b, range(1))
        known = truth["betas_valid"][b]
        for k in range(10):
            if known > 0:
                total["betas"] += config.betas * known * (made["betas"][b, k] - truth["betas"][b, k]) ** 2
            if config.missing_betas_are_zero:
                total["betas"] += config.betas * (1.0 - known) * made["betas"][b, k] ** 2
    return {name: value / batch for name, value in total.items()}


def adversarial(config: LossConfig, judged: np.ndarray) -> float:
    """Of judgements (B, 17) about made hands."""
    total = 0.0
    for row in judged:
        squares = sum((value - 1.0) ** 2 for value in row)
        total += math.sqrt(squares) if config.adversarial_form == "norm" else squares
    return float(config.adversarial * total / len(judged))


def discriminator(config: LossConfig, made: np.ndarray, real: np.ndarray) -> float:
    """Of judgements (B, 17) about made and (M, 17) about real hands."""
    wrong_made = sum(value**2 for row in made for value in row) / len(made)
    wrong_real = sum((value - 1.0) ** 2 for row in real for value in row) / len(real)
    return float(config.discriminator * (wrong_made + config.real_hands_count * wrong_real))


def judge(weights: dict[str, np.ndarray], hand_pose: np.ndarray, betas: np.ndarray) -> np.ndarray:
    """The discriminator's judgements (17,) of one hand (15, 3, 3), (10,), from its state dictionary."""

    def layer(name: str, x: np.ndarray, *, last: bool = False) -> np.ndarray:
        out = weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]
        return out if last else np.maximum(out, 0.0)

    features = [layer("rotation.2", layer("rotation.0", rotation.ravel())) for rotation in hand_pose]
    joints = [
        float(weights["joint_weight"][j] @ f + weights["joint_bias"][j]) for j, f in enumerate(features)
    ]
    shape = layer("shape.4", layer("shape.2", layer("shape.0", betas)), last=True)
    hidden = layer("together.2", layer("together.0", np.concatenate(features)))
    return np.array([*joints, shape[0], layer("together.4", hidden, last=True)[0]])


def _relative(made: Arrays, truth: Arrays, name: str, b: int, weights: Any) -> float:
    """Weighted absolute differences of points relative to the wrist."""
    points = made["keypoints" if name == "keypoints_3d" else name][b]
    error = 0.0
    for n, weight in enumerate(weights):
        if weight > 0:
            for d in range(3):
                ours = points[n, d] - made["keypoints"][b, 0, d]
                theirs = truth[name][b, n, d] - truth["keypoints_3d"][b, 0, d]
                error += weight * abs(ours - theirs)
    return error


def _pose(config: LossConfig, made: Arrays, truth: Arrays, b: int, joints: range) -> float:
    """Squared differences of some rotations."""
    error = 0.0
    for j in joints:
        wanted = truth["rotations"][b, j]
        for row in range(3):
            for column in range(3 if config.pose_space == "matrix" else 2):
                ours = (
                    made["rotations"][b, j, row, column]
                    if config.pose_space == "matrix"
                    else made["pose_6d"][b, j, 3 * column + row]
                )
                error += (ours - wanted[row, column]) ** 2
    return error
