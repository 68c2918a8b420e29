"""Render ``models/synthetic_person.mp4`` and its truth: the clip on which ``whim demo`` measures itself.

python models/build/clip.py [--seed S]
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import av

from whim.files import atomic_path
from whim.shards.writer import write_labels
from whim.synth.config import SynthConfig
from whim.synth.degrade import DegradeConfig
from whim.synth.write import sequence_frames

NAME = "synthetic_person"
SEED = 9
FPS = 25
CONFIG = SynthConfig(
    width=640,
    height=480,
    sequence_s=6.0,
    fps=FPS,
    motion_samples=5,
    degrade=DegradeConfig(blur=0.0, noise=1.0, noise_levels=4.0, rescale=0.0, jpeg=0.0),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1])
    options = parser.parse_args()
    frames = list(sequence_frames(CONFIG, (options.seed, 0), NAME, "test"))
    video = options.out / f"{NAME}.mp4"
    with atomic_path(video) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "23", "preset": "slow", "g": "50"})
        stream.height, stream.width = frames[0][0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for image, _ in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    rows = [row for _, row in frames]
    hands = write_labels(
        options.out / f"{NAME}_truth.parquet",
        rows,
        {
            "maker": "models/build/clip.py",
            "seed": options.seed,
            "config": CONFIG.model_dump(mode="json"),
            "licence": "CC0-1.0",
        },
    )
    print(
        f"{video}: {video.stat().st_size / 1024:.0f} KB, {hands} frames, {sum(len(r['hands']) for r in rows)} hands"
    )


if __name__ == "__main__":
    main()
