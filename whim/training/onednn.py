"""A way round an error in oneDNN, which computes PyTorch's convolutions on x86 CPUs."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

_FEW = 16


def take_strides_first(network: nn.Module) -> None:
    """Let 1x1 convolutions of few channels pick every second pixel before, not while, they convolve: same numbers.

    For pictures in channels_last oneDNN's own way (3.12, in PyTorch 2.13) writes past its memory in the backward
    pass: wrong gradients, hangs, crashes (https://github.com/uxlfoundation/oneDNN/issues/6035).
    """
    for layer in network.modules():
        if (
            isinstance(layer, nn.Conv2d)
            and layer.kernel_size == (1, 1)
            and layer.padding == (0, 0)
            and layer.stride != (1, 1)
            and layer.groups == 1
            and layer.in_channels < _FEW
        ):
            layer.register_forward_pre_hook(partial(_pick, stride=layer.stride))
            layer.stride = (1, 1)


def _pick(layer: nn.Module, inputs: tuple[Tensor], stride: tuple[int, int]) -> tuple[Tensor]:
    return (inputs[0][..., :: stride[0], :: stride[1]],)
