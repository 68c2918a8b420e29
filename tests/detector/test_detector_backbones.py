"""Backbones of timm: what Table 2 builds, whether all of it learns, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from whim.config import load_config  # noqa: E402
from whim.detector import export  # noqa: E402
from whim.detector.checkpoint import load_detector, save_detector  # noqa: E402
from whim.detector.config import DetectorConfig, NetworkConfig  # noqa: E402
from whim.detector.network.detector import Detector  # noqa: E402
from whim.detector.training.recipe import TrainDetectorConfig  # noqa: E402
from whim.errors import MissingExtraError, UsageError  # noqa: E402

RECIPES = Path(__file__).resolve().parents[2] / "configs" / "detector"


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"whim\[backbones\]"):
        Detector(NetworkConfig(scale="n", backbone="resnet50"))


@pytest.mark.parametrize(
    ("row", "body", "total"),
    [("table2-resnet50", 23_508_032, 40_003_173), ("table2-hrnet", 30_881_856, 46_148_197)],
)
def test_sizes_of_table_2(row: str, body: int, total: int) -> None:
    pytest.importorskip("timm")
    config = load_config(TrainDetectorConfig, RECIPES / f"{row}.yaml")
    with torch.device("meta"):
        model = Detector(config.detector.network)
    assert sum(parameter.numel() for parameter in model.backbone.parameters()) == body
    assert sum(parameter.numel() for parameter in model.parameters()) == total


@pytest.mark.parametrize(("name", "unread"), [("resnet50", 0), ("hrnet_w18_small", 21)])
def test_every_weight_that_is_trained_learns(name: str, unread: int) -> None:
    pytest.importorskip("timm")
    model = Detector(NetworkConfig(scale="n", backbone=name))
    assert sum(not parameter.requires_grad for parameter in model.backbone.parameters()) == unread
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimiser = torch.optim.SGD(trained.values(), lr=0.1)
    for _ in range(2):  # the last norms of ResNet's blocks begin as zeros: what lies before them has to wait
        optimiser.zero_grad()
        raw = model(torch.rand(2, 3, 96, 64)).best
        cells = 12 * 8 + 6 * 4 + 3 * 2
        assert raw.box.shape == (2, cells, 64)
        (raw.box.square().mean() + raw.side.square().mean() + raw.keypoints.square().mean()).backward()
        optimiser.step()
    assert [name for name, p in trained.items() if p.grad is None or not p.grad.any()] == []


def test_weights_come_back_and_are_exported(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    config = DetectorConfig(network=NetworkConfig(scale="n", backbone="hrnet_w18_small"))
    model = Detector(config.network).eval()
    path = tmp_path / "w.safetensors"
    save_detector(path, model, config, {})
    again, settings, _ = load_detector(path)
    assert settings == config
    x = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(again(x).best.box, model(x).best.box, atol=1e-4, rtol=1e-4)
    report = export.export_onnx(path, tmp_path / "w.onnx", height=64, width=96)
    assert report.pixels <= export.TOLERANCE_PX


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet5000", "has no 'resnet5000'"),
        ("vit_tiny_patch16_224", "at strides"),
        ("swin_tiny_patch4_window7_224", "any size"),
    ],
)
def test_what_is_no_backbone(name: str, reason: str) -> None:
    pytest.importorskip("timm")
    with pytest.raises(UsageError, match=reason):
        Detector(NetworkConfig(scale="n", backbone=name))
