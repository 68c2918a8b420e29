"""ViTPose's backbone as a file of ours, for trainings to begin with (section 7.2).

Read: checkpoints of ViTPose's own code and of HaMeR (``backbone.blocks.0.attn.qkv``), and safetensors of the
transformers library (``backbone.encoder.layer.0.attention.attention.query``). Heads are left behind, and so are
further experts of ViTPose+, whose split feed-forward part does not fit.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from whim.errors import BadFileError, UsageError
from whim.files import sha256
from whim.models.torch_file import read_torch_file, state_dict
from whim.reconstructor.config import Size, VitConfig
from whim.reconstructor.vit import Vit
from whim.reconstructor.weights import read_tensors, write_weights

FORMAT = "whim vit 1"
GRID = (16, 12)
"""Rows and columns of tokens of all its models."""
_TRANSFORMERS = (
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^encoder\.layer\.(\d+)\.layernorm_before\.", r"blocks.\1.norm1."),
    (r"^encoder\.layer\.(\d+)\.layernorm_after\.", r"blocks.\1.norm2."),
    (r"^encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"blocks.\1.attn.proj."),
    (r"^encoder\.layer\.(\d+)\.mlp\.", r"blocks.\1.mlp."),
    (r"^layernorm\.", "last_norm."),
)
_QUERY = re.compile(r"^encoder\.layer\.(\d+)\.attention\.attention\.query\.(weight|bias)$")


def convert_vitpose(path: Path, out: Path, *, size: Size = "H", config: VitConfig | None = None) -> Path:
    """Write the backbone of a ViTPose or HaMeR checkpoint as ``out`` (.safetensors) and its JSON.

    Args:
        path: ``.pth`` or ``.ckpt`` of PyTorch, or ``.safetensors`` of transformers.
        out: the file to write.
        size: of the ViT.
        config: of a ViT of other sizes, instead.

    Returns:
        ``out``.

    Raises:
        UsageError: no such file, or ``out`` does not end in .safetensors.
        BadFileError: no such backbone in it; the entries that do not fit are named.
    """
    config = config or VitConfig(size=size)
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise UsageError(f"{path}: no such file")
        found = _from_transformers(read_tensors(path))
    else:
        found = state_dict(read_torch_file(path), path)
    prefix = "backbone." if any(name.startswith("backbone.") for name in found) else ""
    with torch.device("meta"):
        expected = Vit(config, GRID).state_dict()
    chosen = {name: found[prefix + name] for name in expected if prefix + name in found}
    problems = [
        *(f"missing: {prefix}{name}" for name in expected if name not in chosen),
        *(
            f"shape of {prefix}{name}: {tuple(value.shape)}, not {tuple(expected[name].shape)}"
            for name, value in chosen.items()
            if value.shape != expected[name].shape
        ),
    ]
    if problems:
        shown = "\n  ".join(problems[:8])
        raise BadFileError(f"{path} holds no ViTPose backbone of size {config.size}:\n  {shown}")
    write_weights(out, chosen, FORMAT, config, source={"file": path.name, "sha256": sha256(path)})
    return out


def _from_transformers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of the transformers library to ViTPose's; queries, keys and values joined."""
    plain = {name.removeprefix("backbone."): value for name, value in tensors.items()}
    renamed: dict[str, Tensor] = {}
    for name, value in plain.items():
        if match := _QUERY.match(name):
            parts = [plain.get(name.replace("query", part)) for part in ("query", "key", "value")]
            if all(part is not None for part in parts):
                renamed[f"blocks.{match[1]}.attn.qkv.{match[2]}"] = torch.cat(
                    [p for p in parts if p is not None]
                )
            continue
        for pattern, ours in _TRANSFORMERS:
            changed, count = re.subn(pattern, ours, name)
            if count:
                renamed[changed] = value
    return renamed
