"""Every supported operation: the emitted model run by onnxruntime against plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from whim.errors import BadFileError
from whim.models.convert.emit import Input, Output, to_onnx
from whim.models.convert.graph import Graph, Node

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

RANDOM = np.random.default_rng(0)


def run(graph: Graph, x: np.ndarray, output: str = "y", columns: int = 1) -> np.ndarray:
    model = to_onnx(graph, Input("x", "image", x.shape), [Output((output,), "out", columns)])
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": x})[0]


def one(op: str, *inputs: str, constants: dict[str, Any] | None = None, **attributes: Any) -> Graph:
    arrays = {name: np.asarray(value) for name, value in (constants or {}).items()}
    return Graph({"y": Node("y", op, ("x", *inputs), attributes)}, arrays)


def picture(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def check(graph: Graph, x: np.ndarray, expected: np.ndarray, output: str = "y") -> None:
    np.testing.assert_allclose(run(graph, x, output)[:, 0], expected.ravel(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("Add", lambda x, c: x + c),
        ("AddV2", lambda x, c: x + c),
        ("BiasAdd", lambda x, c: x + c),
        ("Sub", lambda x, c: x - c),
        ("Mul", lambda x, c: x * c),
    ],
)
def test_two_operands(op: str, expected: Any) -> None:
    x, c = picture(1, 2, 3, 4), picture(4)
    check(one(op, "c", constants={"c": c}), x, expected(x, c))


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("Exp", np.exp),
        ("Sigmoid", lambda x: 1 / (1 + np.exp(-x))),
        ("Relu", lambda x: np.maximum(x, 0)),
        ("Relu6", lambda x: np.clip(x, 0, 6)),
    ],
)
def test_one_operand(op: str, expected: Any) -> None:
    x = 5 * picture(1, 2, 3, 4)
    check(one(op), x, expected(x))


def same_pads(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: the output is ceil(size / stride), and the odd pixel goes to the far side."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def convolve(x: np.ndarray, w: np.ndarray, stride: int, padding: str, *, depthwise: bool) -> np.ndarray:
    kh, kw = w.shape[:2]
    if padding == "SAME":
        x = np.pad(x, ((0, 0), same_pads(x.shape[1], kh, stride), same_pads(x.shape[2], kw, stride), (0, 0)))
    rows, columns = (x.shape[1] - kh) // stride + 1, (x.shape[2] - kw) // stride + 1
    out = []
    for row in range(rows):
        for column in range(columns):
            patch = x[0, row * stride : row * stride + kh, column * stride : column * stride + kw]
            product = np.einsum("hwc,hwcm->cm" if depthwise else "hwc,hwco->o", patch, w)
            out.append(product.reshape(-1))
    return np.array(out).reshape(1, rows, columns, -1)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(6, 7), (5, 8)])
@pytest.mark.parametrize("depthwise", [False, True])
def test_convolution(padding: str, stride: int, size: tuple[int, int], depthwise: bool) -> None:
    x, w = picture(1, *size, 3), picture(3, 2, 3, 4)
    op = "DepthwiseConv2dNative" if depthwise else "Conv2D"
    graph = one(op, "w", constants={"w": w}, strides=[1, stride, stride, 1], padding=padding)
    check(graph, x, convolve(x, w, stride, padding, depthwise=depthwise))


@pytest.mark.parametrize("fused", [["BiasAdd"], ["BiasAdd", "Relu6"]])
@pytest.mark.parametrize("op", ["_FusedConv2D", "FusedDepthwiseConv2dNative"])
def test_fused_convolution(op: str, fused: list[str]) -> None:
    depthwise = "Depthwise" in op
    x, w, b = picture(1, 5, 5, 2), 3 * picture(3, 3, 2, 3), picture(6 if depthwise else 3)
    graph = one(
        op, "w", "b", constants={"w": w, "b": b}, strides=[1, 1, 1, 1], padding="SAME", fused_ops=fused
    )
    expected = convolve(x, w, 1, "SAME", depthwise=depthwise) + b
    check(graph, x, np.clip(expected, 0, 6) if "Relu6" in fused else expected)


def test_dilated_convolution() -> None:
    x, w = picture(1, 7, 7, 1), picture(3, 3, 1, 1)
    spread = np.zeros((5, 5, 1, 1), np.float32)
    spread[::2, ::2] = w
    graph = one("Conv2D", "w", constants={"w": w}, strides=[1] * 4, padding="VALID", dilations=[1, 2, 2, 1])
    check(graph, x, convolve(x, spread, 1, "VALID", depthwise=False))


def test_max_pool() -> None:
    x = picture(1, 4, 6, 2)
    expected = x.reshape(1, 2, 2, 3, 2, 2).max(axis=(2, 4))
    check(one("MaxPool", ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME"), x, expected)


def test_batch_norm() -> None:
    x, scale, offset, mean = picture(1, 2, 2, 3), picture(3), picture(3), picture(3)
    variance = np.abs(picture(3)) + 0.1
    constants = {"s": scale, "o": offset, "m": mean, "v": variance}
    expected = (x - mean) / np.sqrt(variance + 1e-3) * scale + offset
    check(one("FusedBatchNorm", "s", "o", "m", "v", constants=constants, epsilon=1e-3), x, expected)


def test_shapes() -> None:
    x = picture(2, 3, 4)
    check(one("Reshape", "s", constants={"s": np.array([4, -1], np.int32)}), x, x)
    check(one("Transpose", "p", constants={"p": np.array([2, 0, 1], np.int32)}), x, x.transpose(2, 0, 1))
    check(one("ConcatV2", "c", "a", constants={"c": x[:1], "a": np.int32(0)}), x, np.concatenate([x, x[:1]]))
    check(one("ExpandDims", "a", constants={"a": np.int32(1)}), x, x)
    sliced = one("Slice", "b", "z", constants={"b": np.array([0, 1, 1]), "z": np.array([2, -1, 2])})
    check(sliced, x, x[:, 1:, 1:3])


def test_pack_and_unpack_outputs() -> None:
    x = picture(3, 4)
    nodes = {
        "u": Node("u", "Unpack", ("x",), {"num": 3, "axis": 0}),
        "y": Node("y", "Pack", ("u:2", "u"), {"axis": 1}),
    }
    check(Graph(nodes, {}), x, np.stack([x[2], x[0]], axis=1))


def test_identities_are_followed_and_values_shared() -> None:
    x = picture(1, 2)
    nodes = {
        "alias": Node("alias", "Identity", ("x",)),
        "weights": Node("weights", "Identity", ("c",)),
        "once": Node("once", "Exp", ("alias",)),
        "y": Node("y", "Add", ("once", "once")),
        "z": Node("z", "Mul", ("y", "weights")),
    }
    check(Graph(nodes, {"c": np.float32(3)}), x, 6 * np.exp(x), "z")


def test_outputs_are_stacked_and_bytes_repeat() -> None:
    x = picture(1, 2, 2, 6)
    graph = one("Relu")
    outputs = [Output(("y", "x"), "out", 3)]
    first = to_onnx(graph, Input("x", "image", x.shape), outputs)
    assert first == to_onnx(graph, Input("x", "image", x.shape), outputs)
    session = ort.InferenceSession(first, providers=["CPUExecutionProvider"])
    (stacked,) = session.run(None, {"image": x})
    np.testing.assert_allclose(stacked, np.concatenate([np.maximum(x, 0).reshape(-1, 3), x.reshape(-1, 3)]))


def test_long_chains_do_not_hit_the_recursion_limit() -> None:
    nodes = {"n0": Node("n0", "Relu", ("x",))}
    nodes |= {f"n{i}": Node(f"n{i}", "Relu", (f"n{i - 1}",)) for i in range(1, 2000)}
    model = to_onnx(Graph(nodes, {}), Input("x", "image", (1, 1)), [Output(("n1999",), "out", 1)])
    assert len(model) > 2000


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (one("Softmax"), "'Softmax' is not supported"),
        (Graph({}, {}), "no node 'y'"),
        (one("Reshape", "x"), "should be a constant"),
        (
            one("Conv2D", "w", constants={"w": np.ones((1, 1, 3, 1))}, strides=[1] * 4, padding="EXPLICIT"),
            "EXPLICIT",
        ),
    ],
)
def test_what_is_not_supported_is_said(graph: Graph, message: str) -> None:
    with pytest.raises(BadFileError, match=message):
        to_onnx(graph, Input("x", "image", (1, 2, 2, 3)), [Output(("y",), "out", 1)])
