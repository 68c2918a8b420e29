"""Fixtures for all tests: shared real data (skipped when absent) and tiny videos made on the spot."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import whim.sources.video.timeline  # noqa: F401  (keeps libav's threads out of Python's log: see there)

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real pictures and clips that is not part of the repository."""
    folder = Path(os.environ.get("WHIM_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the shared real data is not here (set WHIM_SHARED_DATA to its folder)")
    return folder


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """Factory of small videos: a bright square that moves over noise-free colour, one position per frame."""

    def make(
        name: str = "clip.mp4",
        *,
        frames: int = 60,
        fps: Fraction | int = 30,
        size: tuple[int, int] = (160, 96),
        gop: int = 12,
        codec: str = "libx264",
        still: bool = False,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        width, height = size
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=Fraction(fps))
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.gop_size = gop
            for index in range(frames):
                picture = np.full((height, width, 3), (30, 60, 90), dtype=np.uint8)
                x = 0 if still else (index * 7) % (width - 24)
                picture[16:56, x : x + 24] = (250, 220, 40)
                for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                    container.mux(packet)
            for packet in stream.encode():
                container.mux(packet)
        return path

    return make
