"""The exported graph says what the network says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from whim import cli  # noqa: E402
from whim.detector import export  # noqa: E402
from whim.detector.checkpoint import save_detector  # noqa: E402
from whim.detector.config import DetectorConfig, NetworkConfig  # noqa: E402
from whim.detector.network.detector import Detector  # noqa: E402
from whim.errors import MissingExtraError, WhimError  # noqa: E402


def weights(folder: Path, **network: object) -> Path:
    torch.manual_seed(0)
    config = DetectorConfig(network=NetworkConfig(scale="n", **network))
    model = Detector(config.network)
    for module in model.modules():  # statistics that let the picture through to the outputs
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.fill_(0.4)
    path = folder / "w.safetensors"
    save_detector(path, model, config, {"epoch": 1})
    return path


@pytest.mark.parametrize("single", [False, True])
def test_onnx_gives_the_same_and_tells_what_it_is(tmp_path: Path, single: bool) -> None:
    path = weights(tmp_path, one_to_one=single)
    report = export.export_onnx(path, tmp_path / "w.onnx", height=96, width=128)
    assert report.pixels <= export.TOLERANCE_PX
    assert report.scores <= 1e-3
    session = ort.InferenceSession(str(tmp_path / "w.onnx"))
    outputs = session.run(None, {"pictures": torch.rand(1, 3, 96, 128).numpy()})
    count = 16 * 12 + 8 * 6 + 4 * 3
    assert [o.shape for o in outputs] == [(1, count, 4), (1, count), (1, count), (1, count, 21, 3)]
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == ["left", "right"]
    assert metadata["nms_iou"] == ("none" if single else "0.65")


def test_openvino_gives_the_same(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    export.export_onnx(weights(tmp_path), tmp_path / "w.onnx", height=96, width=128)
    graph = export.export_openvino(tmp_path / "w.onnx", tmp_path / "w.xml")
    assert graph.with_suffix(".bin").is_file()
    pictures = {"pictures": torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0)).numpy()}
    wanted = ort.InferenceSession(str(tmp_path / "w.onnx")).run(None, pictures)
    found = openvino.compile_model(str(graph), "CPU")(pictures)
    pixels, scores = export._differences(wanted, [found[name] for name in export._NAMES])
    assert pixels <= export.TOLERANCE_PX
    assert scores <= 1e-3


def test_without_openvino_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"whim\[openvino\]"):
        export.export_openvino(tmp_path / "w.onnx", tmp_path / "w.xml")


def test_a_graph_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = weights(tmp_path)
    monkeypatch.setattr(export, "TOLERANCE_PX", -1.0)
    with pytest.raises(WhimError, match="differs"):
        export.export_onnx(path, tmp_path / "w.onnx", height=64, width=64)
    assert not (tmp_path / "w.onnx").exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = weights(tmp_path)
    assert cli.main(["export", str(path), "--size", "64", "--tensorrt"]) == 0
    assert (tmp_path / "w.onnx").is_file()
    script = (tmp_path / "w.tensorrt.sh").read_text()
    assert "--onnx=w.onnx" in script
    assert "w.onnx" in capsys.readouterr().out
