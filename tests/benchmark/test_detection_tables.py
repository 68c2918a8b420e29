"""Tables of detectors on imported shards: detectors whose answers are known, missing ones, and every output."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from whim import cli
from whim.benchmark.detection import run as running
from whim.benchmark.detection.config import DetectionBenchmarkConfig, RowConfig, SetConfig, SpeedConfig
from whim.benchmark.detection.judge import judged, score
from whim.benchmark.detection.published import PublishedRow
from whim.benchmark.detection.run import run_detection_benchmark
from whim.benchmark.detection.speed import measure_speed
from whim.benchmark.detection.truth import labelled_picture, open_set
from whim.benchmark.detection.types import Found, Subject
from whim.benchmark.labels import load_sets
from whim.benchmark.rows import published_rows
from whim.config import load_config
from whim.errors import BadFileError, UsageError
from whim.importers.run import run_import
from whim.resources import shipped
from whim.shards.pixel_writer import write_pictures

SIZE = (160, 120)
HULL = np.array([[0.2, 0.2]] * 10 + [[0.8, 0.8]] * 11)
"""Keypoints as shares of a box: their hull is its middle, 36 % of its area."""


def hand(box, side=1, keypoints=True):
    """A hand of the label schema."""
    box = np.array(box, dtype=np.float64)
    points = box[:2] + HULL * (box[2:] - box[:2])
    return {
        "box": box.tolist(), "side": side, "side_score": 1.0, "score": 1.0,
        "keypoints_2d": points.tolist() if keypoints else None,
        "keypoint_scores": [1.0] * 21 if keypoints else None,
        "person": -1, "votes": [], "agreement": 1.0, "joints_3d": None, "mano": None, "camera": None, "fit": None,
    }  # fmt: skip


def shards(folder: Path, pictures, **lineage) -> Path:
    """One shard; the blue of a picture's first pixel is its number, so that a detector can know its truth."""
    rows = []
    for number, hands in enumerate(pictures):
        image = np.full((SIZE[1], SIZE[0], 3), number, np.uint8)
        row = {
            "video_id": f"v{number}", "split": "test", "frame_index": 0, "time_s": 0.0, "width": SIZE[0],
            "height": SIZE[1], "picture_hash": 0, "persons": [], "hands": hands,
        }  # fmt: skip
        rows.append((cv2.imencode(".png", image)[1].tobytes(), row))
    write_pictures(
        folder / "test-00000.parquet", rows, {"box_convention": "annotated", "licence": "CC0", **lineage}
    )
    return folder


@dataclass
class Oracle:
    """Says the truth of the picture it is shown, with changes."""

    pictures: list
    shift: float = 0.0
    swap: bool = False
    silent: bool = False
    keypoints: bool = True

    def detect(self, pictures):
        return [self._one(self.pictures[int(picture[0, 0, 2])]) for picture in pictures]

    def _one(self, hands):
        boxes = np.array([h["box"] for h in hands]).reshape(-1, 4) + self.shift
        side = np.array([h["side"] for h in hands], dtype=np.int64)
        if self.swap:
            side = 1 - side
        if self.silent:
            side = np.full(len(side), -1)
        points = boxes[:, None, :2] + HULL * (boxes[:, None, 2:] - boxes[:, None, :2])
        return Found(
            boxes=boxes,
            side=side,
            score=np.linspace(0.9, 0.5, len(boxes)),
            keypoints=points if self.keypoints else None,
        )


TRUTH = [
    [hand([10, 10, 60, 50], 0), hand([80, 20, 130, 90], 1)],
    [hand([20, 30, 70, 80], 1)],
    [],
    [hand([-30, -30, 40, 40], 0)],
]


def run(monkeypatch, config, **oracles):
    """The benchmark with ``oracles`` in the places of registered detectors."""
    real = running.subject

    def subject(row, device):
        if row.detector in oracles:
            found = oracles[row.detector]
            return Subject(
                detector=found, implementation=row.detector, device="a test", network=lambda _: lambda: None
            )
        return real(row, device)

    monkeypatch.setattr(running, "subject", subject)
    return run_detection_benchmark(config)


