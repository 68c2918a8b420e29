"""What a picture of two hands costs: the numpy renderer against OpenGL.

    python benchmarks/render_speed.py [--rounds 15] [--sizes 256 640] [--supersample 1 2]

Two hands of the embedded model side by side, 3 104 faces, on a seventh of the picture. Both renderers alternate
over the same scenes, a new pose each round. Wall time of ``render`` (colour, alpha, depth, labels) and of mixing
the result over a picture; medians of the rounds. Without OpenGL, numpy is measured alone.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from whim.conventions import Side
from whim.errors import UsageError
from whim.hands.mirror import mirror_pose
from whim.hands.open_hand import load_open_hand
from whim.hands.pose_prior import pose_from_angles, sample_angles
from whim.render.choose import open_renderer
from whim.render.hand import hand_mesh
from whim.render.types import Camera, Mesh, Renderer

_UPRIGHT = np.array([-1.2092, -1.2092, 1.2092])  # fingers up, back of the right hand towards the camera


def scenes(count: int) -> list[list[Mesh]]:
    """``count`` pairs of a right and a left hand, each filling half the height of a picture of 39 degrees."""
    model, rng = load_open_hand(), np.random.default_rng(0)
    poses = pose_from_angles(model, sample_angles(rng, 2 * count)).reshape(count, 2, 15, 3)
    betas = rng.normal(size=(count, 2, 10))
    return [
        [
            hand_mesh(model, betas[i, 0], poses[i, 0], _UPRIGHT, (-0.1, 0.06, 0.6), Side.RIGHT, label=1),
            hand_mesh(
                model,
                betas[i, 1],
                mirror_pose(poses[i, 1]),
                mirror_pose(_UPRIGHT),
                (0.1, 0.06, 0.6),
                Side.LEFT,
                label=2,
            ),
        ]
        for i in range(count)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 640])
    parser.add_argument("--supersample", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    renderers: list[Renderer] = [open_renderer("numpy")]
    try:
        renderers.append(open_renderer("opengl"))
    except UsageError as error:
        print(f"numpy alone: {error}")
    hands = scenes(options.rounds + 1)
    print(f"{sum(len(mesh.faces) for mesh in hands[0])} faces; " + "; ".join(r.device for r in renderers))
    columns = "".join(f"{r.name + ' ms':>12s}{'+ mixing':>10s}" for r in renderers)
    print(f"{'size':>6s}{'samples':>9s}{'covered':>9s}{columns}{'numpy / opengl':>16s}")
    for size in options.sizes:
        picture = np.full((size, size, 3), 128, dtype=np.uint8)
        middle = (size - 1) / 2
        camera = Camera(fx=1.4 * size, fy=1.4 * size, cx=middle, cy=middle, width=size, height=size)
        for factor in options.supersample:
            times: dict[str, list[tuple[float, float]]] = {r.name: [] for r in renderers}
            covered = []
            for turn, meshes in enumerate(hands):
                for renderer in renderers:
                    start = time.perf_counter()
                    drawn = renderer.render(meshes, camera, supersample=factor)
                    middle_time = time.perf_counter()
                    drawn.over(picture)
                    if turn:  # the first warms up
                        times[renderer.name].append((middle_time - start, time.perf_counter() - middle_time))
                covered.append(float(drawn.alpha.mean()))
            cost = {
                name: [statistics.median(part) * 1e3 for part in zip(*both, strict=True)]
                for name, both in times.items()
            }
            row = "".join(f"{render:12.1f}{mixing:10.1f}" for render, mixing in cost.values())
            ratio = f"{cost['numpy'][0] / cost['opengl'][0]:16.2f}" if len(renderers) == 2 else ""
            print(f"{size:6d}{factor**2:9d}{statistics.mean(covered):9.2f}{row}{ratio}")


if __name__ == "__main__":
    main()
