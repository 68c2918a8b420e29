"""Crops with their labels: one mirror and one turn for everything."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

from whim.conventions import Side  # noqa: E402
from whim.errors import UsageError  # noqa: E402
from whim.hands import kinematics  # noqa: E402
from whim.hands.open_hand import load_open_hand  # noqa: E402
from whim.reconstructor.data.batches import CropSource  # noqa: E402
from whim.reconstructor.data.crops import CropAugmentConfig, make_sample  # noqa: E402
from whim.reconstructor.data.labels import HandLabels, LabelRules, read_hands  # noqa: E402
from whim.reconstructor.data.sets import open_hands  # noqa: E402
from whim.shards.pixel_writer import write_pictures  # noqa: E402
from whim.synth.config import SynthConfig  # noqa: E402
from whim.synth.write import synth  # noqa: E402

SMALL = SynthConfig(width=160, height=120, people=0, empty=0, occluders=0, hand_pixels=(0.4, 0.7))
ALL = LabelRules(least_score=0.0, most_residual=1.0)
TOPOLOGY = load_open_hand().topology


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hands")
    synth(folder, count=24, seed=3, workers=1, config=SMALL)
    return folder


@pytest.fixture(scope="module")
def hands(shards: Path) -> HandLabels:
    return read_hands(shards, TOPOLOGY, ALL)[0]


def test_labels_come_as_they_are(hands: HandLabels) -> None:
    assert set(hands.side.tolist()) == {Side.LEFT, Side.RIGHT}
    points = kinematics.keypoints(
        load_open_hand(),
        hands.betas,
        hands.hand_pose,
        hands.global_orient,
        np.zeros((len(hands), 3)),
        hands.side,
    )
    apart = (points - points[:, :1]) - (hands.joints_3d - hands.joints_3d[:, :1])
    assert np.abs(apart).max() < 1e-5
    assert np.isfinite(hands.keypoints_2d).any()


@pytest.mark.parametrize("config", [CropAugmentConfig.off(), CropAugmentConfig(rotated=1.0, rotation=60.0)])
def test_a_varied_hand_is_still_that_hand(hands: HandLabels, config: CropAugmentConfig) -> None:
    picture = np.zeros((120, 160, 3), dtype=np.uint8)
    for row in range(len(hands)):
        one = hands[row : row + 1]
        sample = make_sample(picture, one, 64, config, np.random.default_rng(row))
        # The parameters of the (mirrored, turned) right hand give its joints.
        from scipy.spatial.transform import Rotation

        vectors = Rotation.from_matrix(sample.rotations.astype(np.float64)).as_rotvec()
        joints = kinematics.keypoints(
            load_open_hand(),
            sample.betas[None],
            vectors[None, 1:],
            vectors[None, 0],
            np.zeros((1, 3)),
            Side.RIGHT,
        )[0]
        apart = (joints - joints[0]) - (sample.joints_3d - sample.joints_3d[0])
        assert np.abs(apart).max() < 1e-4
        # And the picture of those joints is the crop: 2D offsets follow the 3D ones, perspective apart.
        seen = sample.keypoints_2d - sample.keypoints_2d[0]
        flat = sample.joints_3d[:, :2] - sample.joints_3d[0, :2]
        likeness = (seen * flat).sum() / (np.linalg.norm(seen) * np.linalg.norm(flat))
        mirrored = (seen * flat * [-1, 1]).sum() / (np.linalg.norm(seen) * np.linalg.norm(flat))
        assert likeness > 0.7
        assert likeness > mirrored


def test_a_point_of_the_picture_goes_with_its_keypoint(hands: HandLabels) -> None:
    config = CropAugmentConfig(rotated=1.0, rotation=40.0, colour=0.0, masked=0.0)
    checked = 0
    for row in range(len(hands)):
        one = hands[row : row + 1]
        x, y = one.keypoints_2d[0, 9]
        if not (4 < x < 155 and 4 < y < 115):
            continue
        picture = np.zeros((120, 160, 3), dtype=np.uint8)
        rows, columns = np.mgrid[0:120, 0:160] + 0.5
        picture[(columns - x) ** 2 + (rows - y) ** 2 < 9] = 255
        sample = make_sample(picture, one, 128, config, np.random.default_rng(row))
        bright = np.argwhere(sample.picture[..., 0] > 100)
        if len(bright) > 8:
            found = (bright.mean(axis=0)[::-1] + 0.5) / 128 - 0.5
            np.testing.assert_allclose(found, sample.keypoints_2d[9], atol=0.012)
            checked += 1
    assert checked > 5


def test_what_is_not_known_is_masked(shards: Path) -> None:
    other, _ = read_hands(shards, "another-hand", ALL)
    assert np.isnan(other.hand_pose).all()
    assert np.isfinite(other.joints_3d).all()
    source = CropSource(
        [open_hands(shards, "another-hand", ALL)],
        [1.0],
        size=64,
        vertices=778,
        augment=CropAugmentConfig.off(),
        seed=0,
        shuffled=False,
    )
    (batch,) = source.make(0, [range(0, 4)])
    assert (batch.truth.hand_pose_valid == 0).all()
    assert (batch.truth.keypoints_3d_valid == 1).all()
    assert torch.isfinite(batch.truth.rotations).all()


def test_batches_depend_on_epoch_and_position_alone(shards: Path) -> None:
    def source() -> CropSource:
        return CropSource(
            [open_hands(shards, TOPOLOGY, ALL)],
            [1.0],
            size=64,
            vertices=778,
            augment=CropAugmentConfig(),
            seed=1,
            shuffled=True,
        )

    first, second = source(), source()
    second.make(3, [range(0, 2)])
    (a,), (b,) = first.make(1, [range(4, 8)]), second.make(1, [range(4, 8)])
    assert torch.equal(a.pictures, b.pictures)
    assert torch.equal(a.truth.keypoints_2d, b.truth.keypoints_2d)
    (c,) = first.make(2, [range(4, 8)])
    assert not torch.equal(a.pictures, c.pictures)


def test_a_broken_picture_is_told_and_teaches_nothing(tmp_path: Path, shards: Path) -> None:
    from whim.shards.reader import iter_rows

    rows = list(iter_rows(shards))[:3]
    pictures = [(row.pop("image")["bytes"], row) for row in rows]
    pictures[1] = (pictures[1][0][:400], pictures[1][1])
    write_pictures(tmp_path / "train-00000.parquet", pictures, {})
    one = open_hands(tmp_path, TOPOLOGY, ALL)
    source = CropSource(
        [one], [1.0], size=64, vertices=778, augment=CropAugmentConfig.off(), seed=0, shuffled=False
    )
    (batch,) = source.make(0, [range(len(one))])
    lost = one.hands.picture == 1
    assert len(batch.broken) == lost.sum() > 0
    assert (batch.truth.keypoints_2d_valid[torch.from_numpy(lost)] == 0).all()


def test_whole_recordings_are_held_out(shards: Path, tmp_path: Path) -> None:
    one = open_hands(shards, TOPOLOGY, ALL)
    with pytest.raises(UsageError, match="cannot be split"):
        one.split_off(0.2)
    settings = SMALL.model_copy(update={"sequence_s": 0.12, "fps": 25.0, "motion_samples": 1})
    synth(tmp_path, count=18, seed=1, workers=1, config=settings)
    several = open_hands(tmp_path, TOPOLOGY, ALL)
    rest, part = several.split_off(0.3)
    assert len(rest) + len(part) == len(several)
    assert not set(rest.hands.recording.tolist()) & set(part.hands.recording.tolist())
    assert 0 < len(part) < len(rest)
