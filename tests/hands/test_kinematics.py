"""Kinematics against slow references, against the mesh, and against a real MANO sequence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from whim.conventions import HAND_KEYPOINTS, MANO_TO_OPENPOSE, OPENPOSE_TO_MANO
from whim.hands import kinematics
from whim.hands.model import PARENTS, TIP_PARENTS, HandModel, topology_tag


def reference_vertices(model: HandModel, betas, hand_pose, global_orient, translation) -> np.ndarray:
    """One hand, joint by joint and vertex by vertex, in homogeneous coordinates."""
    rest = model.v_template + model.shapedirs @ betas
    joints = model.J_regressor @ rest
    local = Rotation.from_rotvec(np.vstack([global_orient, hand_pose])).as_matrix()
    if model.posedirs is not None:
        rest = rest + model.posedirs @ (local[1:] - np.eye(3)).ravel()
    world = []
    for j, parent in enumerate(PARENTS):
        step = np.eye(4)
        step[:3, :3] = local[j]
        step[:3, 3] = joints[j] - (joints[parent] if j else 0.0)
        world.append(step if j == 0 else world[parent] @ step)
    maps = []
    for j, matrix in enumerate(world):
        back = np.eye(4)
        back[:3, 3] = -joints[j]
        maps.append(matrix @ back)
    blended = np.einsum("vj,jrc->vrc", model.weights, np.array(maps))
    return np.einsum("vrc,vc->vr", blended, np.c_[rest, np.ones(len(rest))])[:, :3] + translation


def test_the_keypoint_tables_are_inverse_and_name_the_right_joints() -> None:
    order = np.array(MANO_TO_OPENPOSE)
    assert (order[list(OPENPOSE_TO_MANO)] == np.arange(21)).all()
    mano_names = [
        "wrist",
        *(f"{f}_{j}" for f in ("index", "middle", "little", "ring") for j in ("mcp", "pip", "dip")),
        *(f"thumb_{j}" for j in ("cmc", "mcp", "ip")),
        *(f"{f}_tip" for f in ("thumb", "index", "middle", "ring", "little")),
    ]
    assert tuple(mano_names[k] for k in MANO_TO_OPENPOSE) == HAND_KEYPOINTS


def test_rotations_equal_scipy_down_to_zero() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(400, 3)) * np.logspace(-12, 0.7, 400)[:, None]
    vectors[0] = 0.0
    expected = Rotation.from_rotvec(vectors).as_matrix()
    np.testing.assert_allclose(kinematics.rotation_from_axis_angle(vectors), expected, atol=1e-14)
    assert kinematics.rotation_from_axis_angle(vectors.reshape(20, 20, 3)).shape == (20, 20, 3, 3)


def test_vertices_equal_the_slow_reference(open_hand: HandModel, random_hands) -> None:
    hands = random_hands(3)
    for k, found in enumerate(kinematics.vertices(open_hand, *hands)):
        np.testing.assert_allclose(found, reference_vertices(open_hand, *(x[k] for x in hands)), atol=1e-12)


def test_keypoints_equal_joints_and_tips_of_the_mesh(open_hand: HandModel, random_hands) -> None:
    hands = random_hands(50)
    points = kinematics.keypoints(open_hand, *hands)[:, list(OPENPOSE_TO_MANO)]
    posed = kinematics.forward(open_hand, *hands)
    np.testing.assert_array_equal(points[:, :16], posed.joints)
    tips = open_hand.tip_regressor @ kinematics.vertices(open_hand, *hands)
    np.testing.assert_allclose(points[:, 16:], tips, atol=1e-12)


def test_transforms_carry_children_and_are_rigid(open_hand: HandModel, random_hands) -> None:
    posed = kinematics.forward(open_hand, *random_hands(5))
    np.testing.assert_allclose(np.linalg.det(posed.rotations), 1.0, atol=1e-12)
    for joint in range(1, 16):
        bone = posed.rest_joints[:, joint] - posed.rest_joints[:, PARENTS[joint]]
        moved = np.einsum("bij,bj->bi", posed.transforms[:, PARENTS[joint], :3, :3], bone)
        np.testing.assert_allclose(
            posed.transforms[:, joint, :3, 3], moved + posed.transforms[:, PARENTS[joint], :3, 3], atol=1e-12
        )


def test_the_global_rotation_turns_about_the_wrist(open_hand: HandModel) -> None:
    betas, pose, zero = np.ones((1, 10)), np.zeros((1, 15, 3)), np.zeros((1, 3))
    rest = kinematics.keypoints(open_hand, betas, pose, zero, zero)[0]
    turn, shift = np.array([[0.3, -1.0, 0.4]]), np.array([[0.1, 0.2, 0.7]])
    turned = kinematics.keypoints(open_hand, betas, pose, turn, shift)[0]
    expected = (rest - rest[0]) @ Rotation.from_rotvec(turn[0]).as_matrix().T + rest[0] + shift
    np.testing.assert_allclose(turned, expected, atol=1e-12)


def test_no_hand_and_wrong_shapes(open_hand: HandModel, random_hands) -> None:
    nobody = [x[:0] for x in random_hands(1)]
    assert kinematics.keypoints(open_hand, *nobody).shape == (0, 21, 3)
    assert kinematics.vertices(open_hand, *nobody).shape == (0, 778, 3)
    betas, pose, orient, shift = random_hands(2)
    for wrong in (
        (betas[:, :9], pose, orient, shift),
        (betas, pose.reshape(2, 45), orient, shift),
        (betas, pose, orient[:1], shift),
    ):
        with pytest.raises(ValueError, match=r"\(B, 15, 3\)"):
            kinematics.keypoints(open_hand, *wrong)


def test_joint_axes_are_anatomical(open_hand: HandModel) -> None:
    axes = kinematics.joint_axes(open_hand)
    np.testing.assert_allclose(axes @ axes.swapaxes(1, 2), np.tile(np.eye(3), (15, 1, 1)), atol=1e-12)
    points = np.vstack([open_hand.J_template, open_hand.tip_template])
    for finger in range(5):
        outwards = points[16 + [1, 2, 4, 3, 0][finger]] - points[1 + 3 * finger]
        assert axes[3 * finger, 0] @ outwards > 0.9 * np.linalg.norm(outwards)
    # Fingers flex about +z of the canonical frame, nearly: the palm faces -y and fingers point along -x.
    assert (axes[:12, 1, 2] > 0.85).all()
    zero = np.zeros((1, 3))
    rest = kinematics.keypoints(open_hand, np.zeros((1, 10)), np.zeros((1, 15, 3)), zero, zero)[0]
    for joint in range(15):
        pose = np.zeros((1, 15, 3))
        pose[0, joint] = 0.5 * axes[joint, 1]
        bent = kinematics.keypoints(open_hand, np.zeros((1, 10)), pose, zero, zero)[0]
        tip = 4 * (1 + [1, 2, 4, 3, 0][joint // 3])
        assert bent[tip, 1] < rest[tip, 1] - 0.004, f"joint {joint + 1} must flex towards the palm"


def test_the_tree_and_the_tips_belong_together() -> None:
    assert sorted(TIP_PARENTS) == sorted(set(range(16)) - set(PARENTS))


def test_a_real_mano_sequence_is_reproduced(shared_data: Path) -> None:
    """122 frames of MANO with changing shape, without the MANO file.

    MANO's rest bones are linear in the shape coefficients, so rest joints are learnt from half of the frames
    and the joints of the other half predicted from pose, shape, orientation and translation alone.
    """
    with np.load(shared_data / "params" / "dexmv_mano_sequence.npz", allow_pickle=False) as file:
        mano, truth, bones = (file[key].astype(np.float64) for key in ("mano", "joints", "transforms"))
    # The file's bones: wrist, then thumb to little finger.
    bones = bones[:, [0, *(1 + 3 * finger + k for finger in (1, 2, 4, 3, 0) for k in range(3))]]
    parents = [*PARENTS[1:], *TIP_PARENTS]
    places = truth[:, list(OPENPOSE_TO_MANO)]
    step = places[:, 1:] - places[:, parents]
    offsets = np.einsum("bjki,bjk->bji", bones[:, parents, :3, :3], step)
    betas = mano[:, 48:58]
    design = np.c_[np.ones(len(betas)), betas]
    for train, test in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        linear = np.linalg.lstsq(design[train], offsets[train].reshape(len(betas) // 2, -1), rcond=None)[0]
        rest = np.zeros((11, 21, 3))
        for point, parent in enumerate(parents, start=1):
            rest[:, point] = rest[:, parent] + linear.reshape(11, 20, 3)[:, point - 1]
        model = points_as_mesh(rest)
        pose, orient = mano[test, 3:48].reshape(-1, 15, 3), mano[test, :3]
        found = kinematics.keypoints(model, betas[test], pose, orient, mano[test, 58:])
        error = np.linalg.norm(found - truth[test], axis=-1)
        tips = [4, 8, 12, 16, 20]
        assert np.delete(error, tips, axis=1).max() < 1e-4
        assert error[:, tips].max() < 1e-3  # MANO's tips also move with its pose blend shapes


def points_as_mesh(rest: np.ndarray) -> HandModel:
    """A hand whose 21 vertices are its joints and tips; ``rest`` (11, 21, 3) is mean and shape directions."""
    weights = np.eye(16)[[*range(16), *TIP_PARENTS]]
    arrays = {"v_template": rest[0], "shapedirs": np.moveaxis(rest[1:], 0, -1), "weights": weights}
    faces = np.zeros((0, 3), dtype=np.int64)
    return HandModel(
        name="points",
        topology=topology_tag("points", arrays),
        posedirs=None,
        J_regressor=np.eye(21)[:16],
        tip_regressor=np.eye(21)[16:],
        faces=faces,
        faces_closed=faces,
        pose_mean=np.zeros((15, 3)),
        **arrays,
    )
