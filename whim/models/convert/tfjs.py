"""Reader of TensorFlow.js graph models: ``model.json`` and the weight shards beside it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from whim.errors import BadFileError
from whim.models.convert.graph import Graph, Node, Tensor

_TYPES: dict[str, type[np.generic]] = {"float32": np.float32, "int32": np.int32, "bool": np.bool_}


def read_tfjs(model_json: Path) -> Graph:
    """Nodes and constants of a graph model with plain (not quantised) weights.

    Raises:
        BadFileError: a file is missing, cut short, quantised or of another kind.
    """
    try:
        document = json.loads(model_json.read_text(encoding="utf-8"))
        nodes = [_node(entry) for entry in document["modelTopology"]["node"]]
        constants: dict[str, Tensor] = {}
        for group in document["weightsManifest"]:
            data = b"".join((model_json.parent / name).read_bytes() for name in group["paths"])
            constants.update(_weights(group["weights"], data))
    except OSError as error:
        raise BadFileError(f"{model_json}: a file of the model is missing ({error})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadFileError(f"{model_json}: not a TensorFlow.js graph model ({error!r})") from error
    return Graph({node.name: node for node in nodes}, constants)


def _node(entry: dict[str, Any]) -> Node:
    inputs = tuple(reference for reference in entry.get("input", []) if not reference.startswith("^"))
    attributes = {key: _attribute(value) for key, value in entry.get("attr", {}).items()}
    return Node(entry["name"], entry["op"], inputs, attributes)


def _attribute(value: dict[str, Any]) -> Any:
    """Value of an attribute (64-bit integers are JSON strings, strings are base64); None for other kinds."""
    if "list" in value:
        items = value["list"]
        if "s" in items:
            return [base64.b64decode(item).decode() for item in items["s"]]
        return [int(item) for item in items.get("i", [])]
    if "s" in value:
        return base64.b64decode(value["s"]).decode()
    if "i" in value:
        return int(value["i"])
    if "f" in value:
        return float(value["f"])
    if "b" in value:
        return bool(value["b"])
    return None


def _weights(entries: list[dict[str, Any]], data: bytes) -> dict[str, Tensor]:
    constants: dict[str, Tensor] = {}
    at = 0
    for entry in entries:
        if "quantization" in entry:
            raise ValueError(f"{entry['name']} is quantised")
        kind = np.dtype(_TYPES[entry["dtype"]]).newbyteorder("<")
        count = int(np.prod(entry["shape"], dtype=np.int64))
        constants[entry["name"]] = np.frombuffer(data, kind, count, at).reshape(entry["shape"])
        at += count * kind.itemsize
    if at != len(data):
        raise ValueError(f"the weights take {at} bytes, the shards hold {len(data)}")
    return constants
