"""The body against a plain loop, and forearms on hands that are already somewhere."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from whim.conventions import Side
from whim.hands import kinematics
from whim.hands.mano import open_border
from whim.hands.open_hand import load_open_hand
from whim.resources import shipped
from whim.synth.body import JOINTS, PARENTS, load_body
from whim.synth.people import figure, random_character
from whim.synth.poses import person_pose


def test_skinning_equals_a_plain_loop() -> None:
    body = load_body()
    rng = np.random.default_rng(0)
    shape = rng.normal(size=body.components)
    local = Rotation.from_rotvec(rng.normal(0.0, 0.5, (len(JOINTS), 3))).as_matrix()
    posed = body.pose(shape, local)

    def chain(joint: int, point: np.ndarray) -> np.ndarray:
        """Where a rest point goes that is fixed to ``joint``: turned about it, then carried by its parents."""
        while joint >= 0:
            centre = body.joint_map[0, joint] + sum(
                s * m for s, m in zip(shape, body.joint_map[1:, joint], strict=True)
            )
            point = local[joint] @ (point - centre) + centre
            joint = PARENTS[joint]
        return point

    for vertex in rng.integers(0, len(body.v_template), 40):
        rest = body.v_template[vertex] + body.shapedirs[vertex] @ shape
        wanted = sum(
            weight * chain(joint, rest) for joint, weight in enumerate(body.weights[vertex]) if weight > 0
        )
        np.testing.assert_allclose(posed.vertices[vertex], wanted, atol=1e-9)
    rest = body.rest_joints(shape)
    np.testing.assert_allclose(
        posed.joints, [chain(joint, rest[joint]) for joint in range(len(JOINTS))], atol=1e-9
    )


def a_hand(rng: np.random.Generator, side: Side) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Global orientation (3, 3), border (R, 3) and keypoints (21, 3) of a flat hand anywhere."""
    model = load_open_hand()
    turn = Rotation.random(random_state=rng)
    batch = (
        np.clip(rng.normal(size=(1, 10)), -2, 2), np.zeros((1, 15, 3)), turn.as_rotvec()[None], rng.normal(size=(1, 3)),
        side,
    )  # fmt: skip
    vertices = kinematics.vertices(model, *batch)[0]
    return turn.as_matrix(), vertices[open_border(model.faces)], kinematics.keypoints(model, *batch)[0]


@pytest.mark.parametrize("side", [Side.LEFT, Side.RIGHT])
def test_a_forearm_continues_the_hand_it_is_given(side: Side) -> None:
    body = load_body()
    rng = np.random.default_rng(1)
    for _ in range(5):
        shape = np.clip(rng.normal(size=body.components), -2, 2)
        orientation, border, joints = a_hand(rng, side)
        vertices, faces = body.forearm(shape, side, orientation, border)
        distance = np.linalg.norm(vertices[:, None] - border[None], axis=2).min(axis=0)
        np.testing.assert_allclose(distance, 0.0, atol=1e-9)  # no gap
        assert set(faces.ravel()) == set(range(len(vertices)))
        # It leads away from the fingers, about as long as a forearm, closed but for two ends.
        back = joints[0] - joints[9]
        along = (vertices - joints[0]) @ back / np.linalg.norm(back)
        assert along.min() > 0.0
        assert 0.15 < along.max() < 0.36
        # It faces outwards.
        corners = vertices[faces]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        axis = border.mean(axis=0) + np.outer(along - along.min(), back / np.linalg.norm(back))
        outwards = ((corners.mean(axis=1) - axis[faces].mean(axis=1)) * normal).sum(axis=1)
        height = (along - along.min())[faces].mean(axis=1)
        assert (outwards > 0)[(height > 0.02) & (height < 0.12)].mean() > 0.97


def test_a_bent_wrist_turns_the_forearm_and_not_the_hand() -> None:
    body = load_body()
    shape = np.zeros(body.components)
    for side in (Side.LEFT, Side.RIGHT):
        orientation, border, joints = a_hand(np.random.default_rng(2), side)
        back = (joints[0] - joints[9]) / np.linalg.norm(joints[0] - joints[9])
        palm = np.cross(joints[5] - joints[0], joints[17] - joints[0])
        palm *= (1 if side == Side.RIGHT else -1) / np.linalg.norm(palm)
        straight, _ = body.forearm(shape, side, orientation, border)
        ways = []
        for degrees in (-40.0, 0.0, 40.0):
            bent, _ = body.forearm(shape, side, orientation, border, flexion=np.radians(degrees))
            elbow = bent[np.linalg.norm(straight - joints[0], axis=1) > 0.2].mean(axis=0) - joints[0]
            ways.append(np.degrees(np.arctan2(elbow @ palm, elbow @ back)))
        # Flexion takes the palm towards the forearm's palmar side, and so the elbow to where the palm looks.
        assert np.diff(ways) == pytest.approx([40.0, 40.0], abs=9.0)


def test_a_forearm_alone_is_the_one_of_the_whole_body() -> None:
    # Take the arm of a posed person, forget the person, and build it again from the hand.
    body, rng = load_body(), np.random.default_rng(5)
    border = open_border(load_open_hand().faces)
    for _ in range(3):
        character, pose = random_character(rng), person_pose(rng, seated=False)
        placed = figure(character, pose)
        for side in (Side.LEFT, Side.RIGHT):
            twist, flexion, deviation = pose.forearms[side]
            ring = placed.hand_vertices[side][border]
            vertices, _ = body.forearm(
                character.shape, side, placed.orientations[side], ring,
                twist=twist, flexion=flexion, deviation=deviation,
            )  # fmt: skip
            lower = [JOINTS.index(f"{n}_{side.name.lower()}") for n in ("elbow", "twist", "wrist")]
            own = body.weights[:, lower].sum(axis=1)
            kept = np.unique(body.faces[(own > 0.6)[body.faces].all(axis=1)])
            whole = placed.body.vertices[kept]
            assert len(kept) == len(vertices)
            # Near the elbow the upper arm pulls on the skin as well; beyond it they are the same.
            alone = own[kept] > 0.999
            assert alone.mean() > 0.5
            # The file keeps ``hand_frame`` in single precision.
            np.testing.assert_allclose(vertices[alone], whole[alone], atol=1e-7)


def test_the_file_is_small_free_and_says_where_it_comes_from() -> None:
    path = shipped("models/open_body.npz")
    assert path.stat().st_size < 400 * 1024
    with np.load(path, allow_pickle=False) as file:
        assert str(file["licence"]) == "CC0-1.0"
        assert "MakeHuman" in str(file["provenance"])
        assert "NAVER" in str(file["provenance"])
