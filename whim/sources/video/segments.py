"""Cut a video into segments, the units of work: 30 to 60 seconds, starting at key frames.

Every frame belongs to exactly one segment, and decoding segment by segment gives the same frames with the same
indices as decoding the whole file. Where packets do not tell frames (VP8, AVI, broken stamps, a start in the middle of
a group), the whole file is one segment: counting from its start is then the only exact way.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from whim.sources.video.decode import Span
from whim.sources.video.timeline import Clock, Timeline, scan

SHORTEST = 2 / 3
"""A segment is closed at the first key frame past this share of the wanted length (30 s of 45 s)."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of one video."""

    video_id: str
    split: str
    path: str
    index: int
    start_s: float
    """Time of its first frame, in seconds since the first frame of the video."""
    end_s: float
    """Time of the first frame after it."""
    previous_s: float | None
    """Time of the frame before it: the sampling grid runs on across segments."""
    span: Span
    clock: Clock

    @property
    def name(self) -> str:
        """Stem of its label file: number and times in milliseconds."""
        return f"{self.index:05d}-{round(self.start_s * 1000):09d}-{round(self.end_s * 1000):09d}"


def plan_segments(path: Path, *, video_id: str, split: str, length_s: float = 45.0) -> list[Segment]:
    """Segments of a video, in order; nothing is decoded.

    Raises:
        BadVideoError: the file has no readable video.
    """
    return segments_of(scan(path), path=str(path), video_id=video_id, split=split, length_s=length_s)


def segments_of(
    timeline: Timeline, *, path: str, video_id: str, split: str, length_s: float
) -> list[Segment]:
    """Segments of a time line, in order."""
    starts = cut(timeline, length_s)
    stops = [*starts[1:], None]
    segments = []
    for number, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        pts = timeline.pts
        first = bisect_left(pts, start) if start is not None else 0
        end = len(pts) if stop is None else bisect_left(pts, stop)
        segments.append(
            Segment(
                video_id=video_id,
                split=split,
                path=path,
                index=number,
                start_s=timeline.clock.seconds(start) if start is not None else 0.0,
                end_s=timeline.duration_s if stop is None else timeline.clock.seconds(stop),
                previous_s=timeline.clock.seconds(pts[first - 1]) if first else None,
                span=Span(
                    first_frame=first,
                    seek_pts=start,
                    end_pts=stop,
                    frames=end - first if timeline.trusted else None,
                ),
                clock=timeline.clock,
            )
        )
    return segments


def cut(timeline: Timeline, length_s: float) -> Sequence[int | None]:
    """Time stamps of the key frames at which segments start; None is the start of the file."""
    starts: list[int | None] = [None]
    if not timeline.trusted:
        return starts
    shortest = SHORTEST * length_s
    last = 0.0
    for key in timeline.keys:
        here = timeline.clock.seconds(key)
        # Not before the segment is long enough, nor where too little would be left for the last one.
        if here - last >= shortest and timeline.duration_s - here >= shortest:
            starts.append(key)
            last = here
    return starts
