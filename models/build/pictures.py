"""Draw the pictures of the documentation: rendered scenes with their labels, the open hand from all around, and what a
trained reconstructor makes of scenes that it has not seen.

python models/build/pictures.py [--out docs/assets] [--reconstructor runs/reconstructor/best.safetensors]
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from whim.conventions import Side
from whim.detector.detections import Detections
from whim.files import atomic_path
from whim.hands.open_hand import load_open_hand
from whim.hands.pose_prior import pose_from_angles
from whim.render.compose import overlay, turntable
from whim.render.hand import hand_mesh
from whim.render.software import NumpyRenderer
from whim.render.types import Camera
from whim.synth.config import SynthConfig
from whim.synth.dataset import SynthDataset
from whim.viz.overlay import draw_labels

UNSEEN = 5022
"""Seed of scenes that no training has seen."""
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


def reconstructed(weights: Path) -> np.ndarray:
    """Pictures with hands seen by their owner, and the network's meshes over them; true boxes and focal lengths."""
    from whim.reconstructor.command import meshes_of  # these need torch
    from whim.reconstructor.predict import load

    stack = load(None, weights)
    only = SynthConfig(
        people=0, arms=0, interacting=0, first_person=1, empty=0, occluders=0.1, width=512, height=384
    )
    columns: list[np.ndarray] = []
    for picture, row in SynthDataset(only, seed=UNSEEN):
        if picture.shape[1] < picture.shape[0]:
            continue
        hands = row["hands"]
        found = Detections(
            boxes=np.array([hand["box"] for hand in hands], np.float32).reshape(-1, 4),
            side=np.array([hand["side"] for hand in hands], np.int64),
            score=np.ones(len(hands), np.float32),
            keypoints=np.zeros((len(hands), 21, 3), np.float32),
        )
        focal, center = hands[0]["camera"]["focal"][0], hands[0]["camera"]["center"]
        result = stack.of_detections(picture, found, focal=focal)
        camera = Camera.from_label(focal, center, picture.shape[1], picture.shape[0])
        drawn = overlay(picture, meshes_of(result, stack.hand), camera, renderer=NumpyRenderer())
        both = np.vstack([picture, drawn])
        columns.append(cv2.resize(both, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
        if len(columns) == PER_ROW:
            return np.hstack(columns)
    raise AssertionError("scenes have no end")


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
    parser.add_argument(
        "--reconstructor", type=Path, metavar="FILE", help="only the picture of these weights"
    )
    options = parser.parse_args()
    if options.reconstructor:
        write(options.out / "reconstructor.jpg", reconstructed(options.reconstructor))
        return
    write(options.out / "synth.jpg", scenes())
    write(options.out / "turntable.jpg", open_hand())


if __name__ == "__main__":
    main()
