"""A trained reconstructor on real photographs with measured joints: the Snap pictures, for evaluation only.

    python benchmarks/reconstructor_real.py --weights runs/reconstructor/best.safetensors --data ../shared/data
      [--hand MANO_RIGHT.pkl] [--picture FILE.jpg]

The box around the true joints is given, as much larger as the mesh of a flat hand is than its joints, so this
measures the second network alone. Beside it stands what guessing the mean hand scores with which its tokens begin.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from fit_accuracy import photographs

from whim.conventions import Side
from whim.hands.mirror import mirror_points
from whim.hands.select import OPEN_HAND, load_hand
from whim.metrics.pose import pa_mpjpe, root_relative_mpjpe
from whim.reconstructor.crops import Crops
from whim.reconstructor.inference import Inference
from whim.reconstructor.tokens import Raw
from whim.reconstructor.training.sheets import write_sheet
from whim.reconstructor.weights import load_network


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--hand", default=OPEN_HAND, metavar="open-hand|FILE")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="a sheet of the first twelve")
    options = parser.parse_args()
    network = load_network(options.weights, load_hand(options.hand))
    tokens = network.tokens
    with torch.inference_mode():
        mean = network.pose(Raw(tokens.mean_pose, tokens.mean_betas, tokens.mean_camera))
        flat, joints = network.hand(torch.eye(3).expand(1, 16, 3, 3), torch.zeros(1, 10))
    guess = mean.keypoints[0].numpy()
    reach, mesh = (np.ptp(points[0].numpy(), axis=0) for points in (joints, flat))
    grow = float((mesh / reach)[np.argsort(mesh)[1:]].mean())  # along and across the flat hand
    inference = Inference(network)
    predicted, wanted, errors_2d, sheet = [], [], [], []
    for picture, camera, truth, sides in photographs(options.data / "annotated/snap_realworld"):
        pixels = truth @ camera.T
        pixels = pixels[..., :2] / pixels[..., 2:]
        low, high = pixels.min(axis=1), pixels.max(axis=1)
        middle, half = (low + high) / 2, grow * (high - low) / 2
        crops = Crops.around(np.concatenate([middle - half, middle + half], axis=1), sides)
        cut = crops.cut(picture, inference.side)
        estimate = inference(cut)
        predicted += list(estimate.keypoints.cpu().numpy())
        wanted += [
            mirror_points(points) if side == Side.LEFT else points
            for points, side in zip(truth, sides, strict=True)
        ]
        flip = np.where(crops.mirrored, -1.0, 1.0)[:, None, None] * [1.0, 0.0] + [0.0, 1.0]
        seen = (pixels - crops.centers[:, None]) / crops.sides[:, None, None] * flip
        found = estimate.keypoints_2d.cpu().numpy()
        errors_2d += list(np.linalg.norm(found - seen, axis=-1).mean(axis=1))
        sheet += list(zip(np.asarray(cut), found, seen, strict=True))
    p, t = np.array(predicted, np.float64), np.array(wanted)
    print(f"{len(t)} hands; boxes {grow:.2f} times those of the joints")
    print(
        "| | PA-MPJPE mean / median / 90 % (mm) | relative to the wrist | 2D, % of the crop |\n|---|---|---|---|"
    )
    for name, points, flat in (
        ("network", p, f"{100 * np.mean(errors_2d):.2f}"),
        ("guessing the mean hand", np.repeat(guess[None], len(t), axis=0), "-"),
    ):
        error = 1e3 * pa_mpjpe(points, t)
        print(
            f"| {name} | {error.mean():.2f} / {np.median(error):.2f} / {np.quantile(error, 0.9):.2f} "
            f"| {1e3 * root_relative_mpjpe(points, t).mean():.1f} | {flat} |"
        )
    if options.picture:
        write_sheet(options.picture, sheet[:12])
        print(options.picture)


if __name__ == "__main__":
    main()
