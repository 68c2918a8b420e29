"""Which frames of a segment are looked at: a fixed number per second, without near-duplicates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from whim.sources.video.decode import Frame, decode
from whim.sources.video.hashing import difference_hash, hamming
from whim.sources.video.segments import Segment

DUPLICATE_SIDE = 16
"""Duplicates are found with 16 x 16 bits: with 8 x 8, half the frames of a hand before a calm background look alike."""

COARSEST_TICK_S = 1e-3
"""Matroska and Flash video count milliseconds. Stamps are exact in containers with coarser ticks, such as AVI."""


@dataclass
class Counts:
    """What became of the frames of a segment."""

    decoded: int = 0
    sampled: int = 0
    duplicates: int = 0
    """Of the sampled ones, dropped as near-duplicates."""


@dataclass(frozen=True, eq=False)
class SampledFrame:
    """A frame that was kept."""

    frame: Frame
    picture_hash: int
    """64-bit difference hash."""


def sample(
    segment: Segment, *, fps: float, duplicate_distance: int, counts: Counts | None = None
) -> Iterator[SampledFrame]:
    """Kept frames of a segment, in order.

    A frame is sampled when it is the first in its cell of a grid of ``1 / fps`` seconds that starts with the
    video, so that the result does not depend on where the video is cut. It is dropped when its 256-bit
    difference hash is within ``duplicate_distance`` of the last kept frame of the segment; -1 keeps all.

    Raises:
        BadVideoError: damage, after the good frames before it were given.
    """
    tally = counts or Counts()
    # A stamp that the clock rounded to just below a grid line counts as on it; two roundings, half a tick each.
    slack = min(float(segment.clock.time_base), COARSEST_TICK_S) + 1e-6

    def cell_of(time_s: float) -> int:
        return math.floor((time_s + slack) * fps)

    cell = cell_of(segment.previous_s) if segment.previous_s is not None else -1
    last_hash: int | None = None
    for decoded in decode(Path(segment.path), segment.clock, segment.span):
        tally.decoded += 1
        here = cell_of(decoded.time_s)
        if here <= cell:
            continue
        cell = here
        tally.sampled += 1
        frame = decoded.frame()
        fine_hash = difference_hash(frame.image, DUPLICATE_SIDE)
        if last_hash is not None and hamming(fine_hash, last_hash) <= duplicate_distance:
            tally.duplicates += 1
            continue
        last_hash = fine_hash
        yield SampledFrame(frame, difference_hash(frame.image))
