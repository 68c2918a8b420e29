"""HO-3D's layout, built small: pickles as its authors write them, in OpenGL's axes and MANO's order."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from importer_layouts import picture

from whim.errors import BadFileError, UsageError
from whim.hands import kinematics
from whim.hands.open_hand import load_open_hand
from whim.importers.ho3d import frame_list
from whim.importers.run import run_import
from whim.metrics.submission import swap_opengl, to_challenge
from whim.shards import reader

K = np.array([[600.0, 0.0, 320.0], [0.0, 610.0, 240.0], [0.0, 0.0, 1.0]])


def hand_in_opengl(seed: int) -> tuple[dict, np.ndarray]:
    """What a training pickle says of a hand, made in OpenGL's axes from the start; and its mesh there."""
    model, rng = load_open_hand(), np.random.default_rng(seed)
    pose = rng.normal(scale=0.2, size=(1, 16, 3))
    betas = rng.normal(scale=0.5, size=(1, 10))
    translation = np.array([[0.05, -0.03, -0.6]])  # y up, before the camera: z < 0
    arguments = (model, betas, pose[:, 1:], pose[:, 0], translation)
    # `to_challenge` orders OpenPose as MANO and turns the axes; these are turned already.
    joints = swap_opengl(to_challenge(kinematics.keypoints(*arguments)[0], "ho3d"))
    meta = {
        "handPose": pose.reshape(48),
        "handBeta": betas[0],
        "handTrans": translation[0],
        "handJoints3D": joints,
        "camMat": K,
        "objName": "006_mustard_bottle",
    }
    return meta, kinematics.vertices(*arguments)[0]


def frame(root: Path, part: str, name: str, meta: dict, suffix: str) -> None:
    """One frame and its pickle (of protocol 2, as Python 2 wrote them)."""
    sequence, number = name.split("/")
    picture(root / part / sequence / "rgb" / f"{number}{suffix}", seed=int(number), size=(640, 480))
    path = root / part / sequence / "meta" / f"{number}.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(meta, protocol=2))


def write_list(root: Path, part: str, names: list[str]) -> None:
    (root / f"{part}.txt").write_text("".join(f"{name}\n" for name in names))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])  # version 2, version 3
def test_training_frames(tmp_path, suffix):
    home = tmp_path / "set"
    names = ["SM1/0003", "ABF10/0001", "ABF10/0000"]
    metas = {}
    for seed, name in enumerate(names):
        metas[name], skin = hand_in_opengl(seed)
        frame(home, "train", name, metas[name], suffix)
    write_list(home, "train", names)
    summary = run_import("ho3d", home, tmp_path / "out", split="train")
    assert (summary.pictures, summary.hands, summary.skipped) == (3, 3, [])
    assert summary.box_convention == "keypoint-hull"
    rows = list(reader.iter_rows(tmp_path / "out"))
    assert [(row["video_id"], row["frame_index"]) for row in rows] == [("ABF10", 0), ("ABF10", 1), ("SM1", 3)]
    (hand,) = rows[0]["hands"]  # the last that was made
    joints = np.array(hand["joints_3d"])
    assert (joints[:, 2] > 0).all()
    given = metas["ABF10/0000"]["handJoints3D"] * [1, -1, -1]
    assert np.allclose(
        joints[[0, 5, 4, 20]], given[[0, 1, 16, 20]], atol=1e-6
    )  # wrist, index, tips of thumb, little
    image = joints @ K.T
    assert np.allclose(hand["keypoints_2d"], image[:, :2] / image[:, 2:], atol=1e-2)
    assert hand["side"] == 1
    assert hand["camera"]["focal"] == [600, 610]
    assert not hand["camera"]["assumed"]
    # The parameters give the same mesh in the other axes, with the hand model that made it.
    mano = hand["mano"]
    parts = [np.array(mano[name])[None] for name in ("betas", "hand_pose", "global_orient", "translation")]
    assert np.allclose(kinematics.vertices(load_open_hand(), *parts)[0], skin * [1, -1, -1], atol=1e-5)


