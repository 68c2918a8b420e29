"""The main job from end to end, as `make demo` runs it, on the real networks and clips."""

from pathlib import Path

import pytest

from whim import cli
from whim.benchmark.truth import compare
from whim.demo import TRUTH
from whim.models.pull import list_models
from whim.resources import shipped
from whim.shards import reader
from whim.shards.ledger import read_ledger

pytestmark = pytest.mark.weights


def test_the_demo_ends_with_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = [row.name for row in list_models() if row.status != "ready" and row.name != "handtrack-ssd320"]
    if missing:
        pytest.skip(f"not pulled: {', '.join(missing)} (whim models pull)")
    assert cli.main(["demo", "--out", str(tmp_path), "--workers", "0"]) == 0
    out = capsys.readouterr().out
    report = tmp_path / "labels" / "gallery" / "index.html"
    assert f"report  {report}" in out
    assert report.is_file()

    _, videos = read_ledger(tmp_path / "videos")
    assert {entry.reason for entry in videos.values()} == {"match"}
    # The rendered clip: its truth is known, and the labels come near it.
    accuracy = compare(tmp_path / "labels", shipped(TRUTH)).to_json()
    assert accuracy["recall"] > 0.85
    assert accuracy["side_accuracy"] > 0.95
    assert accuracy["pa_mpjpe_mm"] < 14
    assert "PA-MPJPE" in out
    hands = [hand for row in reader.iter_rows(tmp_path / "labels") for hand in row["hands"]]
    assert sum(hand["mano"] is not None for hand in hands) > 0.9 * sum(
        hand["keypoints_2d"] is not None for hand in hands
    )

    rows = list(reader.iter_rows(tmp_path / "labels"))
    assert {row["split"] for row in rows} == {"train"}
    assert len(rows) >= 25
    # The clips show people from head to foot: somebody in every frame, a hand in most.
    assert all(row["persons"] for row in rows)
    assert sum(bool(row["hands"]) for row in rows) > len(rows) / 2
    for row in rows:
        for hand in row["hands"]:
            x1, y1, x2, y2 = hand["box"]
            assert 0 <= x1 < x2 <= row["width"]
            assert 0 <= y1 < y2 <= row["height"]
            assert 1 <= len(hand["votes"]) <= 3

    # A second run has nothing to do and says the same.
    before = {path: path.stat().st_mtime_ns for path in reader.label_files(tmp_path / "labels")}
    assert cli.main(["demo", "--out", str(tmp_path), "--workers", "0"]) == 0
    assert {path: path.stat().st_mtime_ns for path in reader.label_files(tmp_path / "labels")} == before
