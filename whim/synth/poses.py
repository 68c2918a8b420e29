"""What hands and people do: random poses, each a vector of numbers, so that motion is a curve through them.

Arms are placed by where their wrists go, with the elbow on the circle that is left (two-bone inverse
kinematics): joint angles drawn one by one would put most hands behind the back or into the trunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from whim.conventions import Side
from whim.hands import kinematics
from whim.hands.mirror import mirror_points
from whim.hands.open_hand import load_open_hand
from whim.hands.pose_prior import ANGLE_LIMITS, sample_angles
from whim.synth.body import JOINTS, Body, joint_index, load_body

Floats = NDArray[np.float64]

TWIST_DEG = 75.0
"""The forearm turns by at most so much about its axis, either way from its rest."""
FLEXION_DEG, DEVIATION_DEG = 50.0, 20.0
"""The wrist bends and deviates by at most so much."""

HAND_RADIUS_M, FOREARM_RADIUS_M = 0.012, 0.035
"""Keypoints of a hand, and the axis of a forearm, are so far from the skin of trunk and legs."""
_MARGINS = np.array([FOREARM_RADIUS_M] * 3 + [HAND_RADIUS_M] * 21)
_TRIES = 10


_STYLES = {"open": 0.16, "relaxed": 0.16, "point": 0.1, "pinch": 0.1, "fist": 0.1, "count": 0.13, "any": 0.25}
_CURLS = {"open": 0.04, "relaxed": 0.3, "point": 0.9, "pinch": 0.35, "fist": 0.95, "count": 0.9, "hold": 0.5}


def hand_angles(rng: np.random.Generator, style: str | None = None) -> Floats:
    """(45,) anatomical angles of one hand: open, relaxed, pointing, pinching, a fist, ``hold``, or anything."""
    style = style or str(rng.choice(list(_STYLES), p=list(_STYLES.values())))
    angles = sample_angles(rng, 1)[0].reshape(15, 3)
    if style == "any":
        return angles.ravel()
    curl = _CURLS[style]
    curls = np.clip(curl + rng.normal(0, 0.06, 4), 0.0, 1.05)  # index, middle, little, ring
    if style == "point":
        curls[0] = rng.uniform(0.0, 0.15)
    if style == "pinch":
        curls[0] = rng.uniform(0.4, 0.6)
    if style == "count":
        curls[rng.random(4) < 0.5] = rng.uniform(0.0, 0.12)
    for finger, bent in enumerate(curls):
        joints = angles[3 * finger : 3 * finger + 3]
        joints[:, 1] = np.radians([-8.0 + 88.0 * bent, 100.0 * bent, 62.0 * bent])
        joints[0, 2] = rng.normal(0.0, 0.12) * (1.0 - 0.8 * bent)
    if style in ("open", "relaxed"):
        spread = rng.normal(0.0, 1.0) * 0.12
        angles[[0, 3, 6, 9], 2] += spread * np.array([1.0, 0.2, -1.0, -0.4])
    if style in ("point", "fist", "count", "hold"):
        angles[12:, 1] = np.radians(rng.uniform([10, 20, 20], [35, 50, 60]))
    if style == "pinch":
        angles[12:, 1] = np.radians(rng.uniform([10, 5, 10], [30, 25, 35]))
    return np.clip(angles.ravel(), *ANGLE_LIMITS)


@dataclass(frozen=True, kw_only=True)
class PersonPose:
    """A person's pose; every number may be interpolated."""

    wrists: Floats
    """(2, 3) left and right: where the wrist goes, relative to the shoulder, in lengths of the stretched arm;
    outwards (away from the middle), up, forward."""
    swivels: Floats
    """(2,) turn of the elbow about the line from shoulder to wrist, radians; 0 hangs down and outwards."""
    forearms: Floats
    """(2, 3) twist of the forearm, flexion and deviation of the wrist, radians; positive pronates, takes the palm and
    takes the little finger towards the forearm, on both sides."""
    trunk: Floats
    """(4, 3) rotation vectors of spine, chest, neck and head."""
    legs: Floats
    """(2, 2) flexion of hip and knee, left and right, radians."""
    hands: Floats
    """(2, 45) anatomical angles."""

    def vector(self) -> Floats:
        """All numbers in a row."""
        return np.concatenate([getattr(self, name).ravel() for name in _SHAPES])

    @classmethod
    def from_vector(cls, vector: Floats) -> PersonPose:
        """The inverse of ``vector``, for poses within their limits.

        A smooth curve swings past its keys: fingers, wrists and forearms that it bends too far stop at their limits.
        """
        fields, start = {}, 0
        for name, shape in _SHAPES.items():
            size = int(np.prod(shape))
            fields[name] = vector[start : start + size].reshape(shape)
            start += size
        fields["forearms"] = np.clip(fields["forearms"], -_FOREARM_LIMITS, _FOREARM_LIMITS)
        fields["hands"] = np.clip(fields["hands"], *ANGLE_LIMITS)
        return cls(**fields)


