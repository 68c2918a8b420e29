"""Weights on disk: one safetensors file, and a JSON beside it that says what they are.

The JSON holds the network's configuration and which hand pose and shape belong to. The hand's arrays are never
written: MANO's licence forbids passing them on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from whim.errors import BadFileError, UsageError
from whim.files import atomic_path, sha256, write_text
from whim.hands.model import HandModel
from whim.reconstructor.config import NetworkConfig, VitConfig
from whim.reconstructor.hand import RightHand
from whim.reconstructor.network import Reconstructor

FORMAT = "whim reconstructor 1"


def save_network(network: Reconstructor, path: Path, **about: Any) -> None:
    """Write ``path`` (.safetensors) and the JSON of the same name.

    Args:
        network: its weights are stored as they are, in their own types.
        path: of the safetensors file.
        about: further JSON-able facts: where the weights come from, what they were trained on.
    """
    model = network.hand.model
    description = {"hand": {"name": model.name, "topology": model.topology}, **about}
    write_weights(path, network.state_dict(), FORMAT, network.config, **description)


def write_weights(
    path: Path, tensors: Mapping[str, Tensor], form: str, config: NetworkConfig | VitConfig, **about: Any
) -> None:
    """The two files; the JSON last, so that it never describes weights that are not there."""
    _check_name(path)
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_path(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        save_file(plain, temporary)
        temporary.chmod(mode)  # safetensors gives a file that only its owner may read
    description = {
        "format": form,
        "sha256": sha256(path),
        "config": config.model_dump(mode="json"),
        **about,
    }
    write_text(path.with_suffix(".json"), json.dumps(description, indent=1) + "\n")


def load_network(path: Path, hand: HandModel, *, alignment: str | None = None) -> Reconstructor:
    """The network of a safetensors file, on the CPU, in evaluation mode.

    Args:
        path: of the safetensors file; its JSON lies beside it.
        hand: the hand that the weights were trained with.
        alignment: read the feature maps this way instead (``RefineConfig.alignment``), to train on from released
            weights, say.

    Raises:
        BadFileError: not such files, or damaged.
        UsageError: no such file; the weights belong to another hand.
    """
    about = read_about(path, FORMAT)
    try:
        config = NetworkConfig.model_validate(about["config"])
        name, topology = about["hand"]["name"], about["hand"]["topology"]
    except (KeyError, TypeError, ValidationError) as error:
        raise BadFileError(f"{path.with_suffix('.json')} does not describe a network: {error}") from error
    # A converted checkpoint knows that its hand is MANO, not from which file.
    if hand.name != name or topology not in (None, hand.topology):
        raise UsageError(
            f"{path} belongs to the hand {topology or name}, not {hand.topology}; give that hand"
            + (" (the user's own MANO_RIGHT.pkl, see https://mano.is.tue.mpg.de)" if name == "mano" else "")
        )
    if alignment is not None and config.refinement is not None:
        changed = {
            **config.model_dump(),
            "refinement": {**config.refinement.model_dump(), "alignment": alignment},
        }
        config = NetworkConfig.model_validate(changed)
    tensors = read_tensors(path)
    if isinstance(config.backbone, VitConfig):
        with torch.device("meta"):  # nothing is drawn at random only to be overwritten
            network = Reconstructor(config, hand)
        network.hand = RightHand(hand)
    else:
        network = Reconstructor(config, hand)
    try:
        network.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        raise BadFileError(f"{path} does not hold the network that its JSON describes: {error}") from error
    # Tensors from a file do not ask for gradients by themselves.
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    return network.eval()


def read_about(path: Path, form: str) -> dict[str, Any]:
    """The JSON beside a safetensors file.

    Raises:
        UsageError: no such file.
        BadFileError: it is of another format.
    """
    _check_name(path)
    beside = path.with_suffix(".json")
    for needed in (path, beside):
        if not needed.is_file():
            raise UsageError(f"{needed}: no such file")
    try:
        about = json.loads(beside.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadFileError(f"{beside}: {error}") from error
    if not isinstance(about, dict) or about.get("format") != form:
        raise BadFileError(f"{beside} is not in the format {form!r}")
    return about


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises:
        BadFileError: damaged.
    """
    try:
        return load_file(path)
    except SafetensorError as error:
        raise BadFileError(f"{path} is damaged: {error}") from error


def _check_name(path: Path) -> None:
    if path.suffix != ".safetensors":
        raise UsageError(f"{path}: the name must end in .safetensors")
