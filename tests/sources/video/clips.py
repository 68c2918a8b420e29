"""Generated clips, and ways of reading them whole, in pieces, and until damage."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from whim.sources.video.decode import Span, decode
from whim.sources.video.segments import Segment, plan_segments
from whim.sources.video.timeline import BadVideoError, scan

GENERATED = {
    "closed.mp4": ("libx264", {"g": "15", "bf": "3"}),
    "open.mp4": (
        "libx264",
        {"g": "15", "bf": "3", "x264-params": "open-gop=1:keyint=15:bframes=3:scenecut=0"},
    ),
    "open.mkv": ("libx264", {"x264-params": "open-gop=1:keyint=15:bframes=3:scenecut=0"}),
    "transport.ts": ("libx264", {"g": "15", "bf": "2"}),
    "vp9.webm": ("libvpx-vp9", {"g": "15", "deadline": "realtime", "cpu-used": "8"}),
    "vp8.webm": ("libvpx", {"g": "15", "auto-alt-ref": "1", "lag-in-frames": "12", "deadline": "realtime"}),
    "packed.avi": ("mpeg4", {"g": "15", "bf": "2"}),
    "open_hevc.mp4": (
        "libx265",
        {"x265-params": "open-gop=1:keyint=15:min-keyint=15:bframes=3:b-adapt=0:scenecut=0:log-level=none"},
    ),
    "av1.mp4": ("libsvtav1", {"g": "15", "preset": "12", "svtav1-params": "lp=1"}),
    "hidden.webm": ("libvpx-vp9", {"g": "30", "auto-alt-ref": "1", "lag-in-frames": "25", "cpu-used": "8"}),
    "fragmented.mp4": ("libx264", {"g": "15", "bf": "2", "movflags": "frag_keyframe+empty_moov"}),
}


def encode(
    path: Path,
    codec: str,
    *,
    frames: int = 120,
    stamps: list[int] | None = None,
    size: tuple[int, int] = (96, 64),
    **options: str,
) -> Path:
    """A clip whose every picture is different, with options of the encoder."""
    muxer = {key: options.pop(key) for key in ("movflags",) if key in options}
    with av.open(str(path), "w", options=muxer) as container:
        stream = container.add_stream(codec, rate=Fraction(30))
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.options = options
        stream.codec_context.time_base = Fraction(1, 30)
        for index in range(frames):
            picture = np.full((*size[::-1], 3), 40, dtype=np.uint8)
            picture[8:40, (index * 5) % 70 : (index * 5) % 70 + 20] = (230, 200, index % 200)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = (stamps[index] if stamps else index), Fraction(1, 30)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def whole(path: Path) -> list[tuple[int, float]]:
    return [(found.index, found.time_s) for found in decode(path, scan(path).clock, Span())]


def until_damage(path: Path) -> tuple[list[int], BadVideoError | None]:
    seen: list[int] = []
    try:
        seen.extend(found.index for found in decode(path, scan(path).clock, Span()))
    except BadVideoError as error:
        return seen, error
    return seen, None


def pieces(path: Path, length_s: float) -> tuple[list[Segment], list[tuple[int, float]]]:
    segments = plan_segments(path, video_id="x", split="", length_s=length_s)
    return segments, [(d.index, d.time_s) for s in segments for d in decode(path, s.clock, s.span)]
