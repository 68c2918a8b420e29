"""Priors from a small ARCTIC and from labels: the numbers they must give, and what is refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whim import cli
from whim.annotate.config import FitStageConfig
from whim.annotate.fit import load_fitter
from whim.errors import BadFileError, UsageError
from whim.hands.mano import load_mano
from whim.hands.mirror import mirror_pose
from whim.hands.model import HandModel
from whim.hands.pose_prior import aligned_meshes, anatomical_angles, pose_from_angles, sample_angles
from whim.priors.arctic import read_arctic
from whim.priors.file import (
    COMPONENTS,
    FEWEST_HANDS,
    JITTER_RAD,
    TrainedPrior,
    explained,
    load,
    save,
    train,
)
from whim.priors.labels import read_labels
from whim.priors.run import from_arctic, from_labels
from whim.shards.rows import NO_FIT
from whim.shards.writer import write_labels

Write = Callable[..., Path]


def write_sequence(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.empty((), dtype=object)
    array[()] = content
    np.save(path, array, allow_pickle=True)


def sequence(frames: int, rng: np.random.Generator, **changes: Any) -> dict[str, Any]:
    hands = {}
    for side in ("left", "right"):
        hands[side] = {
            "rot": rng.normal(size=(frames, 3)),
            "pose": 0.3 * rng.normal(size=(frames, 45)),
            "trans": rng.normal(size=(frames, 3)),
            "shape": rng.normal(size=10),
            "fitting_err": rng.uniform(0.001, 0.01, frames),
            **changes,
        }
    return hands


@pytest.fixture
def mano(mano_content: dict, write_pickle: Write) -> Path:
    return write_pickle(mano_content)


def test_poses_of_arctic_are_right_hands_with_the_mean_added(
    tmp_path: Path, mano: Path, mano_content: dict
) -> None:
    rng = np.random.default_rng(1)
    content = sequence(60, rng)
    write_sequence(tmp_path / "raw_seqs/s01/box_use_01.mano.npy", content)
    harvest = read_arctic(tmp_path, mano, fps=30.0, quantile=1.0)
    mean = mano_content["hands_mean"].reshape(15, 3)
    left, right = harvest.poses
    np.testing.assert_allclose(right, content["right"]["pose"].reshape(-1, 15, 3) + mean, atol=1e-12)
    # A left hand's pose lies beside the left hand's mean pose, which is the mirrored one.
    np.testing.assert_allclose(
        left, mirror_pose(content["left"]["pose"].reshape(-1, 15, 3) + mirror_pose(mean)), atol=1e-12
    )
    assert harvest.betas[0].shape == (60, 10)


def test_bad_frames_are_left_out_and_the_rest_thinned(tmp_path: Path, mano: Path) -> None:
    content = sequence(60, np.random.default_rng(1))
    content["right"]["fitting_err"] = np.r_[np.full(54, 0.001), np.full(6, 1.0)]
    content["right"]["pose"][0, 0] = np.nan
    write_sequence(tmp_path / "raw_seqs/s01/box_use_01.mano.npy", content)
    harvest = read_arctic(tmp_path, mano, fps=5.0, quantile=0.85)
    assert len(harvest.poses[1]) == 9  # 53 good frames, every sixth


def test_the_prior_is_that_of_the_poses(tmp_path: Path, mano: Path) -> None:
    rng = np.random.default_rng(2)
    for number in range(3):
        write_sequence(tmp_path / f"raw_seqs/s0{number}/box_use_01.mano.npy", sequence(600, rng))
    report = from_arctic(tmp_path, mano, tmp_path / "prior.npz")
    model = load_mano(mano)
    harvest = read_arctic(tmp_path, mano)
    angles = anatomical_angles(model, np.concatenate(harvest.poses))
    loaded = load(tmp_path / "prior.npz", model)
    np.testing.assert_allclose(loaded.angle_mean, angles.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(
        loaded.angle_covariance, np.cov(angles.T) + JITTER_RAD**2 * np.eye(45), atol=1e-12
    )
    np.testing.assert_array_equal(loaded.limits.reach, report.prior.limits.reach)
    np.testing.assert_allclose(loaded.sliced(10).components, report.prior.mesh.components[:10], atol=1e-6)
    assert loaded.record["source"] == "ARCTIC"
    assert "not to be redistributed" in loaded.record["licence"]
    told = report.to_json()
    assert (told["hands"], told["frames"], told["sequences"]) == (len(angles), 1800, 3)
    assert explained(loaded) == explained(report.prior)
    assert f"{len(angles)} hands in 1800 frames of 3 sequences of ARCTIC" in report.render()
    with pytest.raises(UsageError, match="is a folder"):
        from_arctic(tmp_path, mano, tmp_path)


def test_streamed_sums_are_those_of_all_meshes_at_once(open_hand: HandModel) -> None:
    rng = np.random.default_rng(6)
    poses, betas = pose_from_angles(open_hand, sample_angles(rng, 700)), rng.normal(size=(700, 10))
    prior = train(open_hand, betas, poses, {})
    meshes = aligned_meshes(open_hand, betas, poses).reshape(700, -1)
    away = meshes - meshes.mean(axis=0)
    _, singular, rows = np.linalg.svd(away, full_matrices=False)
    np.testing.assert_allclose(prior.mesh.mean, meshes.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(prior.total_variance, (away**2).sum() / 700, rtol=1e-9)
    variances = singular[:COMPONENTS] ** 2 / 700
    assert np.abs(prior.mesh.variances - variances).max() < 1e-9 * variances[0]
    # Single vectors may turn within components of like width; the part of the covariance they carry may not.
    whole = (rows[:COMPONENTS].T * variances) @ rows[:COMPONENTS]
    kept = (prior.mesh.components.T * prior.mesh.variances) @ prior.mesh.components
    assert np.abs(kept - whole).max() < 1e-9 * np.abs(whole).max()
    for d, share, distance in explained(prior):
        left = away - away @ rows[:d].T @ rows[:d]
        np.testing.assert_allclose(share, 1 - (left**2).sum() / (away**2).sum(), rtol=1e-9)
        np.testing.assert_allclose(distance, np.sqrt((left**2).sum() / 700 / 778), rtol=1e-4)


def test_broken_files_are_skipped_by_name_and_malicious_ones_never_run(tmp_path: Path, mano: Path) -> None:
    rng = np.random.default_rng(3)
    root = tmp_path / "arctic"
    write_sequence(root / "s01/good_use_01.mano.npy", sequence(400, rng))
    write_sequence(root / "s01/short_use_01.mano.npy", sequence(5, rng, pose=np.zeros((4, 45))))
    write_sequence(root / "s01/other_use_01.mano.npy", {"object": 1})
    (root / "s01/torn_use_01.mano.npy").write_bytes(b"\x93NUMPY\x01\x00v")
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple:
            return open, (str(marker), "w")

    write_sequence(root / "s01/evil_use_01.mano.npy", {"right": Evil(), "left": 1})
    harvest = read_arctic(root, mano)
    assert harvest.sequences == 1
    assert len(harvest.skipped) == 4
    assert not marker.exists()
    assert any("evil_use_01" in problem for problem in harvest.skipped)
    assert all("_use_01" in problem for problem in harvest.skipped)
    write_sequence(tmp_path / "bad/x.mano.npy", {"object": 1})
    with pytest.raises(UsageError, match="none of 1 sequences"):
        read_arctic(tmp_path / "bad", mano)
    with pytest.raises(UsageError, match="no sequences"):
        read_arctic(tmp_path / "empty", mano)


def test_what_is_not_arctic_is_told_apart(tmp_path: Path, mano: Path) -> None:
    rng = np.random.default_rng(7)
    content = sequence(30, rng)
    del content["left"]["fitting_err"]
    write_sequence(tmp_path / "a.mano.npy", content)
    write_sequence(tmp_path / "b.mano.npy", sequence(30, rng, pose=np.full((30, 45), np.nan)))
    write_sequence(tmp_path / "c.mano.npy", sequence(30, rng, shape=np.zeros((29, 10))))
    write_sequence(tmp_path / "d.mano.npy", sequence(30, rng, pose="none"))
    (tmp_path / "e.mano.npy").mkdir()
    write_sequence(tmp_path / "f.mano.npy", sequence(30, rng, shape=np.zeros((30, 10))))
    harvest = read_arctic(tmp_path, mano)
    assert harvest.sequences == 1
    wanted = ("lacks fitting_err", "no frame of either hand", "(29, 10)", "holds no numbers", "e.mano.npy")
    assert len(harvest.skipped) == len(wanted)
    for problem, part in zip(harvest.skipped, wanted, strict=True):
        assert part in problem
    for options in ({"fps": 0.0}, {"quantile": 0.0}, {"quantile": 90.0}):
        with pytest.raises(UsageError, match="fps must be above 0"):
            read_arctic(tmp_path, mano, **options)


@pytest.fixture(scope="module")
def trained(open_hand: HandModel) -> TrainedPrior:
    rng = np.random.default_rng(0)
    poses = pose_from_angles(open_hand, sample_angles(rng, FEWEST_HANDS))
    return train(open_hand, rng.normal(size=(FEWEST_HANDS, 10)), poses, {"source": "test"})


def test_a_file_for_another_hand_or_no_prior_is_refused(
    tmp_path: Path, open_hand: HandModel, mano: Path, trained: TrainedPrior
) -> None:
    save(tmp_path / "p.npz", trained)
    assert load(tmp_path / "p.npz", open_hand).record["hands"] == FEWEST_HANDS
    with pytest.raises(UsageError, match="train it again"):
        load(tmp_path / "p.npz", load_mano(mano))
    with pytest.raises(UsageError, match="no such prior"):
        load(tmp_path / "q.npz", open_hand)
    with pytest.raises(UsageError, match="asks for 50"):
        trained.sliced(50)
    with pytest.raises(UsageError, match="too few"):
        train(open_hand, np.zeros((10, 10)), np.zeros((10, 15, 3)), {})
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps({"a": 1}))
    with (tmp_path / "array.npz").open("wb") as stream:
        np.save(stream, np.zeros(3))
    np.savez(tmp_path / "old.npz", format="whim prior 1", topology=open_hand.topology, record="{}")
    for name in ("pickle", "array", "old"):
        with pytest.raises(BadFileError, match="not a prior"):
            load(tmp_path / f"{name}.npz", open_hand)


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("angle_covariance", -np.eye(45), "covariance"),
        ("angle_mean", np.full(45, np.nan), "finite"),
        ("mesh_components", np.ones((45, 2334)), "orthonormal"),
        ("mesh_components", np.eye(20, 2334), "shape"),
        ("mesh_variances", np.full(45, -1.0), "variances"),
        ("total_variance", np.array(0.0), "total variance"),
        ("limit_bones", np.tile([1.0, 0.0], (20, 1)), "intervals"),
        ("limit_reach", np.array({}, dtype=object), "not a prior"),
    ],
)
def test_numbers_that_no_prior_has_are_refused(
    tmp_path: Path, open_hand: HandModel, trained: TrainedPrior, name: str, value: np.ndarray, fault: str
) -> None:
    save(tmp_path / "p.npz", trained)
    with np.load(tmp_path / "p.npz") as file:
        fields = {key: file[key] for key in file.files}
    np.savez(tmp_path / "q.npz", allow_pickle=True, **{**fields, name: value})
    with pytest.raises(BadFileError, match=fault):
        load(tmp_path / "q.npz", open_hand)


def test_a_damaged_file_never_ends_in_another_error(
    tmp_path: Path, open_hand: HandModel, trained: TrainedPrior
) -> None:
    save(tmp_path / "p.npz", trained)
    whole = (tmp_path / "p.npz").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for case in range(60):
        data = bytearray(whole[: rng.integers(len(whole))] if case % 3 == 0 else whole)
        for place in rng.integers(len(data), size=8):
            data[place] ^= int(rng.integers(1, 256))
        (tmp_path / "q.npz").write_bytes(data)
        try:
            load(tmp_path / "q.npz", open_hand)
        except (BadFileError, UsageError):
            refused += 1
    assert refused >= 55  # a flip in a time stamp of the archive does no harm


def label_folder(folder: Path, open_hand: HandModel, poses: np.ndarray, **changes: Any) -> Path:
    hands = []
    for index, pose in enumerate(poses):
        side = index % 2
        own = pose if side else mirror_pose(pose)
        hands.append(
            {
                "box": [0.0, 0, 10, 10],
                "side": side,
                "side_score": 1.0,
                "score": 0.9,
                "keypoints_2d": None,
                "keypoint_scores": None,
                "person": -1,
                "votes": [],
                "agreement": 1.0,
                **NO_FIT,
                "mano": {
                    "global_orient": [0.0] * 3,
                    "hand_pose": own.tolist(),
                    "betas": [0.0] * 10,
                    "translation": [0.0] * 3,
                    "topology": open_hand.topology,
                },
                "fit": {"residual": 0.01, "violation": 0.0, "converged": True, "solver": "lm/0"},
                **changes,
            }
        )
    row = {
        "video_id": "v",
        "split": "",
        "frame_index": 0,
        "time_s": 0.0,
        "width": 10,
        "height": 10,
        "picture_hash": 0,
        "persons": [],
        "hands": hands,
    }
    write_labels(folder / "segments" / "v" / "0.parquet", [row], {})
    return folder


def test_good_fits_of_labels_come_back_as_right_hands(tmp_path: Path, open_hand: HandModel) -> None:
    poses = pose_from_angles(open_hand, sample_angles(np.random.default_rng(4), 60))
    folder = label_folder(tmp_path / "good", open_hand, poses)
    found = read_labels([folder], open_hand)
    np.testing.assert_allclose(found.poses, poses, atol=1e-6)
    assert found.betas.shape == (60, 10)
    mano = {"global_orient": [0.0] * 3, "betas": [0.0] * 10, "translation": [0.0] * 3}
    bent = poses[0].tolist()
    for reason, changes in {
        "high residual": {"fit": {"residual": 0.05, "violation": 0.0, "converged": True, "solver": ""}},
        "not converged": {"fit": {"residual": 0.01, "violation": 0.0, "converged": False, "solver": ""}},
        "low score": {"score": 0.5},
        "not fitted": NO_FIT,
        "side unknown": {"side": -1},
        "other hand model": {"mano": {**mano, "hand_pose": bent, "topology": "mano-0"}},
        "not finite": {"mano": {**mano, "hand_pose": [[np.nan] * 3] * 15, "topology": open_hand.topology}},
    }.items():
        bad = label_folder(tmp_path / reason, open_hand, poses, **changes)
        with pytest.raises(UsageError, match=f"among 60 hands: {reason} 60"):
            read_labels([bad], open_hand)
        both = read_labels([bad, folder], open_hand)
        assert (len(both.poses), both.seen, both.refused) == (60, 120, {reason: 60})
    assert len(read_labels([folder], open_hand, most_residual=0.01, least_score=0.9).poses) == 60


def test_of_many_labels_a_fair_sample_is_kept(tmp_path: Path, open_hand: HandModel) -> None:
    poses = np.zeros((60, 15, 3))
    poses[:, 0, 0] = np.arange(60)
    folder = label_folder(tmp_path, open_hand, poses)
    drawn = np.zeros(60)
    for seed in range(300):
        found = read_labels([folder], open_hand, most_hands=20, seed=seed)
        chosen = found.poses[:, 0, 0].astype(int)
        assert len(set(chosen)) == 20
        drawn[chosen] += 1
    assert np.abs(drawn / 300 - 1 / 3).max() < 0.13  # nearly five standard deviations


def test_a_prior_from_labels_serves_the_next_fit(
    tmp_path: Path, open_hand: HandModel, capsys: pytest.CaptureFixture[str]
) -> None:
    poses = pose_from_angles(open_hand, sample_angles(np.random.default_rng(5), FEWEST_HANDS))
    folder = label_folder(tmp_path / "labels", open_hand, poses)
    out = tmp_path / "prior.npz"
    assert cli.main(["prior", "fit", "--labels", str(folder), "--out", str(out)]) == 0
    assert f"--set fit.prior={out}" in capsys.readouterr().out
    fitter = load_fitter(FitStageConfig(prior=str(out)))
    np.testing.assert_allclose(fitter.prior.mean, anatomical_angles(open_hand, poses).mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(fitter.prior.precision @ fitter.prior.covariance, np.eye(45), atol=1e-6)
    report = from_labels([folder], out)
    assert report.prior.record["folders"] == ["labels"]
    assert cli.main(["prior", "fit", "--arctic", str(tmp_path), "--out", str(out)]) == 2
