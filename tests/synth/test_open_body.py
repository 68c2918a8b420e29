"""The body: its file, its rig, and hands that fit its wrists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from whim.conventions import Side
from whim.errors import BadFileError
from whim.hands import kinematics
from whim.hands.mano import open_border
from whim.hands.open_hand import load_open_hand
from whim.resources import shipped
from whim.synth.body import JOINTS, PARENTS, PARTS, load_body, read_body
from whim.synth.people import SIDES, figure, random_character
from whim.synth.poses import PersonPose, hand_angles, joint_rotations, person_pose, smooth

REST = np.tile(np.eye(3), (len(JOINTS), 1, 1))


def test_at_rest_it_is_its_template() -> None:
    body = load_body()
    posed = body.pose(np.zeros(body.components), REST)
    np.testing.assert_allclose(posed.vertices, body.v_template, atol=1e-12)
    assert 1.5 < np.ptp(body.v_template[:, 1]) < 1.9  # without hands and shoes, feet to crown
    assert all(parent < joint for joint, parent in enumerate(PARENTS))
    assert set(np.unique(body.part)) == set(range(len(PARTS)))


def test_it_looks_forward_and_its_left_is_at_plus_x() -> None:
    body = load_body()
    places = dict(zip(JOINTS, body.joint_map[0], strict=True))
    assert places["wrist_left"][0] > 0.2 > -0.2 > places["wrist_right"][0]
    eyes = body.v_template[body.part == PARTS.index("eyes")]
    assert eyes[:, 2].mean() > places["head"][2] + 0.03
    assert places["head"][1] > places["pelvis"][1] > places["knee_left"][1]


def test_a_joint_moves_what_hangs_on_it_and_nothing_else() -> None:
    body = load_body()
    turned = REST.copy()
    turned[JOINTS.index("elbow_left")] = Rotation.from_euler("y", 40, degrees=True).as_matrix()
    before, after = body.pose(np.zeros(body.components), REST), body.pose(np.zeros(body.components), turned)
    moved = np.linalg.norm(after.joints - before.joints, axis=1) > 1e-9
    assert [JOINTS[i] for i in np.flatnonzero(moved)] == ["twist_left", "wrist_left"]
    own = body.weights[:, [JOINTS.index(f"{name}_left") for name in ("elbow", "twist", "wrist")]].sum(axis=1)
    still = np.linalg.norm(after.vertices - before.vertices, axis=1) < 1e-9
    assert still[own == 0].all()
    assert not still[own > 0.9].any()


def test_moving_a_posed_body_moves_everything() -> None:
    body = load_body()
    posed = body.pose(np.ones(body.components), REST)
    turn = Rotation.from_rotvec([0.3, 1.0, -0.2]).as_matrix()
    moved = posed.moved(turn, np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(moved.joints - moved.joints[0], (posed.joints - posed.joints[0]) @ turn.T)


@pytest.mark.parametrize("seed", range(4))
def test_hands_close_the_arms_and_give_their_own_parameters_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    character = random_character(rng)
    turn, shift = Rotation.random(random_state=seed).as_matrix(), np.array([0.1, -0.2, 3.0])
    placed = figure(character, person_pose(rng, seated=False)).moved(turn, shift)
    model, body = load_open_hand(), load_body()
    border = open_border(model.faces)
    for side in SIDES:
        batch = (
            character.betas[None],
            placed.hand_pose[side][None],
            Rotation.from_matrix(placed.orientations[side]).as_rotvec()[None],
            placed.translations[side][None],
        )
        np.testing.assert_allclose(
            kinematics.keypoints(model, *batch, side)[0], placed.joints[side], atol=1e-9
        )
        np.testing.assert_allclose(
            kinematics.vertices(model, *batch, side)[0], placed.hand_vertices[side], atol=1e-9
        )
        # No gap: the arm ends on the border of the hand, and reaches it without a jump.
        end = placed.body.vertices[body.ring[side]]
        np.testing.assert_allclose(end, placed.hand_vertices[side][border], atol=1e-9)


def test_thumbs_are_on_the_right_side() -> None:
    # Arms hang and palms face the thighs: thumbs point forward on both sides.
    rng = np.random.default_rng(0)
    character = random_character(rng)
    pose = person_pose(rng, seated=False)
    hanging = PersonPose(
        wrists=np.array([[0.2, -0.95, 0.1]] * 2),
        swivels=np.zeros(2),
        forearms=np.zeros((2, 3)),
        trunk=np.zeros((4, 3)),
        legs=pose.legs * 0,
        hands=np.zeros((2, 45)),
    )
    for joints in figure(character, hanging).joints:
        assert joints[4, 2] > joints[20, 2] + 0.03  # thumb tip before little finger's tip
        assert joints[12, 1] < joints[0, 1]


def test_the_wrist_goes_where_it_is_sent() -> None:
    body = load_body()
    rng = np.random.default_rng(3)
    shape = rng.normal(size=body.components)
    pose = person_pose(rng, seated=True)
    posed = body.pose(shape, joint_rotations(body, shape, pose))
    for index, side in enumerate(("left", "right")):
        shoulder, elbow, wrist = (
            posed.joints[JOINTS.index(f"{n}_{side}")] for n in ("shoulder", "elbow", "wrist")
        )
        length = np.linalg.norm(elbow - shoulder) + np.linalg.norm(wrist - elbow)
        chest = posed.rotations[JOINTS.index(f"clavicle_{side}")]
        goal = pose.wrists[index] * ([1, 1, 1] if side == "left" else [-1, 1, 1])
        # Not to the millimetre: the forearm's twist joint lies a little beside the line to the wrist.
        goal *= np.clip(np.linalg.norm(goal), 0.4, 0.98) / np.linalg.norm(goal)
        np.testing.assert_allclose(chest.T @ (wrist - shoulder) / length, goal, atol=0.01)


def test_hands_keep_within_their_limits() -> None:
    from whim.hands.pose_prior import ANGLE_LIMITS

    rng = np.random.default_rng(1)
    for style in (None, "open", "fist", "point", "pinch", "hold", "count", "relaxed"):
        for _ in range(20):
            angles = hand_angles(rng, style)
            assert (angles >= ANGLE_LIMITS[0]).all()
            assert (angles <= ANGLE_LIMITS[1]).all()
    assert hand_angles(rng, "fist").reshape(15, 3)[1, 1] > hand_angles(rng, "open").reshape(15, 3)[1, 1] + 1.0


def test_motion_is_smooth_and_passes_through_its_keys() -> None:
    rng = np.random.default_rng(2)
    keys = np.stack([person_pose(rng, seated=False).vector() for _ in range(4)])
    times = np.linspace(0, 3, 4)
    np.testing.assert_allclose(smooth(keys, times, times), keys, atol=1e-12)
    again = PersonPose.from_vector(keys[2])
    np.testing.assert_array_equal(again.vector(), keys[2])
    fine = smooth(keys, times, np.linspace(0, 3, 301))
    acceleration = np.abs(np.diff(fine, 2, axis=0)) / 0.01**2
    assert acceleration.max() < 60  # a linear path would jump by hundreds at a key


def test_a_size_of_body_has_hands_of_that_size() -> None:
    rng = np.random.default_rng(5)
    model, body = load_open_hand(), load_body()
    for _ in range(5):
        character = random_character(rng)
        joints = model.J_template + model.J_shapedirs @ character.betas
        mean = np.linalg.norm(model.J_template[4] - model.J_template[0])
        ratio = np.linalg.norm(joints[4] - joints[0]) / mean
        assert abs(character.betas[0]) == 3.0 or ratio == pytest.approx(
            body.palm_ratio(character.shape), abs=0.03
        )


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    bad = tmp_path / "body.npz"
    bad.write_bytes(shipped("models/open_body.npz").read_bytes()[:5000])
    with pytest.raises(BadFileError, match="install WHIM again"):
        read_body(bad)
    with np.load(shipped("models/open_body.npz")) as file:
        fields = {key: file[key] for key in file.files}
    fields["faces"] = fields["faces"] + 60000
    np.savez(bad, **fields)
    with pytest.raises(BadFileError):
        read_body(bad)
    assert Side.LEFT == 0  # hand_frame and ring are indexed by side
