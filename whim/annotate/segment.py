"""The unit of work: one segment of one video, from file to label file. No Ray in here.

Decode, sample, people, hands, fusion, sides and the fit run inside this one call; frames never leave the
process.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whim.annotate.config import PipelineConfig
from whim.annotate.fit import fitted, load_fitter
from whim.annotate.frame import Detectors, FrameLabels, annotate_frame
from whim.annotate.sides import decide_sides
from whim.errors import BadFileError
from whim.perception.types import implementations
from whim.shards.ledger import Entry, State
from whim.shards.rows import NO_FIT, Row, frame_row
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


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """What is kept of a frame once its pixels are gone."""

    index: int
    time_s: float
    size: tuple[int, int]
    picture_hash: int
    labels: FrameLabels


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
    frames: list[_Frame] = []
    damage: BadFileError | None = None
    try:
        for kept in sample(
            segment,
            fps=config.sampling.fps,
            duplicate_distance=config.sampling.duplicate_distance,
            counts=counts,
        ):
            frame = kept.frame
            height, width = frame.image.shape[:2]
            frames.append(
                _Frame(
                    index=frame.index,
                    time_s=frame.time_s,
                    size=(width, height),
                    picture_hash=kept.picture_hash,
                    labels=annotate_frame(frame.image, detectors, config),
                )
            )
    except BadFileError as error:
        if not frames or error.code == "frame-count":  # then the frame numbers of these rows may be wrong
            raise
        damage = error
    hands = decide_sides(
        [frame.labels.hands for frame in frames],
        [frame.labels.persons for frame in frames],
        [frame.time_s for frame in frames],
    )
    fits: list[list[Row]] = [[NO_FIT] * len(found) for found in hands]
    if config.fit is not None:
        fits = load_fitter(config.fit).fit(hands, [frame.size for frame in frames])
    rows = [
        frame_row(
            video_id=segment.video_id,
            split=segment.split,
            frame_index=frame.index,
            time_s=frame.time_s,
            width=frame.size[0],
            height=frame.size[1],
            picture_hash=frame.picture_hash,
            persons=frame.labels.persons,
            hands=found,
            fits=fit,
        )
        for frame, found, fit in zip(frames, hands, fits, strict=True)
    ]
    facts = {
        "decoded": counts.decoded,
        "sampled": counts.sampled,
        "duplicates": counts.duplicates,
        "frames": len(rows),
        "persons": sum(len(frame.labels.persons) for frame in frames),
        "hands": sum(map(len, hands)),
        "fitted": fitted(fits),
    }
    lineage = {
        **task.lineage,
        "detectors": implementations([*detectors.people.detectors, *detectors.hands.detectors]),
        "segment": {"name": segment.name, **facts},
    }
    write_labels(Path(task.target), rows, lineage)
    state, reason = (State.DONE, "") if facts["hands"] else (State.EMPTY, "no-hands" if rows else "no-frames")
    return Entry(
        key=task.key,
        state=state,
        reason="truncated" if damage else reason,
        detail=str(damage) if damage else "",
        data={**facts, "seconds": round(time.perf_counter() - started, 3)},
    )
