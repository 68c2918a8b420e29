"""What reading sampled frames costs: WHIM's decoder against OpenCV's grab and retrieve.

    python benchmarks/video_decode.py VIDEO ... [--fps 5] [--rounds 5]

Ways over the same file, alternating, one thread each; CPU time of the process, medians of the rounds:

opencv   grab every frame, retrieve (convert to BGR) those that the rate asks for
decode   the same with WHIM's decoder and clock: upright RGB, exact index and time
sample   what the pipeline runs: decode with the sampling grid, both difference hashes, duplicates dropped
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2

from whim.sources.video.decode import Span, decode
from whim.sources.video.sampling import Counts, sample
from whim.sources.video.segments import plan_segments
from whim.sources.video.timeline import scan

Ways = dict[str, Callable[[Path, float], tuple[int, int]]]


def opencv(path: Path, fps: float) -> tuple[int, int]:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    step = max(1, round(capture.get(cv2.CAP_PROP_FPS) / fps))
    frames = taken = 0
    while capture.grab():
        if frames % step == 0:
            taken += capture.retrieve()[0]
        frames += 1
    capture.release()
    return frames, taken


def decoded(path: Path, fps: float) -> tuple[int, int]:
    timeline = scan(path)
    step = max(1, round(float(timeline.clock.rate) / fps))
    frames = taken = 0
    for found in decode(path, timeline.clock, Span()):
        if found.index % step == 0:
            found.frame()
            taken += 1
        frames += 1
    return frames, taken


def sampled(path: Path, fps: float) -> tuple[int, int]:
    counts = Counts()
    for segment in plan_segments(path, video_id="x", split=""):
        for _ in sample(segment, fps=fps, duplicate_distance=2, counts=counts):
            pass
    return counts.decoded, counts.sampled


WAYS: Ways = {"opencv": opencv, "decode": decoded, "sample": sampled}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"{'ms of CPU per':34s}{'source frame':>14s}{'sampled frame':>15s}{'way / opencv':>14s}")
    for path in options.videos:
        for way in WAYS.values():
            way(path, options.fps)  # warm the file cache and the libraries
        costs: dict[str, list[float]] = {name: [] for name in WAYS}
        counts: dict[str, tuple[int, int]] = {}
        for _ in range(options.rounds):
            for name, way in WAYS.items():
                start = time.process_time()
                counts[name] = way(path, options.fps)
                costs[name].append(time.process_time() - start)
        base = statistics.median(costs["opencv"]) / counts["opencv"][0]
        for name, times in costs.items():
            cost, (frames, taken) = statistics.median(times), counts[name]
            label = f"{path.name[:25]:26s}{name:8s}"
            ratio = cost / frames / base
            print(f"{label}{cost / frames * 1e3:14.2f}{cost / taken * 1e3:15.2f}{ratio:14.2f}")


if __name__ == "__main__":
    main()
