"""From boxes to crops and back, and the whole stack on files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from whim import cli  # noqa: E402
from whim.conventions import Side  # noqa: E402
from whim.detector.checkpoint import save_detector  # noqa: E402
from whim.detector.config import DecodeConfig, DetectorConfig  # noqa: E402
from whim.detector.config import NetworkConfig as DetectorNetwork  # noqa: E402
from whim.detector.detections import Detections  # noqa: E402
from whim.detector.network.detector import Detector  # noqa: E402
from whim.errors import UsageError  # noqa: E402
from whim.hands import kinematics  # noqa: E402
from whim.hands.open_hand import load_open_hand  # noqa: E402
from whim.reconstructor.config import NetworkConfig, VitConfig  # noqa: E402
from whim.reconstructor.crops import FACTOR, Crops  # noqa: E402
from whim.reconstructor.network import Reconstructor  # noqa: E402
from whim.reconstructor.predict import load  # noqa: E402
from whim.reconstructor.weights import save_network  # noqa: E402
from whim.shards.reader import iter_rows  # noqa: E402

BOXES = np.array([[60.0, 40, 100, 110], [10, 20, 90, 60]])


def test_squares_have_the_released_proportions() -> None:
    crops = Crops.around(BOXES, [Side.RIGHT, Side.LEFT])
    # tall: 40 x 70 times 2 = 80 x 140; 192:256 asks for 105 x 140. wide: 160 x 80 asks for 160 x 213.
    np.testing.assert_allclose(crops.sides, [140, 160 * 256 / 192])
    np.testing.assert_allclose(crops.centers, [[80, 75], [50, 40]])
    assert crops.mirrored.tolist() == [False, True]
    assert FACTOR == 2.0


@pytest.mark.parametrize("side", [Side.LEFT, Side.RIGHT])
def test_a_dot_lands_where_the_geometry_says(side: Side) -> None:
    picture = np.zeros((150, 200, 3), dtype=np.uint8)
    picture[70:74, 90:94] = 255  # centre at (92, 72) from the corner
    crops = Crops.around(BOXES[:1], [side])
    (crop,) = crops.cut(picture, 256)
    rows, columns = np.nonzero(crop[..., 0] > 100)
    found = np.array([[columns.mean() + 0.5, rows.mean() + 0.5]])
    back = crops.to_picture((found / 256 - 0.5)[None])[0, 0]
    np.testing.assert_allclose(back, [92, 72], atol=0.3)
    assert (found[0, 0] > 128) == (side == Side.RIGHT)  # to the right of the centre, or mirrored


def test_a_left_hand_looks_like_its_mirror_image() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    box = np.array([[30.0, 30, 90, 80]])
    mirrored_box = np.array([[160 - 90.0, 30, 160 - 30, 80]])
    (left,) = Crops.around(box, [Side.LEFT]).cut(picture, 128)
    (right,) = Crops.around(mirrored_box, [Side.RIGHT]).cut(np.ascontiguousarray(picture[:, ::-1]), 128)
    np.testing.assert_allclose(left.astype(int), right.astype(int), atol=2)


def test_crops_at_the_border_are_black_outside_and_large_ones_are_smoothed() -> None:
    white = np.full((50, 60, 3), 255, dtype=np.uint8)
    (crop,) = Crops.around([[0, 0, 20, 20]], [1]).cut(white, 64)
    assert crop[0, 0].tolist() == [0, 0, 0]
    assert crop[40, 40].tolist() == [255, 255, 255]
    checker = np.indices((800, 800)).sum(axis=0) % 2 * 255
    (small,) = Crops.around([[200, 200, 600, 600]], [1]).cut(
        np.repeat(checker[..., None], 3, 2).astype(np.uint8), 64
    )
    assert small[20:44, 20:44].std() < 12  # grey, no moire
    assert Crops.around(np.zeros((0, 4)), []).cut(white, 64).shape == (0, 64, 64, 3)


@pytest.mark.parametrize("side", [Side.LEFT, Side.RIGHT])
def test_the_picture_sees_the_hand_where_the_crop_does(side: Side) -> None:
    width, height = 640, 480
    crops = Crops.around([[420, 200, 520, 330]], [side])
    camera = np.array([[0.9 / 0.1, 0.004, -0.006]])
    focal = 5000.0 / 256 * crops.sides[0]  # the zoom of the crop's own camera
    points = np.random.default_rng(1).normal(scale=0.04, size=(1, 21, 3))
    depth = 2 * 5000.0 / (256 * camera[0, 0])
    in_crop = 5000.0 / 256 * (points[..., :2] + camera[:, None, 1:]) / (points[..., 2:] + depth)
    wanted = crops.to_picture(in_crop)
    flip = np.array([-1.0 if side == Side.LEFT else 1.0, 1, 1])
    placed = points * flip + crops.translations(camera, focal, width, height)[:, None]
    seen = placed[..., :2] / placed[..., 2:] * focal + np.array([width, height]) / 2
    np.testing.assert_allclose(
        seen, wanted, atol=1.5
    )  # away from the axis, depth within the hand shows a little
    centred = Crops.around([[270, 175, 370, 305]], [side])
    placed = points * flip + centred.translations(camera, focal, width, height)[:, None]
    seen = placed[..., :2] / placed[..., 2:] * focal + np.array([width, height]) / 2
    np.testing.assert_allclose(seen, centred.to_picture(in_crop), atol=1e-6)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    config = DetectorConfig(
        network=DetectorNetwork(scale="n"), decode=DecodeConfig(least_score=0.0, most=3, nms_iou=0.3)
    )
    save_detector(folder / "d.safetensors", Detector(config.network), config, {})
    network = Reconstructor(
        NetworkConfig(backbone=VitConfig(size="tiny"), crop=64, width=48), load_open_hand()
    )
    save_network(network, folder / "r.safetensors")
    return folder / "d.safetensors", folder / "r.safetensors"


def test_parameters_give_the_joints_and_the_mesh_of_either_side(weights: tuple[Path, Path]) -> None:
    stack = load(*weights, device="cpu", size=96)
    picture = np.random.default_rng(2).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    found = Detections(
        boxes=np.array([[10, 10, 60, 70], [60, 20, 110, 80]], dtype=np.float32),
        side=np.array([Side.LEFT, Side.RIGHT]),
        score=np.array([0.9, 0.8], dtype=np.float32),
        keypoints=np.zeros((2, 21, 3), dtype=np.float32),
    )
    hands = stack.of_detections(picture, found, focal=200.0)
    arguments = (hands.betas, hands.hand_pose, hands.global_orient, hands.translation, found.side)
    np.testing.assert_allclose(kinematics.keypoints(load_open_hand(), *arguments), hands.joints_3d, atol=1e-4)
    np.testing.assert_allclose(kinematics.vertices(load_open_hand(), *arguments), hands.vertices, atol=1e-4)
    # A mirrored picture with the other side gives the mirrored hand.
    swapped = Detections(
        boxes=(np.array([120, 0, 120, 0]) + found.boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1]).astype(np.float32),
        side=1 - found.side,
        score=found.score,
        keypoints=found.keypoints,
    )
    mirrored = stack.of_detections(np.ascontiguousarray(picture[:, ::-1]), swapped, focal=200.0)
    np.testing.assert_allclose(mirrored.joints_3d * [-1, 1, 1], hands.joints_3d, atol=2e-3)
    alone = load(None, weights[1], device="cpu")
    np.testing.assert_array_equal(alone.of_detections(picture, found, focal=200.0).vertices, hands.vertices)
    with pytest.raises(UsageError, match="without a detector"):
        alone.reconstruct(picture)
    nobody = stack.of_detections(picture, found[np.array([], dtype=int)])
    assert len(nobody) == 0
    assert nobody.vertices.shape[1:] == (778, 3)


def test_the_command_writes_pictures_meshes_and_labels(
    weights: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    picture = np.random.default_rng(3).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "in" / "a.png"), picture)
    detector, network = map(str, weights)
    arguments = ["--detector", detector, "--mesh", network, "--size", "96", "--score", "0", "--device", "cpu"]
    out = tmp_path / "out"
    assert cli.main(["predict", str(tmp_path / "in"), "--out", str(out), *arguments]) == 0
    assert (out / "a.jpg").is_file()
    assert (out / "a.glb").read_bytes()[:4] == b"glTF"
    tree = json.loads((out / "detections.json").read_text())
    (row,) = iter_rows(out / "labels")
    assert len(row["hands"]) == len(tree["annotations"]) == 3
    for hand in row["hands"]:
        assert hand["mano"]["topology"] == load_open_hand().topology
        assert hand["camera"]["assumed"]
        assert hand["joints_3d"][0][2] > 0
    assert (
        cli.main(
            ["predict", str(tmp_path / "in"), *arguments[:2], "--mesh", str(tmp_path / "no.safetensors")]
        )
        == 2
    )
