"""Facts of a video file, for comparison with a manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from whim.sources.video.decode import EARLY_S, Span, decode, orientation
from whim.sources.video.timeline import BadVideoError, Timeline, open_video, scan

CUT_OFF_S = 1.0
CUT_OFF_SHARE = 0.01
"""A file is cut off when its header promises this much more than the packets give: a second and a hundredth."""


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """What a video file is."""

    width: int
    """Pixels, upright."""
    height: int
    """Pixels, upright."""
    rotation: int
    """Degrees counter-clockwise that were applied to make it upright; of a mirrored picture, libav's reading."""
    fps: float
    """Average frame rate."""
    frames: int
    """Packets that are shown; the number of frames, or an estimate where packets do not tell them (VP8, MPEG-4,
    files that begin in the middle of a group)."""
    duration_s: float
    codec: str
    pix_fmt: str
    container: str
    variable_rate: bool
    has_audio: bool


def probe(path: Path) -> VideoFacts:
    """Read facts, and decode the first frame and one near the end, so that a broken file is caught.

    A file that is much shorter than its own header says is an unfinished download, and broken too.

    Raises:
        BadVideoError: ``missing-file``, ``empty-file``, ``no-video-stream``, ``no-frames`` or ``bad-video``.
    """
    timeline = scan(path)
    first = next(decode(path, timeline.clock, Span()), None)
    if first is None:
        raise BadVideoError(f"{path}: no frame can be decoded")
    if len(timeline.keys) > 1:
        _decode_late(path, timeline)
    swapped, _, _ = orientation(first.raw)
    size = (first.raw.height, first.raw.width) if swapped else (first.raw.width, first.raw.height)
    with open_video(path) as (container, stream):
        promised = _promised_s(container, stream)
        found = float((timeline.end - timeline.clock.origin) * timeline.clock.time_base)
        if timeline.pts and promised - found > CUT_OFF_S + CUT_OFF_SHARE * promised:
            raise BadVideoError(
                f"{path}: it ends after {found:.1f} of the {promised:.1f} seconds that its header promises; "
                "fetch it again"
            )
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


def _decode_late(path: Path, timeline: Timeline) -> None:
    """Decode the last key frame, or the first frame after it that comes."""
    key = timeline.keys[-1]
    for early_s in (0.0, EARLY_S):
        with open_video(path) as (container, stream):
            try:
                container.seek(key - round(early_s / timeline.clock.time_base), stream=stream, backward=True)
            except av.FFmpegError:
                return  # a stream without an index: only decoding all of it would tell
            try:
                if any(raw.pts is None or raw.pts >= key for raw in container.decode(stream)):
                    return
            except av.FFmpegError as error:
                raise BadVideoError(f"{path}: damaged near its end ({error})") from error
    if timeline.trusted:  # with doubtful stamps a seek may lead past the end
        raise BadVideoError(f"{path}: nothing can be decoded near its end")


def _promised_s(container: InputContainer, stream: VideoStream) -> float:
    """Seconds of video that the header promises; 0 when it does not say."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if container.duration and len(container.streams) == 1:  # with sound, the sound may be the longer one
        return container.duration / av.time_base
    return 0.0
