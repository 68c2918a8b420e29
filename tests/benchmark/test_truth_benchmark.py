"""Labels against truth: every number by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whim.benchmark.truth import TruthReport, add_frame, compare
from whim.errors import UsageError
from whim.shards.rows import NO_FIT
from whim.shards.writer import write_labels

JOINTS = np.random.default_rng(0).normal(size=(21, 3)) * 0.05 + [0, 0, 0.6]


def hand(x: float = 0.0, side: int = 0, **changes: Any) -> dict[str, Any]:
    points = np.linspace([x, 0], [x + 100, 50], 21)
    return {
        "box": [x, 0.0, x + 100, 50.0],
        "side": side,
        "side_score": 0.9,
        "score": 0.9,
        "keypoints_2d": points.tolist(),
        "keypoint_scores": [1.0] * 21,
        "person": -1,
        "votes": [],
        "agreement": 1.0,
        **NO_FIT,
        "joints_3d": JOINTS.tolist(),
        **changes,
    }


def of(hands: list, truth: list) -> dict[str, Any]:
    report = TruthReport()
    add_frame(report, hands, truth)
    return report.to_json()


def test_truth_against_itself_is_perfect() -> None:
    numbers = of([hand(200), hand(0, 1)], [hand(0, 1), hand(200)])
    assert (numbers["recall"], numbers["precision"], numbers["mean_iou"]) == (1.0, 1.0, 1.0)
    assert (numbers["side_accuracy"], numbers["landmark_error"], numbers["pa_mpjpe_mm"]) == (1.0, 0.0, 0.0)


def test_each_error_shows_in_its_own_number() -> None:
    moved = hand(10)  # 10 px right: IoU 90/110, keypoints 10 % of the box
    numbers = of([moved], [hand()])
    assert numbers["mean_iou"] == pytest.approx(90 / 110, abs=1e-4)
    assert numbers["landmark_error"] == pytest.approx(0.1)
    assert of([hand(side=1)], [hand()])["side_accuracy"] == 0.0
    assert of([hand(60)], [hand()])["recall"] == 0.0  # IoU 0.25
    assert of([hand(), hand(300)], [hand()])["precision"] == 0.5
    larger = (1.1 * JOINTS).tolist()
    scaled = of([hand(joints_3d=larger)], [hand()])
    assert scaled["pa_mpjpe_mm"] == pytest.approx(0.0, abs=1e-3)
    assert scaled["camera_mpjpe_median_mm"] == pytest.approx(
        1e3 * np.linalg.norm(0.1 * JOINTS, axis=1).mean(), rel=1e-3
    )


def test_a_hidden_hand_is_neither_found_nor_missed() -> None:
    hidden = hand(keypoint_scores=[0.0] * 12 + [1.0] * 9)
    for hands in ([hand()], []):
        numbers = of(hands, [hidden])
        assert (numbers["hands"], numbers["recall"], numbers["precision"]) == (0, None, None)


def test_only_visible_keypoints_count() -> None:
    points = np.linspace([0, 0], [100, 50], 21)
    points[0] += 1000
    truth = hand(keypoint_scores=[0.0] + [1.0] * 20)
    assert of([hand(keypoints_2d=points.tolist())], [truth])["landmark_error"] == 0.0


def test_an_unfitted_hand_is_counted(tmp_path: Path) -> None:
    numbers = of([hand(joints_3d=None)], [hand()])
    assert (numbers["fitted"], numbers["pa_mpjpe_mm"]) == (0.0, None)
    assert "-" in TruthReport().render()


def test_folders_are_matched_by_video_and_frame(tmp_path: Path) -> None:
    def row(video: str, index: int, hands: list) -> dict[str, Any]:
        return {
            "video_id": video,
            "split": "",
            "frame_index": index,
            "time_s": index / 25,
            "width": 640,
            "height": 480,
            "picture_hash": 0,
            "persons": [],
            "hands": hands,
        }

    def write(name: str, rows: list) -> Path:
        write_labels(tmp_path / name / "segments" / "v" / "0.parquet", rows, {})
        return tmp_path / name

    truth = write("truth", [row("v", i, [hand(5.0 * i)]) for i in range(4)])
    labels = write("labels", [row("v", 2, [hand(10.0)]), row("other", 0, [hand()])])
    report = compare(labels, truth)
    assert (report.frames, report.hands, report.overlap) == (1, 1, [1.0])
    with pytest.raises(UsageError, match="no frame in common"):
        compare(write("else", [row("w", 0, [])]), truth)
