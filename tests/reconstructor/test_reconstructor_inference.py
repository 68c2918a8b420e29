"""Many crops: the same hands as one by one, in bf16 nearly so, compiled without a break."""

from __future__ import annotations

import copy

import pytest
import torch

from whim.reconstructor.config import VitConfig
from whim.reconstructor.inference import Inference
from whim.reconstructor.network import normalise

VARIANTS = {
    "default": {},
    "convolutions, places": {
        "backbone": VitConfig(size="tiny", width=32, depth=2, heads=4, stem="convolutions"),
        "token_places": True,
    },
}


@pytest.fixture
def crops() -> torch.Tensor:
    return torch.randint(0, 256, (5, 64, 64, 3), dtype=torch.uint8)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_batches_give_the_same_as_one_call(make_network, crops, changes) -> None:
    network = make_network(**changes)
    with torch.no_grad():
        expected = network(normalise(crops)).final
    predict = Inference(network, device="cpu", precision="fp32", batch=2)
    found = predict(crops.numpy())
    for name in ("rotations", "betas", "vertices", "keypoints_2d", "translation"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-5, rtol=1e-5)
    nobody = predict(crops[:0])
    assert nobody.vertices.shape == (0, 778, 3)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_bf16_is_near_and_gives_float32(make_network, crops, changes) -> None:
    network = make_network(**changes)
    exact = Inference(copy.deepcopy(network), device="cpu", precision="fp32")(crops)
    near = Inference(network, device="cpu", precision="bf16")(crops)
    assert near.vertices.dtype == near.keypoints_2d.dtype == torch.float32
    error = (near.vertices - exact.vertices).norm(dim=-1).mean()
    spread = (exact.vertices[1:] - exact.vertices[:-1]).norm(dim=-1).mean()
    assert 0 < error < 0.05 * spread


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_it_compiles_in_one_graph(make_network, crops, changes, monkeypatch) -> None:
    network = make_network(**changes)
    expected = Inference(network, device="cpu", precision="fp32")(crops)
    compile_, sizes = torch.compile, []

    def compiled(module, mode, **options):
        # The graph is what may break; the code generator takes a minute and is not ours.
        run = compile_(module, backend="eager", **options)
        return lambda batch: sizes.append(len(batch)) or run(batch)

    monkeypatch.setattr(torch, "compile", compiled)
    found = Inference(network, device="cpu", precision="fp32", batch=3, compiled=True)(crops)
    torch.testing.assert_close(found.vertices, expected.vertices, atol=1e-5, rtol=1e-5)
    assert sizes == [3, 3]  # a graph serves one size