_FOREARM_LIMITS = np.radians([TWIST_DEG, FLEXION_DEG, DEVIATION_DEG])
_SHAPES = {
    "wrists": (2, 3),
    "swivels": (2,),
    "forearms": (2, 3),
    "trunk": (4, 3),
    "legs": (2, 2),
    "hands": (2, 45),
}

# What arms do: ranges of the wrist, outwards, up, forward, in arm lengths; and how often.
_ACTS = {
    "gesture": (((-0.25, 0.6), (-0.65, 0.1), (0.35, 0.8)), 0.4),
    "raised": (((0.0, 0.7), (0.0, 0.6), (0.2, 0.7)), 0.2),
    "reach": (((-0.4, 0.4), (-0.4, 0.3), (0.7, 0.97)), 0.12),
    "hang": (((0.1, 0.35), (-0.97, -0.85), (0.0, 0.25)), 0.15),
    "face": (((-0.4, -0.15), (0.1, 0.45), (0.3, 0.5)), 0.07),
    "aside": (((0.6, 0.95), (-0.5, 0.5), (-0.05, 0.5)), 0.06),
}
_TOGETHER = 0.15  # both hands in front of the chest, near each other


def person_pose(rng: np.random.Generator, *, seated: bool) -> PersonPose:
    """A plausible pose, mostly with hands that can be seen from the front.

    Poses that put a forearm or a hand into the trunk or the legs of the mean person are drawn again, from a child
    of ``rng``: what is drawn from it next does not depend on it. After some tries the last one is taken.
    """
    body = load_body()
    pose = _any_pose(rng, seated=seated)
    child: np.random.Generator | None = None
    for _ in range(_TRIES):
        if outside_trunk(body, np.zeros(body.components), pose).all():
            break
        child = child or rng.spawn(1)[0]
        pose = _any_pose(child, seated=seated)
    return pose


def _any_pose(rng: np.random.Generator, *, seated: bool) -> PersonPose:
    names = list(_ACTS)
    shares = np.array([share for _, share in _ACTS.values()])
    wrists = np.empty((2, 3))
    for arm in range(2):
        low, high = np.array(_ACTS[names[rng.choice(len(names), p=shares / shares.sum())]][0]).T
        wrists[arm] = rng.uniform(low, high)
    if rng.random() < _TOGETHER:
        middle = rng.uniform((-0.36, -0.6, 0.45), (-0.3, 0.05, 0.7))
        wrists = middle + rng.normal(0.0, 0.05, (2, 3))
    forearms = np.radians(
        np.clip(
            rng.normal(0.0, (40.0, 20.0, 8.0), (2, 3)),
            (-TWIST_DEG, -FLEXION_DEG, -DEVIATION_DEG),
            (TWIST_DEG, FLEXION_DEG, DEVIATION_DEG),
        )
    )
    legs = np.radians([[85.0, 85.0]] * 2) if seated else np.zeros((2, 2))
    legs = legs + np.radians(np.abs(rng.normal(0.0, 6.0, (2, 2))))
    return PersonPose(
        wrists=wrists,
        swivels=rng.normal(0.0, 0.35, 2),
        forearms=forearms,
        trunk=rng.normal(0.0, np.radians([[5.0], [5.0], [8.0], [9.0]]), (4, 3)),
        legs=legs,
        hands=np.stack([hand_angles(rng), hand_angles(rng)]),
    )


