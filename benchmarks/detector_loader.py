"""How many training pictures a loader process makes: WHIM's fused way against the plain one, and the anchor.

    python benchmarks/detector_loader.py [--pictures DIR] [--rounds 5] [--json]

Pictures: 64 JPEGs of 1280x720, some 320 kB each, made from those in ``--pictures`` (or from noise). Both ways make
mosaics of 640x640 out of the same pictures with one decode per sample, alternating, one thread each; medians.

plain   full decode, resize to fit, four on a canvas of 1280x1280, one warp of it, jitter in HSV: the usual recipe
whim    decode reduced, one warp per tile straight into the input, colours in one pass (whim/detector/data)
paper   the same with the paper's probabilities: mosaic 0.7, mixup 0.1, rotation 60, no colours

The anchor, 82 mosaics/s per process, was measured on another machine with the same sizes (decode 6.4 ms full, 3.0 ms
half); ``full`` and ``half`` are what decoding costs here.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from whim.detector.data.batches import TrainingSource
from whim.detector.data.config import AugmentConfig
from whim.detector.data.folders import LoosePicture, to_records
from whim.detector.data.records import RecordSet, whole

SIZE, COUNT, BATCH, ANCHOR = 640, 64, 16, 82.0


def make_pictures(folder: Path, sources: Path | None) -> RecordSet:
    """720p JPEGs with one labelled hand each."""
    rng = np.random.default_rng(0)
    paths = sorted(path for path in sources.rglob("*.jpg"))[:COUNT] if sources else []
    loose = []
    for number in range(COUNT):
        if paths:
            picture = cv2.resize(cv2.imread(str(paths[number % len(paths)])), (1280, 720))
            noise = 11.5  # enlarged pictures are smoother than what a camera writes
        else:
            picture = cv2.resize(
                rng.integers(0, 256, (45, 80, 3), np.uint8), (1280, 720), interpolation=cv2.INTER_CUBIC
            )
            noise = 12.0
        picture = np.clip(picture + rng.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)
        path = folder / f"{number:03d}.jpg"
        cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
        corner = rng.uniform((100, 80), (1000, 500))
        points = np.concatenate(
            [corner + rng.uniform(0, 1, (21, 2)) * (120, 150), np.full((21, 1), 2)], axis=1
        )
        box = (*corner, *(corner + np.array([120, 150])))
        loose.append(
            LoosePicture(path, (1280, 720), str(number), boxes=[box], sides=[number % 2], points=[points])
        )
    return whole("benchmark", to_records(loose))


def plain(pictures: RecordSet) -> int:
    """The usual recipe without labels: less work than it really has."""
    rng = np.random.default_rng(0)
    fitted: list[np.ndarray] = []
    for row in range(COUNT):
        picture = cv2.imdecode(
            np.frombuffer(Path(pictures[row].path).read_bytes(), np.uint8), cv2.IMREAD_COLOR
        )
        fitted.append(cv2.resize(picture, (SIZE, 360), interpolation=cv2.INTER_LINEAR))
        canvas = np.full((2 * SIZE, 2 * SIZE, 3), 114, np.uint8)
        x, y = (int(value) for value in rng.uniform(0.5 * SIZE, 1.5 * SIZE, 2))
        for place, other in enumerate([row, *rng.integers(0, len(fitted), 3)]):
            tile = fitted[other]
            left, top = x - (SIZE if place in (0, 2) else 0), y - (360 if place in (0, 1) else 0)
            x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + SIZE, 2 * SIZE), min(top + 360, 2 * SIZE)
            canvas[y1:y2, x1:x2] = tile[y1 - top : y2 - top, x1 - left : x2 - left]
        matrix = cv2.getRotationMatrix2D((SIZE, SIZE), rng.uniform(-60, 60), rng.uniform(0.5, 1))
        matrix[:, 2] -= SIZE / 2
        made = cv2.warpAffine(canvas, matrix, (SIZE, SIZE), borderValue=(114, 114, 114))
        hue, saturation, value = cv2.split(cv2.cvtColor(made, cv2.COLOR_BGR2HSV))
        steps = np.arange(256)
        tables = [(steps * 1.01 % 180), np.clip(steps * 1.2, 0, 255), np.clip(steps * 0.9, 0, 255)]
        channels = [
            cv2.LUT(channel, table.astype(np.uint8))
            for channel, table in zip((hue, saturation, value), tables, strict=True)
        ]
        made = cv2.cvtColor(cv2.merge(channels), cv2.COLOR_HSV2BGR)
        np.ascontiguousarray(made[..., ::-1])
    return COUNT


def whim(pictures: RecordSet, augment: AugmentConfig) -> Callable[[], int]:
    source = TrainingSource([pictures], [1.0], size=SIZE, augment=augment, seed=0, epochs=100)
    shares = [range(start, start + BATCH) for start in range(0, COUNT, BATCH)]

    def run() -> int:
        return sum(len(batch.pictures) for batch in source.make(0, shares))

    return run


def decode(pictures: RecordSet, flag: int) -> Callable[[], int]:
    data = [np.fromfile(pictures[row].path, np.uint8) for row in range(COUNT)]

    def run() -> int:
        return sum(cv2.imdecode(one, flag) is not None for one in data)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=Path, help="folder of JPEGs to make the test pictures from")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    colourless = dict.fromkeys(
        ("gain", "brightness", "contrast", "gamma", "saturation", "grey", "blur", "flip"), 0.0
    )
    with tempfile.TemporaryDirectory() as folder:
        pictures = make_pictures(Path(folder), options.pictures)
        size = statistics.mean(path.stat().st_size for path in Path(folder).iterdir()) / 1000
        ways: dict[str, Callable[[], int]] = {
            "plain": lambda: plain(pictures),
            "whim": whim(pictures, AugmentConfig(mosaic=1.0, mixup=0.0)),
            "paper": whim(pictures, AugmentConfig(mosaic=0.7, mixup=0.1, **colourless)),
            "full": decode(pictures, cv2.IMREAD_COLOR),
            "half": decode(pictures, cv2.IMREAD_REDUCED_COLOR_2),
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for run in [1, *range(options.rounds)]:
            for name, way in ways.items():
                begun = time.perf_counter()
                number = way()
                rates[name].append(number / (time.perf_counter() - begun))
            if run == 1 and len(rates["plain"]) == 1:
                rates = {name: [] for name in ways}  # the first round only warms up
    result = {name: statistics.median(values) for name, values in rates.items()}
    ratio = statistics.median(a / b for a, b in zip(rates["whim"], rates["plain"], strict=True))
    if options.json:
        print(json.dumps({"kB": size, "ratio": ratio, "anchor": ANCHOR, **result}, indent=1))
        return
    print(
        f"{COUNT} JPEGs of 1280x720, {size:.0f} kB; OpenCV {cv2.__version__}, one thread, {options.rounds} rounds"
    )
    for name in ("plain", "whim", "paper"):
        print(f"{name:6} {result[name]:6.1f} pictures/s   {1000 / result[name]:5.1f} ms")
    print(f"decode {1000 / result['full']:.1f} ms full, {1000 / result['half']:.1f} ms half")
    ahead = result["whim"] / ANCHOR
    print(f"whim / plain {ratio:.2f};  anchor {ANCHOR:.0f}/s (other machine);  whim / anchor {ahead:.2f}")


if __name__ == "__main__":
    main()
