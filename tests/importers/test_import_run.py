"""Shards of imported sets: pictures byte for byte, labels, what was left out, and running again."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from importer_layouts import SIZE, coco, picture, points21

from whim.errors import BadFileError, UsageError
from whim.importers.labels import write_label_folder
from whim.importers.registry import IMPORTERS, importer
from whim.importers.run import run_import
from whim.shards import reader
from whim.shards.ensure import ensure_pixels
from whim.shards.plan import survey


def rows_of(folder):
    return list(reader.iter_rows(folder))


def test_a_coco_set_becomes_shards(tmp_path):
    keypoints = np.column_stack([points21(), np.full(21, 2)])
    keypoints[3] = 0
    home = coco(
        tmp_path / "set",
        [
            {"id": 7, "file_name": "a.jpg", "session": "one room"},
            {"id": 8, "file_name": "b.png", "session": "one room"},
            {"id": 9, "file_name": "c.bmp", "split": "test"},
        ],
        [
            {
                "image_id": 7,
                "bbox": [10, 10, 30, 20],
                "handedness": "left",
                "keypoints": keypoints.ravel().tolist(),
            },
            {"image_id": 7, "bbox": [50, 10, 30, 20], "category_id": 2},
            {"image_id": 8, "bbox": [-5, -5, 20, 20], "side": 1},
            {"image_id": 8, "bbox": [40, 5, 30, 30], "iscrowd": 1},
        ],
        categories=("hand", "right hand"),
    )
    files = {
        name: picture(home / "images" / name, seed=i) for i, name in enumerate(["a.jpg", "b.png", "c.bmp"])
    }
    summary = run_import("coco", home, tmp_path / "out")
    assert (summary.pictures, summary.hands, summary.skipped, summary.exit_code) == (3, 3, [], 0)
    assert sorted(summary.shards) == ["test-00000.parquet", "unsplit-00000.parquet"]
    rows = {
        row["image"]["path"].rpartition(".")[2] + str(row["frame_index"]): row
        for row in rows_of(tmp_path / "out")
    }
    first, second, third = rows["jpg0"], rows["png1"], rows["png0"]
    assert first["image"]["bytes"] == files["a.jpg"]
    assert second["image"]["bytes"] == files["b.png"]
    assert (first["video_id"], third["split"]) == ("one_room", "test")
    same = cv2.imdecode(np.frombuffer(third["image"]["bytes"], np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(same, cv2.imdecode(np.frombuffer(files["c.bmp"], np.uint8), cv2.IMREAD_COLOR))
    assert first["hands"][0]["box"] == [10, 10, 40, 30]
    assert [hand["side"] for hand in first["hands"]] == [0, 1]
    assert first["hands"][0]["keypoint_scores"][2:5] == [1, 0, 1]
    assert np.allclose(first["hands"][0]["keypoints_2d"][20], points21()[20], atol=1e-5)
    assert first["hands"][1]["keypoints_2d"] is None
    assert second["hands"][0]["box"] == [-5, -5, 15, 15]  # boxes stay as they were drawn
    lineage = reader.lineage(tmp_path / "out" / "unsplit-00000.parquet")
    assert lineage["import"]["name"] == "coco"
    assert (lineage["licence"], lineage["box_convention"]) == ("CC0", "annotated")
    assert lineage["crowd"] == {"one_room/1": [[40, 5, 70, 35]]}


def test_what_cannot_be_used_is_reported_with_a_reason(tmp_path):
    home = coco(
        tmp_path / "set",
        [{"id": number, "file_name": f"{number}.jpg"} for number in range(5)],
        [
            {"image_id": 0, "bbox": [200, 10, 30, 20]},
            {"image_id": 0, "bbox": [10, 10, 0, 20]},
            {"image_id": 0, "bbox": [10, 10, 20, 20], "category_id": 2},
            {"image_id": 0, "bbox": [10, 10, 20, 20], "category_id": 1, "keypoints": [1.0] * 51},
            {"image_id": 77, "bbox": [10, 10, 20, 20]},
        ],
        categories=("hand", "dog"),
    )
    picture(home / "images" / "0.jpg")
    (home / "images" / "1.jpg").write_bytes(picture(home / "images" / "1.jpg")[:-300])  # cut short
    (home / "images" / "2.jpg").write_bytes(b"no picture")
    picture(home / "images" / "3.jpg", size=(64, 64))
    summary = run_import("coco", home, tmp_path / "out", shard_bytes=1)
    assert (summary.pictures, summary.hands, summary.exit_code) == (1, 1, 1)
    assert {(one.key, one.reason) for one in summary.skipped} == {
        ("0.jpg#1", "box-outside"),
        ("0.jpg#2", "empty-box"),
        ("0.jpg#3", "unknown-category"),
        ("0.jpg#4/keypoints", "bad-keypoints"),
        ("annotation 5", "missing-image"),
        ("1.jpg", "corrupt-picture"),
        ("2.jpg", "corrupt-picture"),
        ("3.jpg", "size-mismatch"),
        ("4.jpg", "missing-picture"),
    }
    assert "left out, corrupt-picture: 2" in summary.render()
    assert json.loads((tmp_path / "out" / "import.json").read_text())["reasons"]["corrupt-picture"] == 2

    # The report is the same when nothing is left to do; a picture that has come since is taken in.
    again = run_import("coco", home, tmp_path / "out", shard_bytes=1)
    assert (again.written, again.skipped) == (0, summary.skipped)
    picture(home / "images" / "4.jpg")
    third = run_import("coco", home, tmp_path / "out", shard_bytes=1)
    assert (third.written, third.pictures) == (1, 2)


def test_a_second_run_writes_only_what_has_changed(tmp_path):
    images = [{"id": number, "file_name": f"{number}.jpg"} for number in range(4)]
    boxes = [{"image_id": number, "bbox": [10, 10, 20 + number, 20]} for number in range(4)]
    home = coco(tmp_path / "set", images, boxes)
    size = len(picture(home / "images" / "0.jpg"))
    for number in range(1, 4):
        picture(home / "images" / f"{number}.jpg", seed=number)
    out = tmp_path / "out"
    assert run_import("coco", home, out, shard_bytes=int(2.5 * size)).written > 1
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    (out / ".unsplit-00009.77.tmp.parquet").write_bytes(b"left by a killed run")
    (out / sorted(before)[1]).unlink()
    boxes[0]["bbox"] = [0, 0, 9, 9]
    coco(tmp_path / "set", images, boxes)
    assert run_import("coco", home, out, shard_bytes=int(2.5 * size)).written == 2
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    assert {name for name in after if after[name] == before.get(name)} == set(sorted(before)[2:])
    assert sorted(row["hands"][0]["box"][2] for row in rows_of(out)) == [9, 31, 32, 33]
    # Fewer pictures: no shard of the earlier plan stays.
    assert run_import("coco", home, out, limit=1).pictures == len(rows_of(out)) == 1


def test_rotation_tags_follow_the_labelled_size(tmp_path):
    home = coco(
        tmp_path / "set",
        [
            {"id": 1, "file_name": "shown.jpg", "width": SIZE[1], "height": SIZE[0]},
            {"id": 2, "file_name": "stored.jpg"},
        ],
        [],
    )
    data = {name: picture(home / "images" / name, orientation=6) for name in ("shown.jpg", "stored.jpg")}
    run_import("coco", home, tmp_path / "out")
    stored, shown = sorted(rows_of(tmp_path / "out"), key=lambda row: -row["width"])
    assert shown["image"]["bytes"] == data["shown.jpg"]
    assert (stored["width"], stored["height"]) == SIZE
    # Only the tag's value differs, and every reader now sees the stored pixels.
    other = stored["image"]["bytes"]
    assert sum(a != b for a, b in zip(other, data["stored.jpg"], strict=True)) == 1
    raw = cv2.imdecode(
        np.frombuffer(data["stored.jpg"], np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    )
    assert np.array_equal(cv2.imdecode(np.frombuffer(other, np.uint8), cv2.IMREAD_COLOR), raw)


def test_label_folders_find_their_shards(tmp_path):
    home = coco(
        tmp_path / "set",
        [{"id": number, "file_name": f"{number}.jpg", "session": number % 2} for number in range(4)],
        [{"image_id": 1, "bbox": [10, 10, 20, 20]}],
    )
    for number in range(4):
        picture(home / "images" / f"{number}.jpg", seed=number)
    run_import("coco", home, tmp_path / "x" / "shards", split="train")
    assert write_label_folder(tmp_path / "x" / "shards", tmp_path / "x" / "labels") == 2
    known = survey(tmp_path / "x" / "labels")
    assert [(video.video_id, video.frames, video.split) for video in known] == [
        ("0", 2, "train"),
        ("1", 2, "train"),
    ]
    assert ensure_pixels(tmp_path / "x" / "labels", say=pytest.fail) == tmp_path / "x" / "shards"


def test_pictures_of_one_name_in_two_folders_are_two_recordings(tmp_path):
    images = [{"id": number, "file_name": f"{number}/0.jpg"} for number in range(2)]
    home = coco(tmp_path / "set", images, [])
    for one in images:
        picture(home / "images" / one["file_name"], seed=one["id"])
    run_import("coco", home, tmp_path / "out")
    assert sorted(row["video_id"] for row in rows_of(tmp_path / "out")) == ["0_0", "1_0"]
    run_import("coco", home, tmp_path / "one", settings=["recording_pattern='[0-9]+/([0-9])'"])
    assert sorted((row["video_id"], row["frame_index"]) for row in rows_of(tmp_path / "one")) == [
        ("0", 0),
        ("0", 1),
    ]


def test_wrong_use(tmp_path):
    for name in IMPORTERS:
        kind, read = importer(name)
        assert callable(read)
        assert kind()
    with pytest.raises(UsageError, match="nearest is 'coco'"):
        run_import("cocoo", tmp_path, tmp_path / "out")
    with pytest.raises(UsageError, match="no such file"):
        run_import("coco", tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(BadFileError, match="expected one annotation json"):
        run_import("coco", tmp_path, tmp_path / "out")
    home = coco(tmp_path / "set", [{"id": 1, "file_name": "a.jpg"}], [])
    picture(home / "a.jpg")
    with pytest.raises(UsageError, match="unknown key 'sides'"):
        run_import("coco", home, tmp_path / "out", settings=["sides=left"])
    run_import("coco", home, tmp_path / "out")
    with pytest.raises(UsageError, match="choose another"):
        run_import("coco", coco(tmp_path / "other", [], []), tmp_path / "out")
