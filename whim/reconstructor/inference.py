"""Many crops through the network, as fast as the device allows."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from whim.reconstructor.network import HandEstimate, Reconstructor, normalise
from whim.training.precision import choose_device, choose_precision

_FIELDS = tuple(field.name for field in fields(HandEstimate))


class Inference:
    """A network ready to predict.

    In bf16 the large layers are converted once; heads, hand and places in the picture stay in float32. The network
    is changed in place and should not be trained afterwards.

    Args:
        network: to predict with.
        device: ``cpu``, ``cuda``, or ``auto``.
        precision: ``fp32``, ``bf16``, or ``auto``: bf16 where the hardware multiplies in it.
        batch: crops at a time.
        compiled: ``torch.compile``, with CUDA graphs on a GPU: minutes at the first call, faster ones after. Every
            batch is then filled up to the same size.

    Raises:
        UsageError: CUDA is asked for and not there.
    """

    def __init__(
        self,
        network: Reconstructor,
        *,
        device: str = "auto",
        precision: str = "auto",
        batch: int = 32,
        compiled: bool = False,
    ) -> None:
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.batch, self.compiled = batch, compiled
        network = network.to(self.device).eval()
        if self.precision == "bf16":
            _halve(network.backbone)
            if network.refinement is not None:
                _halve(network.refinement.pyramid)
        self.side = network.config.crop
        self._run: nn.Module = _Final(network)
        if compiled:
            mode = "reduce-overhead" if self.device.type == "cuda" else "default"
            self._run = torch.compile(self._run, fullgraph=True, dynamic=False, mode=mode)

    def __call__(self, crops: NDArray[np.uint8] | Tensor) -> HandEstimate:
        """Final hands of RGB crops (N, S, S, 3) of uint8, on the device, in their order; N may be 0."""
        given = torch.as_tensor(crops)
        parts = [self._some(given[at : at + self.batch]) for at in range(0, len(given), self.batch)]
        if not parts:
            black = torch.zeros(1, self.side, self.side, 3, dtype=torch.uint8)
            parts = [{name: value[:0] for name, value in self._some(black).items()}]
        return HandEstimate(**{name: torch.cat([part[name] for part in parts]) for name in _FIELDS})

    def _some(self, crops: Tensor) -> dict[str, Tensor]:
        """Up to a batch of them."""
        count = len(crops)
        moved = crops.to(self.device, non_blocking=True)
        if self.compiled and count < self.batch:
            moved = torch.cat([moved, moved.new_zeros(self.batch - count, *moved.shape[1:])])
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"),
        ):
            result = self._run(moved)
        # A copy: the next call writes its results where a CUDA graph left these.
        return {name: value[:count].clone() for name, value in zip(_FIELDS, result, strict=True)}


class _Final(nn.Module):
    """From bytes to the final hands, in one graph."""

    def __init__(self, network: Reconstructor) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        final = self.network(normalise(crops)).final
        return tuple(getattr(final, name) for name in _FIELDS)


def _halve(module: nn.Module) -> None:
    """Matrices and kernels to bf16; norms and positions stay, so that sums over many blocks stay exact."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            layer.to(torch.bfloat16)
