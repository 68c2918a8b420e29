"""Small pictures with known hands, as files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from whim.detector.data.folders import LoosePicture, to_records
from whim.detector.data.records import RecordSet, whole

WRIST, THUMB_TIP = 0, 4
WRIST_COLOUR, TIP_COLOUR = (0, 0, 255), (255, 0, 0)
"""BGR."""


def smooth(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """BGR picture of slow waves: what is interpolated in it does not depend much on how."""
    width, height = size
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    channels = []
    for _ in range(3):
        wave = sum(
            rng.uniform(0.3, 1)
            * np.sin(2 * np.pi * (rng.uniform(-2, 2) * x + rng.uniform(-2, 2) * y + rng.random()))
            for _ in range(3)
        )
        channels.append(127 + 110 * wave / np.abs(wave).max())
    return np.stack(channels, axis=-1).astype(np.uint8)


def hand_points(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """(21, 2) keypoints well inside the picture, the wrist and the tip of the thumb far apart."""
    centre = rng.uniform(0.35, 0.65, 2) * size
    points = centre + rng.uniform(-0.16, 0.16, (21, 2)) * min(size)
    points[WRIST] = centre + np.array([-0.17, 0.1]) * min(size)
    points[THUMB_TIP] = centre + np.array([0.17, -0.15]) * min(size)
    return points


def make_set(
    folder: Path,
    count: int,
    *,
    size: tuple[int, int] = (320, 200),
    marked: bool = False,
    keypoints: bool = True,
    suffix: str = ".jpg",
    seed: int = 0,
) -> RecordSet:
    """``count`` pictures with one hand each, left and right in turn; two pictures per recording.

    ``marked``: a red disc at the wrist and a blue one at the tip of the thumb.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for number in range(count):
        picture, points = smooth(rng, size), hand_points(rng, size)
        if marked:
            for row, colour in ((WRIST, WRIST_COLOUR), (THUMB_TIP, TIP_COLOUR)):
                cv2.circle(picture, tuple(np.round(points[row] - 0.5).astype(int).tolist()), 12, colour, -1)
        path = folder / f"{number:03d}{suffix}"
        cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 98])
        low, high = points.min(axis=0) - [6, 4], points.max(axis=0) + np.array([3, 8])
        labelled = np.full((21, 1), 2 if keypoints else 0)
        pictures.append(
            LoosePicture(
                path=path,
                size=size,
                recording=f"recording {number // 2}",
                boxes=[(*low, *high)],
                sides=[number % 2],
                points=[np.concatenate([points, labelled], axis=1)],
            )
        )
    return whole(str(folder), to_records(pictures))
