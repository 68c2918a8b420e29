"""TensorFlow inference graph -> ONNX, between cut points.

Tensors keep TensorFlow's NHWC layout; each convolution sits between two transposes, which onnxruntime removes
when it loads the file. Only the operations that WHIM's networks use are known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from whim.errors import BadFileError, require
from whim.models.convert.graph import Graph, Node, Tensor, split_reference

OPSET = 17
IR_VERSION = 8

_ONE_TO_ONE = {"AddV2": "Add", "BiasAdd": "Add"} | {
    name: name for name in ("Add", "Sub", "Mul", "Exp", "Sigmoid", "Relu")
}
_TO_NCHW = [0, 3, 1, 2]
_TO_NHWC = [0, 2, 3, 1]


@dataclass(frozen=True)
class Input:
    """A float32 input of the ONNX model, put in the place of a node."""

    node: str
    name: str
    shape: tuple[int | None, ...]
    """None where the size is free."""


@dataclass(frozen=True)
class Output:
    """A float32 output (N, columns): each tensor is reshaped to (-1, columns), and all are stacked."""

    tensors: tuple[str, ...]
    name: str
    columns: int


def to_onnx(graph: Graph, source: Input, outputs: Sequence[Output]) -> bytes:
    """Bytes of an ONNX model. The same graph and the same ``onnx`` version give the same bytes.

    Raises:
        BadFileError: an operation that is not supported, or a node that is not there.
    """
    onnx = require("onnx", extra="annotate")
    emitter = _Emitter(graph, source)
    for output in outputs:
        emitter.output(output)
    declare, real = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            emitter.nodes,
            "whim",
            [declare(source.name, real, list(source.shape))],
            [declare(output.name, real, [None, output.columns]) for output in outputs],
            emitter.initializers,
        ),
        ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
    )
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


class _Emitter:
    """Writes every node the outputs need once, inputs first."""

    def __init__(self, graph: Graph, source: Input) -> None:
        onnx = require("onnx", extra="annotate")
        self._make_node = onnx.helper.make_node
        self._from_array = onnx.numpy_helper.from_array
        self._graph = graph
        self._cut = source.node
        self._written: dict[str, list[str]] = {source.node: [source.name]}
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._rules: dict[str, Callable[[Node], list[str]]] = {
            "Conv2D": self._convolution,
            "_FusedConv2D": self._convolution,
            "DepthwiseConv2dNative": self._convolution,
            "FusedDepthwiseConv2dNative": self._convolution,
            "FusedBatchNorm": self._batch_norm,
            "MaxPool": self._max_pool,
            "Relu6": self._relu6,
            "Reshape": self._reshape,
            "Transpose": self._transpose,
            "ExpandDims": self._expand_dims,
            "Slice": self._slice,
            "ConcatV2": self._concat,
            "Pack": self._pack,
            "Unpack": self._unpack,
            **dict.fromkeys(_ONE_TO_ONE, self._one_to_one),
        }

    def output(self, output: Output) -> None:
        """Write what ``output`` needs, and the output itself."""
        for reference in output.tensors:
            for node in self._missing(reference):
                rule = self._rules.get(node.op)
                if rule is None:
                    raise BadFileError(f"node {node.name!r}: operation {node.op!r} is not supported")
                self._written[node.name] = rule(node)
        shape = self._integers([-1, output.columns])
        rows = [self._write("Reshape", [self._value(reference), shape]) for reference in output.tensors]
        self.nodes.append(self._make_node("Concat", rows, [output.name], axis=0))

    def _missing(self, reference: str) -> list[Node]:
        """Nodes not yet written that ``reference`` needs, inputs before users."""
        order: list[Node] = []
        seen: set[str] = set()
        # Depth first with an explicit stack: these chains are longer than Python's recursion allows.
        stack = [(self._resolve(reference)[0], False)]
        while stack:
            name, inputs_done = stack.pop()
            if inputs_done:
                order.append(self._node(name))
            elif name not in seen and name not in self._written and name not in self._graph.constants:
                seen.add(name)
                stack.append((name, True))
                stack += [(self._resolve(i)[0], False) for i in reversed(self._node(name).inputs)]
        return order

    def _node(self, name: str) -> Node:
        if name not in self._graph.nodes:
            raise BadFileError(f"the network has no node {name!r}: not the version this converter is for")
        return self._graph.nodes[name]

    def _resolve(self, reference: str) -> tuple[str, int]:
        """Follow ``Identity`` nodes to the tensor they pass on."""
        name, output = split_reference(reference)
        while name not in self._written and name not in self._graph.constants:
            node = self._node(name)
            if node.op != "Identity":
                break
            name, output = split_reference(node.inputs[0])
        return name, output

    def _value(self, reference: str) -> str:
        """ONNX name of a tensor that is written already, or a constant."""
        name, output = self._resolve(reference)
        if name not in self._written:
            self._written[name] = [self._constant(self._graph.constants[name])]
        return self._written[name][output]

    def _tensor(self, reference: str) -> Tensor:
        """Value of a constant input (weights, shapes, axes)."""
        name, _ = self._resolve(reference)
        if name not in self._graph.constants:
            raise BadFileError(f"{name!r} should be a constant")
        return self._graph.constants[name]

    def _constant(self, value: ArrayLike) -> str:
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(self._from_array(np.asarray(value, order="C"), name))
        return name

    def _integers(self, values: ArrayLike) -> str:
        return self._constant(np.asarray(values, dtype=np.int64).reshape(-1))

    def _write(self, operation: str, inputs: Sequence[str], **attributes: Any) -> str:
        name = f"{operation.lower()}_{len(self.nodes)}"
        self.nodes.append(self._make_node(operation, list(inputs), [name], **attributes))
        return name

    # One rule per TensorFlow operation: the ONNX names of the node's outputs.

    def _one_to_one(self, node: Node) -> list[str]:
        return [self._write(_ONE_TO_ONE[node.op], [self._value(i) for i in node.inputs])]

    def _convolution(self, node: Node) -> list[str]:
        weights = self._tensor(node.inputs[1])
        if "Depthwise" in node.op:  # (h, w, in, multiplier) -> (in * multiplier, 1, h, w)
            height, width, groups, multiplier = weights.shape
            weights = weights.reshape(height, width, 1, groups * multiplier).transpose(3, 2, 0, 1)
        else:  # (h, w, in, out) -> (out, in, h, w)
            groups, weights = 1, weights.transpose(3, 2, 0, 1)
        fused = node.attributes.get("fused_ops", [])
        inputs = [
            self._write("Transpose", [self._value(node.inputs[0])], perm=_TO_NCHW),
            self._constant(weights),
        ]
        if fused:
            if fused[0] != "BiasAdd" or fused[1:] not in ([], ["Relu6"]):
                raise BadFileError(f"node {node.name!r}: fused {fused} is not supported")
            inputs.append(self._value(node.inputs[2]))
        result = self._write(
            "Conv",
            inputs,
            group=groups,
            dilations=(node.attributes.get("dilations") or [1, 1, 1, 1])[1:3],
            **self._window(node),
        )
        if fused[1:]:
            result = self._clip6(result)
        return [self._write("Transpose", [result], perm=_TO_NHWC)]

    def _window(self, node: Node) -> dict[str, Any]:
        """Strides and padding of a convolution or pooling."""
        padding, layout = node.attributes["padding"], node.attributes.get("data_format", "NHWC")
        if padding not in ("SAME", "VALID") or layout != "NHWC":
            raise BadFileError(f"node {node.name!r}: {padding} padding with {layout} is not supported")
        # TensorFlow puts the odd pixel of SAME padding at the far side, which ONNX calls SAME_UPPER.
        return {
            "strides": node.attributes["strides"][1:3],
            "auto_pad": "SAME_UPPER" if padding == "SAME" else "VALID",
        }

    def _max_pool(self, node: Node) -> list[str]:
        value = self._write("Transpose", [self._value(node.inputs[0])], perm=_TO_NCHW)
        result = self._write(
            "MaxPool", [value], kernel_shape=node.attributes["ksize"][1:3], **self._window(node)
        )
        return [self._write("Transpose", [result], perm=_TO_NHWC)]

    def _batch_norm(self, node: Node) -> list[str]:
        inputs = [self._write("Transpose", [self._value(node.inputs[0])], perm=_TO_NCHW)]
        inputs += [self._value(i) for i in node.inputs[1:5]]  # scale, offset, mean, variance
        result = self._write("BatchNormalization", inputs, epsilon=node.attributes["epsilon"])
        return [self._write("Transpose", [result], perm=_TO_NHWC)]

    def _clip6(self, value: str) -> str:
        return self._write("Clip", [value, self._constant(np.float32(0)), self._constant(np.float32(6))])

    def _relu6(self, node: Node) -> list[str]:
        return [self._clip6(self._value(node.inputs[0]))]

    def _reshape(self, node: Node) -> list[str]:
        shape = self._integers(self._tensor(node.inputs[1]))
        return [self._write("Reshape", [self._value(node.inputs[0]), shape])]

    def _transpose(self, node: Node) -> list[str]:
        order = [int(axis) for axis in self._tensor(node.inputs[1])]
        return [self._write("Transpose", [self._value(node.inputs[0])], perm=order)]

    def _expand_dims(self, node: Node) -> list[str]:
        axis = self._integers(self._tensor(node.inputs[1]))
        return [self._write("Unsqueeze", [self._value(node.inputs[0]), axis])]

    def _slice(self, node: Node) -> list[str]:
        begin = self._tensor(node.inputs[1]).astype(np.int64)
        size = self._tensor(node.inputs[2]).astype(np.int64)
        end = np.where(size < 0, np.iinfo(np.int64).max, begin + size)  # size -1: to the end
        return [
            self._write("Slice", [self._value(node.inputs[0]), self._integers(begin), self._integers(end)])
        ]

    def _concat(self, node: Node) -> list[str]:
        *tensors, axis = node.inputs
        return [self._write("Concat", [self._value(i) for i in tensors], axis=int(self._tensor(axis)))]

    def _pack(self, node: Node) -> list[str]:
        axis = int(node.attributes.get("axis", 0))
        rows = [self._write("Unsqueeze", [self._value(i), self._integers([axis])]) for i in node.inputs]
        return [self._write("Concat", rows, axis=axis)]

    def _unpack(self, node: Node) -> list[str]:
        axis, count = int(node.attributes.get("axis", 0)), int(node.attributes["num"])
        value = self._value(node.inputs[0])
        indices = [self._constant(np.int64(index)) for index in range(count)]
        return [self._write("Gather", [value, index], axis=axis) for index in indices]
