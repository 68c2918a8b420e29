"""Right forearms and hands of many adults, from Anny's MakeHuman assets (CC0).

Only Anny's own topology is used, never the ones derived from SMPL or SMPL-X.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# MakeHuman targets varied on their own, because the phenotypes alone change little but size: standard
# deviations.
LOCAL_TARGETS = {
    "r-hand-fingers-length-incr": 0.15,
    "r-hand-fingers-diameter-incr": 0.4,
    "r-hand-fingers-distance-incr": 0.3,
}
FIRST_AGE, LAST_AGE = 17.0, 75.0


@dataclass(frozen=True)
class Arms:
    """N right arms in correspondence, at rest, each in its own hand's frame.

    Origin at Anny's wrist joint; x from middle finger to wrist, y dorsal, z towards the thumb; metres.
    """

    vertices: np.ndarray
    """(N, V, 3)"""
    joints: dict[str, np.ndarray]
    """Bone heads (N, 3) by Anny's name without the side, such as ``finger2-1``."""
    faces: np.ndarray
    """(F, 3)"""
    finger_ownership: np.ndarray
    """(V, 5) Anny's skinning weight of the fingers index, middle, little, ring, thumb."""


def sample_arms(count: int, seed: int, batch: int = 125) -> Arms:
    """Draw adults from Anny's shape distribution and keep their right arms below the elbow."""
    import anny
    import torch
    from anny.shape_distribution import SimpleShapeDistribution

    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    rng = np.random.default_rng(seed)
    body = anny.Anny(
        rig="anny", topology="anny", local_changes=list(LOCAL_TARGETS), phenotype_blendshapes="original"
    )
    number = {label.removesuffix(".R"): i for i, label in enumerate(body.bone_labels) if label.endswith(".R")}
    wanted = [name for name in number if name.startswith(("lowerarm", "wrist", "metacarpal", "finger"))]
    owner = np.zeros((len(body.template_vertices), len(body.bone_labels)))
    np.put_along_axis(owner, body.vertex_bone_indices.numpy(), body.vertex_bone_weights.numpy(), axis=1)
    below_elbow = owner[:, [number[name] for name in wanted]].sum(axis=1) > 0.5
    faces = body.faces.numpy()
    faces = faces[below_elbow[faces].all(axis=1)]
    arm, faces = np.unique(faces, return_inverse=True)

    ages = torch.distributions.Uniform(
        *(torch.tensor(age, dtype=body.dtype) for age in (FIRST_AGE, LAST_AGE))
    )
    distribution = SimpleShapeDistribution(body, morphological_age_distribution=ages)
    vertices, heads = [], []
    for start in range(0, count, batch):
        size = min(batch, count - start)
        _, phenotypes = distribution.sample(size)
        local = {
            label: torch.as_tensor(np.clip(rng.normal(0.0, sd, size), -2.5 * sd, 2.5 * sd), dtype=body.dtype)
            for label, sd in LOCAL_TARGETS.items()
        }
        with torch.no_grad():
            shape = body(phenotype_kwargs=phenotypes, local_changes_kwargs=local)
        vertices.append(shape["rest_vertices"][:, arm].numpy())
        heads.append(shape["rest_bone_heads"].numpy())
    joints = {name: np.concatenate(heads)[:, number[name]] for name in wanted}

    fingers = [[number[f"finger{finger}-{k}"] for k in (1, 2, 3)] for finger in (2, 3, 5, 4, 1)]
    ownership = np.stack([owner[arm][:, bones].sum(axis=1) for bones in fingers], axis=1)
    return _in_hand_frame(Arms(np.concatenate(vertices), joints, faces.reshape(-1, 3), ownership))


def _in_hand_frame(arms: Arms) -> Arms:
    wrist, middle, index, little = (arms.joints[f] for f in ("wrist", "finger3-1", "finger2-1", "finger5-1"))
    x = _unit(wrist - middle)
    z = index - little
    z = _unit(z - x * (x * z).sum(axis=1, keepdims=True))
    frame = np.stack([x, np.cross(z, x), z], axis=1)

    def move(points: np.ndarray) -> np.ndarray:
        return np.einsum(
            "nij,n...j->n...i", frame, points - wrist.reshape(len(wrist), *(1,) * (points.ndim - 2), 3)
        )

    joints = {name: move(points) for name, points in arms.joints.items()}
    return Arms(move(arms.vertices), joints, arms.faces, arms.finger_ownership)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)
