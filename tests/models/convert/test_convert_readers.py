"""The GraphDef and TensorFlow.js readers against files written field by field."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import tf_wire as wire

from whim.errors import BadFileError
from whim.models.convert.graph import split_reference
from whim.models.convert.graphdef import read_graphdef
from whim.models.convert.tfjs import read_tfjs


def test_graphdef_nodes_attributes_and_constants(tmp_path: Path) -> None:
    weights = np.arange(6, dtype=np.float32).reshape(2, 3)
    path = tmp_path / "graph.pb"
    path.write_bytes(
        wire.node("w", "Const", value=weights)
        + wire.node(
            "y",
            "MatMul",
            "x:1",
            "w",
            "^wait",
            strides=[1, -2, 300],
            padding="SAME",
            axis=-1,
            keep=True,
            eps=0.5,
        )
        + wire.message(4, b"\x08\x1b")  # the versions field, which is not read
    )
    graph = read_graphdef(path)
    np.testing.assert_array_equal(graph.constants["w"], weights)
    assert graph.nodes["y"].op == "MatMul"
    assert graph.nodes["y"].inputs == ("x:1", "w")
    assert graph.nodes["y"].attributes == {
        "strides": [1, -2, 300],
        "padding": "SAME",
        "axis": -1,
        "keep": True,
        "eps": 0.5,
    }


@pytest.mark.parametrize(
    "value", [np.full((2, 2), 1.5, np.float32), np.full((3,), -7, np.int32), np.full((), -1, np.int64)]
)
def test_graphdef_constant_stored_once_fills_its_shape(tmp_path: Path, value: np.ndarray) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(wire.node("c", "Const", value=wire.message(8, wire.tensor(value, splat=True))))
    constant = read_graphdef(path).constants["c"]
    np.testing.assert_array_equal(constant, value)
    assert constant.dtype == value.dtype


@pytest.mark.parametrize("content", [b"", b"not a graph", wire.node("a", "Add")[:-2], b"\x80" * 4])
def test_graphdef_that_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(content)
    with pytest.raises(BadFileError, match="TensorFlow graph"):
        read_graphdef(path)


def test_tfjs_reads_weights_across_shards(tmp_path: Path) -> None:
    weights = {
        "w": np.linspace(0, 1, 7, dtype=np.float32),
        "n": np.array(3, np.int32),
        "m": np.eye(2, dtype=np.float32),
    }
    flags = {"padding": wire.text("VALID"), "axis": {"i": "-1"}, "keep": {"b": True}, "eps": {"f": 0.5}}
    flags["strides"] = {"list": {"i": ["1", "2"]}}
    flags["fused_ops"] = {"list": {"s": [base64.b64encode(b"BiasAdd").decode()]}}
    node = {"name": "y", "op": "Op", "input": ["x:1", "^wait"], "attr": flags}
    graph = read_tfjs(wire.write_tfjs(tmp_path, [node], weights))
    for name, value in weights.items():
        np.testing.assert_array_equal(graph.constants[name], value)
    assert graph.nodes["y"].inputs == ("x:1",)
    assert graph.nodes["y"].attributes == {
        "padding": "VALID",
        "axis": -1,
        "keep": True,
        "eps": 0.5,
        "strides": [1, 2],
        "fused_ops": ["BiasAdd"],
    }


def test_tfjs_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    path = wire.write_tfjs(tmp_path, [], {"w": np.ones(3, np.float32)})
    document = json.loads(path.read_text())

    document["weightsManifest"][0]["weights"][0]["quantization"] = {"dtype": "uint8"}
    path.write_text(json.dumps(document))
    with pytest.raises(BadFileError, match="quantised"):
        read_tfjs(path)

    del document["weightsManifest"][0]["weights"][0]["quantization"]
    document["weightsManifest"][0]["weights"][0]["shape"] = [2]
    path.write_text(json.dumps(document))
    with pytest.raises(BadFileError, match="take 8 bytes"):
        read_tfjs(path)

    (tmp_path / "b.bin").unlink()
    with pytest.raises(BadFileError, match="missing"):
        read_tfjs(path)


def test_split_reference() -> None:
    assert split_reference("a/b:2") == ("a/b", 2)
    assert split_reference("a/b") == ("a/b", 0)
