"""A trained reconstructor on real photographs with measured joints: the Snap pictures, for evaluation only.

    python benchmarks/reconstructor_real.py --weights runs/reconstructor/best.safetensors --data ../shared/data
      [--hand MANO_RIGHT.pkl] [--picture FILE.jpg]

The box around the true joints is given, so this measures the second network alone. Beside it stands what guessing the
hand scores that the network's tokens begin with.
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
        guess = (
            network.pose(Raw(tokens.mean_pose, tokens.mean_betas, tokens.mean_camera)).keypoints[0].numpy()
        )
    inference = Inference(network)
    predicted, wanted, errors_2d, sheet = [], [], [], []
    for picture, camera, truth, sides in photographs(options.data / "annotated/snap_realworld"):
        pixels = truth @ camera.T
        pixels = pixels[..., :2] / pixels[..., 2:]
        crops = Crops.around(np.concatenate([pixels.min(axis=1), pixels.max(axis=1)], axis=1), sides)
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
    print(f"{len(t)} hands")
    print(
        "| | PA-MPJPE mean / median / 90 % (mm) | relative to the wrist | 2D, % of the crop |\n|---|---|---|---|"
    )
    for name, points, flat in (
        ("network", p, f"{100 * np.mean(errors_2d):.2f}"),
        ("guessing the mean hand", np.repeat(guess[None].astype(np.float64), len(t), axis=0), "-"),
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
