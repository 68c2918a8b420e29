"""Mixed precision: which type, and the gradient scaler that fp16 needs."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from whim.errors import UsageError

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:1`` -> the device of this process.

    Raises:
        UsageError: CUDA is asked for and not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device {name!r}: {error}") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UsageError(f"device {name}: this PyTorch sees no CUDA device; use device cpu or auto")
        if device.index is None:
            device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    return device


def choose_precision(name: str, device: torch.device) -> str:
    """``auto`` -> ``bf16`` where the hardware multiplies in it, else ``fp32``; other names stay."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    return "bf16" if device.type == "cpu" and _cpu_multiplies_bf16() else "fp32"


def _cpu_multiplies_bf16() -> bool:
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


class Precision:
    """Autocast and scaler of one run. The scaler does nothing unless the type is fp16."""

    def __init__(self, name: str, device: torch.device) -> None:
        self.name = choose_precision(name, device)
        self._device = device
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.name == "fp16")

    def autocast(self) -> AbstractContextManager:
        """Context for forward pass and loss."""
        return torch.autocast(self._device.type, dtype=_TYPES[self.name], enabled=self.name != "fp32")
