"""Is a downloaded file a whole, readable video?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import av

from whim.errors import BadFileError
from whim.sources.video.probe import probe

if TYPE_CHECKING:
    from whim.sources.video.probe import VideoFacts


def check(path: Path, *, resumed: bool) -> VideoFacts:
    """Facts of the video at ``path``.

    A resumed download may be spliced from two different files without a word from server or yt-dlp, and
    neither the header nor a few pictures would show it: it is decoded from end to end (about 1 ms of CPU per
    720p frame).

    Raises:
        BadFileError: not a video, empty, or damaged.
    """
    facts = probe(path)
    if resumed:
        _decode_whole(path)
    return facts


def _decode_whole(path: Path) -> None:
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.options = {"err_detect": "explode"}  # no concealment
            stream.thread_type = "NONE"
            damaged = any(frame.is_corrupt for frame in container.decode(stream))
    except av.FFmpegError as error:
        raise BadFileError(f"{path.name}: damaged: {error.strerror}", code="bad-video") from error
    if damaged:
        raise BadFileError(f"{path.name}: damaged pictures", code="bad-video")
