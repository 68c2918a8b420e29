"""A scene before it is rendered: surfaces in the camera, and the truth about the hands among them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from whim.conventions import Side
from whim.hands import kinematics
from whim.hands.mirror import mirror_pose
from whim.hands.model import Floats, HandModel
from whim.synth.truth import HandTruth, View


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One surface."""

    vertices: Floats
    """(V, 3) metres, camera axes."""
    faces: NDArray[np.int64]
    """(F, 3) counter-clockwise seen from outside."""
    colours: Floats
    """(V, 3) sRGB, 0..1."""
    label: int
    """Its number in the label image; parts of one hand, or of one person, share it."""


@dataclass(kw_only=True)
class Scene:
    """Everything that is to be seen."""

    view: View
    parts: list[Part] = field(default_factory=list)
    hands: list[HandTruth] = field(default_factory=list)
    people: list[int] = field(default_factory=list)
    """Labels of whole persons, without their hands; in the order of the row's ``persons``."""

    def new_label(self) -> int:
        """The next free number; 0 is the background."""
        return 1 + max((part.label for part in self.parts), default=0)


def random_view(
    rng: np.random.Generator, width: int, height: int, *, fov: tuple[float, float] = (35.0, 80.0)
) -> View:
    """A camera whose longer side sees between ``fov`` degrees; a quarter of them stand upright."""
    if rng.random() < 0.25:
        width, height = height, width
    focal = 0.5 * max(width, height) / np.tan(np.radians(rng.uniform(*fov)) / 2)
    return View(focal=float(focal), center=(width / 2, height / 2), width=width, height=height)


def add_hand(
    scene: Scene,
    model: HandModel,
    *,
    side: Side,
    betas: Floats,
    right_pose: Floats,
    orientation: Rotation,
    wrist: Floats,
    colours: Floats,
    person: int = -1,
) -> HandTruth:
    """Put a hand into the scene and return its truth.

    Args:
        scene: where to.
        model: the right hand.
        side: which hand it is.
        betas: (10,) shape.
        right_pose: (15, 3) axis-angle, as of a right hand.
        orientation: of this very hand in the camera.
        wrist: (3,) metres, where its wrist joint is to lie.
        colours: (V, 3) of its skin.
        person: index of its person.
    """
    label = scene.new_label()
    orient = orientation.as_rotvec()
    pose = right_pose if side == Side.RIGHT else mirror_pose(right_pose)
    batch = (betas[None], pose[None], orient[None])
    still = kinematics.keypoints(model, *batch, np.zeros((1, 3)), side)[0]
    translation = wrist - still[0]
    vertices = kinematics.vertices(model, *batch, translation[None], side)[0]
    faces = model.faces_closed if side == Side.RIGHT else model.faces_closed[:, ::-1]
    truth = HandTruth(
        label=label,
        side=side,
        betas=betas,
        hand_pose=pose,
        global_orient=orient,
        translation=translation,
        topology=model.topology,
        joints=still + translation,
        vertices=vertices,
        person=person,
    )
    scene.parts.append(Part(vertices=vertices, faces=faces, colours=colours, label=label))
    scene.hands.append(truth)
    return truth
