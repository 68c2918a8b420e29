"""Draw the pictures of the documentation: rendered scenes with their labels, and the open hand from all around.

python models/build/pictures.py [--out docs/assets]
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from whim.conventions import Side
from whim.files import atomic_path
from whim.hands.open_hand import load_open_hand
from whim.hands.pose_prior import pose_from_angles
from whim.render.compose import turntable
from whim.render.hand import hand_mesh
from whim.render.software import NumpyRenderer
from whim.synth.config import SynthConfig
from whim.synth.dataset import SynthDataset
from whim.viz.overlay import draw_labels

SEED, COUNT, PER_ROW, LONGEST = 21, 15, 5, 320
VIEWS, SIZE = 8, 180
QUALITY = 80
UPRIGHT = Rotation.from_matrix([[0, 0, 1], [1, 0, 0], [0, 1, 0]])  # fingers up, the palm towards the camera
CURL = 12.0
"""Degrees by which every joint of the fingers is bent."""


def scenes() -> np.ndarray:
    """The first landscape pictures that show hands, with their labels."""
    chosen = (
        draw_labels(picture, row, longest=LONGEST)
        for picture, row in SynthDataset(SynthConfig(), seed=SEED)
        if row["hands"] and picture.shape[1] > picture.shape[0]
    )
    tiles = list(islice(chosen, COUNT))
    return np.vstack([np.hstack(tiles[start : start + PER_ROW]) for start in range(0, COUNT, PER_ROW)])


def open_hand() -> np.ndarray:
    """A right hand of the mean shape, turned once around."""
    model = load_open_hand()
    degrees = np.zeros((15, 3))
    degrees[:, 1] = CURL
    pose = pose_from_angles(model, np.radians(degrees).reshape(1, 45))[0]
    mesh = hand_mesh(model, np.zeros(10), pose, UPRIGHT.as_rotvec(), np.zeros(3), Side.RIGHT)
    return np.hstack(turntable([mesh], views=VIEWS, size=SIZE, renderer=NumpyRenderer()))


def write(path: Path, picture: np.ndarray) -> None:
    """As JPEG."""
    coded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    with atomic_path(path) as temporary:
        temporary.write_bytes(coded.tobytes())
    print(f"{path}: {picture.shape[1]} x {picture.shape[0]}, {path.stat().st_size / 1024:.0f} KB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[2] / "docs" / "assets")
    options = parser.parse_args()
    write(options.out / "synth.jpg", scenes())
    write(options.out / "turntable.jpg", open_hand())


if __name__ == "__main__":
    main()
