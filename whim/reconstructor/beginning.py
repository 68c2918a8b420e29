"""What a training begins with: ViTPose's backbone (section 7.2), or the weights of another reconstructor."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from whim.errors import BadFileError, UsageError
from whim.reconstructor.config import Backbone, ModelConfig, VitConfig
from whim.reconstructor.convert.vitpose import FORMAT, GRID
from whim.reconstructor.network import Reconstructor
from whim.reconstructor.vit import Vit
from whim.reconstructor.weights import FORMAT as NETWORK_FORMAT
from whim.reconstructor.weights import load_network, read_about, read_tensors


def begin_with_vitpose(network: Reconstructor, path: Path) -> None:
    """Take the weights of ``convert_vitpose``; hand tokens and refinement stay as they are.

    For crops of another size the positions are interpolated.

    Raises:
        UsageError: no such file, or of another backbone.
        BadFileError: not such a file, or damaged.
    """
    about = read_about(path, FORMAT)
    try:
        theirs = VitConfig.model_validate(about["config"])
    except (KeyError, ValidationError) as error:
        raise BadFileError(f"{path.with_suffix('.json')} does not describe a ViT: {error}") from error
    _check_backbone(network.config.backbone, theirs, path)
    assert isinstance(network.backbone, Vit)
    tensors = read_tensors(path)
    try:
        tensors["pos_embed"] = resize_positions(tensors["pos_embed"], GRID, network.backbone.grid)
        network.backbone.load_state_dict(tensors)
    except (KeyError, RuntimeError) as error:
        raise BadFileError(f"{path} does not hold the ViT that its JSON describes: {error}") from error


def begin_with_weights(network: Reconstructor, path: Path) -> list[str]:
    """Take what fits of another reconstructor's weights, with the means that its tokens began with.

    A part is taken whole or not at all: the backbone, the hand tokens, the refinement. For crops of another size the
    positions are interpolated. How the refinement reads (``alignment``, ``aggregation``) may differ.

    Returns:
        Names of the parts that stay as they are.

    Raises:
        UsageError: no such file; of another hand; of another backbone.
        BadFileError: not such a file, or damaged.
    """
    other = load_network(path, network.hand.model)
    _check_backbone(network.config.backbone, other.config.backbone, path)
    if isinstance(network.backbone, Vit) and isinstance(other.backbone, Vit):
        other.backbone.pos_embed.data = resize_positions(
            other.backbone.pos_embed.data, other.backbone.grid, network.backbone.grid
        )
    kept = []
    for name, part in network.named_children():
        theirs = getattr(other, name, None)
        if theirs is not None and _same_build(network, other, name) and _shapes(part) == _shapes(theirs):
            part.load_state_dict(theirs.state_dict())
        elif next(part.parameters(), None) is not None:
            kept.append(name)
    return kept


def resize_positions(positions: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Position embeddings (1, 1 + rows * columns, C) of one grid for another one (rows, columns)."""
    if old == new:
        return positions
    places = positions[:, 1:].transpose(1, 2).unflatten(2, old)
    places = F.interpolate(places.float(), size=new, mode="bicubic", align_corners=False, antialias=True)
    return torch.cat([positions[:, :1], places.flatten(2).transpose(1, 2).to(positions.dtype)], dim=1)


def start_digest(config: ModelConfig) -> str | None:
    """SHA-256 of the weights that a training begins with, from the JSON beside them; None from scratch.

    Raises: as the functions above.
    """
    if config.vitpose is not None:
        path, about = config.vitpose, read_about(config.vitpose, FORMAT)
    elif config.begin_with is not None:
        path, about = config.begin_with, read_about(config.begin_with, NETWORK_FORMAT)
    else:
        return None
    if "sha256" not in about:
        raise BadFileError(f"{path.with_suffix('.json')} does not say which weights it belongs to")
    return str(about["sha256"])


def _check_backbone(ours: Backbone, theirs: Backbone, path: Path) -> None:
    """Heads and padding change no shape, but what the weights mean; skipped branches change nothing."""
    still = {"drop_path": None, "size": "tiny"}
    described = [
        (
            {**vars(one), "width": one.channels, "depth": one.blocks, "heads": one.attention_heads, **still}
            if isinstance(one, VitConfig)
            else vars(one)
        )
        for one in (ours, theirs)
    ]
    if described[0] != described[1]:
        raise UsageError(f"{path}: its backbone is {theirs}, not {ours}")


def _same_build(network: Reconstructor, other: Reconstructor, part: str) -> bool:
    """Whether weights of the same shapes also mean the same there."""
    ours, theirs = network.config.refinement, other.config.refinement
    return part != "refinement" or (
        ours is not None and theirs is not None and ours.pyramid == theirs.pyramid
    )


def _shapes(part: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in part.state_dict().items()}
