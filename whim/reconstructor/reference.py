"""The network written out in numpy, in float64: attention as products of matrices, deconvolution and bilinear
sampling as loops. Slow and plain; the tests compare the network with it.

Evaluation mode, ViT backbone, one crop at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from whim.hands.layer import HandLayer
from whim.reconstructor.config import NetworkConfig, VitConfig
from whim.reconstructor.network import Reconstructor

Floats = NDArray[np.float64]


class Reference:
    """A network's weights and what they compute.

    Args:
        network: with a ViT.
    """

    def __init__(self, network: Reconstructor) -> None:
        self.config: NetworkConfig = network.config
        assert isinstance(self.config.backbone, VitConfig)
        self.vit: VitConfig = self.config.backbone
        self.w: Mapping[str, Floats] = {
            name: value.detach().double().numpy() for name, value in network.state_dict().items()
        }
        self._hand = HandLayer(network.hand.model, dtype=torch.float64)

    def __call__(self, picture: Floats) -> list[dict[str, Floats]]:
        """Coarse and, if there is one, refined hand of a crop (3, S, S), by the fields of ``HandEstimate``."""
        margin = (self.config.crop - self.config.width) // 2
        tokens, features = self.transformer(picture[:, :, margin : self.config.crop - margin])
        pose_out = [self._linear("tokens.pose_out", token) for token in tokens[: self.config.pose_tokens]]
        pose = self.w["tokens.mean_pose"][0] + np.concatenate(pose_out)
        betas = self.w["tokens.mean_betas"][0] + self._linear("tokens.betas_out", tokens[-2])
        camera = self.w["tokens.mean_camera"][0] + self._linear("tokens.camera_out", tokens[-1])
        coarse = self.hand(pose, betas, camera)
        if self.config.refinement is None:
            return [coarse]
        seen = self.look(self.pyramid(features), coarse["vertices"], camera)
        return [
            coarse,
            self.hand(
                pose + self._residual("pose", seen),
                betas + self._residual("betas", seen),
                camera + self._residual("camera", seen) if self.config.refinement.camera else camera,
            ),
        ]

    def transformer(self, picture: Floats) -> tuple[Floats, Floats]:
        """Hand tokens (T, C) and feature map (C, rows, columns) of (3, H, W)."""
        rows, columns = self.config.grid
        positions = self.w["backbone.pos_embed"][0]
        x = [
            self._linear("tokens.pose_in", mean)
            for mean in self.w["tokens.mean_pose"].reshape(self.config.pose_tokens, -1)
        ]
        x.append(self._linear("tokens.betas_in", self.w["tokens.mean_betas"][0]))
        x.append(self._linear("tokens.camera_in", self.w["tokens.mean_camera"][0]))
        if self.config.token_places:
            x = [token + place for token, place in zip(x, self.w["tokens.places"][0], strict=True)]
        extra = len(x)
        patches = self.stem(picture)
        for r in range(rows):
            for c in range(columns):
                x.append(patches[:, r, c] + positions[1 + r * columns + c] + positions[0])
        tokens = np.stack(x)
        for index in range(self.vit.blocks):
            name = f"backbone.blocks.{index}"
            tokens = tokens + self.attention(f"{name}.attn", self._norm(f"{name}.norm1", tokens))
            hidden = self._linear(f"{name}.mlp.fc1", self._norm(f"{name}.norm2", tokens))
            tokens = tokens + self._linear(f"{name}.mlp.fc2", _gelu(hidden))
        tokens = self._norm("backbone.last_norm", tokens)
        return tokens[:extra], tokens[extra:].T.reshape(-1, rows, columns)

    def stem(self, picture: Floats) -> Floats:
        """Patches (C, rows, columns) of (3, H, W)."""
        name = "backbone.patch_embed"
        x = picture
        if self.vit.stem == "patch":
            return self._convolution(f"{name}.proj", x, stride=16, padding=self.vit.padding)
        for index in range(0, 3 * 7, 3):  # seven times convolution, norm, ReLU
            x = self._convolution(
                f"{name}.layers.{index}", x, stride=2 if index in (0, 3, 9, 15) else 1, padding=1
            )
            x = np.maximum(self._batch_norm(f"{name}.layers.{index + 1}", x), 0.0)
        return self._convolution(f"{name}.proj", x, stride=1, padding=0)

    def attention(self, name: str, x: Floats) -> Floats:
        """Softmax attention head by head, (N, C) -> (N, C)."""
        width, heads = x.shape[1], self.vit.attention_heads
        size = width // heads
        query, key, value = np.split(self._linear(f"{name}.qkv", x), 3, axis=1)
        mixed = np.empty_like(x)
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            likeness = np.exp(query[:, part] @ key[:, part].T / math.sqrt(size))
            mixed[:, part] = (likeness / likeness.sum(axis=1, keepdims=True)) @ value[:, part]
        return self._linear(f"{name}.proj", mixed)

    def pyramid(self, features: Floats) -> list[Floats]:
        """Feature maps, coarsest first."""
        refinement = self.config.refinement
        assert refinement is not None
        first = features
        if refinement.reduce:
            kernel = self.w["refinement.pyramid.reduce.weight"][:, :, 0, 0]
            bias = self.w["refinement.pyramid.reduce.bias"]
            first = np.einsum("oi,ihw->ohw", kernel, features) + bias[:, None, None]
        maps = [first]
        for branch in range(refinement.levels - 1):
            chained = refinement.pyramid == "chained"
            x = maps[-1] if chained else first
            for step in range(1 if chained else branch + 1):
                x = self._upsample(f"refinement.pyramid.branches.{branch}.{step}", x)
            maps.append(x)
        return maps

    def look(self, maps: list[Floats], vertices: Floats, camera: Floats) -> Floats:
        """What the vertices (V, 3) see in the maps, finest first."""
        refinement = self.config.refinement
        assert refinement is not None
        seen = []
        for level in reversed(range(len(maps))):
            read = []
            for vertex in vertices:
                if refinement.alignment == "released":
                    x, y = self.project(vertex, camera, maps[level].shape[1])
                else:
                    u, v = self.project(vertex, camera, self.config.crop)
                    # Pixel positions in what the network sees; a cell of this map is 16 / 2^level pixels wide, and
                    # the centre of the first one is half a cell from the corner, moved by the padding.
                    cell = 16 / 2**level
                    x = (u * self.config.crop + self.config.width / 2 + self.vit.shift) / cell - 0.5
                    y = (v * self.config.crop + self.config.crop / 2 + self.vit.shift) / cell - 0.5
                read.append(bilinear(maps[level], x, y))
            stacked = np.stack(read)
            seen.append(getattr(stacked, refinement.aggregation)(axis=0))
        return np.concatenate(seen)

    def hand(self, pose: Floats, betas: Floats, camera: Floats) -> dict[str, Floats]:
        """Mesh, keypoints and projection of the network's numbers."""
        rotations = np.stack([_gram_schmidt(six) for six in pose.reshape(16, 6)])
        still = torch.zeros(1, 3, dtype=torch.float64)
        shape, turns = torch.from_numpy(betas)[None], torch.from_numpy(rotations)[None]
        given = shape, turns[:, 1:], turns[:, 0], still
        keypoints = self._hand.keypoints(*given)[0].numpy()
        return {
            "pose_6d": pose.reshape(16, 6),
            "rotations": rotations,
            "betas": betas,
            "camera": camera,
            "vertices": self._hand.vertices(*given)[0].numpy(),
            "keypoints": keypoints,
            "keypoints_2d": np.array([self.project(k, camera, self.config.crop) for k in keypoints]),
        }

    def project(self, point: Floats, camera: Floats, side: int) -> tuple[float, float]:
        """Fractions of a picture of ``side`` pixels from its centre."""
        scale, shift_x, shift_y = camera
        depth = point[2] + 2.0 * self.config.focal / (side * scale + 1e-9)
        focal = self.config.focal / side
        return focal * (point[0] + shift_x) / depth, focal * (point[1] + shift_y) / depth

    def _linear(self, name: str, x: Floats) -> Floats:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def _residual(self, name: str, seen: Floats) -> Floats:
        name = f"refinement.{name}"
        if f"{name}.weight" in self.w:
            return self._linear(name, seen)
        return self._linear(f"{name}.2", np.maximum(self._linear(f"{name}.0", seen), 0.0))

    def _norm(self, name: str, x: Floats) -> Floats:
        centred = x - x.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-6)
        return scaled * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def _upsample(self, name: str, x: Floats) -> Floats:
        """Deconvolution (kernel 4, stride 2, padding 1), batch norm by its running statistics, ReLU."""
        kernel = self.w[f"{name}.deconv.weight"]  # (in, out, 4, 4)
        _, height, width = x.shape
        out = np.zeros((kernel.shape[1], 2 * height + 2, 2 * width + 2))
        for r in range(height):
            for c in range(width):
                out[:, 2 * r : 2 * r + 4, 2 * c : 2 * c + 4] += np.einsum("i,iokl->okl", x[:, r, c], kernel)
        return np.maximum(self._batch_norm(f"{name}.norm", out[:, 1:-1, 1:-1]), 0.0)

    def _convolution(self, name: str, x: Floats, *, stride: int, padding: int) -> Floats:
        kernel = self.w[f"{name}.weight"]  # (out, in, size, size)
        size = kernel.shape[2]
        x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
        height, width = ((side - size) // stride + 1 for side in x.shape[1:])
        out = np.empty((len(kernel), height, width))
        for r in range(height):
            for c in range(width):
                part = x[:, stride * r : stride * r + size, stride * c : stride * c + size]
                out[:, r, c] = (kernel * part).sum(axis=(1, 2, 3))
        bias = self.w.get(f"{name}.bias")
        return out if bias is None else out + bias[:, None, None]

    def _batch_norm(self, name: str, x: Floats) -> Floats:
        """By its running statistics."""

        def per_channel(key: str) -> Floats:
            return self.w[f"{name}.{key}"][:, None, None]

        x = (x - per_channel("running_mean")) / np.sqrt(per_channel("running_var") + 1e-5)
        return x * per_channel("weight") + per_channel("bias")


def bilinear(features: Floats, x: float, y: float) -> Floats:
    """Value (C,) of a map (C, h, w) at the cell position (x, y); whole numbers are centres, zeros lie outside."""
    left, top = math.floor(x), math.floor(y)
    value = np.zeros(len(features))
    for row, column, share in (
        (top, left, (top + 1 - y) * (left + 1 - x)),
        (top, left + 1, (top + 1 - y) * (x - left)),
        (top + 1, left, (y - top) * (left + 1 - x)),
        (top + 1, left + 1, (y - top) * (x - left)),
    ):
        if 0 <= row < features.shape[1] and 0 <= column < features.shape[2]:
            value += share * features[:, row, column]
    return value


def _gelu(x: Floats) -> Floats:
    return 0.5 * x * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))


def _gram_schmidt(six: Floats) -> Floats:
    x = six[:3] / np.linalg.norm(six[:3])
    y = six[3:] - (x @ six[3:]) * x
    y = y / np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)
