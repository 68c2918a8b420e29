"""Writes TensorFlow GraphDefs and TensorFlow.js models small enough to check by hand."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

DATA_TYPES = {"float32": 1, "int32": 3, "int64": 9}


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def attribute(value: Any) -> bytes:
    if isinstance(value, bool):
        return number(5, int(value))
    if isinstance(value, int):
        return number(3, value)
    if isinstance(value, float):
        return varint(4 << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, str):
        return message(2, value.encode())
    if isinstance(value, list):
        return message(1, b"".join(number(3, item) for item in value))
    return message(8, tensor(value))


def tensor(value: np.ndarray, *, splat: bool = False) -> bytes:
    """A TensorProto with raw content, or with one stored value for the whole shape."""
    shape = b"".join(message(2, number(1, size)) for size in value.shape)
    head = number(1, DATA_TYPES[value.dtype.name]) + message(2, shape)
    if not splat:
        return head + message(4, value.tobytes())
    if value.dtype == np.float32:
        return head + message(5, struct.pack("<f", float(value.flat[0])))
    return head + message(7 if value.dtype == np.int32 else 10, varint(int(value.flat[0])))


def node(name: str, op: str, *inputs: str, **attributes: Any) -> bytes:
    body = message(1, name.encode()) + message(2, op.encode())
    body += b"".join(message(3, source.encode()) for source in inputs)
    for key, value in attributes.items():
        content = value if isinstance(value, bytes) else attribute(value)
        body += message(5, message(1, key.encode()) + message(2, content))
    return message(1, body)


def write_tfjs(folder: Path, nodes: list[dict[str, Any]], weights: dict[str, np.ndarray]) -> Path:
    """``model.json`` with the weights cut over two shards in the middle of a tensor."""
    data = b"".join(value.tobytes() for value in weights.values())
    half = len(data) // 2
    (folder / "a.bin").write_bytes(data[:half])
    (folder / "b.bin").write_bytes(data[half:])
    entries = [{"name": n, "shape": list(v.shape), "dtype": v.dtype.name} for n, v in weights.items()]
    document = {
        "modelTopology": {"node": nodes},
        "weightsManifest": [{"paths": ["a.bin", "b.bin"], "weights": entries}],
    }
    path = folder / "model.json"
    path.write_text(json.dumps(document))
    return path


def text(value: str) -> dict[str, str]:
    return {"s": base64.b64encode(value.encode()).decode()}
