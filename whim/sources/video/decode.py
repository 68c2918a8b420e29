"""Decoded frames with exact index and presentation time.

The index is a counter of decoded frames and never comes from a time stamp. The time is the frame's own stamp;
where a stamp is missing or runs backwards, the frame follows its predecessor by one frame length.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from whim.sources.video.timeline import BadVideoError, Clock, Timeline, open_video, scan

FAR = 90
"""A jump of more frames than this is worth a seek when reading single frames."""

EARLY_S = 1.0
"""Transport streams are searched by decoding time, which lies before the presentation time: a second attempt at a seek
aims this much earlier. Frames pass in decoding order, so the planned key frame comes by."""


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
    converter: VideoReformatter

    def frame(self) -> Frame:
        """Convert to upright RGB."""
        return Frame(self.index, self.time_s, upright(self.raw, self.converter))


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


class _SeekMissedError(Exception):
    """A seek did not land on the planned key frame."""


def decode(path: Path, clock: Clock, span: Span) -> Iterator[Decoded]:
    """Decode a span in order.

    Frames that the decoder still holds at damage are not asked for: one of them may be missing, and the next would
    take its index.

    Raises:
        BadVideoError: ``bad-video`` at damage, after the good frames before it; ``frame-count`` when the span does
            not begin at the planned frame, or at its end when it has not the frames that the packets promise.
    """
    count = 0
    for found in _reach(path, clock, span):
        count += 1
        yield found
    if span.frames is not None and count != span.frames:
        raise BadVideoError(
            f"{path}: {count} frames decoded where the packets promise {span.frames}, from frame {span.first_frame}",
            code="frame-count",
        )


def _reach(path: Path, clock: Clock, span: Span) -> Iterator[Decoded]:
    """Frames of the span by the shortest way that leads exactly there. A seek misses before its first frame only."""
    for early_s in (0.0, EARLY_S):
        try:
            yield from _decode_from(path, clock, span, early_s)
            return
        except _SeekMissedError:
            continue
    yield from _tail(path, clock, span)


def _tail(path: Path, clock: Clock, span: Span) -> Iterator[Decoded]:
    """The span, reached by decoding everything before it."""
    for found in _decode_from(path, clock, Span(end_pts=span.end_pts)):
        if found.index == span.first_frame and found.raw.pts != span.seek_pts:
            raise BadVideoError(
                f"{path}: frame {found.index} is not the one that the packets promise", code="frame-count"
            )
        if found.index >= span.first_frame:
            yield found


def _decode_from(path: Path, clock: Clock, span: Span, early_s: float = 0.0) -> Iterator[Decoded]:
    """Frames of the span, after a seek that aims ``early_s`` seconds before it."""
    with open_video(path) as (container, stream):
        index = span.first_frame
        time_s = -1.0
        step = float(1 / clock.rate)
        converter = VideoReformatter()
        landed = span.seek_pts is None
        try:
            if span.seek_pts is not None:
                container.seek(span.seek_pts - round(early_s / clock.time_base), stream=stream, backward=True)
            for raw in container.decode(stream):
                if not landed:
                    if raw.pts is not None and raw.pts < (span.seek_pts or 0):
                        continue  # leading frames of an open group belong to what was before
                    if raw.pts != span.seek_pts:
                        raise _SeekMissedError
                    landed = True
                if index == 0 and raw.pts is not None:  # packets may start earlier than what can be decoded
                    clock = replace(clock, origin=raw.pts)
                if span.end_pts is not None and raw.pts is not None and raw.pts >= span.end_pts:
                    return
                stamp = None if raw.pts is None else clock.seconds(raw.pts)
                time_s = (
                    stamp if stamp is not None and stamp > time_s else max(time_s, 0.0) + step * (index > 0)
                )
                yield Decoded(index, time_s, raw, converter)
                index += 1
        except av.FFmpegError as error:
            if not landed:
                raise _SeekMissedError from error
            raise BadVideoError(f"{path}: damaged after frame {index - 1} ({error})") from error
        if not landed:
            raise _SeekMissedError


def upright(raw: av.VideoFrame, converter: VideoReformatter) -> NDArray[np.uint8]:
    """RGB picture (H, W, 3), turned and mirrored as the file says. 10-bit and HDR are converted plainly to 8 bits.

    The converter is kept from frame to frame and has one thread, as the decoder has; by itself it would take a thread
    per core.
    """
    image = np.asarray(converter.reformat(raw, format="rgb24", threads=1).to_ndarray(), dtype=np.uint8)
    swapped, mirrored_x, mirrored_y = turns = orientation(raw)
    if not any(turns):
        return image
    if swapped:
        image = image.swapaxes(0, 1)
    if mirrored_x:
        image = image[:, ::-1]
    if mirrored_y:
        image = image[::-1]
    return np.ascontiguousarray(image)


def orientation(raw: av.VideoFrame) -> tuple[bool, bool, bool]:
    """What makes a stored picture upright: swap its axes, then mirror x, then mirror y.

    From the display matrix, which maps a stored point p, q to a p + c q, b p + d q. libav's rotation angle alone
    does not tell a mirrored picture from a turned one.
    """
    matrix: Any = raw.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return False, False, False
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    if abs(b) > abs(a):
        return True, c < 0, b < 0
    return False, a < 0, d < 0


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
