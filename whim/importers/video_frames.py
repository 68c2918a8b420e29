"""Frames of a video by time: annotations count frames at a rate that the file here need not have."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from whim.errors import BadFileError
from whim.sources.video.decode import Frame, Span, decode, frames_at
from whim.sources.video.timeline import Timeline, scan

Reason = tuple[str, str]
"""Code and detail."""
_LENGTH_S, _LENGTH_SHARE = 1.0, 0.01
"""A video whose length is off by more than a second and a hundredth is another cut."""
_ASPECT = 0.02
"""A picture whose proportions are off by more was cropped or padded."""


@dataclass(frozen=True)
class Expected:
    """A video as it was annotated."""

    size: tuple[int, int]
    """Width, height in pixels."""
    fps: float
    frames: int | None = None


def frames_near(path: Path, times_s: Sequence[float], expected: Expected) -> Iterator[Frame | Reason]:
    """For each time (rising) the nearest frame, or why there is none; as many as ``times_s``.

    A frame is given once: of two times with the same nearest frame the second gets ``frame-doubled``.
    """
    given = 0
    try:
        timeline = scan(path)
        if problem := _other_cut(path, timeline, expected):
            yield from [("bad-video", problem)] * len(times_s)
            return
        chosen = nearest(_times(path, timeline), times_s, 0.75 / expected.fps)
        wanted = sorted({index for index in chosen if index is not None})
        frames = frames_at(path, wanted)
        last = None
        for index, time_s in zip(chosen, times_s, strict=True):
            if index is None:
                given += 1
                yield "frame-missing", f"{path}: no frame near {time_s:.3f} s"
            elif index == last:
                given += 1
                yield "frame-doubled", f"{path}: frame {index} is already there"
            else:
                last = index
                frame = next(frames)
                height, width = frame.image.shape[:2]
                aspect = (width / height) / (expected.size[0] / expected.size[1])
                given += 1
                if abs(aspect - 1) > _ASPECT:
                    was = "x".join(map(str, expected.size))
                    yield "bad-video", f"{path}: {width}x{height} has other proportions than {was}"
                else:
                    yield frame
    except BadFileError as error:
        yield from [("bad-video", str(error))] * (len(times_s) - given)


def nearest(times: Sequence[float], wanted: Sequence[float], tolerance: float) -> list[int | None]:
    """Index into the sorted ``times`` nearest to each wanted one, the earlier of equals; None beyond ``tolerance``."""
    found: list[int | None] = []
    for value in wanted:
        place = bisect_left(times, value)
        around = [index for index in (place - 1, place) if 0 <= index < len(times)]
        best = min(around, key=lambda index: (abs(times[index] - value), index), default=None)
        found.append(best if best is not None and abs(times[best] - value) <= tolerance else None)
    return found


def _times(path: Path, timeline: Timeline) -> list[float]:
    if timeline.trusted:
        return [timeline.clock.seconds(stamp) for stamp in timeline.pts]
    return [found.time_s for found in decode(path, timeline.clock, Span())]


def _other_cut(path: Path, timeline: Timeline, expected: Expected) -> str:
    if expected.frames is None:
        return ""
    length = expected.frames / expected.fps
    if abs(timeline.duration_s - length) > _LENGTH_S + _LENGTH_SHARE * length:
        return f"{path}: {timeline.duration_s:.1f} s long, annotated were {length:.1f} s: another cut"
    return ""
