"""The network: sizes, shapes, decoding, checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402

from whim.detector.checkpoint import load_detector, save_detector  # noqa: E402
from whim.detector.config import DecodeConfig, DetectorConfig, NetworkConfig  # noqa: E402
from whim.detector.decode import decode, decode_boxes, decode_keypoints, pairwise_iou, suppressed  # noqa: E402
from whim.detector.network.detector import Detector  # noqa: E402
from whim.detector.network.head import Raw  # noqa: E402
from whim.errors import BadFileError, UsageError  # noqa: E402


@pytest.mark.parametrize(("scale", "wanted"), [("n", 3_385_269), ("s", 11_764_421), ("m", 26_630_677)])
def test_the_sizes_are_those_of_the_released_family(scale: str, wanted: int) -> None:
    with torch.device("meta"):
        model = Detector(NetworkConfig(scale=scale))
    assert sum(parameter.numel() for parameter in model.parameters()) == wanted


@pytest.mark.parametrize("bins", [1, 16])
@pytest.mark.parametrize("single", [False, True])
def test_every_cell_speaks(bins: int, single: bool) -> None:
    model = Detector(NetworkConfig(scale="n", bins=bins, one_to_one=single))
    outputs = model(torch.rand(2, 3, 96, 64))
    for raw in filter(None, (outputs.one_to_many, outputs.one_to_one)):
        cells = 12 * 8 + 6 * 4 + 3 * 2
        assert raw.box.shape == (2, cells, 4 * bins)
        assert raw.side.shape == (2, cells, 2)
        assert raw.keypoints.shape == (2, cells, 63)
        pixels = raw.centres * raw.strides[:, None]
        assert pixels[0].tolist() == [4.0, 4.0]
        assert pixels[-1].tolist() == [48.0, 80.0]
        assert pixels.amax(0).tolist() == [60.0, 92.0]
    assert (outputs.one_to_one is not None) == single
    alone = model.eval()(torch.rand(1, 3, 64, 64))
    assert (alone.one_to_many is None) == single


def test_the_second_head_leaves_the_features_alone() -> None:
    model = Detector(NetworkConfig(scale="n", one_to_one=True))
    outputs = model(torch.rand(1, 3, 64, 64))
    outputs.one_to_one.side.sum().backward()
    assert all(p.grad is None for p in model.backbone.parameters())
    assert any(p.grad is not None for p in model.single_heads.parameters())


def raw_of(box: torch.Tensor, side: torch.Tensor, keypoints: torch.Tensor) -> Raw:
    cells = box.shape[1]
    return Raw(
        box=box,
        side=side,
        keypoints=keypoints,
        centres=torch.arange(cells)[:, None] + torch.tensor([0.5, 1.5]),
        strides=torch.full((cells,), 8.0),
    )


def test_decoding_by_hand() -> None:
    logits = torch.full((1, 1, 4, 16), -30.0)
    for side, bin_ in enumerate((1, 2, 3, 4)):
        logits[0, 0, side, bin_] = 30.0
    raw = raw_of(logits.reshape(1, 1, 64), torch.zeros(1, 1, 2), torch.zeros(1, 1, 63))
    # centre (0.5, 1.5) in strides of 8: 1 to the left, 2 up, 3 to the right, 4 down
    np.testing.assert_allclose(decode_boxes(raw, 16)[0, 0], [-4, -4, 28, 44], atol=1e-4)
    plain = raw_of(torch.tensor([[[1.0, 2, 3, 4]]]), raw.side, raw.keypoints)
    np.testing.assert_allclose(decode_boxes(plain, 1)[0, 0], [-4, -4, 28, 44])
    points = torch.zeros(1, 1, 21, 3)
    points[0, 0, 5] = torch.tensor([0.25, -0.5, 2.0])
    found = decode_keypoints(raw_of(raw.box, raw.side, points.reshape(1, 1, 63)))[0, 0]
    np.testing.assert_allclose(found[5], [(0.5 + 0) * 8, (-1 + 1) * 8, 1 / (1 + np.exp(-2))], atol=1e-5)


def greedy(boxes: np.ndarray, threshold: float) -> list[int]:
    kept: list[int] = []
    overlap = pairwise_iou(torch.tensor(boxes), torch.tensor(boxes)).numpy()
    for index in range(len(boxes)):
        if all(overlap[index, other] <= threshold for other in kept):
            kept.append(index)
    return kept


def test_suppression_equals_the_greedy_loop() -> None:
    rng = np.random.default_rng(0)
    for count in (0, 1, 30, 200):
        low = rng.uniform(0, 60, (count, 2))
        boxes = np.concatenate([low, low + rng.uniform(5, 40, (count, 2))], axis=1)
        assert suppressed(torch.tensor(boxes), 0.5, 1000).tolist() == greedy(boxes, 0.5)
    assert len(suppressed(torch.tensor(boxes), 0.99, 7)) == 7


def test_hands_come_best_first_and_once() -> None:
    distances = torch.full((1, 3, 4), 2.0)
    side = torch.tensor([[[2.0, -9.0], [-9.0, 3.0], [-9.0, -9.0]]])
    raw = Raw(
        box=distances,
        side=side,
        keypoints=torch.zeros(1, 3, 63),
        centres=torch.tensor([[5.0, 5.0], [5.2, 5.0], [50.0, 5.0]]),
        strides=torch.full((3,), 8.0),
    )
    config = DecodeConfig(least_score=0.01)
    (found,) = decode(raw, 1, config, suppress=True)
    assert found.side.tolist() == [1]  # the left and the right one in one place are one hand
    assert found.score.tolist() == pytest.approx([torch.tensor(3.0).sigmoid().item()])
    (both,) = decode(raw, 1, config, suppress=False)
    assert both.side.tolist() == [1, 0]
    assert both.keypoints.shape == (2, 21, 3)
    (none,) = decode(raw, 1, DecodeConfig(least_score=0.99), suppress=True)
    assert len(none.boxes) == 0


def test_weights_come_back_with_their_settings(tmp_path: Path) -> None:
    config = DetectorConfig(network=NetworkConfig(scale="n", bins=1))
    model = Detector(config.network).eval()
    path = tmp_path / "w.safetensors"
    save_detector(path, model, config, {"epoch": 3})
    again, settings, facts = load_detector(path)
    assert settings == config
    assert facts == {"epoch": 3}
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(again(x).best.box, model(x).best.box, atol=1e-5, rtol=1e-4)
    assert json.loads(path.with_suffix(".json").read_text())["classes"] == ["left", "right"]


def test_weights_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such weights"):
        load_detector(tmp_path / "w.safetensors")
    config = DetectorConfig(network=NetworkConfig(scale="n"))
    path = tmp_path / "w.safetensors"
    save_detector(path, Detector(config.network), config, {})
    record = json.loads(path.with_suffix(".json").read_text())
    for change in ({"format": "other"}, {"config": {"network": {"scale": "xl"}}}):
        path.with_suffix(".json").write_text(json.dumps({**record, **change}))
        with pytest.raises(BadFileError, match="not the weights"):
            load_detector(path)
    record["config"]["network"]["scale"] = "s"
    path.with_suffix(".json").write_text(json.dumps(record))
    with pytest.raises(BadFileError, match="do not fit"):
        load_detector(path)
    path.write_bytes(b"no tensors")
    with pytest.raises(BadFileError, match="not the weights"):
        load_detector(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(BadFileError, match="missing"):
        load_detector(path)