def joint_rotations(body: Body, shape: Floats, pose: PersonPose) -> Floats:
    """(J, 3, 3) joint rotations of a pose, each relative to its parent, for ``Body.pose``."""
    places = body.rest_joints(shape)
    rest = dict(zip(JOINTS, places, strict=True))
    local = {name: np.eye(3) for name in JOINTS}
    for name, vector in zip(("spine", "chest", "neck", "head"), pose.trunk, strict=True):
        local[name] = Rotation.from_rotvec(vector).as_matrix()
    for index, side in enumerate(("left", "right")):
        outwards = 1.0 if side == "left" else -1.0
        shoulder, elbow, wrist = (rest[f"{name}_{side}"] for name in ("shoulder", "elbow", "wrist"))
        upper, fore = elbow - shoulder, wrist - elbow
        lengths = float(np.linalg.norm(upper)), float(np.linalg.norm(fore))
        goal = pose.wrists[index] * (outwards, 1.0, 1.0) * sum(lengths)
        u, f = _two_bones(goal, lengths, outwards, pose.swivels[index])
        # The chest carries the arm, goals are relative to the chest: its rotation drops out.
        world_upper = _frame(u, f) @ _frame(upper, fore).T
        world_fore = _frame(f, u, second=True) @ _frame(fore, upper, second=True).T
        local[f"shoulder_{side}"] = world_upper
        local[f"elbow_{side}"] = world_upper.T @ world_fore
        bent = body.forearm_rotations(places, Side(index), *pose.forearms[index])
        local[f"twist_{side}"], local[f"wrist_{side}"] = bent
        hip, knee = pose.legs[index]
        local[f"hip_{side}"] = Rotation.from_rotvec([-hip, 0.0, 0.0]).as_matrix()
        local[f"knee_{side}"] = Rotation.from_rotvec([knee, 0.0, 0.0]).as_matrix()
    return np.stack([local[name] for name in JOINTS])


def outside_trunk(body: Body, shape: Floats, pose: PersonPose) -> NDArray[np.bool_]:
    """(2,) whether the left and the right forearm and hand are outside the trunk and the legs of this person."""
    posed = body.pose(shape, joint_rotations(body, shape, pose))
    corners = posed.vertices[body.trunk_faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    middles = corners.mean(axis=1)
    tree = cKDTree(middles)
    result = np.empty(2, dtype=np.bool_)
    for side, hand in zip((Side.LEFT, Side.RIGHT), _hand_points(pose.hands), strict=True):
        elbow, wrist = (posed.joints[joint_index(name, side)] for name in ("elbow", "wrist"))
        turned = hand @ body.hand_orientation(posed, side).T * body.palm_ratio(shape)
        points = np.concatenate([elbow + (wrist - elbow) * np.array([[0.5], [0.7], [0.9]]), wrist + turned])
        nearest = tree.query(points)[1]
        normal = normals[nearest] / np.linalg.norm(normals[nearest], axis=1, keepdims=True)
        result[side] = (((points - middles[nearest]) * normal).sum(axis=1) > _MARGINS).all()
    return result


def _hand_points(angles: Floats) -> Floats:
    """(2, 21, 3) keypoints of mean left and right hands from the wrist, in the hands' own frames."""
    model = load_open_hand()
    pose = np.einsum("bjk,jkc->bjc", angles.reshape(2, 15, 3), _axes())
    still = np.zeros((2, 3))
    points = kinematics.keypoints(model, np.zeros((2, 10)), pose, still, still)
    points -= points[:, :1]
    return np.stack([mirror_points(points[Side.LEFT]), points[Side.RIGHT]])


@lru_cache(maxsize=1)
def _axes() -> Floats:
    return kinematics.joint_axes(load_open_hand())


def _two_bones(
    goal: Floats, lengths: tuple[float, float], outwards: float, swivel: float
) -> tuple[Floats, Floats]:
    """Directions (3,) of the upper arm and of the forearm that take the wrist from the shoulder to ``goal``."""
    a, b = lengths
    distance = float(np.clip(np.linalg.norm(goal), 0.4 * (a + b), 0.98 * (a + b)))
    line = goal / max(float(np.linalg.norm(goal)), 1e-9)
    along = (a * a - b * b + distance * distance) / (2 * distance)
    off = np.sqrt(max(a * a - along * along, 0.0))
    down = np.array([0.5 * outwards, -1.0, -0.35])
    down = down - line * (down @ line)
    down /= max(float(np.linalg.norm(down)), 1e-9)
    out = np.cos(swivel) * down + np.sin(swivel) * np.cross(line, down) * outwards
    elbow = line * along + out * off
    return elbow / a, (line * distance - elbow) / b


def _frame(first: Floats, other: Floats, *, second: bool = False) -> Floats:
    """(3, 3) with ``first`` as its first axis and the normal of the arm's plane as its second."""
    x = first / np.linalg.norm(first)
    normal = np.cross(other, first) if second else np.cross(first, other)
    y = normal / max(float(np.linalg.norm(normal)), 1e-9)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def smooth(keys: Floats, times: Floats, at: Floats) -> Floats:
    """(T, D) a smooth curve through ``keys`` (K, D) at ``times`` (K,), read at ``at`` (T,); it starts and ends at
    rest."""
    return np.asarray(CubicSpline(times, keys, bc_type="clamped")(at))
