"""A registered detector on real pictures, from import to table."""

from __future__ import annotations

import pytest

from whim.benchmark.detection.config import DetectionBenchmarkConfig, RowConfig, SetConfig, SpeedConfig
from whim.benchmark.detection.run import run_detection_benchmark
from whim.importers.run import run_import


@pytest.mark.weights
def test_mediapipe_on_pictures_of_a_webcam(tmp_path, shared_data):
    pytest.importorskip("mediapipe")
    run_import("coco", shared_data / "detection" / "webcam_hands", tmp_path / "set", limit=60)
    row = RowConfig(
        name="MediaPipe", detector="mediapipe-hands", settings={"min_score": 0.1}, published="MediaPipe"
    )
    config = DetectionBenchmarkConfig(
        rows=(row,),
        sets=(SetConfig(name="webcam", path=tmp_path / "set"),),
        limit=12,
        speed=SpeedConfig(pictures=2, warm_up=0),
    )
    report = run_detection_benchmark(config)
    (method,) = report.methods
    if "not in the cache" in method.reason:
        pytest.skip(method.reason)
    scores = report.cells["MediaPipe", "webcam"].scores
    assert (scores.pictures, method.implementation) == (12, "mediapipe/hand_landmarker_full")
    assert scores.ap50 > 0.6
    assert scores.side_ap is None  # the set knows no sides
    assert method.speed.network_ms is None
    assert "MediaPipe: its network cannot be timed apart from the rest" in report.render()