def table(folder, rows, out=None, **settings):
    """A configuration with one set."""
    names = {"name": "a set", "path": folder, "column": "whim"}
    return DetectionBenchmarkConfig(
        rows=tuple(RowConfig(**row) for row in rows),
        sets=(SetConfig(**{**names, **settings}),),
        speed=SpeedConfig(pictures=2, warm_up=1),
        out=out,
    )


def test_a_table_says_what_was_measured_and_what_was_not(tmp_path, monkeypatch):
    folder = shards(tmp_path / "set", TRUTH)
    rows = [
        {"name": "perfect", "detector": "perfect", "published": "MediaPipe"},
        {"name": "swapped", "detector": "swapped"},
        {"name": "silent", "detector": "silent"},
        {"name": "off", "detector": "off"},
        {"name": "quoted", "published": "ViTDet"},
        {
            "name": "untrained",
            "checkpoint": tmp_path / "no.safetensors",
            "training": "configs/detector/x.yaml",
        },
    ]
    report = run(
        monkeypatch,
        table(folder, rows, out=tmp_path / "out"),
        perfect=Oracle(TRUTH),
        swapped=Oracle(TRUTH, swap=True),
        silent=Oracle(TRUTH, silent=True),
        off=Oracle(TRUTH, shift=500),
    )
    cells = {name: report.cells[name, "a set"] for name in (row["name"] for row in rows)}
    perfect = cells["perfect"].scores
    assert (perfect.ap50, perfect.ap, perfect.side_ap50, perfect.side_ap) == pytest.approx((1, 1, 1, 1))
    assert (perfect.pictures, perfect.hands, perfect.predictions) == (4, 4, 4)
    swapped = cells["swapped"].scores
    assert (swapped.ap, swapped.side_ap) == (1.0, 0.0)
    assert (cells["silent"].scores.ap, cells["silent"].scores.side_ap) == (1.0, None)
    assert cells["off"].scores.ap50 == 0.0
    assert cells["quoted"].scores is None
    assert "train-detector" in cells["untrained"].reason

    text = report.render()
    assert "untrained: not run" in text
    assert "no such weights" in text
    quoted = next(
        line.split() for line in text.splitlines() if line.split()[:1] == ["quoted"] and "35.42" in line
    )
    assert quoted == ["quoted", "-", "-", "-", "-", "-", "84.76", "35.42"]

    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"report.json", "report.csv", "report.md", "curves-0.svg", "predictions"}
    tree = json.loads((tmp_path / "out" / "report.json").read_text())
    assert tree["sets"][0]["cells"]["perfect"]["scores"]["side_ap"] == 1.0
    lines = list(csv.DictReader((tmp_path / "out" / "report.csv").open()))
    assert {(line["method"], line["kind"]) for line in lines if line["ap50"]} == {
        ("perfect", "measured"), ("perfect", "published"), ("swapped", "measured"), ("silent", "measured"),
        ("off", "measured"), ("quoted", "published"),
    }  # fmt: skip
    assert "![Precision over recall" in (tmp_path / "out" / "report.md").read_text()
    drawn = ET.parse(tmp_path / "out" / "curves-0.svg").getroot()
    assert len(drawn.findall("{http://www.w3.org/2000/svg}polyline")) == 4
    found = (tmp_path / "out" / "predictions" / "perfect--a-set.jsonl").read_text().splitlines()
    assert [len(json.loads(line)["boxes"]) for line in found] == [2, 1, 0, 1]


def test_box_conventions(tmp_path, monkeypatch):
    folder = shards(tmp_path / "set", TRUTH)
    rows = [{"name": "a", "detector": "a"}, {"name": "b", "detector": "b"}]
    oracles = {"a": Oracle(TRUTH), "b": Oracle(TRUTH, keypoints=False)}

    def ap50(name, **settings):
        cell = run(monkeypatch, table(folder, rows, **settings), **oracles).cells[name, "a set"]
        return cell.reason if cell.scores is None else cell.scores.ap50

    assert ap50("a", truth="keypoint-hull") < 0.5  # boxes of skin against hulls
    assert ap50("a", predicted="keypoint-hull") < 0.5
    assert ap50("a", truth="keypoint-hull", predicted="keypoint-hull") == pytest.approx(1.0)
    assert "no keypoints" in ap50("b", predicted="keypoint-hull")


