"""The public checkpoint of WiLoR, ``wilor_final.ckpt``, to WHIM's weights.

Of its 490 entries the network needs 430. The rest is left behind: MANO's arrays (which may not be passed on), the
discriminator, a flag of the training code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from whim.errors import BadFileError
from whim.files import sha256
from whim.hands.open_hand import load_open_hand
from whim.models.torch_file import read_torch_file, state_dict
from whim.reconstructor.config import NetworkConfig
from whim.reconstructor.network import Reconstructor
from whim.reconstructor.weights import FORMAT, write_weights

LICENCE = (
    "CC-BY-NC-ND-4.0 (WiLoR weights, as published by their authors); not for redistribution in changed form"
)
_WANTED = ("backbone.", "refine_net.")
# Names there: names here. Blocks, patches, positions and the last norm have the same names in both.
_TOKENS = {
    "backbone.init_hand_pose": "tokens.mean_pose",
    "backbone.init_betas": "tokens.mean_betas",
    "backbone.init_cam": "tokens.mean_camera",
    "backbone.pose_emb": "tokens.pose_in",
    "backbone.shape_emb": "tokens.betas_in",
    "backbone.cam_emb": "tokens.camera_in",
    "backbone.decpose": "tokens.pose_out",
    "backbone.decshape": "tokens.betas_out",
    "backbone.deccam": "tokens.camera_out",
    "refine_net.dec_pose": "refinement.pose",
    "refine_net.dec_shape": "refinement.betas",
    "refine_net.dec_cam": "refinement.camera",
    "refine_net.deconv.first_conv.0": "refinement.pyramid.reduce",
}


def convert_checkpoint(path: Path, out: Path, *, config: NetworkConfig | None = None) -> Path:
    """Write ``out`` (.safetensors) and its JSON from a checkpoint of the released code.

    The result computes what the checkpoint computes, its misplaced sampling included
    (``RefineConfig.alignment: released``). Load it with ``load_network`` and the user's own MANO.

    Args:
        path: the checkpoint.
        out: the safetensors file to write.
        config: of another network of the same code; None: the published one.

    Returns:
        ``out``.

    Raises:
        UsageError: no such file, or ``out`` does not end in .safetensors.
        BadFileError: not that checkpoint; missing, unknown and misshaped entries are named.
    """
    config = config or NetworkConfig.released()
    tensors, about = read_checkpoint(path, config)
    write_weights(
        out,
        tensors,
        FORMAT,
        config,
        hand={"name": "mano", "topology": None},
        source={"file": path.name, "sha256": sha256(path), **about},
        licence=LICENCE,
    )
    return out


def read_checkpoint(path: Path, config: NetworkConfig) -> tuple[dict[str, Tensor], dict[str, object]]:
    """The network's tensors by WHIM's names, and what was left behind. Strict in names and shapes.

    Raises: as ``convert_checkpoint``.
    """
    file = read_torch_file(path)
    found = state_dict(file, path)
    wanted = {name: value for name, value in found.items() if name.startswith(_WANTED)}
    left = Counter(name.partition(".")[0] for name in found.keys() - wanted.keys())
    expected = expected_entries(config)
    problems = [
        *(f"missing: {name}" for name in sorted(expected.keys() - wanted.keys())),
        *(f"unknown: {name}" for name in sorted(wanted.keys() - expected.keys())),
        *(
            f"shape of {name}: {tuple(wanted[name].shape)}, not {shape}"
            for name, (_, shape) in expected.items()
            if name in wanted and wanted[name].shape != shape
        ),
    ]
    if problems:
        shown = "\n  ".join(problems[:8])
        more = f"\n  and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise BadFileError(f"{path} is not the checkpoint of this network:\n  {shown}{more}")
    renamed = {expected[name][0]: value for name, value in wanted.items()}
    return renamed, {"entries_left_out": dict(sorted(left.items())), "classes_not_loaded": list(file.ignored)}


def expected_entries(config: NetworkConfig) -> dict[str, tuple[str, torch.Size]]:
    """Names in the checkpoint to names here and shapes, for a network of that configuration."""
    with torch.device("meta"):
        network = Reconstructor(config, load_open_hand())  # the hand has no part in it
    return {
        name: (ours, value.shape)
        for (name, ours), value in zip(
            _names(list(network.state_dict())), network.state_dict().values(), strict=True
        )
    }


def _names(ours: list[str]) -> Iterator[tuple[str, str]]:
    """(name in the checkpoint, name here) of every entry."""
    back = {here: there for there, here in _TOKENS.items()}
    for name in ours:
        stem, _, last = name.rpartition(".")
        if name in back:  # a buffer
            yield back[name], name
        elif stem in back:
            yield f"{back[stem]}.{last}", name
        elif name.startswith("refinement.pyramid.branches."):
            branch, step, layer = name.removeprefix("refinement.pyramid.branches.").split(".")[:3]
            # There each step is three modules in a row: deconvolution, norm, ReLU.
            place = 3 * int(step) + (layer == "norm")
            yield f"refine_net.deconv.deconv.{branch}.{place}.{last}", name
        else:
            yield name, name
