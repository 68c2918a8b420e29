"""The network equals its slow reference, and looks where its hand is."""

from __future__ import annotations

import dataclasses
import math
import sys
import types

import numpy as np
import pytest
import torch

from whim.conventions import Side
from whim.errors import MissingExtraError, UsageError
from whim.hands.kinematics import rotation_from_axis_angle
from whim.hands.layer import HandLayer
from whim.reconstructor.camera import project, translation_from_camera
from whim.reconstructor.config import FastVitConfig, NetworkConfig, VitConfig
from whim.reconstructor.hand import RightHand
from whim.reconstructor.network import Reconstructor, normalise
from whim.reconstructor.reference import Reference
from whim.reconstructor.rotation import matrix_from_6d, six_from_matrix
from whim.reconstructor.sampling import aligned_grid, sample

VARIANTS = {
    "default": {},
    "released": {"refinement__alignment": "released", "refinement__pyramid": "separate"},
    "sum, hidden layer, F0 at C channels": {
        "refinement__aggregation": "sum",
        "refinement__hidden": 12,
        "refinement__reduce": False,
    },
    "mean, three tokens": {"refinement__aggregation": "mean", "pose_tokens": 1},
    "single scale, no camera residual": {"refinement__levels": 1, "refinement__camera": False},
    "no refinement": {"refinement": None},
    "convolutions, places": {
        "backbone": VitConfig(size="tiny", width=32, depth=2, heads=4, stem="convolutions"),
        "token_places": True,
    },
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_it_equals_the_reference(make_network, changes) -> None:
    network = make_network(**changes)
    pictures = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        result = network(pictures)
    reference = Reference(network)
    stages = [result.coarse] if result.refined is None else [result.coarse, result.refined]
    for b in range(2):
        expected = reference(pictures[b].double().numpy())
        assert len(expected) == len(stages)
        for stage, wanted in zip(stages, expected, strict=True):
            for name, value in wanted.items():
                found = getattr(stage, name)[b].numpy()
                np.testing.assert_allclose(found, value, atol=3e-4 * max(1.0, abs(value).max()), err_msg=name)
    if result.refined is not None:
        assert (result.refined.rotations - result.coarse.rotations).abs().max() > 0.05


def reached(network: Reconstructor, pictures: torch.Tensor) -> tuple[list[np.ndarray], torch.Tensor]:
    """Cells (h, w) of each map that the vertices read and the residuals depend on, and the vertices' places."""
    kept = []

    def keep(module, inputs, outputs):
        # Cut off from each other: finer maps are made from coarser ones, and that is no reading.
        kept.extend(m.detach().requires_grad_() for m in outputs)
        return kept

    handle = network.refinement.pyramid.register_forward_hook(keep)
    result = network(pictures)
    handle.remove()
    (result.refined.pose_6d - result.coarse.pose_6d).sum().backward()
    places = project(
        result.coarse.vertices, result.coarse.translation, network.config.focal, network.config.crop
    )
    return [m.grad[0].abs().sum(dim=0).numpy() > 0 for m in kept], places[0].detach()


@pytest.mark.parametrize("aggregation", ["mean", "sum", "max"])
def test_correct_alignment_reads_every_cell_that_the_mesh_covers(make_network, aggregation) -> None:
    network = make_network(refinement__aggregation=aggregation)
    maps, places = reached(network, torch.randn(1, 3, 64, 64))
    for level, found in enumerate(maps):
        cell = 16 / 2**level
        covered = np.zeros_like(found)
        for u, v in places.tolist():
            x, y = (64 * u + 24 + 2) / cell - 0.5, (64 * v + 32 + 2) / cell - 0.5
            for row in (math.floor(y), math.floor(y) + 1):
                for column in (math.floor(x), math.floor(x) + 1):
                    if 0 <= row < found.shape[0] and 0 <= column < found.shape[1]:
                        covered[row, column] = True
        assert covered.sum() > 3 * 2**level
        if aggregation == "max":  # of each channel one vertex
            assert not (found & ~covered).any()
            assert found.sum() > 4
        else:
            np.testing.assert_array_equal(found, covered)


def test_released_alignment_reads_the_corner_only(make_network) -> None:
    network = make_network(refinement__aggregation="mean", refinement__alignment="released")
    maps, places = reached(network, torch.randn(1, 3, 64, 64))
    assert places.abs().max() < 0.5  # the hand is well inside the crop
    for found in maps:
        assert found[0, 0]
        found[:2, :2] = False
        assert not found.any()


def test_a_vertex_reads_the_patch_of_its_pixel(make_network) -> None:
    """From pixels to samples: a spot of light in the crop is what a point projected onto it reads."""
    patch_embed = make_network().backbone.patch_embed.requires_grad_(False)
    with torch.no_grad():
        patch_embed.proj.weight.fill_(1.0)
        patch_embed.proj.bias.zero_()
    for x, y in (
        (14, 6),
        (30, 38),
        (46, 54),
    ):  # pixels of the crop, in the middle of the patches that see them
        picture = torch.zeros(1, 3, 64, 64)
        picture[..., y, x] = 1.0
        features = patch_embed(picture[..., 8:56]).transpose(1, 2).unflatten(2, (4, 3))
        assert (features[0, 0] > 0).sum() == 1
        place = torch.tensor([[[(x + 0.5) / 64 - 0.5, (y + 0.5) / 64 - 0.5]]])
        seen = sample(features, aligned_grid(place, 64, 48, 2), align_corners=False)[0, 0]
        # Half a pixel from the centre of the patch, which lies between two pixels.
        assert float(seen) == pytest.approx(float(features.max()) * (1 - 0.5 / 16) ** 2, rel=1e-5)


def test_tokens_of_small_convolutions_stand_in_the_middle_of_their_patches(make_network) -> None:
    """With the same weight everywhere, the mirror image gives the mirrored tokens."""
    config = VitConfig(size="tiny", width=32, depth=2, heads=4, stem="convolutions")
    network = make_network(backbone=config)
    assert network.backbone.shift == 0
    stem = network.backbone.patch_embed.requires_grad_(False)
    for parameter in stem.parameters():
        parameter.fill_(0.1)
    picture = torch.rand(1, 3, 64, 48)
    tokens = stem(picture).unflatten(1, (4, 3))
    for axis in (1, 2):
        torch.testing.assert_close(stem(picture.flip(axis + 1)).unflatten(1, (4, 3)), tokens.flip(axis))
    assert tokens.std(dim=(1, 2)).min() > 1e-4


def test_crops_of_another_size_are_refused(make_network) -> None:
    with pytest.raises(ValueError, match="64, 64"):
        make_network()(torch.zeros(1, 3, 64, 48))


def test_checkpointing_changes_no_gradient(make_network) -> None:
    network = make_network().train()
    pictures = torch.randn(2, 3, 64, 64)
    grads = []
    for network.backbone.checkpointing in (False, True):
        network.zero_grad()
        final = network(pictures).final
        (final.vertices.sum() + final.keypoints_2d.sum()).backward()
        grads.append([p.grad.clone() for p in network.parameters()])
    for plain, again in zip(*grads, strict=True):
        torch.testing.assert_close(plain, again)


def test_drop_path_keeps_the_mean() -> None:
    from whim.reconstructor.vit import DropPath

    drop = DropPath(0.25)
    x = torch.ones(40_000, 1, 1)
    assert drop(x).unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert drop(x).mean() == pytest.approx(1.0, abs=0.02)
    assert drop.eval()(x) is x


@pytest.mark.parametrize("which", ["open hand", "with pose blend shapes"])
def test_the_hand_equals_the_layer(open_hand, mano_like, which) -> None:
    model = open_hand if which == "open hand" else mano_like
    betas, turns = torch.randn(3, 10), torch.randn(3, 16, 3)
    rotations = torch.tensor(rotation_from_axis_angle(turns.numpy()), dtype=torch.float32)
    vertices, keypoints = RightHand(model)(rotations, betas)
    layer, still = HandLayer(model), torch.zeros(3, 3)
    given = (betas, rotations[:, 1:], rotations[:, 0], still, Side.RIGHT)
    torch.testing.assert_close(vertices, layer.vertices(*given), atol=1e-5, rtol=0)
    torch.testing.assert_close(keypoints, layer.keypoints(*given), atol=1e-5, rtol=0)


@pytest.fixture
def mano_like(open_hand):
    """The open hand with pose blend shapes and its wrist away from the origin, as MANO has."""
    rng = np.random.default_rng(7)
    return dataclasses.replace(
        open_hand,
        name="mano",
        v_template=open_hand.v_template + np.array([0.09, 0.006, 0.006]),
        posedirs=rng.normal(scale=2e-4, size=(778, 3, 135)),
    )


def test_six_numbers_are_two_columns() -> None:
    rotations = torch.tensor(
        rotation_from_axis_angle(np.random.default_rng(0).normal(size=(3, 3))), dtype=torch.float64
    )
    six = six_from_matrix(rotations)
    assert torch.equal(six[:, :3], rotations[:, :, 0])
    torch.testing.assert_close(matrix_from_6d(six), rotations)  # three: where an unnamed axis goes wrong
    torch.testing.assert_close(matrix_from_6d(six * 3.0), rotations)
    numbers = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(matrix_from_6d, numbers)
    parallel = torch.tensor([[1.0, 0, 0, -1, 0, 0]], requires_grad=True)
    matrix_from_6d(parallel).sum().backward()
    assert torch.isfinite(parallel.grad).all()


def test_a_metre_is_half_the_scale_times_the_side() -> None:
    camera = torch.tensor([[4.0, 0.1, -0.2]])
    translation = translation_from_camera(camera, 5000.0, 256.0)
    assert translation[0].tolist() == pytest.approx([0.1, -0.2, 2 * 5000 / (256 * 4)])
    seen = project(torch.tensor([[[-0.1, 0.2, 0.0], [0.4, 0.2, 0.0]]]), translation, 5000.0, 256.0)
    assert seen[0, 0].tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    assert float(seen[0, 1, 0]) == pytest.approx(0.5 * 4.0 / 2, rel=1e-6)


def test_pictures_are_normalised_as_for_vitpose() -> None:
    crops = torch.tensor([[[[124, 116, 104]]]], dtype=torch.uint8)
    assert normalise(crops).shape == (1, 3, 1, 1)
    assert normalise(crops).flatten().tolist() == pytest.approx([0.0, 0.0, 0.0], abs=0.02)


def test_sizes() -> None:
    assert NetworkConfig().grid == (16, 12)
    assert VitConfig(size="L").channels == 1024
    with pytest.raises(ValueError, match="multiples of 16"):
        NetworkConfig(crop=250)
    with pytest.raises(ValueError, match="heads"):
        VitConfig(width=100, heads=3)


class FakeBody(torch.nn.Module):
    """What timm gives for ``features_only``: maps at strides 16 and 32, and their channels."""

    class feature_info:
        @staticmethod
        def channels() -> list[int]:
            return [6, 10]

    def __init__(self) -> None:
        super().__init__()
        self.fine = torch.nn.Conv2d(3, 6, 16, 16)
        self.coarse = torch.nn.Conv2d(3, 10, 32, 32)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [self.fine(x), self.coarse(x)]


def fastvit_config() -> NetworkConfig:
    return NetworkConfig(crop=64, width=32, backbone=FastVitConfig(model="fastvit_t8", width=32, heads=4))


def test_without_timm_fastvit_names_the_extra(open_hand, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"whim\[backbones\]"):
        Reconstructor(fastvit_config(), open_hand)


def test_fastvit_in_place_of_the_vit(open_hand, monkeypatch) -> None:
    timm = types.ModuleType("timm")
    timm.list_models = lambda pattern: ["fastvit_t8"]
    timm.create_model = lambda name, **_: FakeBody()
    monkeypatch.setitem(sys.modules, "timm", timm)
    network = Reconstructor(fastvit_config(), open_hand)
    network.tokens.mean_betas.fill_(0.1)  # a mean of zero leaves its map without a gradient
    result = network(torch.randn(2, 3, 64, 64))
    assert result.final.vertices.shape == (2, 778, 3)
    (result.final.vertices.sum() + result.final.keypoints_2d.sum()).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
    config = fastvit_config().model_copy(
        update={"backbone": FastVitConfig(model="fastvit_xx", width=32, heads=4)}
    )
    with pytest.raises(UsageError, match="fastvit_t8"):
        Reconstructor(config, open_hand)
