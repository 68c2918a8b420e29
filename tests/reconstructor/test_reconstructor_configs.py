"""Shipped configurations are valid, and say what their names say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from whim.config import load_config
from whim.errors import UsageError
from whim.reconstructor.config import FastVitConfig, LossConfig, ModelConfig, NetworkConfig
from whim.reconstructor.network import Reconstructor

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "reconstructor"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_it_builds(path, open_hand) -> None:
    config = load_config(ModelConfig, path)
    if isinstance(config.network.backbone, FastVitConfig):
        pytest.importorskip("timm", reason="FastViT needs the extra 'fastvit'")
    with torch.device("meta"):
        network = Reconstructor(config.network, open_hand)
    assert (network.refinement is None) == ("without_refinement" in path.stem)


def test_what_they_change() -> None:
    def load(name: str) -> ModelConfig:
        return load_config(ModelConfig, FOLDER / f"{name}.yaml")

    full = load("full")
    assert full.network == NetworkConfig()
    assert load("released").network == NetworkConfig.released()
    assert load("released").loss == LossConfig.released()
    assert load("table5_without_vitpose") == full.model_copy(update={"vitpose": None})
    single = load("table5_single_scale").network
    assert single.refinement is not None
    assert single.refinement.levels == 1


def test_the_backbone_is_a_vit_unless_said_otherwise() -> None:
    assert load_config(ModelConfig, None, ["network.backbone.size=S"]).network.backbone.channels == 384
    with pytest.raises(UsageError, match="nearest known key"):
        load_config(ModelConfig, None, ["network.refinement.aligment=released"])
