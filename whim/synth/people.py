"""A person, or only the arms of one, put into a scene: body, hands that continue it, and what it wears."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.spatial.transform import Rotation

from whim.conventions import Side
from whim.hands import kinematics
from whim.hands.mano import open_border
from whim.hands.mirror import mirror_faces, mirror_pose
from whim.hands.model import Floats, HandModel
from whim.hands.open_hand import load_open_hand
from whim.hands.pose_prior import pose_from_angles
from whim.synth.body import PARTS, PosedBody, load_body
from whim.synth.looks import cloth, hand_colours, skin_tone
from whim.synth.poses import PersonPose, joint_rotations
from whim.synth.scene import Part, Scene
from whim.synth.truth import HandTruth

SIDES = (Side.LEFT, Side.RIGHT)


@dataclass(frozen=True, kw_only=True, eq=False)
class Character:
    """Who it is: the same in every frame of a sequence."""

    shape: Floats
    """(K,) of the body."""
    betas: Floats
    """(10,) of both hands."""
    body_colours: Floats
    """(V, 3) of the body."""
    hand_colours: Floats
    """(V', 3) of both hands."""


def random_character(rng: np.random.Generator) -> Character:
    """A body with hands of matching size, a skin, and clothes."""
    body, model = load_body(), load_open_hand()
    shape = np.clip(rng.normal(size=body.components), -2.5, 2.5)
    tone = skin_tone(rng)
    return Character(
        shape=shape,
        betas=_matching_betas(model, np.clip(rng.normal(size=10), -2.5, 2.5), body.palm_ratio(shape)),
        body_colours=_outfit(rng, tone)[body.part],
        hand_colours=hand_colours(rng, model, tone),
    )


def _matching_betas(model: HandModel, betas: Floats, ratio: float) -> Floats:
    """The shape with its first coefficient, the size, changed so that the palm is ``ratio`` times the mean one."""
    palm = model.J_template[4] - model.J_template[0]
    length = np.linalg.norm(palm)
    slopes = palm @ (model.J_shapedirs[4] - model.J_shapedirs[0]) / length
    size = ((ratio - 1.0) * length - slopes[1:] @ betas[1:]) / slopes[0]
    return np.concatenate([[np.clip(size, -3.0, 3.0)], betas[1:]])


def _outfit(rng: np.random.Generator, tone: Floats) -> Floats:
    """(P, 3) a colour for every part of the body."""
    shirt, trousers = cloth(rng), cloth(rng)
    hair = tone * 0.95 if rng.random() < 0.08 else np.array([0.55, 0.42, 0.3]) * rng.uniform(0.08, 1.5)
    long_sleeves, sleeves = rng.random() < 0.4, rng.random() < 0.85
    colours = {
        "face": tone,
        "hair": np.clip(hair, 0, 1),
        "eyes": np.array([0.35, 0.3, 0.28]),
        "lips": np.clip(tone * (0.95, 0.62, 0.62), 0, 1),
        "torso": shirt,
        "upper_arm": shirt if sleeves or long_sleeves else tone,
        "forearm": shirt if long_sleeves else tone,
        "leg": trousers if rng.random() < 0.8 else tone,
        "foot": cloth(rng),
    }
    return np.stack([colours[part] for part in PARTS])


@dataclass(frozen=True, kw_only=True, eq=False)
class Figure:
    """A posed person with hands, in any frame; hands as left, right."""

    body: PosedBody
    """Forearms drawn onto the hands."""
    orientations: Floats
    """(2, 3, 3) global orientation of the hands."""
    translations: Floats
    """(2, 3)."""
    hand_pose: Floats
    """(2, 15, 3), each of its own side."""
    joints: Floats
    """(2, 21, 3)."""
    hand_vertices: Floats
    """(2, V', 3)."""

    def moved(self, rotation: Floats, translation: Floats) -> Figure:
        """The same somewhere else, hand parameters too."""
        # A hand turns about its wrist joint at rest, not about the origin.
        rest_wrists = self.joints[:, 0] - self.translations
        return Figure(
            body=self.body.moved(rotation, translation),
            orientations=rotation @ self.orientations,
            translations=self.joints[:, 0] @ rotation.T + translation - rest_wrists,
            hand_pose=self.hand_pose,
            joints=self.joints @ rotation.T + translation,
            hand_vertices=self.hand_vertices @ rotation.T + translation,
        )


def figure(character: Character, pose: PersonPose) -> Figure:
    """The character in a pose, in the frame of its body."""
    body, model = load_body(), load_open_hand()
    posed = body.pose(character.shape, joint_rotations(body, character.shape, pose))
    orientations = np.stack([body.hand_orientation(posed, side) for side in SIDES])
    right = pose_from_angles(model, pose.hands)
    own = np.stack([mirror_pose(right[Side.LEFT]), right[Side.RIGHT]])
    batch = (np.tile(character.betas, (2, 1)), own, Rotation.from_matrix(orientations).as_rotvec())
    sides = np.array(SIDES)
    still = kinematics.vertices(model, *batch, np.zeros((2, 3)), sides)
    border = still[:, _border()]
    translations = np.stack([body.wrist_from_ring(posed, side, border[side]) for side in SIDES])
    vertices = posed.vertices
    for side in SIDES:
        vertices = body.with_hand(vertices, side, border[side] + translations[side])
    return Figure(
        body=PosedBody(vertices=vertices, joints=posed.joints, rotations=posed.rotations),
        orientations=orientations,
        translations=translations,
        hand_pose=own,
        joints=kinematics.keypoints(model, *batch, translations, sides),
        hand_vertices=still + translations[:, None],
    )


def add_figure(
    scene: Scene,
    character: Character,
    placed: Figure,
    *,
    sides: tuple[Side, ...] = SIDES,
    arms_only: bool = False,
) -> list[HandTruth]:
    """Put a figure that is already in the camera's frame into the scene.

    Args:
        scene: where to.
        character: its colours and shape.
        placed: in the camera's axes.
        sides: which hands (and arms) are there.
        arms_only: no trunk, head and legs; then it does not count as a person.

    Returns:
        The truth of the hands put in.
    """
    body, model = load_body(), load_open_hand()
    label = scene.new_label()
    faces = np.concatenate([body.arm_faces(side) for side in sides]) if arms_only else body.faces
    scene.parts.append(
        Part(
            vertices=placed.body.vertices,
            faces=faces,
            colours=character.body_colours,
            label=label,
            two_sided=arms_only,
        )
    )
    person = -1
    if not arms_only:
        person = len(scene.people)
        scene.people.append(label)
    hands = []
    for side in sides:
        truth = HandTruth(
            label=scene.new_label(),
            side=side,
            betas=character.betas,
            hand_pose=placed.hand_pose[side],
            global_orient=Rotation.from_matrix(placed.orientations[side]).as_rotvec(),
            translation=placed.translations[side],
            topology=model.topology,
            joints=placed.joints[side],
            vertices=placed.hand_vertices[side],
            person=person,
        )
        skin = model.faces if side == Side.RIGHT else mirror_faces(model.faces)
        scene.parts.append(
            Part(vertices=truth.vertices, faces=skin, colours=character.hand_colours, label=truth.label)
        )
        scene.hands.append(truth)
        hands.append(truth)
    return hands


@lru_cache(maxsize=1)
def _border() -> list[int]:
    """Vertices of the open hand's border, in the order of ``Body.ring``."""
    return open_border(load_open_hand().faces)
