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
from whim.hands.pose_prior import anatomical_angles, fit_mesh_prior, pose_from_angles, sample_angles
from whim.priors.arctic import read_arctic
from whim.priors.file import COMPONENTS, JITTER_RAD, explained, load, save, train
from whim.priors.labels import read_labels
from whim.priors.run import from_arctic, from_labels
from whim.shards.rows import NO_FIT
from whim.shards.writer import write_labels

Write = Callable[..., Path]
RNG = np.random.default_rng(0)


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
        write_sequence(tmp_path / f"raw_seqs/s0{number}/box_use_01.mano.npy", sequence(300, rng))
    report = from_arctic(tmp_path, mano, tmp_path / "prior.npz")
    model = load_mano(mano)
    harvest = read_arctic(tmp_path, mano)
    poses, betas = np.concatenate(harvest.poses), np.concatenate(harvest.betas)
    angles = anatomical_angles(model, poses)
    loaded = load(tmp_path / "prior.npz", model)
    np.testing.assert_allclose(loaded.angle_mean, angles.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(
        loaded.angle_covariance, np.cov(angles.T) + JITTER_RAD**2 * np.eye(45), atol=1e-12
    )
    whole = fit_mesh_prior(model, betas, poses, 10)
    np.testing.assert_allclose(
        np.abs((loaded.sliced(10).components * whole.components).sum(axis=1)), 1.0, atol=1e-4
    )
    assert loaded.record["source"] == "ARCTIC"
    assert "not to be redistributed" in loaded.record["licence"]
    assert report.to_json()["hands"] == len(poses)
    shares = explained(loaded)
    assert shares[5] < shares[10] < shares[20] < shares[COMPONENTS] == 1.0


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


def test_a_file_for_another_hand_or_no_prior_is_refused(
    tmp_path: Path, open_hand: HandModel, mano: Path
) -> None:
    poses = pose_from_angles(open_hand, sample_angles(RNG, 60))
    prior = train(open_hand, np.zeros((60, 10)), poses, {"source": "test"})
    save(tmp_path / "p.npz", prior)
    assert load(tmp_path / "p.npz", open_hand).record["hands"] == 60
    with pytest.raises(UsageError, match="train it again"):
        load(tmp_path / "p.npz", load_mano(mano))
    with pytest.raises(UsageError, match="no such prior"):
        load(tmp_path / "q.npz", open_hand)
    (tmp_path / "r.npz").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(BadFileError, match="not a prior"):
        load(tmp_path / "r.npz", open_hand)
    with pytest.raises(UsageError, match="asks for 50"):
        prior.sliced(50)
    with pytest.raises(UsageError, match="too few"):
        train(open_hand, np.zeros((10, 10)), poses[:10], {})


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
    _, read = read_labels([folder], open_hand)
    np.testing.assert_allclose(read, poses, atol=1e-6)
    for name, changes in (
        ("residual", {"fit": {"residual": 0.05, "violation": 0.0, "converged": True, "solver": ""}}),
        ("wandering", {"fit": {"residual": 0.01, "violation": 0.0, "converged": False, "solver": ""}}),
        ("doubtful", {"score": 0.5}),
        ("unfitted", NO_FIT),
    ):
        with pytest.raises(UsageError, match="no good fit"):
            read_labels([label_folder(tmp_path / name, open_hand, poses, **changes)], open_hand)


def test_a_prior_from_labels_serves_the_next_fit(
    tmp_path: Path, open_hand: HandModel, capsys: pytest.CaptureFixture[str]
) -> None:
    poses = pose_from_angles(open_hand, sample_angles(np.random.default_rng(5), 80))
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
