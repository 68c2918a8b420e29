"""Shipped configurations are valid, and say what their names say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from whim.config import load_config
from whim.errors import UsageError
from whim.reconstructor.config import FastVitConfig, LossConfig, ModelConfig, NetworkConfig, RefineConfig
from whim.reconstructor.network import Reconstructor
from whim.reconstructor.training.recipe import TrainReconstructorConfig

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "reconstructor"


def load(name: str) -> TrainReconstructorConfig:
    return load_config(TrainReconstructorConfig, FOLDER / f"{name}.yaml")


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_it_builds(name, open_hand) -> None:
    config = load(name)
    if isinstance(config.network.backbone, FastVitConfig):
        pytest.importorskip("timm", reason="FastViT needs the extra 'backbones'")
    with torch.device("meta"):
        network = Reconstructor(config.network, open_hand)
    assert (network.refinement is None) == (name == "table5_without_refinement")


def test_the_papers_recipe_holds_the_papers_numbers() -> None:
    full = load("full")
    assert full.network == NetworkConfig()
    assert full.loss == LossConfig()
    loop = full.training
    named = loop.optimiser.name, loop.optimiser.lr, loop.optimiser.weight_decay, loop.epochs
    assert named == ("adamw", 1e-5, 1e-4, 1000)
    assert loop.ema.decay == 0


def test_every_row_of_table_5_is_the_whole_with_one_change() -> None:
    full = load("full")
    assert load("table5_without_vitpose") == full.model_copy(update={"vitpose": None})
    for name, refinement in (
        ("table5_without_refinement", None),
        ("table5_single_scale", RefineConfig(levels=1)),
    ):
        network = full.network.model_copy(update={"refinement": refinement})
        assert load(name) == full.model_copy(update={"network": network})
    network = full.network.model_copy(update={"backbone": FastVitConfig()})
    assert load("table5_fastvit") == full.model_copy(update={"network": network, "vitpose": None})


def test_as_released() -> None:
    assert load("released").network == NetworkConfig.released()
    assert load("released").loss == LossConfig.released()
    assert load("released").training == load("full").training


def test_the_backbone_is_a_vit_unless_said_otherwise() -> None:
    assert load_config(ModelConfig, None, ["network.backbone.size=S"]).network.backbone.channels == 384
    with pytest.raises(UsageError, match="nearest known key"):
        load_config(ModelConfig, None, ["network.refinement.aligment=released"])
