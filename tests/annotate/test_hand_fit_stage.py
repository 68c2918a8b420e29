"""The fit inside annotate: label columns that give the keypoints back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import square_detector
from square_detector import SquareExecutor, SquareHands, config

from whim.annotate.config import FitStageConfig
from whim.annotate.fit import Fitter, load_fitter
from whim.annotate.run import annotate
from whim.conventions import Side
from whim.errors import UsageError
from whim.hands.kinematics import keypoints
from whim.hands.open_hand import load_open_hand
from whim.perception.types import Hand, HandVote, Image
from whim.shards.reader import iter_rows

WIDTH, HEIGHT = 640, 480
FOCAL = float(np.hypot(WIDTH, HEIGHT))


def true_joints(side: Side) -> np.ndarray:
    """A hand of mean shape, half a metre away, palm to the camera, fingers up."""
    model = load_open_hand()
    turn = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    from scipy.spatial.transform import Rotation

    orient = Rotation.from_matrix(turn).as_rotvec()
    joints = keypoints(
        model, np.zeros((1, 10)), np.full((1, 15, 3), 0.05), orient[None], np.zeros((1, 3)), side
    )[0]
    return joints - joints.mean(axis=0) + [0.05, -0.02, 0.5]


def seen(joints: np.ndarray) -> np.ndarray:
    return joints[:, :2] / joints[:, 2:] * FOCAL + np.array([WIDTH, HEIGHT]) / 2


def hand(points: np.ndarray | None, side: Side, world: np.ndarray | None = None) -> Hand:
    return Hand(
        box=np.array([0.0, 0, 10, 10]),
        side=side,
        side_score=0.9,
        score=0.9,
        keypoints=points,
        keypoint_scores=None,
        person=-1,
        votes=(),
        agreement=1.0,
        world=world,
    )


@pytest.fixture(scope="module")
def fitter() -> Fitter:
    return load_fitter(FitStageConfig())


@pytest.mark.parametrize("side", [Side.LEFT, Side.RIGHT])
def test_columns_give_the_keypoints_back(fitter: Fitter, side: Side) -> None:
    joints = true_joints(side)
    ((columns,),) = fitter.fit([[hand(seen(joints), side, joints)]], [(WIDTH, HEIGHT)])
    mano, camera = columns["mano"], columns["camera"]
    assert camera == {"focal": [FOCAL, FOCAL], "center": [320.0, 240.0], "assumed": True}
    again = keypoints(
        load_open_hand(), *(np.array([mano[k]]) for k in ("betas", "hand_pose", "global_orient", "translation")),
        side,
    )[0]  # fmt: skip
    np.testing.assert_allclose(again, columns["joints_3d"], atol=1e-9)
    assert mano["topology"] == load_open_hand().topology
    error = np.linalg.norm(seen(np.array(columns["joints_3d"])) - seen(joints), axis=1)
    assert error.max() < 0.03 * np.ptp(seen(joints), axis=0).max()
    assert columns["fit"]["residual"] < 0.01
    assert columns["fit"]["solver"].startswith("lm/")


def test_hands_keep_their_frames_and_hopeless_ones_stay_null(fitter: Fitter) -> None:
    points = seen(true_joints(Side.RIGHT))
    good, no_side, no_keypoints = hand(points, Side.RIGHT), hand(points, Side.UNKNOWN), hand(None, Side.LEFT)
    frames = [[no_side, good], [], [no_keypoints], [good]]
    rows = fitter.fit(frames, [(WIDTH, HEIGHT)] * 4)
    assert [[columns["mano"] is not None for columns in row] for row in rows] == [
        [False, True],
        [],
        [False],
        [True],
    ]
    assert rows[0][0] == {"joints_3d": None, "mano": None, "camera": None, "fit": None}
    assert fitter.fit([], []) == []


def test_a_known_focal_length_sets_the_depth(fitter: Fitter) -> None:
    points = seen(true_joints(Side.RIGHT))
    depths = []
    for settings in (FitStageConfig(), FitStageConfig(focal_px=2 * FOCAL)):
        ((columns,),) = replace(fitter, config=settings).fit([[hand(points, Side.RIGHT)]], [(WIDTH, HEIGHT)])
        assert columns["camera"]["assumed"] == (settings.focal_px is None)
        depths.append(columns["joints_3d"][0][2])
    assert depths[1] / depths[0] == pytest.approx(2.0, rel=0.1)


def test_a_missing_mano_file_is_named() -> None:
    with pytest.raises(UsageError, match="nowhere"):
        load_fitter(FitStageConfig(hand="nowhere/MANO_RIGHT.pkl"))


def test_annotate_writes_the_fit(
    make_video: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern = seen(true_joints(Side.LEFT))
    pattern = (pattern - pattern.min(axis=0)) / np.ptp(pattern, axis=0)

    class Landmarks(SquareHands):
        def detect(self, image: Image) -> list[HandVote]:
            return [
                replace(vote, keypoints=vote.box[:2] + pattern * (vote.box[2:] - vote.box[:2]))
                for vote in super().detect(image)
            ]

    monkeypatch.setattr(square_detector, "SquareHands", Landmarks)
    make_video("videos/a.mp4", frames=60)
    settings = config()
    annotate(
        [tmp_path / "videos"],
        out=tmp_path / "labels",
        config=settings,
        executor=lambda workers: SquareExecutor(settings),
    )
    hands = [hand for row in iter_rows(tmp_path / "labels") for hand in row["hands"]]
    assert hands
    for found in hands:
        assert found["mano"]["topology"] == load_open_hand().topology
        assert found["joints_3d"][0][2] > 0
        assert found["camera"]["assumed"]
    two_dimensional = config("fit=null")
    annotate(
        [tmp_path / "videos"],
        out=tmp_path / "flat",
        config=two_dimensional,
        executor=lambda workers: SquareExecutor(two_dimensional),
    )
    assert all(hand["mano"] is None for row in iter_rows(tmp_path / "flat") for hand in row["hands"])
