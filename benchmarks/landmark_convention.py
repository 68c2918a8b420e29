"""Does a detector mark other points than the hand model has joints?

    python benchmarks/landmark_convention.py [--pictures 250]

Renders single hands with exact truth, takes MediaPipe's landmarks of them, and prints the mean offset of each keypoint
along the palm (wrist to middle knuckle) and across it (towards the thumb), in % of the palm. What counts is the last
line: whether taking one half's offsets off makes the other half's landmarks any better.
"""

from __future__ import annotations

import argparse

import numpy as np

from whim.conventions import HAND_KEYPOINTS
from whim.models.catalog import weight_path
from whim.perception.hands.mediapipe_hands import MediaPipeHands
from whim.synth.config import SynthConfig
from whim.synth.dataset import SynthDataset

SEED = 77
MATCH = 0.12
"""A detection belongs to a hand when its keypoints are so near on average, in sides of the box."""
LEAST_LENGTH = 0.45
"""Palms that point at the camera have no direction in the picture: least visible share of their length."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=250)
    pictures = parser.parse_args().pictures
    detector = MediaPipeHands(
        weight_path("mediapipe-hand-landmarker"), detector="mediapipe", min_score=0.5, max_hands=4
    )
    config = SynthConfig(
        people=0, arms=1, first_person=0, interacting=0, occluders=0, empty=0, hand_pixels=(0.25, 0.6)
    )
    dataset = SynthDataset(config, seed=SEED)
    rows = []
    for index in range(pictures):
        picture, row = dataset[index]
        votes = detector.detect(picture)
        for hand in row["hands"]:
            x1, y1, x2, y2 = hand["box"]
            truth = np.array(hand["keypoints_2d"])
            distance = [
                np.linalg.norm(v.keypoints - truth, axis=1).mean() / max(x2 - x1, y2 - y1) for v in votes
            ]
            if distance and min(distance) <= MATCH:
                offset = palm_offsets(votes[int(np.argmin(distance))].keypoints, hand)
                rows += [] if offset is None else [offset]
    detector.close()
    offsets = np.array(rows)
    print(
        f"{len(offsets)} hands; mean offset (standard deviation), % of the palm\n{'':12}     along          across"
    )
    for name, mean, spread in zip(HAND_KEYPOINTS, 100 * offsets.mean(0), 100 * offsets.std(0), strict=True):
        print(f"{name:12} {mean[0]:6.1f} ({spread[0]:4.1f})  {mean[1]:6.1f} ({spread[1]:4.1f})")
    first, second = offsets[::2], offsets[1::2]
    before, after = (100 * np.linalg.norm(e, axis=2).mean() for e in (second, second - first.mean(axis=0)))
    print(f"error of one half: {before:.1f} %; without the other half's mean offsets: {after:.1f} %")


def palm_offsets(points: np.ndarray, hand: dict) -> np.ndarray | None:
    """(21, 2) error of points along the palm and across it, in palms; None when the palm points at the camera."""
    truth, joints = np.array(hand["keypoints_2d"]), np.array(hand["joints_3d"])
    along = truth[9] - truth[0]
    length = np.linalg.norm(along)
    if (
        length
        < LEAST_LENGTH * hand["camera"]["focal"][0] * np.linalg.norm(joints[9] - joints[0]) / joints[0, 2]
    ):
        return None
    along = along / length
    across = np.array([-along[1], along[0]])
    across = across if (truth[5] - truth[17]) @ across > 0 else -across
    return (points - truth) @ np.stack([along, across], axis=1) / length


if __name__ == "__main__":
    main()
