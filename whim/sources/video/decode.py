"""Decoded frames with exact index and presentation time.

The index is a counter of decoded frames and never comes from a time stamp. The time is the frame's own stamp;
where a stamp is missing or runs backwards, the frame follows its predecessor by one frame length.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from whim.sources.video.timeline import BadVideoError, Clock, Timeline, open_video, scan

FAR = 90
"""A jump of more frames than this is worth a seek when reading single frames."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture of a video."""

    index: int
    time_s: float
    image: NDArray[np.uint8]
    """(H, W, 3) RGB, upright."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """A decoded frame whose picture is converted only when asked for."""

    index: int
    time_s: float
    raw: av.VideoFrame

    def frame(self) -> Frame:
        """Convert to upright RGB."""
        return Frame(self.index, self.time_s, upright(self.raw))


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of a video to decode, in stream time stamps."""

    first_frame: int = 0
    seek_pts: int | None = None
    """Key frame to start at; None: the start of the file."""
    end_pts: int | None = None
    """Stop before this stamp; None: at the end of the file."""
    frames: int | None = None
    """Frames there must be; None: not known."""


def decode(path: Path, clock: Clock, span: Span) -> Iterator[Decoded]:
    """Decode a span in order.

    Raises:
        BadVideoError: ``bad-video`` at damage, after the good frames before it; ``frame-count`` at the end when
            the span has not the frames that the packets promise.
    """
    expected = span.first_frame
    for found in _decode_from(path, clock, span):
        if found is None:  # the seek missed the key frame: count from the start of the file instead
            yield from _tail(path, clock, span)
            return
        expected = found.index + 1
        yield found
    count = expected - span.first_frame
    if span.frames is not None and count != span.frames:
        raise BadVideoError(
            f"{path}: {count} frames decoded where the packets promise {span.frames}, from frame {span.first_frame}",
            code="frame-count",
        )


def _tail(path: Path, clock: Clock, span: Span) -> Iterator[Decoded]:
    """The span, reached by decoding everything before it."""
    for found in decode(path, clock, Span(end_pts=span.end_pts)):
        if found.index >= span.first_frame:
            yield found


def _decode_from(path: Path, clock: Clock, span: Span) -> Iterator[Decoded | None]:
    """Frames of the span; a single None when the seek did not land on the planned key frame."""
    with open_video(path) as (container, stream):
        index = span.first_frame
        time_s = -1.0
        step = float(1 / clock.rate)
        if span.seek_pts is not None:
            container.seek(span.seek_pts, stream=stream, backward=True)
        landed = span.seek_pts is None
        try:
            for raw in container.decode(stream):
                if not landed:
                    if raw.pts is not None and raw.pts < (span.seek_pts or 0):
                        continue  # leading frames of an open group belong to what was before
                    if raw.pts != span.seek_pts:
                        yield None
                        return
                    landed = True
                if span.end_pts is not None and raw.pts is not None and raw.pts >= span.end_pts:
                    return
                stamp = None if raw.pts is None else clock.seconds(raw.pts)
                time_s = (
                    stamp if stamp is not None and stamp > time_s else max(time_s, 0.0) + step * (index > 0)
                )
                yield Decoded(index, time_s, raw)
                index += 1
            if not landed:
                yield None
        except av.FFmpegError as error:
            raise BadVideoError(f"{path}: damaged after frame {index - 1} ({error})") from error


def upright(raw: av.VideoFrame) -> NDArray[np.uint8]:
    """RGB picture (H, W, 3) with the rotation tag applied. 10-bit and HDR are converted plainly to 8 bits."""
    image = np.asarray(raw.to_ndarray(format="rgb24"), dtype=np.uint8)
    turns = round(raw.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def frames_at(path: Path, indices: Sequence[int]) -> Iterator[Frame]:
    """Exact frames by index, in rising order, each once; long gaps are skipped by seeking where that is exact.

    Raises:
        BadVideoError: the video cannot be decoded up to a wanted frame (``frame-missing``).
    """
    timeline = scan(path)
    wanted = sorted(set(indices))
    for group in _groups(wanted, timeline):
        pending = iter(group)
        next_wanted = next(pending, None)
        for found in decode(path, timeline.clock, _span_to(group[0], timeline)):
            if found.index == next_wanted:
                yield found.frame()
                next_wanted = next(pending, None)
                if next_wanted is None:
                    break
        if next_wanted is not None:
            raise BadVideoError(f"{path}: it ends before frame {next_wanted}", code="frame-missing")


def _groups(wanted: Sequence[int], timeline: Timeline) -> list[list[int]]:
    """Indices that are read in one go: a new group starts where a seek saves much decoding."""
    groups: list[list[int]] = []
    for index in wanted:
        if groups and (_span_to(index, timeline).first_frame - groups[-1][-1] <= FAR):
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def _span_to(index: int, timeline: Timeline) -> Span:
    """Span from the last key frame at or before a frame."""
    if not timeline.trusted or index >= len(timeline.pts):
        return Span()
    place = bisect_right(timeline.keys, timeline.pts[index])
    if place <= 1:
        return Span()
    key = timeline.keys[place - 1]
    return Span(first_frame=bisect_right(timeline.pts, key) - 1, seek_pts=key)
