"""Facts against expectations: what counts as drift, by how much, and what it means for labels."""

from typing import Any

import pytest

from whim.shards.ledger import Entry, State
from whim.sources.fetch.verdict import compare, describe, done_entry, same_duration, verdict_of
from whim.sources.manifest import ManifestEntry

EXPECTED: dict[str, Any] = {"width": 1280, "height": 720, "frames": 9000, "fps": 30000 / 1001}


def facts(**changes: Any) -> dict[str, Any]:
    return EXPECTED | {"duration_s": 9000 * 1001 / 30000, "codec": "h264"} | changes


def entry(**changes: Any) -> ManifestEntry:
    return ManifestEntry(video_id="a", **EXPECTED | changes)


@pytest.mark.parametrize(
    ("expected", "found", "drifted"),
    [
        ({}, {}, []),
        ({}, {"frames": 9001}, []),
        ({}, {"frames": 8999}, []),
        ({}, {"frames": 9002}, ["frames"]),
        ({}, {"fps": 29.97}, []),
        ({}, {"fps": 29.975}, []),
        ({}, {"fps": 30.0}, ["fps"]),
        ({"fps": 23.976}, {"fps": 24.0}, ["fps"]),
        ({}, {"width": 1278}, ["size"]),
        ({}, {"width": 720, "height": 1280}, ["size"]),
        ({"width": 720, "height": 1280}, {"width": 720, "height": 1280}, []),
        ({"width": None, "height": None, "frames": None, "fps": None}, {}, []),
        ({"width": None}, {"height": 360}, ["size"]),
        ({}, {"fps": 25.0, "frames": 7508, "width": 640, "height": 360}, ["fps", "frames", "size"]),
    ],
)
def test_drift(expected: dict[str, Any], found: dict[str, Any], drifted: list[str]) -> None:
    assert [drift.what for drift in compare(entry(**expected), facts(**found))] == drifted


def test_another_rate_over_the_same_duration() -> None:
    found = facts(fps=25.0, frames=7508, duration_s=7508 / 25)
    drifts = compare(entry(), found)
    assert same_duration(entry(), found) is True
    assert drifts[0].difference == pytest.approx(25 - 29.97003)
    text = describe(entry(), found, drifts)
    assert "fps 25 instead of 29.97 (-4.97)" in text
    assert "frames 7508 instead of 9000 (-1492)" in text
    assert text.endswith("labels fit by time, not by frame index")


def test_another_duration() -> None:
    found = facts(frames=8900, duration_s=8900 * 1001 / 30000)
    assert same_duration(entry(), found) is False
    text = describe(entry(), found, compare(entry(), found))
    assert text.endswith("; duration 296.96 s instead of 300.30 s; labels need not fit by time either")


def test_another_rate_for_the_same_frames() -> None:
    found = facts(fps=30.0, duration_s=300.0)
    text = describe(entry(), found, compare(entry(), found))
    assert (
        text
        == "fps 30 instead of 29.97 (+0.02997); duration 300.00 s instead of 300.30 s; same number of frames"
    )


def test_another_size_says_the_scale_and_nothing_on_time() -> None:
    found = facts(width=640, height=360)
    assert (
        describe(entry(), found, compare(entry(), found))
        == "size 640x360 instead of 1280x720 (scale 0.5 and 0.5 in x and y)"
    )


def test_no_expectation_no_claim() -> None:
    assert same_duration(entry(frames=None), facts()) is None
    assert same_duration(entry(), facts(duration_s=None)) is None


def test_verdicts() -> None:
    assert verdict_of(done_entry(entry(), {"facts": facts()}, attempts=1)) == "match"
    assert verdict_of(done_entry(entry(), {"facts": facts(fps=15.0)}, attempts=1)) == "drifted"
    assert verdict_of(Entry(key="a", state=State.QUARANTINED, reason="gone")) == "gone"
    assert verdict_of(Entry(key="a", state=State.FAILED, reason="transient")) == "failed"
    assert verdict_of(Entry(key="a", state=State.FAILED, reason="bot-check")) == "bot-check"
    assert verdict_of(Entry(key="a", state=State.FILTERED, reason="too-large")) == "filtered"
