"""From a file to hands in its pixels."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from whim import cli  # noqa: E402
from whim.detector.checkpoint import save_detector  # noqa: E402
from whim.detector.config import DetectorConfig, NetworkConfig  # noqa: E402
from whim.detector.network.detector import Detector, Outputs  # noqa: E402
from whim.detector.network.head import Raw  # noqa: E402
from whim.detector.predict import HandPredictor, letterbox, load  # noqa: E402
from whim.errors import MissingExtraError  # noqa: E402


class FindsGreen(torch.nn.Module):
    """Says that a right hand fills the box of the green pixels; it stands in for a trained network."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, pictures: torch.Tensor) -> Outputs:
        box, side = [], []
        for picture in pictures:
            green = (picture[1] > 0.6) & (picture[0] < 0.4)
            rows, columns = torch.nonzero(green, as_tuple=True)
            found = len(rows) > 0
            edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if found else [0, 0, 1, 1]
            x1, y1, x2, y2 = (float(e) / 8 for e in edges)
            box.append([0.5 - x1, 0.5 - y1, x2 - 0.5, y2 - 0.5])
            side.append([-9.0, 4.0 if found else -9.0])
        batch = len(pictures)
        return Outputs(
            one_to_many=Raw(
                box=torch.tensor(box)[:, None],
                side=torch.tensor(side)[:, None],
                keypoints=torch.zeros(batch, 1, 63),
                centres=torch.full((1, 2), 0.5),
                strides=torch.full((1,), 8.0),
            ),
            one_to_one=None,
        )


def picture(width: int, height: int, box: tuple[int, int, int, int]) -> np.ndarray:
    image = np.full((height, width, 3), 90, dtype=np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = (20, 220, 20)
    return image


@pytest.fixture
def predictor() -> HandPredictor:
    return HandPredictor(FindsGreen(), DetectorConfig(network=NetworkConfig(bins=1)), size=320)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (300, 700), (64, 64), (1000, 90)])
def test_boxes_are_in_the_pictures_own_pixels(predictor: HandPredictor, width: int, height: int) -> None:
    box = (width // 4, height // 3, width // 2, height * 2 // 3)
    found = predictor.detect(picture(width, height, box))
    scale = max(width, height) / 320
    np.testing.assert_allclose(found.boxes, [box], atol=1.6 * max(scale, 1))
    assert found.side.tolist() == [1]
    assert found.keypoints.shape == (1, 21, 3)


def test_a_batch_of_all_sizes_gives_what_each_gives_alone(predictor: HandPredictor) -> None:
    pictures = [picture(w, h, (10, 10, 40, 40)) for w, h in ((200, 100), (100, 200), (200, 100), (64, 64))]
    pictures.append(np.zeros((50, 60, 3), dtype=np.uint8))
    together = predictor.detect_batch(pictures)
    for one, image in zip(together, pictures, strict=True):
        np.testing.assert_array_equal(one.boxes, predictor.detect(image).boxes)
    assert len(together[-1]) == 0
    assert predictor.detect_batch([]) == []


def test_what_is_no_picture(predictor: HandPredictor) -> None:
    for wrong in (np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3), np.float32), np.zeros((0, 5, 3), np.uint8)):
        with pytest.raises(ValueError, match="must be"):
            predictor.detect(wrong)


def test_padding_keeps_the_picture_whole() -> None:
    image = np.random.default_rng(0).integers(0, 255, (100, 200, 3), dtype=np.uint8)
    canvas, scale, (left, top) = letterbox(image, 200)
    assert canvas.shape == (128, 224, 3)
    assert scale == 1.0
    np.testing.assert_array_equal(canvas[top : top + 100, left : left + 200], image)
    assert (canvas[:top] == 114).all()


def test_results_for_others(predictor: HandPredictor) -> None:
    found = predictor.detect(picture(100, 80, (10, 20, 50, 60)))
    (record,) = found.to_coco(7)
    assert (record["image_id"], record["category_id"]) == (7, 1)
    np.testing.assert_allclose(record["bbox"], [10, 20, 40, 40], atol=1)
    assert len(record["keypoints"]) == 63
    assert len(found.above(0.99)) == 0
    json.dumps(record)


def test_hands_for_supervision(predictor: HandPredictor, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("supervision")
    fake.Detections = types.SimpleNamespace
    monkeypatch.setitem(sys.modules, "supervision", fake)
    found = predictor.detect(picture(100, 80, (10, 20, 50, 60)))
    theirs = found.to_supervision()
    np.testing.assert_array_equal(theirs.xyxy, found.boxes)
    np.testing.assert_array_equal(theirs.confidence, found.score)
    np.testing.assert_array_equal(theirs.data["keypoints"], found.keypoints)
    assert theirs.class_id.tolist() == [1]


def test_without_supervision_the_message_says_what_to_install(
    predictor: HandPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    found = predictor.detect(picture(100, 80, (10, 20, 50, 60)))
    with pytest.raises(MissingExtraError, match=r"pip install 'supervision>=0\.30' .*OpenCV"):
        found.to_supervision()


def test_the_command_on_a_folder(
    tmp_path: Path, make_video: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    config = DetectorConfig(network=NetworkConfig(scale="n"))
    weights = tmp_path / "w.safetensors"
    save_detector(weights, Detector(config.network), config, {})
    (tmp_path / "in" / "deep").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "in" / "a.png"), picture(90, 70, (10, 10, 30, 30)))
    cv2.imwrite(str(tmp_path / "in" / "deep" / "b.jpg"), picture(60, 80, (10, 10, 30, 30)))
    make_video("in/c.mp4", frames=4)
    (tmp_path / "in" / "broken.jpg").write_bytes(b"nothing")
    arguments = ["--detector", str(weights), "--out", str(tmp_path / "out"), "--size", "96", "--score", "0.0"]
    assert cli.main(["predict", str(tmp_path / "in"), *arguments]) == 1
    out = capsys.readouterr().out
    assert "broken.jpg" in out
    tree = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert [image["file_name"] for image in tree["images"]] == [
        "a.png",
        "c.mp4",
        "c.mp4",
        "c.mp4",
        "c.mp4",
        "deep/b.jpg",
    ]
    assert [image.get("frame_index") for image in tree["images"]] == [None, 0, 1, 2, 3, None]
    assert {category["name"] for category in tree["categories"]} == {"left hand", "right hand"}
    for name in ("a.jpg", "deep/b.jpg", "c.mp4"):
        assert (tmp_path / "out" / name).stat().st_size > 200
    assert cli.main(["predict", str(tmp_path / "nowhere"), *arguments]) == 2
    assert cli.main(["predict", str(tmp_path / "in"), "--detector", str(tmp_path / "no.safetensors")]) == 2


def test_three_lines_of_python(tmp_path: Path) -> None:
    config = DetectorConfig(network=NetworkConfig(scale="n", one_to_one=True))
    save_detector(tmp_path / "w.safetensors", Detector(config.network), config, {})
    detector = load(tmp_path / "w.safetensors", size=96)
    hands = detector.detect(picture(90, 70, (10, 10, 30, 30)), least_score=0.0)
    assert len(hands) <= config.decode.most
