"""FastViT as timm has it: sizes, gradients, and whether the refinement looks where a cell of its map stands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from whim.config import load_config
from whim.reconstructor.config import FastVitConfig, NetworkConfig
from whim.reconstructor.fastvit import FastVit, _twice
from whim.reconstructor.inference import Inference
from whim.reconstructor.network import Reconstructor
from whim.reconstructor.sampling import aligned_grid, sample
from whim.reconstructor.training.recipe import TrainReconstructorConfig
from whim.reconstructor.weights import load_network, save_network

SMALL = FastVitConfig(model="fastvit_t8", width=32, heads=4)
ROW = Path(__file__).resolve().parents[2] / "configs" / "reconstructor" / "table5_fastvit.yaml"


def test_the_coarse_map_is_laid_over_the_fine_one() -> None:
    """Cells of both stand at the first pixel of their patches: what rises evenly there rises evenly here."""
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(6.0), indexing="ij")
    fine = torch.stack([16 * rows, 16 * columns])[None]
    wide = _twice(fine[..., ::2, ::2])
    torch.testing.assert_close(wide[..., :7, :5], fine[..., :7, :5])
    torch.testing.assert_close(wide[..., 7, :], wide[..., 6, :])


def test_size_of_table_5(open_hand) -> None:
    pytest.importorskip("timm")
    with torch.device("meta"):
        network = Reconstructor(load_config(TrainReconstructorConfig, ROW).network, open_hand)
    assert sum(parameter.numel() for parameter in network.backbone.body.parameters()) == 42_647_856
    assert sum(parameter.numel() for parameter in network.parameters()) == 44_087_456


def test_every_weight_gets_a_gradient(open_hand) -> None:
    pytest.importorskip("timm")
    network = Reconstructor(NetworkConfig(crop=128, width=96, backbone=SMALL), open_hand)
    network.tokens.mean_betas.fill_(0.1)  # a mean of zero leaves its map without a gradient
    tokens, features = network.backbone(torch.randn(2, 3, 128, 96), network.tokens(2))
    assert tokens.shape == (2, 18, 32)
    assert features.shape == (2, 32, 8, 6)
    result = network(torch.randn(2, 3, 128, 128))
    (result.final.vertices.sum() + result.final.keypoints_2d.sum()).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_in_the_memory_order_of_trainings_the_gradients_are_the_same() -> None:
    """The stem has the convolution in which oneDNN errs (whim/training/onednn.py)."""
    pytest.importorskip("timm")
    backbone = FastVit(SMALL)
    few = [
        layer for layer in backbone.modules() if isinstance(layer, torch.nn.Conv2d) and layer.in_channels == 3
    ]
    assert sorted((layer.kernel_size, layer.stride) for layer in few) == [((1, 1), (1, 1)), ((3, 3), (2, 2))]
    pictures, kept = torch.randn(2, 3, 128, 96), []
    for order in (torch.contiguous_format, torch.channels_last):
        backbone = backbone.to(memory_format=order)
        backbone.zero_grad()
        _, features = backbone(pictures.contiguous(memory_format=order), torch.zeros(2, 1, 32))
        features.square().mean().backward()
        kept.append(torch.cat([p.grad.contiguous().flatten() for p in backbone.body.parameters()]))
    assert (kept[1] - kept[0]).norm() < 1e-3 * kept[0].norm()


def test_a_vertex_reads_around_its_pixel() -> None:
    """With the same weight everywhere, what is read depends on the pixels around the place where it is read."""
    pytest.importorskip("timm")
    backbone = FastVit(SMALL).eval().requires_grad_(False)
    for layer in backbone.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.fill_(1.0 / layer.weight[0].numel())
            if layer.bias is not None:
                layer.bias.zero_()
    picture = torch.ones(1, 3, 256, 192, requires_grad=True)
    _, features = backbone(picture, torch.zeros(1, 1, 32))
    for place in ((96.5, 128.5), (112.5, 128.5), (96.5, 112.5)):  # where cells of the map stand
        x, y = place
        at = torch.tensor([[[(x + 32) / 256 - 0.5, y / 256 - 0.5]]])
        read = sample(features, aligned_grid(at, 256, 192, backbone.shift), align_corners=False)
        (gradient,) = torch.autograd.grad(read.sum(), picture, retain_graph=True)
        weight = gradient[0].double().square().sum(dim=0)
        found = [
            float((sums * (torch.arange(len(sums)) + 0.5)).sum() / sums.sum())
            for sums in (weight.sum(dim=0), weight.sum(dim=1))
        ]
        assert found == pytest.approx(place, abs=0.5)


def test_weights_come_back_and_predict_in_half_precision(tmp_path, open_hand) -> None:
    pytest.importorskip("timm")
    network = Reconstructor(NetworkConfig(crop=64, width=64, backbone=SMALL), open_hand).eval()
    for layer in (network.tokens.pose_out, network.tokens.betas_out):  # fresh ones hardly look at the picture
        torch.nn.init.xavier_uniform_(layer.weight)
    with torch.no_grad():  # norms that fit: else rounding grows from layer to layer
        for _ in range(20):
            network.train()(torch.randn(4, 3, 64, 64))
    network.eval()
    save_network(network, tmp_path / "w.safetensors")
    again = load_network(tmp_path / "w.safetensors", open_hand)
    assert again.config == network.config
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    wanted = Inference(network, device="cpu", precision="fp32", batch=2)(crops)
    torch.testing.assert_close(
        Inference(again, device="cpu", precision="fp32")(crops).vertices, wanted.vertices
    )
    half = Inference(again, device="cpu", precision="bf16", batch=2)(crops)
    error = (half.vertices - wanted.vertices).norm(dim=-1).mean()
    spread = (wanted.vertices[1:] - wanted.vertices[:-1]).norm(dim=-1).mean()
    assert 0 < error < 0.05 * spread
