"""A whole person without hands, to hang the open hand on: MakeHuman's CC0 body with a small rig.

Frame of the body: metres, x to the person's left, y up, z forward. Joints rotate about their rest places by
rotations in this frame, parents first, as in SMPL. ``models/build/body.py`` makes the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from whim.conventions import Side
from whim.resources import read_shipped_arrays, shipped

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FORMAT = "whim open body 1"
SCALE = 5e-5
"""Metres per unit of the stored vertices."""

_PARENTS = {
    "pelvis": "",
    "spine": "pelvis",
    "chest": "spine",
    "neck": "chest",
    "head": "neck",
    **{
        f"{name}_{side}": f"{parent}_{side}"
        if parent in ("clavicle", "shoulder", "elbow", "twist", "hip", "knee")
        else parent
        for side in ("left", "right")
        for name, parent in (
            ("clavicle", "chest"),
            ("shoulder", "clavicle"),
            ("elbow", "shoulder"),
            ("twist", "elbow"),
            ("wrist", "twist"),
            ("hip", "pelvis"),
            ("knee", "hip"),
            ("ankle", "knee"),
        )
    },
}
JOINTS: tuple[str, ...] = tuple(_PARENTS)
"""Joints, parents before children. ``twist`` turns the lower half of the forearm about its axis."""
PARENTS: tuple[int, ...] = tuple(JOINTS.index(parent) if parent else -1 for parent in _PARENTS.values())

PARTS: tuple[str, ...] = (
    "face", "hair", "eyes", "lips", "torso", "upper_arm", "forearm", "leg", "foot",
)  # fmt: skip
"""What gets a colour of its own."""

_FIELDS = {
    "format", "licence", "provenance", "v_template", "shapedirs", "shapedir_scales", "joints", "palm",
    "weight_joint", "weight", "faces", "part", "hand_frame", "ring",
}  # fmt: skip

SEAM_M = 0.09
"""So far up the forearm its skin gives way to meet the border of the hand."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PosedBody:
    """One person in a pose, in the frame of the body or wherever ``moved`` took it."""

    vertices: Floats
    """(V, 3)."""
    joints: Floats
    """(J, 3) in the order of JOINTS."""
    rotations: Floats
    """(J, 3, 3) from rest to here."""

    def moved(self, rotation: Floats, translation: Floats) -> PosedBody:
        """The same person somewhere else."""
        return PosedBody(
            vertices=self.vertices @ rotation.T + translation,
            joints=self.joints @ rotation.T + translation,
            rotations=rotation @ self.rotations,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Body:
    """The shape space and the rig."""

    v_template: Floats
    """(V, 3) metres."""
    shapedirs: Floats
    """(V, 3, K) per standard deviation."""
    joint_map: Floats
    """(K + 1, J, 3) joints of the mean, and their change per standard deviation."""
    palm_map: Floats
    """(K + 1,) the same for the distance from wrist to middle knuckle, in Anny's joints."""
    weights: Floats
    """(V, J)."""
    faces: Ints
    """(F, 3) open at both wrists, counter-clockwise seen from outside."""
    part: Ints
    """(V,) index in PARTS."""
    hand_frame: Floats
    """(2, 3, 3) rotation from the left and the right open hand's own frame to the body at rest."""
    ring: Ints
    """(2, R) vertices at the left and the right wrist, in the order of the open hand's border."""

    @property
    def components(self) -> int:
        """Number of shape coefficients, K."""
        return self.shapedirs.shape[2]

    def palm_ratio(self, shape: ArrayLike) -> float:
        """Length of this person's palm over that of the mean person."""
        return float(1.0 + self.palm_map[1:] @ np.asarray(shape) / self.palm_map[0])

    def rest_joints(self, shape: ArrayLike) -> Floats:
        """(J, 3) joints at rest of a person of shape (K,)."""
        return np.asarray(self.joint_map[0] + np.tensordot(np.asarray(shape), self.joint_map[1:], axes=1))

    def pose(self, shape: ArrayLike, rotations: ArrayLike) -> PosedBody:
        """A person of shape (K,) with joint rotations (J, 3, 3), each relative to its parent."""
        shape, local = np.asarray(shape, dtype=np.float64), np.asarray(rotations, dtype=np.float64)
        rest = self.rest_joints(shape)
        world, places = np.empty_like(local), np.empty_like(rest)
        for joint, parent in enumerate(PARENTS):
            if parent < 0:
                world[joint], places[joint] = local[joint], rest[joint]
            else:
                world[joint] = world[parent] @ local[joint]
                places[joint] = places[parent] + world[parent] @ (rest[joint] - rest[parent])
        still = self.v_template + self.shapedirs @ shape
        offsets = places - np.einsum("jab,jb->ja", world, rest)
        blended = np.tensordot(self.weights, np.concatenate([world, offsets[..., None]], axis=2), axes=1)
        vertices = np.einsum("vab,vb->va", blended[..., :3], still) + blended[..., 3]
        return PosedBody(vertices=vertices, joints=places, rotations=world)

    def hand_orientation(self, body: PosedBody, side: Side) -> Floats:
        """(3, 3) global orientation of a hand that continues the forearm of a posed body."""
        return np.asarray(body.rotations[joint_index("wrist", side)] @ self.hand_frame[side])

    def forearm_rotations(
        self, rest: Floats, side: Side, twist: float, flexion: float, deviation: float
    ) -> tuple[Floats, Floats]:
        """(3, 3) rotations of the joints ``twist`` and ``wrist``, each relative to its parent.

        Args:
            rest: (J, 3) ``rest_joints`` of the person.
            side: of the arm; angles mean the same on both.
            twist: radians, positive pronates.
            flexion: radians, positive takes the palm towards the forearm.
            deviation: radians, positive takes the little finger towards the forearm.
        """
        mirrored = 1.0 if side == Side.LEFT else -1.0
        axis = rest[joint_index("wrist", side)] - rest[joint_index("elbow", side)]
        turn = Rotation.from_rotvec(axis / np.linalg.norm(axis) * twist * mirrored)
        # In the hand's own frame z lies across the palm and y along its normal.
        frame = self.hand_frame[side]
        bend = Rotation.from_rotvec(-frame[:, 2] * flexion * mirrored) * Rotation.from_rotvec(
            frame[:, 1] * deviation * mirrored
        )
        return np.asarray(turn.as_matrix()), np.asarray(bend.as_matrix())

    def wrist_from_ring(self, body: PosedBody, side: Side, hand_ring: Floats) -> Floats:
        """(3,) where a hand must be moved so that the middle of its border lies on that of the arm.

        ``hand_ring`` (R, 3): border of the posed hand, in ``ring``'s order, anywhere.
        """
        return np.asarray(body.vertices[self.ring[side]].mean(axis=0) - hand_ring.mean(axis=0))

    def with_hand(self, vertices: Floats, side: Side, hand_ring: Floats) -> Floats:
        """The vertices (V, 3) of a posed body with the end of one forearm drawn onto the hand's border.

        ``hand_ring`` (R, 3): where the border of the hand is, in ``ring``'s order.
        """
        rows, pull = self._seams[side]
        change = hand_ring - vertices[self.ring[side]]
        result = vertices.copy()
        result[rows] += pull @ change
        return result

    @cached_property
    def _seams(self) -> tuple[tuple[Ints, Floats], tuple[Ints, Floats]]:
        """For each side: forearm vertices, and the share (F, R) of each border vertex's change they follow."""
        seams = []
        for side in (Side.LEFT, Side.RIGHT):
            ring = self.v_template[self.ring[side]]
            own = self.weights[:, [joint_index(j, side) for j in ("elbow", "twist", "wrist")]].sum(axis=1)
            rows = np.flatnonzero(own > 0.5)
            distance = np.linalg.norm(self.v_template[rows, None] - ring[None], axis=2)
            share = np.exp(-0.5 * ((distance - distance.min(axis=1, keepdims=True)) / 0.012) ** 2)
            share /= share.sum(axis=1, keepdims=True)
            t = np.clip(1.0 - distance.min(axis=1) / SEAM_M, 0.0, 1.0)
            seams.append((rows, share * (t * t * (3 - 2 * t))[:, None]))
        # On the border itself nothing is blended: no gap is left.
        for side, (rows, pull) in zip((Side.LEFT, Side.RIGHT), seams, strict=True):
            for index, vertex in enumerate(self.ring[side]):
                place = int(np.searchsorted(rows, vertex))
                pull[place] = np.eye(pull.shape[1])[index]
        return seams[0], seams[1]

    @cached_property
    def trunk_faces(self) -> Ints:
        """(F', 3) faces of trunk and legs: where no arm should be."""
        inside = np.isin(self.part, [PARTS.index("torso"), PARTS.index("leg")])
        return self.faces[inside[self.faces].all(axis=1)]

    def arm_faces(self, side: Side) -> Ints:
        """(F', 3) faces of one arm below the shoulder: what first-person video shows of a body."""
        return self._faces_of(side, ("shoulder", "elbow", "twist", "wrist"))

    def _faces_of(self, side: Side, joints: tuple[str, ...]) -> Ints:
        own = self.weights[:, [joint_index(joint, side) for joint in joints]].sum(axis=1)
        return self.faces[(own > 0.6)[self.faces].all(axis=1)]


@lru_cache(maxsize=1)
def load_body() -> Body:
    """The embedded body.

    Raises:
        BadFileError: when the shipped file is damaged.
        UsageError: when the installation lacks it.
    """
    return read_body(shipped("models/open_body.npz"))


def read_body(path: Path) -> Body:
    """Read a file of ``models/build/body.py``, strictly.

    Raises:
        BadFileError: for anything else.
    """
    return read_shipped_arrays(path, _FIELDS, FORMAT, _unpack, "an open body")


def _unpack(fields: dict[str, NDArray]) -> Body:
    count = len(fields["v_template"])
    directions = fields["shapedirs"].astype(np.float64) / 32767.0
    directions *= fields["shapedir_scales"].astype(np.float64)[:, None, None]
    weights = np.zeros((count, len(JOINTS)))
    np.put_along_axis(weights, fields["weight_joint"].astype(np.int64), fields["weight"] / 255.0, axis=1)
    body = Body(
        v_template=fields["v_template"] * SCALE,
        shapedirs=np.ascontiguousarray(np.moveaxis(directions, 0, -1)),
        joint_map=fields["joints"].astype(np.float64),
        palm_map=fields["palm"].astype(np.float64),
        weights=weights,
        faces=fields["faces"].astype(np.int64),
        part=fields["part"].astype(np.int64),
        hand_frame=fields["hand_frame"].astype(np.float64),
        ring=fields["ring"].astype(np.int64),
    )
    wanted = {
        "shapedirs": (count, 3, len(body.palm_map) - 1),
        "joint_map": (len(body.palm_map), len(JOINTS), 3),
        "part": (count,),
        "hand_frame": (2, 3, 3),
    }
    for name, shape in wanted.items():
        if getattr(body, name).shape != shape:
            raise ValueError(f"{name} has the shape {getattr(body, name).shape} instead of {shape}")
    if body.faces.max() >= count or body.ring.max() >= count or body.part.max() >= len(PARTS):
        raise ValueError("an index points to nothing")
    if not np.allclose(body.weights.sum(axis=1), 1.0, atol=1e-6):
        raise ValueError("skinning weights that do not sum to one")
    return body


def joint_index(joint: str, side: Side) -> int:
    """Place in JOINTS of a joint of one side, such as ``wrist``."""
    return JOINTS.index(f"{joint}_{'left' if side == Side.LEFT else 'right'}")
