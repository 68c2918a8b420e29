"""Trainings that begin with the weights of another one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from whim import cli
from whim.errors import BadFileError, UsageError
from whim.files import sha256
from whim.reconstructor.beginning import (
    begin_with_vitpose,
    begin_with_weights,
    resize_positions,
    start_digest,
)
from whim.reconstructor.config import ModelConfig, VitConfig
from whim.reconstructor.convert.vitpose import FORMAT
from whim.reconstructor.weights import save_network, write_weights

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "reconstructor"


def test_all_that_fits_is_taken(make_network, tmp_path) -> None:
    other = make_network()
    save_network(other, tmp_path / "a.safetensors")
    network = make_network(fresh=True, refinement__aggregation="mean", refinement__alignment="released")
    assert begin_with_weights(network, tmp_path / "a.safetensors") == []
    for (name, value), wanted in zip(network.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(value, wanted), name
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert network.config.refinement.aggregation == "mean"


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ({}, {"refinement__levels": 1}, ["refinement"]),
        ({}, {"refinement__pyramid": "separate", "refinement__levels": 2}, ["refinement"]),
        ({}, {"pose_tokens": 1}, ["tokens"]),
        ({"refinement": None}, {}, ["refinement"]),
        ({}, {"refinement": None}, []),
    ],
)
def test_a_part_is_taken_whole_or_not_at_all(make_network, tmp_path, before, after, kept) -> None:
    other = make_network(**before)
    save_network(other, tmp_path / "a.safetensors")
    network = make_network(fresh=True, **after)
    begun = {name: value.clone() for name, value in network.state_dict().items()}
    assert begin_with_weights(network, tmp_path / "a.safetensors") == kept
    for name, value in network.state_dict().items():
        part = name.split(".")[0]
        wanted = begun[name] if part in kept else other.state_dict()[name]
        assert torch.equal(value, wanted), name


def test_chained_and_separate_pyramids_are_not_mixed_up(make_network, tmp_path) -> None:
    """With two levels both have weights of the same names and shapes."""
    save_network(make_network(refinement__levels=2), tmp_path / "a.safetensors")
    network = make_network(fresh=True, refinement__levels=2, refinement__pyramid="separate")
    assert begin_with_weights(network, tmp_path / "a.safetensors") == ["refinement"]


def test_crops_of_another_size(make_network, tmp_path) -> None:
    save_network(make_network(), tmp_path / "a.safetensors")
    network = make_network(fresh=True, crop=128, width=96)
    begin_with_weights(network, tmp_path / "a.safetensors")
    assert network.backbone.pos_embed.shape == (1, 49, 32)
    assert network(torch.zeros(1, 3, 128, 128)).final.vertices.isfinite().all()


def test_another_backbone_is_refused(make_network, tmp_path) -> None:
    save_network(make_network(), tmp_path / "a.safetensors")
    network = make_network(fresh=True, backbone=VitConfig(size="tiny", width=64, depth=2, heads=4))
    with pytest.raises(UsageError, match="its backbone is"):
        begin_with_weights(network, tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="no such file"):
        begin_with_weights(network, tmp_path / "b.safetensors")


@pytest.mark.parametrize("change", [{"heads": 2}, {"padding": 0}])
def test_weights_of_the_same_shapes_that_mean_something_else_are_refused(
    make_network, tmp_path, change
) -> None:
    save_network(make_network(), tmp_path / "a.safetensors")
    backbone = VitConfig(size="tiny", width=32, depth=2, heads=4).model_copy(update=change)
    with pytest.raises(UsageError, match="its backbone is"):
        begin_with_weights(make_network(backbone=backbone), tmp_path / "a.safetensors")
    vit = make_network(crop=256, width=192)
    write_weights(tmp_path / "v.safetensors", vit.backbone.state_dict(), FORMAT, vit.config.backbone)
    begin_with_vitpose(make_network(), tmp_path / "v.safetensors")
    with pytest.raises(UsageError, match="its backbone is"):
        begin_with_vitpose(make_network(backbone=backbone), tmp_path / "v.safetensors")


def test_the_same_sizes_by_another_name_fit(make_network, tmp_path) -> None:
    save_network(make_network(), tmp_path / "a.safetensors")
    backbone = VitConfig(size="S", width=32, depth=2, heads=4, drop_path=0.3)
    assert begin_with_weights(make_network(backbone=backbone), tmp_path / "a.safetensors") == []


def test_the_digest_is_of_the_weights_wherever_they_lie(make_network, tmp_path) -> None:
    assert start_digest(ModelConfig()) is None
    for name in ("a", "b"):
        save_network(make_network(), tmp_path / f"{name}.safetensors")
    one, same = (start_digest(ModelConfig(begin_with=tmp_path / f"{name}.safetensors")) for name in "ab")
    assert one == same == sha256(tmp_path / "a.safetensors")
    about = json.loads((tmp_path / "b.json").read_text())
    del about["sha256"]
    (tmp_path / "b.json").write_text(json.dumps(about))
    with pytest.raises(BadFileError, match="does not say which weights"):
        start_digest(ModelConfig(begin_with=tmp_path / "b.safetensors"))


def test_the_command_puts_other_weights_in_the_place_of_vitposes(monkeypatch) -> None:
    """``released.yaml`` names ViTPose's."""
    seen = []

    def train(config, **rest):
        seen.append(config)
        raise UsageError("seen enough")

    monkeypatch.setattr("whim.reconstructor.train.train", train)
    settings = ["--config", str(CONFIGS / "released.yaml"), "--begin-with", "an: odd #name.safetensors"]
    assert cli.main(["train-reconstructor", *settings]) != 0
    assert seen[0].begin_with == Path("an: odd #name.safetensors")
    assert seen[0].vitpose is None


def test_one_beginning_only(tmp_path) -> None:
    with pytest.raises(ValidationError, match="not with both"):
        ModelConfig(vitpose=tmp_path / "a.safetensors", begin_with=tmp_path / "b.safetensors")


def test_positions_of_another_grid_are_interpolated() -> None:
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(12.0), indexing="ij")
    places = torch.stack([rows, columns]).flatten(1).t()
    positions = torch.cat([torch.tensor([[7.0, 9.0]]), places])[None]
    assert resize_positions(positions, (16, 12), (16, 12)) is positions
    half = resize_positions(positions, (16, 12), (8, 6))[0]
    assert half[0].tolist() == [7.0, 9.0]
    inner = half[1:].reshape(8, 6, 2)[2:-2, 2:-2]
    expected = (
        torch.stack(torch.meshgrid(torch.arange(2, 6), torch.arange(2, 4), indexing="ij"), -1) * 2 + 0.5
    )
    torch.testing.assert_close(inner, expected.float(), atol=0.02, rtol=0)
