"""Videos of noise for tests that need some hundred kB to cut, splice and poison."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE, FRAMES, FPS = (160, 96), 50, 25
FACTS = {"width": SIZE[0], "height": SIZE[1], "frames": FRAMES, "fps": float(FPS)}
"""What ``encode`` makes unless told otherwise."""


def encode(path: Path, *, size: tuple[int, int] = SIZE, frames: int = FRAMES, seed: int = 0) -> bytes:
    """A video of noise, which does not compress: some hundred kB, enough to cut in the middle."""
    noise = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS), options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for _ in range(frames):
            picture = noise.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path.read_bytes()
