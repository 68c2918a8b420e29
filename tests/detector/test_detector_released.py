"""The released detector's tensors, from a fabricated file of its layout."""

from __future__ import annotations

import csv
from collections import OrderedDict
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from whim.detector.checkpoint import load_detector  # noqa: E402
from whim.detector.config import NetworkConfig  # noqa: E402
from whim.detector.network.detector import Detector  # noqa: E402
from whim.detector.released import convert_detector, own_name  # noqa: E402
from whim.errors import BadFileError  # noqa: E402

UNITS = {"conv": "conv", "norm": "bn"}


def foreign_name(name: str) -> str:
    """The inverse of ``own_name``, found by trying every layer."""
    for layer in range(23):
        for middle in _candidates(name):
            candidate = f"model.{layer}.{middle}"
            try:
                if own_name(candidate) == name:
                    return candidate
            except (KeyError, ValueError, IndexError):
                continue
    raise AssertionError(name)


def _candidates(name: str) -> list[str]:
    parts = name.split(".")
    renamed = {"enter": "cv1", "leave": "cv2", "chain": "m", "first": "cv1", "second": "cv2", "norm": "bn"}
    renamed |= {"box": "cv2", "side": "cv3", "keypoints": "cv4"}
    tail = [renamed.get(part, part) for part in parts]
    return [".".join(tail[start:]) for start in range(1, len(tail))] + ["dfl.conv.weight"]


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    """A random network under the released names."""
    torch.manual_seed(0)
    model = Detector(NetworkConfig(scale="m"))
    own = {n: v for n, v in model.state_dict().items() if not n.endswith("num_batches_tracked")}
    return {foreign_name(name): value for name, value in own.items()}


def test_names_and_shapes_are_those_of_the_table(tensors: dict[str, torch.Tensor], shared_data: Path) -> None:
    table = shared_data.parent / "facts" / "wilor_detector_state_dict.tsv"
    if not table.is_file():
        pytest.skip("no table of the released detector beside the shared data")
    with table.open() as stream:
        rows = {row["key"]: row["shape"] for row in csv.DictReader(stream, delimiter="\t")}
    wanted = {key: shape for key, shape in rows.items() if not key.endswith("num_batches_tracked")}
    assert {name: "x".join(map(str, value.shape)) for name, value in tensors.items()} == wanted


def test_a_file_of_tensors_is_read_and_computes_the_same(
    tensors: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save({"state_dict": {name: value.half() for name, value in tensors.items()}}, tmp_path / "d.pt")
    convert_detector(tmp_path / "d.pt", tmp_path / "d.safetensors")
    model, config, facts = load_detector(tmp_path / "d.safetensors")
    assert config.network.scale == "m"
    assert "NC" in facts["licence"]
    for name, value in tensors.items():
        torch.testing.assert_close(model.state_dict()[own_name(name)], value.half().float())


class Part(torch.nn.Module):
    """A module that the file names by a class that nobody has."""


def test_a_pickled_network_is_read_without_its_library(
    tensors: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Part()
    for name, value in tensors.items():
        *path, leaf = name.split(".")
        module = root
        for step in path:
            if step not in module._modules:
                module.add_module(step, Part())
            module = module._modules[step]
        if "running" in leaf:
            module.register_buffer(leaf, value)
        else:
            module.register_parameter(leaf, torch.nn.Parameter(value, requires_grad=False))
    monkeypatch.setattr(Part, "__module__", "ultralytics_like.nn.tasks")
    import sys
    import types

    fake = types.ModuleType("ultralytics_like.nn.tasks")
    fake.Part = Part  # type: ignore[attr-defined]
    for module_name in ("ultralytics_like", "ultralytics_like.nn"):
        monkeypatch.setitem(sys.modules, module_name, types.ModuleType(module_name))
    monkeypatch.setitem(sys.modules, "ultralytics_like.nn.tasks", fake)
    torch.save({"model": root, "ema": None, "train_args": {"imgsz": 512}}, tmp_path / "d.pt")
    for module_name in ("ultralytics_like", "ultralytics_like.nn", "ultralytics_like.nn.tasks"):
        monkeypatch.delitem(sys.modules, module_name)
    convert_detector(tmp_path / "d.pt", tmp_path / "d.safetensors")
    model, _, facts = load_detector(tmp_path / "d.safetensors")
    assert "ultralytics_like.nn.tasks.Part" in facts["not_loaded"]
    name = "model.22.cv4.2.1.conv.weight"
    torch.testing.assert_close(model.state_dict()[own_name(name)], tensors[name])


def test_another_network_is_refused_by_name(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    def save(content: dict) -> Path:
        torch.save(OrderedDict(content), tmp_path / "x.pt")
        return tmp_path / "x.pt"

    short = dict(list(tensors.items())[:-1])
    with pytest.raises(BadFileError, match="missing"):
        convert_detector(save(short), tmp_path / "x.safetensors")
    with pytest.raises(BadFileError, match=r"model\.30"):
        convert_detector(
            save({**tensors, "model.30.conv.weight": torch.zeros(1)}), tmp_path / "x.safetensors"
        )
    wrong = {**tensors, "model.0.conv.weight": torch.zeros(16, 3, 3, 3)}
    with pytest.raises(BadFileError, match="shape"):
        convert_detector(save(wrong), tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


def test_a_malicious_file_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple:
            return open, (str(marker), "w")

    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(BadFileError):
        convert_detector(tmp_path / "evil.pt", tmp_path / "x.safetensors")
    assert not marker.exists()
