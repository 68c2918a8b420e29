"""What a video file says about its frames, read from the packets without decoding.

A frame's index is its place among the decoded frames. Where packets and frames are known to correspond one to
one, the index of a key frame is the number of packets shown before it, and decoding may start there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from whim.errors import BadFileError

# PyAV hands libav's log lines to Python. A decoder or encoder thread that wants to log then waits for Python's lock,
# while the thread that holds the lock waits for it to end: a deadlock no time-out can break. libav's own handler
# needs no lock; errors reach us as exceptions anyway.
av.logging.restore_default_callback()
av.logging.set_libav_level(av.logging.PANIC)

# Codecs whose packets are frames, one to one, when the container keeps their time stamps. VP8 may hide reference
# frames in packets of their own, MPEG-4 part 2 may pack two frames into one packet.
ONE_PACKET_PER_FRAME = frozenset({"h264", "hevc", "vp9", "av1", "libdav1d", "mjpeg", "prores"})


class BadVideoError(BadFileError):
    """A video cannot be read, or not to its end. ``code`` tells which."""

    code = "bad-video"


class Packet(NamedTuple):
    """One packet of the video stream."""

    pts: int | None
    key: bool
    discard: bool = False
    duration: int = 0


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Turns time stamps of one video stream into seconds since its first frame."""

    origin: int
    """Time stamp of the first frame."""
    time_base: Fraction
    rate: Fraction
    """Average frame rate."""

    def seconds(self, pts: int) -> float:
        """Seconds since the first frame."""
        return float((pts - self.origin) * self.time_base)


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Presentation times of a video's frames, in units of ``time_base``."""

    pts: tuple[int, ...]
    """Sorted time stamps of the packets that have one."""
    end: int
    """Time stamp at which the last of them ends, by its own duration."""
    packets: int
    """Packets that are shown."""
    keys: tuple[int, ...]
    """Sorted time stamps of key frames."""
    clock: Clock
    trusted: bool
    """True when the n-th time stamp is certainly that of the n-th decoded frame."""

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame to the end of the last, which is given the usual length of a frame."""
        if not self.pts:
            return float(self.packets / self.clock.rate)
        return self.clock.seconds(self.pts[-1]) + float(1 / self.clock.rate)

    @property
    def variable_rate(self) -> bool:
        """True when frame distances differ by more than the clock's rounding."""
        gaps = [b - a for a, b in zip(self.pts, self.pts[1:], strict=False)]
        return len(self.pts) != self.packets or (
            bool(gaps) and max(gaps) - min(gaps) > max(2, 0.02 * min(gaps))
        )


def timeline_of(
    packets: Sequence[Packet], *, time_base: Fraction, rate: Fraction, one_to_one: bool
) -> Timeline:
    """Timeline from packets in file order. ``one_to_one``: codec and container keep packets and frames together."""
    shown = [packet for packet in _from_first_key(packets) if not packet.discard]
    stamps = [packet.pts for packet in shown if packet.pts is not None]
    keys = sorted({packet.pts for packet in shown if packet.key and packet.pts is not None})
    return Timeline(
        pts=tuple(sorted(stamps)),
        end=max((packet.pts + packet.duration for packet in shown if packet.pts is not None), default=0),
        packets=len(shown),
        keys=tuple(keys),
        clock=Clock(origin=min(stamps, default=0), time_base=time_base, rate=rate),
        # An edit list (discarded packets), a doubled or missing stamp, a start without its key frame break the count.
        trusted=one_to_one
        and len(stamps) == len(set(stamps)) == len(packets)
        and _key_frames_divide(packets),
    )


def _from_first_key(packets: Sequence[Packet]) -> Sequence[Packet]:
    """Packets without those that need an earlier key frame, in a file that begins in the middle of a group."""
    keys = [place for place, packet in enumerate(packets) if packet.key]
    if not keys:  # the container marks none
        return packets
    second = keys[1] if len(keys) > 1 else len(packets)
    group, rest = packets[keys[0] : second], packets[second:]
    first = group[0].pts
    if first is None:
        return [*group, *rest]
    return [*(packet for packet in group if packet.pts is None or packet.pts >= first), *rest]


def _key_frames_divide(packets: Sequence[Packet]) -> bool:
    """True when every key frame is shown after all that is stored before it.

    What is stored after a key frame may be shown before it (leading frames of an open group), but not before the
    key frame before that. So a file is not trusted that begins in the middle of a group, or whose stamps start anew.
    """
    high = before = current = None
    for pts, key, *_ in packets:
        if pts is None:
            return False
        if key:
            if high is not None and pts <= high:
                return False
            before, current = (pts if current is None else current), pts
        if before is None or pts < before:
            return False
        high = pts if high is None else max(high, pts)
    return True


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its first real video stream, decoding on one thread.

    Raises:
        BadVideoError: ``missing-file``, ``empty-file``, ``bad-video`` or ``no-video-stream``.
    """
    if not path.is_file():
        raise BadVideoError(f"{path}: no such file", code="missing-file")
    if path.stat().st_size == 0:
        raise BadVideoError(f"{path}: the file is empty", code="empty-file")
    try:
        container = av.open(str(path), metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        raise BadVideoError(f"{path}: not a readable video ({error})") from error
    with container:
        # A cover picture in a sound file is a "video" stream with this disposition.
        streams = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
        if not streams:
            raise BadVideoError(f"{path}: there is no video in it", code="no-video-stream")
        stream = streams[0]
        if stream.codec_context is None:
            raise BadVideoError(f"{path}: no decoder for its video")
        # One thread per worker: segments, not frames, run side by side.
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        yield container, stream


def scan(path: Path) -> Timeline:
    """Read every packet of a video, decoding none.

    Raises:
        BadVideoError: see :func:`open_video`; also when there is not one packet.
    """
    with open_video(path) as (container, stream):
        packets: list[Packet] = []
        try:
            for packet in container.demux(stream):
                if packet.size:  # the last one is empty: it flushes the decoder
                    packets.append(
                        Packet(packet.pts, packet.is_keyframe, packet.is_discard, packet.duration or 0)
                    )
        except av.FFmpegError as error:
            if not packets:
                raise BadVideoError(f"{path}: {error}") from error
            # A truncated file: what was read counts, decoding will meet the damage.
        if not packets:
            raise BadVideoError(f"{path}: there is no picture in it", code="no-frames")
        return timeline_of(
            packets,
            time_base=stream.time_base or Fraction(1, 1000),
            rate=stream.average_rate or stream.guessed_rate or Fraction(25),
            one_to_one=stream.codec_context.name in ONE_PACKET_PER_FRAME and container.format.name != "avi",
        )
