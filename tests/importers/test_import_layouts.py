"""Each published layout: built small, and real samples where they are."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from importer_layouts import SIZE, oxford, picture, points21, whim_frame, whim_hand

from whim.importers.oxfordhands import rectangles
from whim.importers.run import run_import
from whim.importers.video_frames import nearest
from whim.shards import reader


def rows_of(folder):
    return {(row["split"], row["video_id"], row["frame_index"]): row for row in reader.iter_rows(folder)}


@pytest.mark.parametrize("layout", ["images/train", "train/images"])
def test_yolo(tmp_path, layout):
    home = tmp_path / "set"
    data = picture(home / layout / "a.jpg")
    picture(home / layout / "b.jpg", seed=1)
    labels = home / layout.replace("images", "labels")
    labels.mkdir(parents=True)
    shares = points21() / SIZE
    with_three = np.column_stack([shares, np.arange(21) % 3]).ravel()
    box = "0.5 0.5 0.25 0.5"
    lines = [
        f"1 {box} " + " ".join(f"{v:.6f}" for v in with_three),
        f"0 {box} " + " ".join(f"{v:.6f}" for v in shares.ravel()),
        f"0 {box}",
        f"2 {box}",
        "0 0.5 0.5",
        "0 0.5 x 0.1 0.1",
    ]
    (labels / "a.txt").write_text("\n".join(lines))
    (home / "data.yaml").write_text("names: {0: left_hand, 1: right_hand, 2: face}\nlicense: CC BY 4.0\n")
    summary = run_import("yolo", home, tmp_path / "out")
    assert (summary.pictures, summary.hands, summary.licence) == (2, 3, "CC BY 4.0")
    assert [one.reason for one in summary.skipped] == ["unknown-category", "bad-line", "bad-line"]
    row = rows_of(tmp_path / "out")["train", "a", 0]
    assert row["image"]["bytes"] == data
    right, left, plain = row["hands"]
    assert (right["side"], left["side"], plain["side"]) == (1, 0, 0)
    assert np.allclose(plain["box"], [36, 16, 60, 48], atol=1e-4)
    assert np.allclose(right["keypoints_2d"][7], points21()[7], atol=1e-3)
    assert [value > 0 for value in right["keypoint_scores"]] == [index % 3 > 0 for index in range(21)]
    assert left["keypoint_scores"] == [1.0] * 21
    assert plain["keypoints_2d"] is None
    hulls = run_import("yolo", home, tmp_path / "hulls", settings=["box=keypoint-hull"])
    assert (hulls.hands, hulls.box_convention) == (2, "keypoint-hull")
    hull = rows_of(tmp_path / "hulls")["train", "a", 0]["hands"][1]["box"]
    assert np.allclose(hull, [*points21().min(axis=0), *points21().max(axis=0)], atol=1e-3)


def test_oxford_hands(tmp_path):
    slanted = np.array([[20.0, 10], [40, 20], [35, 30], [15, 20]])
    small = np.array([[50.0, 10], [54, 10], [54, 14], [50, 14]])
    oxford(tmp_path, "test", "VOC_12", [slanted, small])
    oxford(tmp_path, "test", "Buffy_3", [slanted])
    oxford(tmp_path, "training", "Buffy_4", [])
    (tmp_path / "test_dataset" / "test_data" / "annotations" / "broken.mat").write_bytes(b"MATLAB?" * 40)
    summary = run_import("oxfordhands", tmp_path, tmp_path / "out")
    assert (summary.pictures, summary.hands, summary.box_convention) == (3, 3, "rotated-rectangle-hull")
    assert {(one.key, one.reason) for one in summary.skipped} == {
        ("broken", "corrupt-annotation"),
        ("test/broken", "missing-picture"),
    }
    rows = rows_of(tmp_path / "out")
    assert {key[:2] for key in rows} == {("test", "VOC_12"), ("test", "Buffy_3"), ("train", "Buffy_4")}
    assert [hand["box"] for hand in rows["test", "VOC_12", 0]["hands"]] == [
        [15, 10, 40, 30],
        [50, 10, 54, 14],
    ]
    assert rows["test", "VOC_12", 0]["hands"][0]["side"] == -1
    path = tmp_path / "test_dataset" / "test_data" / "annotations" / "VOC_12.mat"
    assert np.array_equal(rectangles(path), [slanted, small])
    big = run_import("oxfordhands", tmp_path, tmp_path / "big", split="test", settings=["least_area=100"])
    assert big.hands == 2
    shard = tmp_path / "big" / "test-00000.parquet"
    assert reader.lineage(shard)["crowd"] == {"VOC_12/0": [[50, 10, 54, 14]]}


def test_coco_wholebody_of_the_real_layout(tmp_path, shared_data):
    source = shared_data / "annotated" / "coco_wholebody"
    summary = run_import("coco-wholebody", source / "test_coco_wholebody.json", tmp_path / "out")
    assert (summary.pictures, summary.hands, summary.skipped) == (2, 6, [])
    tree = json.loads((source / "test_coco_wholebody.json").read_text())
    rows = rows_of(tmp_path / "out")
    assert {row["image"]["bytes"] for row in rows.values()} == {
        path.read_bytes() for path in source.glob("*.jpg")
    }
    for person in tree["annotations"]:
        row = next(row for key, row in rows.items() if int(key[1]) == person["image_id"])
        for side, name in enumerate(("left", "right")):
            x, y, w, h = person[f"{name}hand_box"]
            found = [
                hand for hand in row["hands"] if np.allclose(hand["box"], [x, y, x + w, y + h], atol=1e-3)
            ]
            assert len(found) == int(person[f"{name}hand_valid"])
            for hand in found:
                assert hand["side"] == side
                points = np.reshape(person[f"{name}hand_kpts"], (21, 3))
                seen = points[:, 2] > 0
                assert np.allclose(np.array(hand["keypoints_2d"])[seen], points[seen, :2], atol=1e-3)
    # Wrists of hands that are not valid, each in the middle third of its region.
    lineage = reader.lineage(tmp_path / "out" / "test-00000.parquet")
    regions = [box for boxes in lineage["unlabelled"].values() for box in boxes]
    wrists = [
        person["keypoints"][3 * joint : 3 * joint + 2]
        for person in tree["annotations"]
        for joint, name in ((9, "left"), (10, "right"))
        if not person[f"{name}hand_valid"] and person["keypoints"][3 * joint + 2]
    ]
    assert len(regions) == len(wrists) > 0
    for x, y in wrists:
        assert any(x1 < x < x2 and y1 < y < y2 for x1, y1, x2, y2 in regions)


@pytest.mark.parametrize(
    ("name", "hands", "split"),
    [("freihand", 4, "test"), ("onehand10k", 2, "test"), ("panoptic_handdb", 2, "test"), ("rhd", 2, "test")],
)
def test_real_samples_with_21_keypoints(tmp_path, shared_data, name, hands, split):
    summary = run_import("coco", shared_data / "annotated" / name, tmp_path / "out", settings=["side=right"])
    assert (summary.hands, summary.skipped) == (hands, [])
    for key, row in rows_of(tmp_path / "out").items():
        assert key[0] == split
        for hand in row["hands"]:
            points = np.array(hand["keypoints_2d"])[np.array(hand["keypoint_scores"]) > 0]
            x1, y1, x2, y2 = hand["box"]
            inside = (points >= [x1 - 3, y1 - 3]) & (points <= [x2 + 3, y2 + 3])
            assert inside.all(axis=1).mean() > 0.9
    sides = [hand["side"] for row in rows_of(tmp_path / "out").values() for hand in row["hands"]]
    assert sorted(sides) == ([0, 1] if name == "rhd" else [1] * hands)  # RHD names its sides itself


def test_whim_release_with_videos_of_another_rate_and_size(tmp_path, make_video):
    make_video("videos/clip.mp4", frames=60, fps=Fraction(30000, 1001), size=(192, 128))
    home = tmp_path / "WHIM"
    (tmp_path / "list.json").write_text(
        json.dumps({name: {"res": [64, 96], "length": 50, "fps": 25} for name in ("clip", "gone", "stills")})
    )
    for number in (0, 10, 11, 49):
        whim_frame(home / "train" / "anno" / "clip" / f"{number:06d}.npy", [whim_hand(1), whim_hand(0)])
    whim_frame(home / "train" / "anno" / "clip" / "000099.npy", [whim_hand()])  # after the end
    whim_frame(home / "train" / "anno" / "gone" / "000000.npy", [whim_hand()])
    whim_frame(
        home / "test" / "anno" / "stills" / "000003.npy", [whim_hand(shift=20.0), whim_hand(shift=900.0)]
    )
    still = picture(home / "test" / "anno" / "stills" / "000003.npy.jpg")
    (home / "test" / "anno" / "stills" / "000004.npy").write_bytes(b"no array")
    picture(home / "test" / "anno" / "stills" / "000004.npy.jpg")
    settings = [f"videos={tmp_path / 'videos'}", f"video_list={tmp_path / 'list.json'}"]
    summary = run_import("whim", tmp_path, tmp_path / "out", settings=settings)
    assert (summary.pictures, summary.hands, summary.exit_code) == (5, 9, 1)
    assert {(one.key, one.reason) for one in summary.skipped} == {
        ("clip/000099", "frame-missing"),
        ("gone", "missing-video"),
        ("stills/000003#0/joints", "joints-elsewhere"),
        ("stills/000003#1", "box-outside"),
        ("stills/000004", "corrupt-annotation"),
    }
    rows = rows_of(tmp_path / "out")
    assert rows["test", "stills", 3]["image"]["bytes"] == still
    # 25 per second in a file of 29.97: by time, not by a whole-numbered ratio.
    assert sorted(key[2] for key in rows if key[1] == "clip") == [0, 12, 13, 59]
    row = rows["train", "clip", 12]
    assert (row["width"], row["height"]) == (192, 128)
    assert row["time_s"] == pytest.approx(12 * 1001 / 30000, abs=1e-3)
    right, left = row["hands"]
    record = whim_hand()
    assert (right["side"], left["side"]) == (1, 0)
    assert np.allclose(right["box"], 2 * record["bbox"], atol=1e-3)
    assert np.allclose(right["joints_3d"], record["joints_3d"] + record["trans"], atol=1e-6)
    seen = np.array(right["joints_3d"])
    camera = right["camera"]
    projected = seen[:, :2] / seen[:, 2:] * camera["focal"] + camera["center"]
    assert np.allclose(projected, right["keypoints_2d"], atol=1e-3)
    assert camera["assumed"]
    assert np.allclose(right["mano"]["global_orient"], [0, 0, np.pi / 2], atol=1e-6)
    assert np.allclose(right["mano"]["betas"], record["mano"]["betas"])
    assert rows["test", "stills", 3]["hands"][0]["keypoints_2d"] is None
    again = run_import("whim", tmp_path, tmp_path / "out", settings=settings)
    assert (again.written, again.pictures) == (0, 5)


def test_another_cut_of_a_video_is_not_used(tmp_path, make_video):
    make_video("videos/clip.mp4", frames=60)
    (tmp_path / "list.json").write_text(json.dumps({"clip": {"res": [96, 160], "length": 300, "fps": 30}}))
    whim_frame(tmp_path / "train" / "anno" / "clip" / "000000.npy", [whim_hand()])
    settings = [f"videos={tmp_path / 'videos'}", f"video_list={tmp_path / 'list.json'}"]
    summary = run_import("whim", tmp_path, tmp_path / "out", settings=settings)
    assert (summary.pictures, [one.reason for one in summary.skipped]) == (0, ["bad-video"])
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_nearest_frames():
    times = [0.0, 0.1, 0.2, 0.3]
    assert nearest(times, [0.0, 0.04, 0.05, 0.06, 0.29, 0.35, 0.5], 0.06) == [0, 0, 0, 1, 3, 3, None]
    assert nearest([], [0.0], 1.0) == [None]
