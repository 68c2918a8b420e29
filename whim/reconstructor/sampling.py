"""Feature maps read at the projected vertices (eq. 6), and what all vertices say together (eq. 7).

Two ways to find a vertex's place, see ``RefineConfig.alignment``. ``correct``: all maps show the same part of the
crop, so one projection and one grid serve all. ``released``: every map has its own projection, with the height of the
map for the side of the picture, and the crop fractions that come out are taken for cell numbers. A hand inside the
crop then lies within half a cell of the cell (0, 0), and parts left of or above it read the zeros outside.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from whim.reconstructor.camera import project, translation_from_camera


def aligned_grid(places: Tensor, crop: int, width: int, shift: float) -> Tensor:
    """Crop fractions (B, V, 2) in the coordinates of ``grid_sample(align_corners=False)``.

    Args:
        places: fractions of the square crop from its centre.
        crop: its side in pixels.
        width: the columns of it that the network sees, in the middle.
        shift: cell i of the coarsest map is about pixel 16 i + 8 - shift.
    """
    pixels = crop * places
    x = 2.0 * (pixels[..., 0] + width / 2.0 + shift) / width - 1.0
    y = 2.0 * (pixels[..., 1] + crop / 2.0 + shift) / crop - 1.0
    return torch.stack([x, y], dim=-1)


def released_grid(vertices: Tensor, camera: Tensor, focal: float, height: int, width: int) -> Tensor:
    """Where the released network reads a map of that size: (B, V, 2) for ``grid_sample(align_corners=True)``."""
    places = project(vertices, translation_from_camera(camera, focal, height), focal, height)
    return (
        torch.stack([2.0 * places[..., 0] / (width - 1), 2.0 * places[..., 1] / (height - 1)], dim=-1) - 1.0
    )


def sample(features: Tensor, grid: Tensor, *, align_corners: bool) -> Tensor:
    """Features (B, C, V) by bilinear interpolation of (B, C, h, w) at (B, V, 2); zeros outside."""
    # In half precision a grid could not tell neighbouring cells apart.
    read = F.grid_sample(features.float(), grid[:, None], align_corners=align_corners, padding_mode="zeros")
    return read[:, :, 0]


def aggregate(features: Tensor, how: str) -> Tensor:
    """(B, C, V) to (B, C); the square of eq. 7: ``max``, ``mean`` or ``sum``."""
    if how == "max":
        return features.amax(dim=-1)
    return features.mean(dim=-1) if how == "mean" else features.sum(dim=-1)


def read_maps(
    maps: list[Tensor],
    vertices: Tensor,
    camera: Tensor,
    *,
    alignment: str,
    aggregation: str,
    focal: float,
    crop: int,
    width: int,
    shift: float,
) -> Tensor:
    """One vector (B, sum of channels) of what the vertices (B, V, 3) see in the maps, in their order."""
    if alignment == "released":
        grids = [released_grid(vertices, camera, focal, *m.shape[-2:]) for m in maps]
    else:
        places = project(vertices, translation_from_camera(camera, focal, crop), focal, crop)
        grids = [aligned_grid(places, crop, width, shift)] * len(maps)
    read = [
        aggregate(sample(m, grid, align_corners=alignment == "released"), aggregation)
        for m, grid in zip(maps, grids, strict=True)
    ]
    return torch.cat(read, dim=1)
