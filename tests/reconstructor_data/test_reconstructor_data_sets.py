"""Which labels are believed, where pictures come from, how sets are mixed, what the tokens begin with."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402
from scipy.spatial.transform import Rotation  # noqa: E402

from whim.conventions import Side  # noqa: E402
from whim.errors import UsageError  # noqa: E402
from whim.hands.open_hand import load_open_hand  # noqa: E402
from whim.reconstructor.camera import project, translation_from_camera  # noqa: E402
from whim.reconstructor.data.batches import CropSource  # noqa: E402
from whim.reconstructor.data.crops import CropAugmentConfig, make_sample  # noqa: E402
from whim.reconstructor.data.labels import LabelRules, hands_of_row, read_hands  # noqa: E402
from whim.reconstructor.data.means import cameras, guessing_error, mean_hand  # noqa: E402
from whim.reconstructor.data.sets import HandSet, RenderedHands, open_hands  # noqa: E402
from whim.reconstructor.train import _weights  # noqa: E402
from whim.reconstructor.training.recipe import HandDataConfig, HandSetConfig  # noqa: E402
from whim.synth.config import SynthConfig  # noqa: E402
from whim.synth.dataset import SynthDataset  # noqa: E402
from whim.synth.write import synth  # noqa: E402

OPEN = load_open_hand()
TOPOLOGY, RULES = OPEN.topology, LabelRules()
LOOK = SynthConfig(width=96, height=96, people=0, empty=0, occluders=0, interacting=0, hand_pixels=(0.4, 0.7))


@pytest.fixture(scope="module")
def row() -> dict[str, Any]:
    scenes = SynthDataset(LOOK, seed=4)
    found = next(row for _, row in (scenes[i] for i in range(9)) if row["hands"])
    found["hands"] = found["hands"][:1]
    return found


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    large = LOOK.model_copy(update={"width": 640, "height": 640})
    synth(folder, count=6, seed=2, workers=1, config=large)
    return folder


def changed(row: dict[str, Any], **fields: Any) -> dict[str, Any]:
    other = copy.deepcopy(row)
    other["hands"][0].update(fields)
    return other


def test_only_keypoints_that_were_seen_are_labels(row: dict[str, Any]) -> None:
    scores = [0.0] * 10 + [1.0] * 11
    wrong = (
        np.array(row["hands"][0]["keypoints_2d"]) * np.where(np.array(scores)[:, None] > 0, 1, 0)
    ).tolist()
    camera = {**row["hands"][0]["camera"], "assumed": True}
    unseen = changed(row, keypoint_scores=scores, keypoints_2d=wrong)
    # A calibrated camera says where hidden joints are; an assumed one does not.
    by_camera = hands_of_row(unseen, TOPOLOGY, RULES).keypoints_2d[0]
    np.testing.assert_allclose(by_camera, row["hands"][0]["keypoints_2d"], atol=1e-3)
    guessed = hands_of_row(changed(unseen, camera=camera), TOPOLOGY, RULES).keypoints_2d[0]
    assert np.isnan(guessed[:10]).all()
    assert np.isfinite(guessed[10:]).all()
    unscored = hands_of_row(changed(row, keypoint_scores=None, camera=camera), TOPOLOGY, RULES)
    assert np.isfinite(unscored.keypoints_2d).all()


def test_hands_that_teach_nothing_are_left_out(row: dict[str, Any]) -> None:
    flat = {"joints_3d": None, "mano": None, "camera": None, "fit": None}
    few = [1.0] * 4 + [0.0] * 17
    assert len(hands_of_row(changed(row, **flat, keypoint_scores=few), TOPOLOGY, RULES)) == 0
    assert (
        len(hands_of_row(changed(row, **flat, keypoint_scores=[1.0] * 5 + [0.0] * 16), TOPOLOGY, RULES)) == 1
    )
    assert (
        len(hands_of_row(changed(row, keypoint_scores=few), TOPOLOGY, RULES)) == 1
    )  # joints in space are enough
    assert len(hands_of_row(changed(row, side=-1), TOPOLOGY, RULES)) == 0
    mano = {**row["hands"][0]["mano"], "betas": [3.5] + [0.0] * 9}
    strange = hands_of_row(changed(row, mano=mano), TOPOLOGY, RULES)
    assert np.isnan(strange.betas).all()
    assert np.isnan(strange.hand_pose).all()
    assert np.isfinite(strange.joints_3d).all()


def test_reduced_decoding_gives_the_crop_of_the_whole_picture(shards: Path) -> None:
    hands = open_hands(shards, TOPOLOGY, RULES)
    reduced = 0
    for index in range(len(hands)):
        whole, label = hands.sample(index, 0, 1e6)
        small, other = hands.sample(index, 0, 64.0)
        reduced += small.shape[0] < whole.shape[0]
        a, b = (
            make_sample(picture, one, 64, CropAugmentConfig.off(), np.random.default_rng(0))
            for picture, one in ((whole, label), (small, other))
        )
        np.testing.assert_allclose(a.keypoints_2d, b.keypoints_2d, atol=1e-5)
        # Two ways to shrink blur edges differently; a shift by one pixel of the picture would show in the mean.
        assert np.abs(a.picture.astype(float) - b.picture).mean() < 4.0
        moved = np.roll(a.picture, 1, axis=1).astype(float)
        assert np.abs(a.picture.astype(float) - b.picture).mean() < np.abs(moved - b.picture).mean()
    assert reduced > len(hands) / 2


def test_rendered_hands_are_new_in_every_epoch_and_the_same_again() -> None:
    def rendered() -> RenderedHands:
        return RenderedHands(LOOK, count=5, seed=3, topology=TOPOLOGY, rules=RULES)

    one, other = rendered(), rendered()
    a, hand = one.sample(2, 1, 64.0)
    b, same = other.sample(2, 1, 64.0)
    assert np.array_equal(a, b)
    assert np.array_equal(hand.joints_3d, same.joints_3d)
    assert not np.array_equal(hand.joints_3d, one.sample(2, 2, 64.0)[1].joints_3d)
    rest, part = one.split_off(0.4)
    assert (len(rest), len(part)) == (5, 2)
    assert not np.array_equal(part.sample(0, 0, 64.0)[1].joints_3d, one.sample(0, 0, 64.0)[1].joints_3d)
    source = CropSource(
        [one], [1.0], size=32, vertices=778, augment=CropAugmentConfig.off(), seed=0, shuffled=True
    )
    (batch,) = source.make(0, [range(2)])
    assert (batch.truth.hand_pose_valid == 1).all()
    with pytest.raises(ValueError, match="either a path or render"):
        HandSetConfig()


def test_sets_are_mixed_by_weight_or_by_share(shards: Path) -> None:
    large = open_hands(shards, TOPOLOGY, RULES)
    small = replace(large, hands=large.hands[:2])
    hands = len(large)
    for shares, expected in ((False, (hands, 1.0)), (True, (0.75 * (hands + 2), 0.25 * (hands + 2)))):
        weights = (0.75, 0.25) if shares else (1.0, 0.5)
        config = HandDataConfig(
            train=tuple(HandSetConfig(path=shards, weight=w) for w in weights), shares=shares
        )
        source = _source([large, small], _weights(config, [large, small]))
        counts = np.bincount(np.searchsorted([hands], _drawn(source), side="right"), minlength=2)
        np.testing.assert_allclose(counts, expected, atol=0.51)


def _source(sets: list[HandSet], weights: list[float]) -> CropSource:
    return CropSource(
        sets, weights, size=32, vertices=778, augment=CropAugmentConfig.off(), seed=0, shuffled=True
    )


def _drawn(source: CropSource) -> np.ndarray:
    source.make(0, [range(1)])
    return source._order


def test_tokens_begin_with_the_means_of_the_sets(shards: Path) -> None:
    hands, _ = read_hands(shards, TOPOLOGY, RULES)
    means = mean_hand([hands], [1.0], OPEN)
    apart = np.linalg.norm(means.rotations[1:, None] - means.rotations[None, 1:], axis=(2, 3))
    assert apart[np.triu_indices(15, 1)].min() > 1e-3  # equal tokens would stay equal
    # A set of two hands, one of weight 3: the mean turn of a joint is at three quarters of the way.
    pair = hands[[0, 1]]
    turns = np.zeros((2, 15, 3), np.float32)
    turns[1, 4, 0] = 0.4
    pair = replace(pair, hand_pose=turns, side=np.ones(2, np.int64))
    mixed = mean_hand([pair[[0]], pair[[1]]], [1.0, 3.0], OPEN)
    np.testing.assert_allclose(Rotation.from_matrix(mixed.rotations[5]).as_rotvec(), [0.3, 0, 0], atol=0.002)
    other, _ = read_hands(shards, "another-hand", RULES)
    fallback = mean_hand([other], [1.0], OPEN)
    assert fallback.camera.tolist() == [4.0, 0.0, 0.0]
    np.testing.assert_allclose(np.linalg.det(fallback.rotations), 1.0, atol=1e-5)


def test_guessing_scores_zero_only_where_all_hands_are_the_mean(shards: Path) -> None:
    hands, _ = read_hands(shards, TOPOLOGY, RULES)
    means = mean_hand([hands], [1.0], OPEN)
    assert 0.003 < guessing_error(means, [hands], OPEN) < 0.06
    for side in (Side.LEFT, Side.RIGHT):  # one hand is its own mean, whichever side it is
        one = hands[hands.side == side][:1]
        own = mean_hand([one], [1.0], OPEN)
        assert guessing_error(own, [one], OPEN) < 2e-6
    # Joints that are not known follow from the parameters; without either there is nothing to say.
    bare = replace(hands, joints_3d=np.full_like(hands.joints_3d, np.nan))
    assert guessing_error(means, [bare], OPEN) == pytest.approx(
        guessing_error(means, [hands], OPEN), rel=1e-4
    )
    unknown = replace(bare, hand_pose=np.full_like(bare.hand_pose, np.nan))
    assert np.isnan(guessing_error(means, [unknown], OPEN))


def test_cameras_of_labels_put_joints_on_their_keypoints(shards: Path) -> None:
    hands, _ = read_hands(shards, TOPOLOGY, RULES)
    # As seen from afar, where the crop's camera can be exact.
    far = hands.joints_3d + np.array([0, 0, 50.0], np.float32)
    pixels = far[..., :2] / far[..., 2:] * 20_000 + 320
    low, high = pixels.min(axis=1), pixels.max(axis=1)
    hands = replace(hands, keypoints_2d=pixels, box=np.concatenate([low, high], axis=1))
    picture = np.zeros((640, 640, 3), np.uint8)
    for row in range(len(hands)):
        one = hands[row : row + 1]
        sample = make_sample(picture, one, 64, CropAugmentConfig.off(), np.random.default_rng(0))
        camera = torch.tensor(cameras(one), dtype=torch.float32)
        flip = np.array([-1.0 if one.side[0] == Side.LEFT else 1.0, 1.0, 1.0])
        own = torch.tensor((one.joints_3d - one.translation[:, None]) * flip, dtype=torch.float32)
        seen = project(own, translation_from_camera(camera, 5000.0, 64.0), 5000.0, 64.0)[0].numpy()
        assert np.abs(seen - sample.keypoints_2d).max() < 0.01


def test_no_hands_is_an_error_that_says_so(tmp_path: Path) -> None:
    synth(tmp_path, count=2, seed=2, workers=1, config=LOOK.model_copy(update={"empty": 1.0}))
    with pytest.raises(UsageError, match="not one hand"):
        read_hands(tmp_path, TOPOLOGY, RULES)
