"""A TensorFlow inference graph in memory: what both readers give and the ONNX emitter takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensor = NDArray[np.generic]


@dataclass(frozen=True)
class Node:
    """One operation. ``inputs`` are references ``name`` or ``name:output``, control inputs left out."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    """Only the kinds that inference needs: int, float, bool, str, and lists of int or str."""


@dataclass(frozen=True)
class Graph:
    """Nodes and constants by name. A name in ``constants`` may or may not also be in ``nodes``."""

    nodes: dict[str, Node]
    constants: dict[str, Tensor]


def split_reference(reference: str) -> tuple[str, int]:
    """``name:output`` -> (name, output); a bare name means output 0."""
    name, _, output = reference.partition(":")
    return name, int(output or 0)
