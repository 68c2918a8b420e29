"""The body against a plain loop, and forearms that end on hands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from whim.conventions import Side
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


@pytest.mark.parametrize("side", [Side.LEFT, Side.RIGHT])
def test_the_forearm_ends_on_the_border_of_the_hand_and_faces_outwards(side: Side) -> None:
    body, rng = load_body(), np.random.default_rng(5)
    border = open_border(load_open_hand().faces)
    for _ in range(5):
        straight = replace(person_pose(rng, seated=False), forearms=np.zeros((2, 3)))
        placed = figure(random_character(rng), straight)
        vertices = placed.body.vertices
        ring = placed.hand_vertices[side][border]
        np.testing.assert_allclose(vertices[body.ring[side]], ring, atol=1e-9)  # no gap
        corners = vertices[body.arm_faces(side)]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        elbow = placed.body.joints[JOINTS.index(f"elbow_{side.name.lower()}")]
        back = (elbow - ring.mean(axis=0)) / np.linalg.norm(elbow - ring.mean(axis=0))
        height = (corners.mean(axis=1) - ring.mean(axis=0)) @ back
        from_axis = corners.mean(axis=1) - ring.mean(axis=0) - height[:, None] * back
        near = (height > 0.02) & (height < 0.12) & (np.linalg.norm(from_axis, axis=1) < 0.08)
        assert near.sum() > 20
        assert ((from_axis * normal).sum(axis=1)[near] > 0).mean() > 0.97


def test_the_file_is_small_free_and_says_where_it_comes_from() -> None:
    path = shipped("models/open_body.npz")
    assert path.stat().st_size < 400 * 1024
    with np.load(path, allow_pickle=False) as file:
        assert str(file["licence"]) == "CC0-1.0"
        assert "MakeHuman" in str(file["provenance"])
        assert "NAVER" in str(file["provenance"])
