"""The released WiLoR detector (``detector.pt``) as WHIM's weights, from the user's own copy.

The file is a pickle of another library's objects. Nothing of that library is needed and nothing in the file is run:
only its tensors are read. They fit the network of scale m; the weights stay under their authors' terms.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from whim.detector.checkpoint import save_detector
from whim.detector.config import DetectorConfig, NetworkConfig
from whim.detector.network.detector import Detector
from whim.errors import BadFileError
from whim.files import sha256
from whim.models.torch_file import module_tensors, read_torch_file, state_dict

LICENCE = (
    "CC-BY-NC-ND-4.0 (WiLoR weights, as published by their authors); not for redistribution in changed form"
)

_CSP = {"cv1": "enter", "cv2": "leave", "m": "chain"}
_LINK = {"cv1": "first", "cv2": "second"}
_UNIT = {"conv": "conv", "bn": "norm"}
# Layers of the file by number, and what they are here: a lone convolution unit, a CSP block, a pooling pyramid.
_UNITS = {
    0: "backbone.stem",
    **{1 + 2 * stage: f"backbone.stages.{stage}.0" for stage in range(4)},
    16: "neck.stride3",
    19: "neck.stride4",
}
_BLOCKS = {
    **{2 + 2 * stage: f"backbone.stages.{stage}.1" for stage in range(4)},
    12: "neck.down4",
    15: "neck.down3",
    18: "neck.up4",
    21: "neck.up5",
}
_PYRAMID, _HEAD = 9, 22
_BRANCHES = {"cv2": "box", "cv3": "side", "cv4": "keypoints"}


def own_name(name: str) -> str | None:
    """Our name of a tensor of the released detector, or None for one that is not needed.

    Raises:
        KeyError, ValueError, IndexError: no such tensor belongs to that network.
    """
    parts = name.split(".")
    if parts[0] != "model":
        raise KeyError(name)
    layer, rest = int(parts[1]), parts[2:]
    if rest[-1] == "num_batches_tracked":
        return None
    if layer in _UNITS:
        return ".".join([_UNITS[layer], *_unit(rest)])
    if layer in _BLOCKS:
        place = [_BLOCKS[layer], _CSP[rest[0]]]
        if rest[0] != "m":
            return ".".join([*place, *_unit(rest[1:])])
        return ".".join([*place, rest[1], _LINK[rest[2]], *_unit(rest[3:])])
    if layer == _PYRAMID:
        return ".".join(["backbone.pyramid", _CSP[rest[0]], *_unit(rest[1:])])
    if layer == _HEAD:
        if rest[0] == "dfl":
            return "expectation.weight"
        branch, level, step = _BRANCHES[rest[0]], rest[1], rest[2]
        tail = rest[3:] if step == "2" else _unit(rest[3:])
        return ".".join(["heads", branch, level, step, *tail])
    raise KeyError(name)


def _unit(parts: list[str]) -> list[str]:
    return [_UNIT[parts[0]], *parts[1:]]


def convert_detector(path: Path, out: Path) -> Path:
    """Write ``out`` (.safetensors) and its JSON from the released ``detector.pt``, or a file of just its tensors.

    Raises:
        UsageError: no such file.
        BadFileError: it is not that detector; the message names what is missing or too much.
    """
    file = read_torch_file(path)
    content = file.content
    found: dict[str, Tensor] = {}
    if isinstance(content, dict):
        for key in ("ema", "model"):
            found = module_tensors(content.get(key))
            if found:
                break
    if not found:
        found = state_dict(file, path)
    config = DetectorConfig(network=NetworkConfig(scale="m"))
    with torch.device("meta"):
        model = Detector(config.network)
    wanted = {name: value.shape for name, value in model.state_dict().items()}
    tensors: dict[str, Tensor] = {}
    for name, value in found.items():
        try:
            own = own_name(name)
        except (KeyError, ValueError, IndexError):
            raise BadFileError(f"{path}: {name} is no part of the released detector") from None
        if own is not None:
            tensors[own] = value
    for name, shape in wanted.items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.zeros((), dtype=torch.int64)
        elif name not in tensors:
            raise BadFileError(f"{path}: {name} of the released detector is missing")
        elif tensors[name].shape != shape:
            raise BadFileError(
                f"{path}: {name} has the shape {tuple(tensors[name].shape)} instead of {tuple(shape)}"
            )
    if unknown := tensors.keys() - wanted.keys():
        raise BadFileError(f"{path}: {sorted(unknown)[0]} is no part of the network")
    model = Detector(config.network)
    model.load_state_dict(
        {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    )
    facts = {
        "source": path.name,
        "sha256": sha256(path),
        "licence": LICENCE,
        "not_loaded": list(file.ignored),
    }
    save_detector(out, model, config, facts)
    return out
