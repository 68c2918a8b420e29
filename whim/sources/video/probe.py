"""Facts of a video file, for comparison with a manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from whim.sources.video.decode import Span, decode
from whim.sources.video.timeline import BadVideoError, open_video, scan


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """What a video file is."""

    width: int
    """Pixels, upright."""
    height: int
    """Pixels, upright."""
    rotation: int
    """Degrees counter-clockwise that were applied to make it upright."""
    fps: float
    """Average frame rate."""
    frames: int
    """Packets that are shown; the number of frames, except in codecs that pack them otherwise (VP8, MPEG-4)."""
    duration_s: float
    codec: str
    pix_fmt: str
    container: str
    variable_rate: bool
    has_audio: bool


def probe(path: Path) -> VideoFacts:
    """Read facts, and decode the first frame and one after the last key frame, so that a broken file is caught.

    Raises:
        BadVideoError: ``missing-file``, ``empty-file``, ``no-video-stream``, ``no-frames`` or ``bad-video``.
    """
    timeline = scan(path)
    first = next(decode(path, timeline.clock, Span()), None)
    if first is None:
        raise BadVideoError(f"{path}: no frame can be decoded")
    if timeline.trusted and len(timeline.keys) > 1:
        key = timeline.keys[-1]
        late = Span(first_frame=timeline.pts.index(key), seek_pts=key)
        if next(decode(path, timeline.clock, late), None) is None:
            raise BadVideoError(f"{path}: nothing can be decoded near its end")
    turned = round(first.raw.rotation / 90) % 2 == 1
    size = (first.raw.height, first.raw.width) if turned else (first.raw.width, first.raw.height)
    with open_video(path) as (container, stream):
        return VideoFacts(
            width=size[0],
            height=size[1],
            rotation=round(first.raw.rotation) % 360,
            fps=float(timeline.clock.rate),
            frames=timeline.packets,
            duration_s=timeline.duration_s,
            codec=stream.codec_context.name,
            pix_fmt=stream.codec_context.pix_fmt or "",
            container=container.format.name.split(",")[0],
            variable_rate=timeline.variable_rate,
            has_audio=bool(container.streams.audio),
        )
