"""Frames per second of the whole stack: video -> detector -> crops -> hands in the picture's camera.

    python benchmarks/stack_speed.py CLIP.mp4 [--detector n] [--size 640]
      [--reconstructor configs/reconstructor/tiny.yaml] [--hands 2] [--device cpu] [--frames 40] [--rounds 3]
      [--compile]

Both networks have random weights, which cost the same; only NMS is all but free, as an untrained detector finds next to
nothing. Its answers are replaced by ``--hands`` boxes of a quarter of the frame's height. Every stage is timed by
itself, each round over all frames; medians over rounds, and their sum. Needs the extra ``train``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from whim.benchmark.machine import device_name
from whim.config import load_config
from whim.conventions import Side
from whim.detector.config import DetectorConfig, NetworkConfig
from whim.detector.detections import Detections
from whim.detector.network.detector import Detector
from whim.detector.predict import HandPredictor, Image
from whim.hands.open_hand import load_open_hand
from whim.reconstructor.inference import Inference
from whim.reconstructor.network import Reconstructor
from whim.reconstructor.predict import HandReconstructor
from whim.reconstructor.training.recipe import TrainReconstructorConfig
from whim.sources.video.decode import frames_at

STAGES = ("decode", "detector", "crops to hands")


def made_up(picture: Image, count: int) -> Detections:
    """Boxes in a row across the middle, left and right hands in turn."""
    height, width = picture.shape[:2]
    side = height / 4
    x = (np.arange(count) + 0.5) / count * width
    boxes = np.stack(
        [x - side / 2, np.full(count, 1.5 * side), x + side / 2, np.full(count, 2.5 * side)], axis=1
    )
    return Detections(
        boxes=boxes.astype(np.float32),
        side=np.array([(Side.LEFT, Side.RIGHT)[row % 2] for row in range(count)], dtype=np.int64),
        score=np.full(count, 0.9, np.float32),
        keypoints=np.zeros((count, 21, 3), np.float32),
    )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", type=Path)
    parser.add_argument("--detector", default="n", choices=["n", "s", "m"])
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument(
        "--reconstructor", type=Path, default=Path("configs/reconstructor/tiny.yaml"), metavar="YAML"
    )
    parser.add_argument("--hands", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(0)
    settings = DetectorConfig(network=NetworkConfig(scale=options.detector))
    finder = HandPredictor(
        Detector(settings.network).to(options.device).to(memory_format=torch.channels_last),
        settings,
        size=options.size,
    )
    hand = load_open_hand()
    network = Reconstructor(load_config(TrainReconstructorConfig, options.reconstructor).network, hand)
    inference = Inference(network, device=options.device, batch=options.hands, compiled=options.compile)
    stack = HandReconstructor(finder, inference, hand)
    times: dict[str, list[float]] = {name: [] for name in STAGES}
    for number in range(-1, options.rounds):  # the first round warms up
        spent = dict.fromkeys(STAGES, 0.0)
        seen = 0
        before = time.perf_counter()
        for frame in frames_at(options.clip, range(options.frames)):
            picture = frame.image
            decoded = time.perf_counter()
            finder.detect(
                picture, least_score=0.3
            )  # its results come back to the CPU: nothing is left to wait for
            found = time.perf_counter()
            stack.of_detections(picture, made_up(picture, options.hands))
            done = time.perf_counter()
            for name, seconds in zip(STAGES, (decoded - before, found - decoded, done - found), strict=True):
                spent[name] += seconds
            seen, before = seen + 1, done
        if number >= 0:
            for name in STAGES:
                times[name].append(1000 * spent[name] / seen)
    print(
        f"{options.clip.name}: {picture.shape[1]} x {picture.shape[0]}, {seen} frames, {options.hands} hands each; "
        f"detector {options.detector} at {options.size}, reconstructor {options.reconstructor.stem} "
        f"({inference.precision}); {device_name(inference.device)}; {torch.get_num_threads()} threads"
    )
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, value in medians.items():
        print(f"{name:<16}{value:8.1f} ms")
    whole = sum(medians.values())
    print(f"{'whole':<16}{whole:8.1f} ms, {1000 / whole:.1f} frames/s")


if __name__ == "__main__":
    main()
