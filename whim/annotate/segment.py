"""The unit of work: one segment of one video, from file to label file. No Ray in here.

Decode, sample, people, hands and fusion run inside this one call; frames never leave the process.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whim.annotate.config import PipelineConfig
from whim.annotate.frame import Detectors, annotate_frame
from whim.errors import BadFileError
from whim.perception.types import implementations
from whim.shards.ledger import Entry, State
from whim.shards.rows import frame_row
from whim.shards.writer import write_labels
from whim.sources.video.sampling import Counts, sample
from whim.sources.video.segments import Segment


@dataclass(frozen=True, kw_only=True)
class Task:
    """A segment with what its label file needs to know."""

    segment: Segment
    target: str
    """Path of the label file."""
    lineage: dict[str, Any]
    timeout_s: float
    """Past this a worker is taken for hung."""

    @property
    def key(self) -> str:
        """Ledger key."""
        return f"{self.segment.video_id}/{self.segment.name}"


def annotate_segment(task: Task, detectors: Detectors, config: PipelineConfig) -> Entry:
    """Annotate one segment and write its label file, whole or not at all.

    A video that breaks off keeps the rows before the damage: the entry is ``done`` with reason ``truncated``.

    Raises:
        BadFileError: nothing of the segment could be decoded.
        OSError: the label file could not be written.
    """
    started = time.perf_counter()
    segment = task.segment
    counts = Counts()
    rows: list[dict[str, Any]] = []
    persons = hands = 0
    damage: BadFileError | None = None
    try:
        for kept in sample(
            segment,
            fps=config.sampling.fps,
            duplicate_distance=config.sampling.duplicate_distance,
            counts=counts,
        ):
            frame = kept.frame
            labels = annotate_frame(frame.image, detectors, config)
            persons += len(labels.persons)
            hands += len(labels.hands)
            height, width = frame.image.shape[:2]
            rows.append(
                frame_row(
                    video_id=segment.video_id,
                    split=segment.split,
                    frame_index=frame.index,
                    time_s=frame.time_s,
                    width=width,
                    height=height,
                    picture_hash=kept.picture_hash,
                    persons=labels.persons,
                    hands=labels.hands,
                )
            )
    except BadFileError as error:
        if not rows or error.code == "frame-count":  # then the frame numbers of these rows may be wrong
            raise
        damage = error
    facts = {
        "decoded": counts.decoded,
        "sampled": counts.sampled,
        "duplicates": counts.duplicates,
        "frames": len(rows),
        "persons": persons,
        "hands": hands,
    }
    lineage = {
        **task.lineage,
        "detectors": implementations([*detectors.people.detectors, *detectors.hands.detectors]),
        "segment": {"name": segment.name, **facts},
    }
    write_labels(Path(task.target), rows, lineage)
    state, reason = (State.DONE, "") if hands else (State.EMPTY, "no-hands" if rows else "no-frames")
    return Entry(
        key=task.key,
        state=state,
        reason="truncated" if damage else reason,
        detail=str(damage) if damage else "",
        data={**facts, "seconds": round(time.perf_counter() - started, 3)},
    )