def test_regions_that_are_not_judged(tmp_path, monkeypatch):
    truth = [[hand([10, 10, 60, 50], 0)], [hand([10, 10, 60, 50], 0)]]
    said = [[hand([80, 20, 130, 90], 1), *truth[0]], [hand([80, 20, 130, 90], 1), *truth[1]]]
    regions = {"crowd": {"v0/0": [[75, 15, 140, 100]]}, "unlabelled": {"v1/0": [[75, 15, 140, 100]]}}
    folder = shards(tmp_path / "set", truth, **regions)
    rows = [{"name": "a", "detector": "a"}]
    strict = run(monkeypatch, table(folder, rows), a=Oracle(said)).cells["a", "a set"].scores
    lenient = (
        run(monkeypatch, table(folder, rows, ignore_unlabelled=True), a=Oracle(said))
        .cells["a", "a set"]
        .scores
    )
    assert strict.ap50 < 0.7
    assert lenient.ap50 == pytest.approx(1.0)


def test_hands_of_unknown_side_count_for_neither_side(tmp_path):
    truth = [[hand([10, 10, 60, 50], 0), hand([80, 20, 130, 90], -1)]]
    config = SetConfig(name="a", path=shards(tmp_path / "set", truth))
    (picture,) = open_set(config, None).pictures()
    boxes = np.array([h["box"] for h in truth[0]])

    def scores(sides, rows=(0, 1)):
        found = Found(boxes=boxes[list(rows)], side=np.array(sides), score=np.array([0.5, 0.9])[: len(sides)])
        return score([judged(picture, found, "annotated")], sides=True)

    one_each = [scores([0, 1]).side_ap, scores([0, 0]).side_ap, scores([0], [0]).side_ap]
    assert one_each == pytest.approx([1.0] * 3)
    assert scores([1, 1]).side_ap == 0.0
    assert scores([0, 1]).ap == pytest.approx(1.0)
    assert scores([0], [0]).ap == pytest.approx(51 / 101)  # the headline counts both hands


def test_truth_is_clipped_and_limits_spread_over_the_set(tmp_path):
    row = {"video_id": "v", "frame_index": 0, "width": 160, "height": 120, "image": {"bytes": b""},
           "hands": [hand([-30, -30, 40, 40]), hand([200, 10, 260, 50])]}  # fmt: skip
    picture = labelled_picture("v/0", row, [], SetConfig(name="a", path=tmp_path))
    assert picture.boxes.tolist() == [[0, 0, 40, 40]]
    folder = shards(tmp_path / "set", [[]] * 9)

    def keys(limit=None, **settings):
        return sorted(key[0] for key in open_set(SetConfig(name="a", path=folder, **settings), limit).keys)

    assert keys(3) == ["v0", "v4", "v8"]
    assert keys(recordings="odd") == ["v1", "v3", "v5", "v7"]
    with pytest.raises(UsageError, match="no pictures of val"):
        keys(splits=("val",))


def test_only_what_a_training_held_out(tmp_path):
    folder, run = shards(tmp_path / "set", [[]] * 5), tmp_path / "run"
    config = SetConfig(name="a", path=folder, held_out_of=run)
    with pytest.raises(UsageError, match="no training there"):
        open_set(config, None)
    run.mkdir()
    (run / "data.json").write_text(
        json.dumps({"validation_recordings": [{"set": "x", "recordings": ["v1", "v3"]}]})
    )
    assert sorted(key[0] for key in open_set(config, None).keys) == ["v1", "v3"]
    (run / "data.json").write_text("{}")
    with pytest.raises(BadFileError, match="not the record"):
        open_set(config, None)


def test_without_arguments_the_benchmark_is_table_1():
    options = cli._parser().parse_args(["benchmark"])
    assert options.config == Path("configs/benchmark/table1.yaml")
    config = load_config(DetectionBenchmarkConfig, shipped("configs/benchmark/table1.yaml"))
    assert config.sets[0].path == Path("data/labels")
    assert config.sets[0].held_out_of == Path("runs/detector")


