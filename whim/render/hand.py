"""A fitted hand as a mesh."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from whim.conventions import Side
from whim.hands.kinematics import vertices
from whim.hands.mirror import mirror_faces
from whim.hands.model import HandModel, Ints
from whim.render.types import Mesh

SKIN = (0.85, 0.66, 0.56)
"""sRGB of a hand that nobody gave a colour."""


def hand_mesh(
    model: HandModel,
    betas: ArrayLike,
    hand_pose: ArrayLike,
    global_orient: ArrayLike,
    translation: ArrayLike,
    side: Side,
    colour: ArrayLike | None = None,
    *,
    label: int = 1,
) -> Mesh:
    """The closed mesh of one hand, faces outwards for either side. Its first V vertices are the model's.

    Args:
        model: the right hand.
        betas: (10,) shape.
        hand_pose: (15, 3) axis-angle of the hand's own side, MANO's mean pose included.
        global_orient: (3,) axis-angle.
        translation: (3,) metres.
        side: left or right.
        colour: (3,) or (V, 3), sRGB in 0..1; skin without one.
        label: number in the label image.

    Raises:
        ValueError: for an unknown side, or arrays of other shapes.
    """
    shape, pose, orient, place = (
        np.asarray(value, dtype=np.float64)[None] for value in (betas, hand_pose, global_orient, translation)
    )
    posed = vertices(model, shape, pose, orient, place, side)[0]
    colours = np.broadcast_to(np.asarray(SKIN if colour is None else colour, dtype=np.float64), posed.shape)
    source, faces = _capped(model)
    return Mesh(
        vertices=posed[source],
        faces=mirror_faces(faces) if side == Side.LEFT else faces,
        colours=colours[source],
        label=label,
    )


def _capped(model: HandModel) -> tuple[Ints, Ints]:
    """Which vertex of the model each vertex of the mesh is, (V',), and the mesh's faces (F', 3).

    The cap on the wrist has vertices of its own: with the skin's, the edge would be shaded as if it were round.
    """
    count, skin = len(model.v_template), len(model.faces)
    if not np.array_equal(model.faces_closed[:skin], model.faces):
        raise ValueError("the cap's faces must follow those of the skin")
    rim, cap = np.unique(model.faces_closed[skin:], return_inverse=True)
    return (
        np.concatenate([np.arange(count), rim]),
        np.concatenate([model.faces, cap.reshape(-1, 3) + count]),
    )
