"""FreiHAND's layout, built small with the open hand in MANO's place."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from importer_layouts import picture

from whim.errors import BadFileError, UsageError
from whim.hands import kinematics
from whim.hands.open_hand import load_open_hand
from whim.importers.freihand import sample_number
from whim.importers.run import run_import
from whim.shards import reader

K = [[400.0, 0.0, 112.0], [0.0, 410.0, 110.0], [0.0, 0.0, 1.0]]
SHARED = Path(os.environ.get("WHIM_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))


def layout(root: Path, *, train: int = 2, test: int = 3, cameras: list | None = None) -> dict[str, dict]:
    """Write pictures and lists; returns joints, vertices and parameters of both parts. Hands lie in the middle."""
    model, made = load_open_hand(), {}
    for seed, (part, count) in enumerate((("training", train), ("evaluation", test))):
        rng = np.random.default_rng(seed)
        pose = rng.normal(scale=0.2, size=(count, 16, 3))
        betas = rng.normal(scale=0.5, size=(count, 10))
        matrices = [K] * count if cameras is None or part == "training" else cameras
        centre = (
            0.7
            * np.linalg.solve(np.array(matrices), np.tile([[112.0], [110.0], [1.0]], (count, 1, 1)))[..., 0]
        )
        arguments = (model, betas, pose[:, 1:], pose[:, 0], centre)
        joints, skin = kinematics.keypoints(*arguments), kinematics.vertices(*arguments)
        root_uv, scale = np.zeros((count, 2)), np.ones((count, 1))
        mano = np.concatenate([pose.reshape(count, 48), betas, root_uv, scale], axis=1)[:, None]
        lists = {
            "K": np.array(matrices).tolist(),
            "xyz": joints.tolist(),
            "verts": skin.tolist(),
            "mano": mano.tolist(),
        }
        root.mkdir(exist_ok=True)
        for name, content in lists.items():
            (root / f"{part}_{name}.json").write_text(json.dumps(content))
        for number in range(count * (4 if part == "training" else 1)):
            picture(root / part / "rgb" / f"{number:08d}.jpg", seed=number, size=(224, 224))
        made[part] = {"joints": joints, "vertices": skin, "pose": pose, "betas": betas, "translation": centre}
    return made


def test_both_parts_become_shards(tmp_path):
    made = layout(tmp_path / "set")
    out = tmp_path / "out"
    summary = run_import("freihand", tmp_path / "set", out, settings=["hand=open-hand"])
    assert (summary.pictures, summary.hands, summary.skipped) == (2 * 4 + 3, 11, [])
    rows = {(row["video_id"], row["frame_index"]): row for row in reader.iter_rows(out)}
    assert {key for key in rows if key[0] == "evaluation"} == {("evaluation", n) for n in range(3)}
    # Four backgrounds of hand 1: pictures 1, 3, 5, 7, one recording, one truth.
    for variant in range(4):
        row = rows["training-00000001", variant]
        file = tmp_path / "set" / "training" / "rgb" / f"{1 + 2 * variant:08d}.jpg"
        assert row["image"]["bytes"] == file.read_bytes()
        assert row["split"] == "train"
        (hand,) = row["hands"]
        assert hand["side"] == 1
        assert np.allclose(hand["joints_3d"], made["training"]["joints"][1], atol=1e-6)
    (hand,) = rows["evaluation", 2]["hands"]
    truth = {name: array[2] for name, array in made["evaluation"].items()}
    image = truth["joints"] @ np.transpose(K)
    pixels = image[:, :2] / image[:, 2:]
    assert np.allclose(hand["keypoints_2d"], pixels, atol=1e-3)
    assert np.allclose(hand["box"], [*pixels.min(axis=0), *pixels.max(axis=0)], atol=1e-3)
    camera = hand["camera"]
    assert (camera["focal"], camera["center"], camera["assumed"]) == ([400, 410], [112, 110], False)
    mano = hand["mano"]
    assert mano["topology"] == load_open_hand().topology
    assert np.allclose(mano["translation"], truth["translation"], atol=1e-6)
    assert np.allclose([mano["global_orient"], *mano["hand_pose"]], truth["pose"], atol=1e-6)


def test_parameters_of_another_hand_are_left_out_with_a_reason(tmp_path):
    layout(tmp_path / "set")
    path = tmp_path / "set" / "evaluation_mano.json"
    numbers = json.loads(path.read_text())
    numbers[1][0][5] += 1.5  # the index finger bent further than labelled
    path.write_text(json.dumps(numbers))
    args = {"split": "test", "settings": ["hand=open-hand"]}
    summary = run_import("freihand", tmp_path / "set", tmp_path / "out", **args)
    assert [(one.key, one.reason) for one in summary.skipped] == [
        ("evaluation/00000001/mano", "mano-elsewhere")
    ]
    hands = [row["hands"][0] for row in reader.iter_rows(tmp_path / "out")]
    assert [hand["mano"] is None for hand in hands] == [False, True, False]
    # Without a hand model, nothing is guessed: the poses count from a mean that the set does not hold.
    run_import("freihand", tmp_path / "set", tmp_path / "bare", split="evaluation")
    assert all(row["hands"][0]["mano"] is None for row in reader.iter_rows(tmp_path / "bare"))
    assert all(row["hands"][0]["joints_3d"] for row in reader.iter_rows(tmp_path / "bare"))


def test_options_and_what_is_missing(tmp_path):
    home = tmp_path / "set"
    made = layout(home)
    run_import("freihand", home, tmp_path / "a", split="train", settings=["variants=[0, 3]", "box=mesh-hull"])
    rows = list(reader.iter_rows(tmp_path / "a"))
    assert [(row["video_id"], row["frame_index"]) for row in rows] == [
        (f"training-0000000{hand}", variant) for hand in (0, 1) for variant in (0, 3)
    ]
    image = made["training"]["vertices"][0] @ np.transpose(K)
    assert np.allclose(rows[0]["hands"][0]["box"][2:], (image[:, :2] / image[:, 2:]).max(axis=0), atol=1e-3)
    (home / "training_verts.json").unlink()
    (home / "evaluation_xyz.json").unlink()
    (home / "evaluation" / "rgb" / "00000001.jpg").unlink()
    with pytest.raises(UsageError, match="training_verts"):
        run_import("freihand", home, tmp_path / "b", split="train", settings=["box=mesh-hull"])
    with pytest.raises(UsageError, match="train and test"):
        run_import("freihand", home, tmp_path / "c", split="val")
    with pytest.raises(UsageError, match="0 to 3"):
        run_import("freihand", home, tmp_path / "d", settings=["variants=[4]"])
    summary = run_import("freihand", home, tmp_path / "e", split="test")  # no truth: pictures without hands
    assert (summary.pictures, summary.hands, summary.exit_code) == (2, 0, 1)
    (home / "training_xyz.json").write_text("[]")
    with pytest.raises(BadFileError, match="equally long"):
        run_import("freihand", home, tmp_path / "f", split="train")
    with pytest.raises(BadFileError, match="not FreiHAND"):
        run_import("freihand", tmp_path, tmp_path / "g")


@pytest.mark.skipif(not (SHARED / "annotated/freihand").is_dir(), reason="no shared data")
def test_numbers_of_real_pictures():
    content = json.loads((SHARED / "annotated/freihand/test_freihand.json").read_text())
    numbers = [int(Path(image["file_name"]).stem) for image in content["images"]]
    assert [sample_number(17620, variant, 32560) for variant in range(4)] == numbers
    # The four show one hand: their labels are the same.
    points = [one["keypoints"] for one in content["annotations"]]
    assert np.allclose(points, points[0], atol=1e-6)


@pytest.mark.skipif(not (SHARED / "annotated/handmesh_crops").is_dir(), reason="no shared data")
def test_real_evaluation_pictures_with_their_cameras(tmp_path):
    """Pictures and intrinsics of the real evaluation part; the hands before these cameras are made up."""
    home = tmp_path / "set"
    files = sorted((SHARED / "annotated/handmesh_crops").glob("*_img.jpg"))
    cameras = [np.load(path.with_name(path.name.replace("img.jpg", "K.npy"))).reshape(3, 3) for path in files]
    layout(home, test=len(files), cameras=cameras)
    for number, path in enumerate(files):
        (home / f"evaluation/rgb/{number:08d}.jpg").write_bytes(path.read_bytes())
    summary = run_import("freihand", home, tmp_path / "out", split="test")
    assert (summary.pictures, summary.hands, summary.skipped) == (len(files), len(files), [])
    rows = list(reader.iter_rows(tmp_path / "out"))
    for row in rows:
        assert row["image"]["bytes"] == files[row["frame_index"]].read_bytes()
        (hand,) = row["hands"]
        camera = cameras[row["frame_index"]]
        assert np.allclose(hand["camera"]["focal"], [camera[0, 0], camera[1, 1]], rtol=1e-6)
        assert np.allclose(hand["keypoints_2d"][0], [112, 110], atol=2)  # the wrist, put there in space