def test_what_cannot_be_had_does_not_stop_the_rest(tmp_path, monkeypatch):
    folder = shards(tmp_path / "set", TRUTH)
    sets = (SetConfig(name="here", path=folder), SetConfig(name="gone", path=tmp_path / "gone"))
    rows = (RowConfig(name="a", detector="a"), RowConfig(name="b", detector="nobody"))
    config = DetectionBenchmarkConfig(rows=rows, sets=sets, speed=SpeedConfig(pictures=0))
    report = run(monkeypatch, config, a=Oracle(TRUTH))
    assert report.cells["a", "here"].scores.ap == 1.0
    assert "no such shards" in report.cells["a", "gone"].reason
    assert "no detector 'nobody'" in report.cells["b", "here"].reason
    assert "not measured" in report.render()
    with pytest.raises(UsageError, match="no such shards"):
        run(monkeypatch, config.model_copy(update={"sets": sets[1:]}))
    wrong = config.model_copy(update={"rows": (RowConfig(name="c", published="Nobody"),)})
    with pytest.raises(UsageError, match="table 1 has no 'Nobody'"):
        run(monkeypatch, wrong)


def test_speed_is_the_median_after_warming_up():
    ticks = iter([100.0, 1.0, 3.0, 8.0] * 2)
    now = [0.0]

    class Slow:
        def detect(self, pictures):
            now[0] += next(ticks)
            return [Found.none()]

    def alone():
        now[0] += next(ticks) / 2

    subject = Subject(detector=Slow(), implementation="", device="", network=lambda _: alone)
    speed = measure_speed(
        subject, [np.zeros((4, 4, 3), np.uint8)], SpeedConfig(warm_up=1, pictures=3), lambda: now[0]
    )
    assert (speed.all_ms, speed.network_ms) == pytest.approx((3000, 1500))
    assert speed.all_fps == pytest.approx(1 / 3)


def test_a_checkpoint_runs_in_the_pixels_of_the_picture(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from whim.detector.checkpoint import save_detector
    from whim.detector.config import DetectorConfig
    from whim.detector.network.detector import Detector

    config = DetectorConfig.model_validate({"network": {"scale": "n"}})
    weights = tmp_path / "best.safetensors"
    save_detector(weights, Detector(config.network), config, {})
    row = {"name": "ours", "checkpoint": weights, "settings": {"size": 96}, "least_score": 0.0}
    report = run_detection_benchmark(table(shards(tmp_path / "set", TRUTH), [row], out=tmp_path / "out"))
    (method,) = report.methods
    assert method.reason == ""
    assert method.parameters == 3_385_269  # the published count of this network
    assert method.size_mb == pytest.approx(6.77, abs=0.01)
    assert min(method.speed.network_fps, method.speed.all_fps) > 0
    assert report.cells["ours", "a set"].scores.predictions > 0
    lines = (tmp_path / "out" / "predictions" / "ours--a-set.jsonl").read_text().splitlines()
    boxes = np.concatenate([np.reshape(json.loads(line)["boxes"], (-1, 4)) for line in lines])
    assert (boxes.max(axis=0) <= [*SIZE, *SIZE]).all()
    assert boxes[:, 2].max() > 96
    wrong = run_detection_benchmark(table(tmp_path / "set", [{**row, "settings": {"sizes": 96}}]))
    assert "has size" in wrong.methods[0].reason


@pytest.mark.parametrize("name", ["table1", "table2", "open-sets"])
def test_shipped_tables_are_valid_and_refer_to_printed_rows(name):
    config = load_config(DetectionBenchmarkConfig, shipped(f"configs/benchmark/{name}.yaml"))
    printed = published_rows(PublishedRow, config.published, config.table)
    assert all(row.published is None or row.published in printed for row in config.rows)
    if name == "table2":
        assert {row.published for row in config.rows} == set(printed)
    assert printed["Proposed-M"].pair("oxford-hands") == (82.64, 48.98)


def test_the_odd_recordings_are_the_half_that_label_tuning_did_not_see(tmp_path, shared_data):
    name = "finger_counts"
    run_import("coco", shared_data / "detection" / name, tmp_path / name)
    chosen = open_set(SetConfig(name=name, path=tmp_path / name, recordings="odd"), None)
    held_out = next(one for one in load_sets(shared_data)[0] if one.name == name)
    assert {one.data for one in chosen.pictures()} == {one.path.read_bytes() for one in held_out.pictures}
