"""The challenges' numbers against a slow reference that goes hand by hand and threshold by threshold."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.transform import Rotation

from whim.conventions import HAND_KEYPOINTS
from whim.errors import BadFileError, UsageError
from whim.metrics import reconstruction as rc
from whim.metrics.submission import (
    SubmissionWriter,
    from_challenge,
    read_submission,
    stream_list,
    swap_opengl,
    to_challenge,
)

AWAY = np.array([0.0, 0.0, 0.7])


def hands(count, points, *, noise=0.008, seed=0):
    """Truth, and predictions that are turned, scaled, moved and a little wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(scale=0.04, size=(count, points, 3)) + AWAY
    turned = Rotation.random(count, random_state=seed).as_matrix()
    scale, shift = rng.uniform(0.5, 2, (count, 1, 1)), rng.normal(size=(count, 1, 3))
    return (truth + rng.normal(scale=noise, size=truth.shape)) @ turned * scale + shift, truth


def slow_align(predicted, truth):
    """One hand, by SciPy's solver."""
    p, t = predicted - predicted.mean(axis=0), truth - truth.mean(axis=0)
    extent_p, extent_t = np.linalg.norm(p) + 1e-8, np.linalg.norm(t) + 1e-8
    matrix, nuclear = orthogonal_procrustes(p / extent_p, t / extent_t)
    return (p / extent_p) @ matrix * nuclear * extent_t + truth.mean(axis=0)


def slow_auc(found):
    """Point by point: curve over 100 thresholds, trapezoids, mean over points."""
    thresholds = np.linspace(0, 0.05, 100)
    areas = []
    for point in range(found.shape[1]):
        curve = [np.mean(found[:, point] <= limit) for limit in thresholds]
        areas.append(np.trapezoid(curve, thresholds) / np.trapezoid(np.ones(100), thresholds))
    return np.mean(areas)


def slow_f(predicted, truth, limit):
    apart = np.linalg.norm(predicted[:, None] - truth[None], axis=2)
    precision, recall = np.mean(apart.min(axis=1) < limit), np.mean(apart.min(axis=0) < limit)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def test_every_number_equals_the_slow_reference():
    joints, true_joints = hands(12, 21)
    skin, true_skin = hands(12, 90, noise=0.006, seed=1)
    skin[3] = skin[3] * [-1, 1, 1]  # a mirrored mesh is forgiven
    meter = rc.ReconstructionMeter()
    for row in zip(joints, true_joints, skin, true_skin, strict=True):
        meter.add(*row)
    scores = meter.scores()
    placed = np.array([slow_align(*pair) for pair in zip(joints, true_joints, strict=True)])
    placed_skin = np.array([slow_align(*pair) for pair in zip(skin, true_skin, strict=True)])
    off = np.linalg.norm(placed - true_joints, axis=2)
    off_skin = np.linalg.norm(placed_skin - true_skin, axis=2)
    assert scores.pa_mpjpe == pytest.approx(1e3 * off.mean(axis=0).mean(), rel=1e-9)
    assert scores.pa_mpvpe == pytest.approx(1e3 * off_skin.mean(axis=0).mean(), rel=1e-9)
    assert scores.auc_j == pytest.approx(slow_auc(off), abs=1e-12)
    assert scores.auc_v == pytest.approx(slow_auc(off_skin), abs=1e-12)
    for mine, limit in ((scores.f5, 0.005), (scores.f15, 0.015)):
        each = [slow_f(p, t, limit) for p, t in zip(placed_skin, true_skin, strict=True)]
        assert mine == pytest.approx(np.mean(each), abs=1e-12)
    assert 0 < scores.f5 < scores.f15 <= 1
    assert (scores.hands, scores.missing, scores.not_finite) == (12, 0, 0)


def test_the_official_number_forgives_a_mirrored_hand_and_the_proper_one_does_not():
    predicted, truth = hands(4, 21, noise=0.0)
    straight = rc.ReconstructionMeter()
    mirrored = rc.ReconstructionMeter()
    for p, t in zip(predicted, truth, strict=True):
        straight.add(p, t)
        mirrored.add(p * [-1, 1, 1], t)
    assert straight.scores().pa_mpjpe < 1e-5
    assert straight.scores().proper_pa_mpjpe < 1e-5
    assert straight.scores().auc_j == pytest.approx(
        1 - 0.5 / 99
    )  # nothing is within 0 m: the scripts add 1e-8
    assert mirrored.scores().pa_mpjpe < 1e-5
    assert mirrored.scores().proper_pa_mpjpe > 5


def test_a_missing_hand_is_one_point_in_the_middle_of_the_truth():
    _, truth = hands(3, 21)
    _, skin = hands(3, 60, seed=2)
    meter = rc.ReconstructionMeter()
    meter.add(None, truth[0], None, skin[0])
    meter.add(np.full((21, 3), np.nan), truth[1], skin[1], skin[1])
    meter.add(np.zeros((21, 3)), truth[2], np.zeros((60, 3)), skin[2])
    scores = meter.scores()
    assert (scores.hands, scores.missing, scores.not_finite) == (3, 2, 1)
    middle = np.linalg.norm(truth - truth.mean(axis=1, keepdims=True), axis=2).mean()
    assert scores.pa_mpjpe == pytest.approx(1e3 * middle, rel=1e-6)
    assert scores.proper_pa_mpjpe == pytest.approx(1e3 * middle, rel=1e-6)
    assert np.isfinite([scores.auc_j, scores.auc_v, scores.pa_mpvpe, scores.f5, scores.f15]).all()