def test_evaluation_frames_have_a_box_and_the_root_until_the_truth_is_there(tmp_path):
    home = tmp_path / "set"
    names = ["SM1/0000", "AP10/0007"]
    truth = []
    for seed, name in enumerate(names):
        meta, _ = hand_in_opengl(seed)
        truth.append(meta["handJoints3D"].tolist())
        shown = {
            "camMat": K,
            "handJoints3D": meta["handJoints3D"][0],
            "handBoundingBox": [300, 200, 420, 330],
        }
        frame(home, "evaluation", name, shown, ".png")
    write_list(home, "evaluation", names)
    assert frame_list(home, "evaluation") == [
        ("SM1", "0000"),
        ("AP10", "0007"),
    ]  # submissions keep this order
    summary = run_import("ho3d", home, tmp_path / "a", split="test")
    assert summary.box_convention == "annotated"
    rows = list(reader.iter_rows(tmp_path / "a"))
    assert [row["split"] for row in rows] == ["test", "test"]
    (hand,) = rows[1]["hands"]
    assert hand["box"] == [300, 200, 420, 330]
    assert hand["joints_3d"] is hand["mano"] is None
    assert hand["keypoint_scores"] == [1] + [0] * 20
    wrist = K @ swap_opengl(truth[0][0])
    assert np.allclose(hand["keypoints_2d"][0], wrist[:2] / wrist[2], atol=1e-3)
    (home / "evaluation_xyz.json").write_text(json.dumps(truth))
    run_import("ho3d", home, tmp_path / "b", split="evaluation")
    joints = np.array(next(iter(reader.iter_rows(tmp_path / "b")))["hands"][0]["joints_3d"])  # AP10/0007
    assert np.allclose(to_challenge(joints, "ho3d"), truth[1], atol=1e-6)
    (home / "evaluation_xyz.json").write_text(json.dumps(truth[:1]))
    with pytest.raises(BadFileError, match="1 hands, but"):
        run_import("ho3d", home, tmp_path / "c", split="test")


class _Evil:
    def __reduce__(self):
        return print, ("run",)


def test_frames_that_cannot_be_used_are_reported(tmp_path, capsys):
    home = tmp_path / "set"
    good, _ = hand_in_opengl(0)
    names = [f"S/{number:04d}" for number in range(6)]
    frame(home, "train", names[0], good, ".jpg")
    frame(home, "train", names[1], {**good, "handJoints3D": None}, ".jpg")
    frame(home, "train", names[2], {**good, "handJoints3D": -good["handJoints3D"]}, ".jpg")
    frame(home, "train", names[3], {**good, "x": _Evil()}, ".jpg")
    frame(home, "train", names[4], {**good, "handPose": None}, ".jpg")
    frame(home, "train", names[5], good, ".jpg")
    (home / "train/S/rgb/0005.jpg").unlink()
    write_list(home, "train", names)
    summary = run_import("ho3d", home, tmp_path / "out", split="train")
    assert {one.key: one.reason for one in summary.skipped} == {
        "S/0001": "not-annotated",
        "S/0002": "bad-hand",
        "S/0003": "corrupt-annotation",
        "S/0005": "missing-picture",
    }
    assert "run" not in capsys.readouterr().out.split()
    rows = list(reader.iter_rows(tmp_path / "out"))
    assert [(row["frame_index"], row["hands"][0]["mano"] is None) for row in rows] == [(0, False), (4, True)]
    with pytest.raises(UsageError, match="--split"):
        run_import("ho3d", home, tmp_path / "b")
    with pytest.raises(BadFileError, match="not HO-3D"):
        run_import("ho3d", home, tmp_path / "c", split="test")
    write_list(home, "train", ["no frame"])
    with pytest.raises(BadFileError, match="SEQUENCE/FRAME"):
        run_import("ho3d", home, tmp_path / "d", split="train")
