"""All that a run needs to go on, in one file: tensors in safetensors, everything else as JSON in its header.

One file, because one rename is atomic: weights, optimiser and position can never be of different moments.
No pickles: reading a checkpoint runs no code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from whim.errors import BadFileError
from whim.files import atomic_path

FORMAT = 1
_STATE = "whim.training"


def save(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write ``tensors`` and the JSON-able ``state``; whole or not at all.

    Raises:
        OSError: the disk is full, say; what was there before is still there.
    """
    # A copy of each: networks may share tensors, and safetensors stores only plain memory order.
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    text = json.dumps({"format": FORMAT, **state}, sort_keys=True)
    with atomic_path(path) as temporary:
        # By ourselves, because safetensors' own writer gives a file that only its owner may read.
        temporary.write_bytes(to_bytes(plain, metadata={_STATE: text}))


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and state of a checkpoint.

    Raises:
        BadFileError: not a checkpoint, or one of another format.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            state = json.loads((stream.metadata() or {}).get(_STATE, "{}"))
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise BadFileError(f"{path}: not readable as a checkpoint ({error})") from error
    if state.get("format") != FORMAT:
        raise BadFileError(
            f"{path}: checkpoint format {state.get('format')}, this WHIM reads {FORMAT}; start another run"
        )
    return tensors, state


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files that a killed process left in ``folder``."""
    for path in folder.glob(".*.tmp.*"):
        path.unlink(missing_ok=True)


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names with ``prefix.`` before them."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def part(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries under ``prefix.``, without it."""
    start = len(prefix) + 1
    return {name[start:]: value for name, value in tensors.items() if name.startswith(f"{prefix}.")}


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy weights into ``model``, all of them.

    Raises:
        BadFileError: they belong to another network.
    """
    try:
        model.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise BadFileError(f"{path}: weights of another network ({error})") from error


def optimiser_state(optimiser: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's state as named tensors and a JSON-able rest."""
    full = optimiser.state_dict()
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, dict[str, Any]] = {}
    for index, values in full["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{name}"] = value
            else:
                numbers.setdefault(str(index), {})[name] = value
    return tensors, {"groups": full["param_groups"], "numbers": numbers}


def load_optimiser(
    optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], rest: Mapping[str, Any]
) -> None:
    """Give back what :func:`optimiser_state` took."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in rest["numbers"].items()}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:
            # In the memory order of the parameter, as before: other strides could round otherwise.
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": rest["groups"]})
