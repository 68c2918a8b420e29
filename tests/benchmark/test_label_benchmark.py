"""The label benchmark on made-up pictures, with votes that are read from the pictures' own pixels."""

from __future__ import annotations

import json
from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from whim.benchmark.labels import FUSED, NEGATIVES, Report, load_sets, measure
from whim.errors import BadFileError, UsageError
from whim.perception.fusion import FusionConfig, fuse
from whim.perception.types import HandVote

NAMES = {"mediapipe": "stub/exact", "contacthands": "stub/everywhere"}


def picture(path, box=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((80, 100, 3), np.uint8)
    if box is not None:
        x, y, width, height = box
        pixels[y : y + height, x : x + width] = 255
    cv2.imwrite(str(path), pixels)


def coco(path, images, annotations):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations}))


@pytest.fixture
def data(tmp_path):
    """Six webcam pictures in two sessions, four letters, one sample of two formats, two without hands."""
    images, annotations = [], []
    for index in range(6):
        name = f"{index}.png"
        box = [10 + index, 20, 30, 40]
        picture(tmp_path / "detection/webcam_hands/images" / name, box)
        images.append({"id": index, "file_name": name, "session": "ab"[index >= 4]})
        annotations.append({"image_id": index, "bbox": box})
    coco(tmp_path / "detection/webcam_hands/annotations.json", images, annotations)
    letters = [{"id": index, "file_name": f"{index}.png"} for index in range(4)]
    for image in letters:
        picture(tmp_path / "detection/asl_letters/images" / image["file_name"], [20, 20, 40, 40])
    boxes = [{"image_id": image["id"], "bbox": [20, 20, 40, 40]} for image in letters]
    coco(tmp_path / "detection/asl_letters/annotations.json", letters, boxes)
    picture(tmp_path / "annotated/freihand/a.png", [10, 10, 40, 40])
    picture(tmp_path / "annotated/coco_wholebody/b.png", [50, 10, 20, 20])
    coco(
        tmp_path / "annotated/freihand/test_freihand.json",
        [{"id": 7, "file_name": "a.png"}],
        [{"image_id": 7, "bbox": [10, 10, 40, 40]}],
    )
    hands = {"lefthand_box": [50, 10, 20, 20], "lefthand_valid": True}
    hands |= {"righthand_box": [0, 0, 0, 0], "righthand_valid": False}
    coco(
        tmp_path / "annotated/coco_wholebody/test_coco_wholebody.json",
        [{"id": 1, "file_name": "b.png"}],
        [{"image_id": 1, "bbox": [0, 0, 90, 70], **hands}],
    )
    for index in range(2):
        picture(tmp_path / f"images/coco_no_person/{index}.jpg")
    return tmp_path


@dataclass
class Labels:
    persons: list
    votes: list
    hands: list


def annotate(image):
    """One detector boxes what is white, the other always the same corner."""
    rows, columns = np.nonzero(image[..., 0] > 128)
    votes = [vote("contacthands", [70, 60, 100, 80], 0.5)]
    if len(rows):
        votes.append(vote("mediapipe", [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], 0.9))
    return Labels([], votes, fuse(votes, [], FusionConfig(min_score=0.6), detectors_run=2))


def vote(detector, box, score):
    return HandVote(
        box=np.array(box, dtype=np.float64), score=score, detector=detector, implementation="stub"
    )


def test_only_the_half_that_was_not_used_for_tuning_is_measured(data):
    sets = {one.name: one for one in load_sets(data)[0]}
    assert [one.path.name for one in sets["webcam_hands"].pictures] == ["4.png", "5.png"]
    assert [one.path.name for one in sets["asl_letters"].pictures] == ["1.png", "3.png"]


def test_formats_become_one(data):
    sets = {one.name: one for one in load_sets(data)[0]}
    truths = [one.truth.tolist() for one in sets["annotated"].pictures]
    assert truths == [[[10, 10, 50, 50]], [[50, 10, 70, 30]]]
    assert [len(one.truth) for one in sets[NEGATIVES].pictures] == [0, 0]


def test_numbers(data):
    sets, missing = load_sets(data)
    report = Report("stub", sets, measure(sets, NAMES, annotate), missing)
    tree = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert tree["missing"] == ["detection/finger_counts"]
    rows = {one["name"]: one["methods"] for one in tree["sets"]}
    assert list(rows["webcam_hands"]) == [FUSED, "stub/exact", "stub/everywhere"]
    perfect = {"recall@0.3": 1, "precision@0.3": 1, "recall@0.5": 1, "precision@0.5": 1}
    perfect |= {"mean_iou": 1, "ap@0.5": 1}
    assert rows["webcam_hands"][FUSED] == {"predictions": 2, **perfect}
    assert rows["webcam_hands"]["stub/exact"] == {"predictions": 2, **perfect}
    # A detector's own row keeps what fusion drops for its score.
    assert rows["webcam_hands"]["stub/everywhere"]["predictions"] == 2
    assert rows["webcam_hands"]["stub/everywhere"]["recall@0.3"] == 0
    # Where not every hand is boxed, precision means nothing.
    assert rows["annotated"][FUSED]["recall@0.5"] == 1
    assert rows["annotated"][FUSED]["precision@0.5"] is None
    assert [row["false/picture"] for row in rows[NEGATIVES].values()] == [0, 0, 1]
    text = report.render()
    assert "finger_counts" in text
    assert "stub/everywhere" in text


def test_limit_spreads_over_the_set(data):
    webcam = load_sets(data)[0][0]
    assert [one.path.name for one in webcam.thinned(1).pictures] == ["4.png"]
    assert webcam.thinned(2) is webcam
    assert webcam.thinned(None) is webcam


def test_a_folder_without_sets_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="webcam_hands"):
        load_sets(tmp_path)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"images": []}', '{"images": [], "annotations": [{"image_id": 1}]}']
)
def test_broken_annotations_name_the_file(data, text):
    path = data / "detection/asl_letters/annotations.json"
    path.write_text(text)
    with pytest.raises(BadFileError, match=r"asl_letters.annotations\.json"):
        load_sets(data)


def test_a_missing_picture_names_the_file(data):
    sets, _ = load_sets(data)
    sets[0].pictures[0].path.unlink()
    with pytest.raises(BadFileError, match=r"4\.png"):
        measure(sets, NAMES, annotate)


def test_real_sets(shared_data):
    """Sizes from the data sheet: 700, 520 and 639 pictures, of which one half is measured."""
    sets, missing = load_sets(shared_data)
    assert missing == []
    sizes = {one.name: (len(one.pictures), sum(len(p.truth) for p in one.pictures)) for one in sets}
    assert sizes["webcam_hands"] == (391, 398)
    assert sizes["asl_letters"] == (260, 260)
    assert sizes["finger_counts"] == (319, 320)
    assert sizes["annotated"][0] == 12
    assert sizes[NEGATIVES] == (18, 0)
    assert all(picture.path.is_file() for one in sets for picture in one.pictures)
