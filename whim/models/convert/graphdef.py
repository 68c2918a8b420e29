"""Reader of frozen TensorFlow GraphDef files (``.pb``), straight from the protobuf wire format.

Field numbers are those of TensorFlow's ``graph.proto``, ``node_def.proto``, ``attr_value.proto`` and
``tensor.proto``. Fields that inference does not need are skipped.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from whim.errors import BadFileError
from whim.models.convert.graph import Graph, Node, Tensor

Field = tuple[int, int | bytes]

# TensorFlow's DataType numbers.
_TYPES: dict[int, type[np.generic]] = {1: np.float32, 2: np.float64, 3: np.int32, 9: np.int64, 10: np.bool_}


def read_graphdef(path: Path) -> Graph:
    """Nodes and numeric constants of a frozen graph.

    Raises:
        BadFileError: the file is not a GraphDef.
    """
    nodes: dict[str, Node] = {}
    constants: dict[str, Tensor] = {}
    try:
        for number, value in _fields(path.read_bytes()):
            if number != 1:
                continue
            node = _node(_bytes(value))
            tensor = node.attributes.pop("value", None)
            nodes[node.name] = node
            if node.op == "Const" and tensor is not None:
                constants[node.name] = tensor
    except (ValueError, IndexError, struct.error) as error:
        raise BadFileError(f"{path}: not a TensorFlow graph ({error})") from error
    if not nodes:
        raise BadFileError(f"{path}: a TensorFlow graph without nodes")
    return Graph(nodes, constants)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Value and the position after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[Field]:
    """Every (field number, value): integers for varints, bytes for everything else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > len(data):
            raise ValueError("a field ends after the file")
        yield key >> 3, data[at : at + size]
        at += size


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a message was expected")
    return value


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _integers(value: int | bytes) -> list[int]:
    """One varint, or a packed run of them."""
    if isinstance(value, int):
        return [_signed(value)]
    numbers: list[int] = []
    at = 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(_signed(number))
    return numbers


def _node(data: bytes) -> Node:
    name = op = ""
    inputs: list[str] = []
    attributes: dict[str, Any] = {}
    for number, value in _fields(data):
        if number == 1:
            name = _bytes(value).decode()
        elif number == 2:
            op = _bytes(value).decode()
        elif number == 3:
            reference = _bytes(value).decode()
            if not reference.startswith("^"):  # a control input carries no tensor
                inputs.append(reference)
        elif number == 5:
            entry = dict(_fields(_bytes(value)))
            attributes[_bytes(entry[1]).decode()] = _attribute(_bytes(entry.get(2, b"")))
    return Node(name, op, tuple(inputs), attributes)


def _attribute(data: bytes) -> Any:
    """Value of an attribute; None for kinds that inference does not need."""
    for number, value in _fields(data):
        if number == 1:
            return _list(_bytes(value))
        if number == 2:
            return _bytes(value).decode("latin-1")
        if number == 3:
            return _integers(value)[0]
        if number == 4:
            return struct.unpack("<f", _bytes(value))[0]
        if number == 5:
            return bool(value)
        if number == 8:
            return _tensor(_bytes(value))
    return None


def _list(data: bytes) -> list[int] | list[str]:
    integers: list[int] = []
    strings: list[str] = []
    for number, value in _fields(data):
        if number == 2:
            strings.append(_bytes(value).decode("latin-1"))
        elif number == 3:
            integers += _integers(value)
    return strings or integers


def _tensor(data: bytes) -> Tensor | None:
    """A numeric tensor; None for strings and other kinds. One stored value fills the whole shape."""
    kind: type[np.generic] | None = None
    shape: list[int] = []
    content = b""
    floats: list[float] = []
    integers: list[int] = []
    for number, value in _fields(data):
        if number == 1:
            kind = _TYPES.get(_integers(value)[0])
        elif number == 2:
            # TensorShapeProto: dim = 2, and in it size = 1, which the wire leaves out when 0.
            shape = [
                _integers(dict(_fields(_bytes(dim))).get(1, 0))[0]
                for n, dim in _fields(_bytes(value))
                if n == 2
            ]
        elif number == 4:
            content = _bytes(value)
        elif number == 5:
            floats += np.frombuffer(_bytes(value), "<f4").tolist()
        elif number in (7, 10, 11):
            integers += _integers(value)
    if kind is None:
        return None
    count = int(np.prod(shape, dtype=np.int64))
    if content:
        return np.frombuffer(content, np.dtype(kind).newbyteorder("<")).astype(kind).reshape(shape)
    stored = np.array(floats or integers or [0], dtype=kind)
    # "If the tensor has fewer values than its shape asks for, the last one is repeated."
    padded = np.concatenate([stored, np.repeat(stored[-1:], max(0, count - len(stored)))])
    return padded[:count].reshape(shape)