def test_meshes_of_another_topology_have_f_scores_and_no_vertex_error():
    joints, truth = hands(1, 21, noise=0.0)
    alignment = rc.official_alignment(joints, truth)
    skin = np.random.default_rng(3).normal(scale=0.04, size=(200, 3)) + AWAY
    # Every second vertex of the truth, where the prediction's own similarity puts it.
    back = (skin[::2] - alignment.target) / alignment.scale @ alignment.matrix[0] + alignment.source
    meter = rc.ReconstructionMeter()
    meter.add(joints[0], truth[0], back, skin)
    scores = meter.scores()
    assert scores.pa_mpvpe is None
    assert scores.auc_v is None
    assert scores.f15 == pytest.approx(slow_f(skin[::2], skin, 0.015), abs=1e-9)
    same_size = rc.ReconstructionMeter()
    same_size.add(joints[0], truth[0], skin, skin, same_mesh=False)
    assert same_size.scores().pa_mpvpe is None


def test_nothing_measured_has_no_numbers_and_a_bad_truth_is_refused():
    empty = rc.ReconstructionMeter().scores()
    assert empty.hands == 0
    assert empty.pa_mpjpe is empty.auc_j is empty.f5 is None
    with pytest.raises(ValueError, match="not finite"):
        rc.ReconstructionMeter().add(np.zeros((21, 3)), np.full((21, 3), np.nan))
    with pytest.raises(ValueError, match="same shape"):
        rc.official_alignment(np.zeros((1, 20, 3)), np.zeros((1, 21, 3)))
    # A point exactly at a threshold of the curve counts; one exactly at a threshold of F does not.
    assert rc.correct_counts([0.05]).tolist() == [0] * 99 + [1]
    assert rc.f_scores([[0, 0, 0]], [[0.005, 0, 0]]).tolist() == [0, 1]


def test_ho3d_order_and_axes_go_there_and_back():
    rng = np.random.default_rng(4)
    joints = rng.normal(size=(2, 21, 3))
    assert np.array_equal(from_challenge(to_challenge(joints, "ho3d"), "ho3d"), joints)
    assert np.array_equal(to_challenge(from_challenge(joints, "ho3d"), "ho3d"), joints)
    assert np.array_equal(to_challenge(joints, "freihand"), joints)
    # MANO: wrist; index, middle, little, ring, thumb, base outwards; then tips from thumb to little finger.
    fingers = ("index", "middle", "little", "ring")
    names = ["wrist", *(f"{finger}_{joint}" for finger in fingers for joint in ("mcp", "pip", "dip"))]
    names += ["thumb_cmc", "thumb_mcp", "thumb_ip"]
    names += [f"{finger}_tip" for finger in ("thumb", "index", "middle", "ring", "little")]
    numbered = np.repeat(np.arange(21.0)[:, None], 3, axis=1)
    written = to_challenge(numbered, "ho3d")
    assert [HAND_KEYPOINTS[int(number)] for number in written[:, 0]] == names
    assert np.array_equal(written[:, 1:], -np.repeat(written[:, :1], 2, axis=1))
    assert np.array_equal(swap_opengl([1.0, 2.0, 3.0]), [1, -2, -3])


@pytest.mark.parametrize("challenge", ["freihand", "ho3d"])
def test_a_submission_is_what_the_official_script_reads(tmp_path, challenge):
    _, truth = hands(2, 21)
    _, skin = hands(2, 778, seed=5)
    writer = SubmissionWriter(tmp_path, challenge)
    writer.add(truth[0], skin[0])
    writer.add(None, None)
    packed = writer.write()
    with zipfile.ZipFile(packed) as archive:
        assert archive.namelist() == ["pred.json"]
        content = json.loads(archive.read("pred.json"))
    assert [len(part) for part in content] == [2, 2]
    assert np.shape(content[0][0]) == (21, 3)
    assert np.shape(content[1][1]) == (778, 3)
    assert (np.array(content[0][0])[:, 2] > 0).all() == (challenge == "freihand")
    assert not np.any(content[0][1])
    first, second = read_submission(tmp_path / "pred.json", challenge)
    assert np.allclose(first[0], truth[0], atol=1e-6)
    assert np.allclose(first[1], skin[0], atol=1e-6)
    assert not second[0].any()
    with pytest.raises(UsageError, match="meshes"):
        writer.add(truth[0], None)
    if challenge == "ho3d":
        with pytest.raises(UsageError, match="in front of the camera"):
            writer.add(truth[0] - [0, 0, 1], skin[0])


def test_a_long_list_is_read_piece_by_piece(tmp_path, monkeypatch):
    path = tmp_path / "list.json"
    entries = [[1.25, [2, {"a": "]"}]], [], 12345, 6.5, "x, y", None]
    for block in (1, 7, 1 << 20):
        monkeypatch.setattr("whim.metrics.submission._BLOCK", block)
        path.write_text(json.dumps(entries, indent=1))
        assert list(stream_list(path)) == entries
    for damaged in ("[[1, 2], [3", '{"a": 1}', "[1, 2"):
        path.write_text(damaged)
        with pytest.raises(BadFileError):
            list(stream_list(path))
