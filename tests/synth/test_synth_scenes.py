"""Rendered scenes: the truth is true."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from whim.conventions import Side
from whim.errors import BadFileError, UsageError
from whim.hands.kinematics import keypoints
from whim.hands.open_hand import load_open_hand
from whim.shards.reader import iter_rows, lineage
from whim.synth.backgrounds import background, find_pictures
from whim.synth.compose import LEAST_GAP_M, random_light, random_scene
from whim.synth.config import SynthConfig
from whim.synth.dataset import SynthDataset, shared_renderer
from whim.synth.degrade import DegradeConfig, degrade
from whim.synth.draw import draw, truths
from whim.synth.looks import ball, box, cylinder, skin_tone
from whim.synth.scene import Part, Scene
from whim.synth.sequence import random_sequence
from whim.synth.truth import BEHIND_ITSELF, HIDDEN, SEEN
from whim.synth.write import synth

SMALL = SynthConfig(width=160, height=120)
KINDS = ("people", "arms", "first_person", "interacting")


def only(kind: str, **changes: object) -> SynthConfig:
    return SMALL.model_copy(update={**{name: float(name == kind) for name in KINDS}, "empty": 0.0, **changes})


def rendered(config: SynthConfig, seed: int) -> tuple[Scene, list, list]:
    rng = np.random.default_rng(seed)
    scene = random_scene(rng, config)
    picture = draw(shared_renderer("numpy"), scene, random_light(rng), 1)
    return scene, *truths(scene, picture)


@pytest.mark.parametrize("kind", KINDS)
def test_labels_agree_with_each_other(kind: str) -> None:
    found = 0
    for seed in range(6):
        scene, hands, people = rendered(only(kind), seed)
        size = np.array([scene.view.width, scene.view.height])
        for hand in hands:
            found += 1
            mano = {k: np.array([v]) for k, v in hand["mano"].items() if k != "topology"}
            again = keypoints(
                load_open_hand(), mano["betas"], mano["hand_pose"], mano["global_orient"], mano["translation"],
                Side(hand["side"]),
            )[0]  # fmt: skip
            np.testing.assert_allclose(again, hand["joints_3d"], atol=1e-9)
            (fx, fy), centre = hand["camera"]["focal"], hand["camera"]["center"]
            seen = again[:, :2] / again[:, 2:] * (fx, fy) + centre
            np.testing.assert_allclose(seen, hand["keypoints_2d"], atol=1e-6)
            x1, y1, x2, y2 = hand["box"]
            assert 0 <= x1 < x2 <= size[0]
            assert 0 <= y1 < y2 <= size[1]
            inside = np.array(hand["keypoint_scores"]) > 0
            assert (seen[inside] >= [x1 - 1e-6, y1 - 1e-6]).all()
            assert (seen[inside] <= [x2 + 1e-6, y2 + 1e-6]).all()
            assert -1 <= hand["person"] < len(people)
    assert found >= 4


def test_the_box_is_where_the_hand_is_drawn() -> None:
    config = only("arms", occluders=0.0)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        scene = random_scene(rng, config)
        picture = draw(shared_renderer("numpy"), scene, random_light(rng), 1)
        hands, _ = truths(scene, picture)
        if len(scene.hands) != 1 or not hands:
            continue
        rows, columns = np.nonzero(picture.labels == scene.hands[0].label)
        drawn = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        # The arm may hide the edge of the hand's wrist; nothing is drawn outside.
        assert (np.array(drawn[:2]) >= np.floor(hands[0]["box"][:2]) - 1).all()
        assert (np.array(drawn[2:]) <= np.ceil(hands[0]["box"][2:]) + 1).all()
        assert (columns.max() - columns.min()) > 0.6 * (hands[0]["box"][2] - hands[0]["box"][0])


def test_what_is_hidden_is_called_hidden() -> None:
    config = only("arms", occluders=0.0, hand_pixels=(0.5, 0.6))
    for seed in range(20):
        scene, hands, _ = rendered(config, seed)
        if len(scene.hands) == 1 and hands and np.mean(np.array(hands[0]["keypoint_scores"]) > 0) == 1.0:
            break
    scores = np.array(hands[0]["keypoint_scores"])
    assert set(scores) <= {SEEN, BEHIND_ITSELF}
    hand = scene.hands[0]
    # A plate before the fingertips.
    tip = hand.joints[12]
    vertices, faces = box()
    place = tip * 0.8
    scene.parts.append(
        Part(
            vertices=vertices * (0.03, 0.03, 0.002) + place,
            faces=faces,
            colours=np.ones_like(vertices),
            label=99,
        )
    )
    picture = draw(shared_renderer("numpy"), scene, random_light(np.random.default_rng(0)), 1)
    (covered,), _ = truths(scene, picture)
    assert covered["keypoint_scores"][12] == HIDDEN
    assert covered["keypoint_scores"][0] == scores[0]
    assert covered["box"] == hands[0]["box"]
    # A wall before everything: no label at all.
    scene.parts.append(
        Part(
            vertices=vertices * (9, 9, 0.001) + [0, 0, 0.05],
            faces=faces,
            colours=np.ones_like(vertices),
            label=98,
        )
    )
    wall = draw(shared_renderer("numpy"), scene, random_light(np.random.default_rng(0)), 1)
    assert truths(scene, wall) == ([], [])


def test_interacting_hands_are_near_and_do_not_run_through_each_other() -> None:
    near = clash = pairs = 0
    for seed in range(25):
        scene = random_scene(np.random.default_rng(seed), only("interacting"))
        left, right = (hand.joints for hand in scene.hands)
        distance = np.linalg.norm(left[:, None] - right[None], axis=2).min()
        pairs += 1
        near += distance < 0.1
        clash += distance < LEAST_GAP_M
    assert near > 0.7 * pairs
    assert clash <= 0.1 * pairs


def test_a_sample_depends_on_seed_and_number_alone() -> None:
    a, b = SynthDataset(SMALL, seed=1), SynthDataset(SMALL, seed=1)
    b[7]
    for index in (0, 5):
        first, second = a[index], b[index]
        np.testing.assert_array_equal(first[0], second[0])
        assert first[1] == second[1]
    assert not np.array_equal(a[1][0], SynthDataset(SMALL, seed=2)[1][0])


def test_shards_do_not_depend_on_the_workers_and_are_kept(tmp_path: Path) -> None:
    summary = synth(tmp_path / "one", count=20, seed=4, split="test", workers=1, config=SMALL)
    assert (summary.shards, summary.pictures, summary.kept) == (1, 20, 0)
    synth(tmp_path / "two", count=20, seed=4, split="test", workers=2, config=SMALL)
    name = "test-00000.parquet"
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    again = synth(tmp_path / "one", count=20, seed=4, split="test", workers=1, config=SMALL)
    assert again.kept == 1
    rows = list(iter_rows(tmp_path / "one"))
    assert [row["frame_index"] for row in rows] == list(range(20))
    assert {row["split"] for row in rows} == {"test"}
    for row in rows[:3]:
        picture = cv2.imdecode(np.frombuffer(row["image"]["bytes"], np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (row["height"], row["width"], 3)
    assert lineage(tmp_path / "one" / name)["seed"] == 4
    with pytest.raises(UsageError, match="another seed"):
        synth(tmp_path / "one", count=20, seed=5, split="test", workers=1, config=SMALL)


def test_sequences_move_smoothly(tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"sequence_s": 0.4, "fps": 25.0, "motion_samples": 2})
    synth(tmp_path, count=12, seed=1, workers=1, config=config)
    rows = list(iter_rows(tmp_path))
    assert len(rows) == 20  # two whole sequences
    assert len({row["video_id"] for row in rows}) == 2
    assert [row["time_s"] for row in rows[:3]] == pytest.approx([0.0, 0.04, 0.08])
    for video in {row["video_id"] for row in rows}:
        for side in Side.LEFT, Side.RIGHT:
            track = [
                np.array(h["joints_3d"])
                for r in rows
                if r["video_id"] == video
                for h in r["hands"]
                if h["side"] == side
            ]
            if len(track) == 10:
                jumps = np.linalg.norm(np.diff(track, axis=0), axis=2)
                assert jumps.max() < 0.25  # 6 m/s


def test_motion_blur_leaves_truth_in_the_middle() -> None:
    shot = random_sequence(np.random.default_rng(3), SMALL, 1.0)
    scene, sharp = shot.render(shared_renderer("numpy"), 0.5, 0.04, 1)
    blurred_scene, blurred = shot.render(shared_renderer("numpy"), 0.5, 0.04, 3)
    np.testing.assert_array_equal(scene.hands[0].joints, blurred_scene.hands[0].joints)
    np.testing.assert_array_equal(sharp.labels, blurred.labels)
    assert not np.array_equal(sharp.colour, blurred.colour)


def test_degrading_moves_nothing() -> None:
    image = np.zeros((96, 128, 3), dtype=np.uint8)
    cv2.circle(image, (64, 48), 12, (255, 255, 255), -1)
    config = DegradeConfig(blur=1.0, noise=0.0, rescale=1.0, jpeg=1.0)
    for seed in range(20):
        out = degrade(np.random.default_rng(seed), image, config)
        assert out.shape == image.shape
        weights = out.mean(axis=2) - np.median(out)
        weights[weights < 40] = 0
        y, x = (np.average(axis, weights=weights) for axis in np.mgrid[0:96, 0:128])
        assert abs(x - 64) < 0.6
        assert abs(y - 48) < 0.6


def test_backgrounds_of_ones_own(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no pictures"):
        find_pictures(tmp_path)
    with pytest.raises(UsageError, match="no pictures"):
        synth(
            tmp_path / "out", count=1, seed=0, config=SMALL.model_copy(update={"backgrounds": str(tmp_path)})
        )
    green = np.zeros((50, 70, 3), dtype=np.uint8)
    green[..., 1] = 200
    cv2.imwrite(str(tmp_path / "a.png"), green)
    pictures = find_pictures(tmp_path)
    shares = [
        (background(np.random.default_rng(s), 64, 48, pictures) == [0, 200, 0]).mean() for s in range(30)
    ]
    assert 5 < sum(share > 0.99 for share in shares) < 25
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    (tmp_path / "a.png").unlink()
    pictures = find_pictures(tmp_path)
    own = next(s for s in range(30) if np.random.default_rng(s).random() < 0.5)
    with pytest.raises(BadFileError, match=r"b\.jpg"):
        background(np.random.default_rng(own), 64, 48, pictures)


@pytest.mark.parametrize("solid", [box, cylinder, ball])
def test_solids_are_closed_and_face_outwards(solid) -> None:
    vertices, faces = solid()
    corners = vertices[faces]
    volume = np.einsum("fi,fi->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    wanted = {box: 1.0, cylinder: np.pi / 4, ball: np.pi / 6}[solid]
    assert volume == pytest.approx(wanted, rel=0.12)
    np.testing.assert_allclose(np.ptp(vertices, axis=0), 1.0, atol=0.02)


def test_skin_comes_in_all_tones() -> None:
    rng = np.random.default_rng(0)
    tones = np.array([skin_tone(rng) for _ in range(300)])
    brightness = tones.mean(axis=1)
    assert brightness.min() < 0.25
    assert brightness.max() > 0.75
    assert (tones[:, 0] > tones[:, 2]).mean() > 0.95  # redder than blue
