"""Training the reconstructor: it runs, it goes on, and everything in it learns."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

torch = pytest.importorskip("torch")

from torch.utils.checkpoint import checkpoint as torch_checkpoint  # noqa: E402

from whim.errors import UsageError  # noqa: E402
from whim.hands.open_hand import load_open_hand  # noqa: E402
from whim.reconstructor.config import NetworkConfig, VitConfig  # noqa: E402
from whim.reconstructor.data.labels import LabelRules  # noqa: E402
from whim.reconstructor.losses.objective import Objective  # noqa: E402
from whim.reconstructor.network import Reconstructor  # noqa: E402
from whim.reconstructor.train import smoke_config, train  # noqa: E402
from whim.reconstructor.training.adversary import Contest  # noqa: E402
from whim.reconstructor.training.recipe import HandSetConfig, TrainReconstructorConfig  # noqa: E402
from whim.reconstructor.weights import load_network  # noqa: E402
from whim.shards.pixel_writer import write_pictures  # noqa: E402
from whim.shards.reader import iter_rows  # noqa: E402
from whim.synth.config import SynthConfig  # noqa: E402
from whim.synth.write import synth  # noqa: E402
from whim.training import checkpoint  # noqa: E402
from whim.training.seeding import seed_step  # noqa: E402


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> TrainReconstructorConfig:
    """A small set on disk, another one rendered, a network of a few blocks, six steps."""
    folder = tmp_path_factory.mktemp("sets")
    look = SynthConfig(width=96, height=96, people=0, empty=0, hand_pixels=(0.4, 0.7))
    synth(folder / "train", count=16, seed=0, workers=1, config=look)
    base = smoke_config(TrainReconstructorConfig(), folder)
    backbone = VitConfig(size="tiny", depth=2, width=48, heads=3, stem="convolutions")
    network = NetworkConfig(backbone=backbone, token_places=True, crop=64, width=48)
    data = base.data.model_copy(
        update={
            "train": (HandSetConfig(path=folder / "train"),),
            "validate_on": (HandSetConfig(render=look, hands=12, seed=1),),
        }
    )
    loop = base.training.model_copy(update={"batch": 8, "epochs": 2, "checkpoint_minutes": 0.0})
    return base.model_copy(update={"network": network, "data": data, "training": loop})


def test_it_runs_goes_on_exactly_and_moves_every_parameter(
    recipe: TrainReconstructorConfig, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    whole = train(recipe, out=tmp_path / "whole", say=lambda text: None)
    assert whole.fit.epoch == 2
    assert whole.to_json()["monitor"] == "pa_mpjpe"
    assert whole.to_json()["best"] > 0
    hands = json.loads((tmp_path / "whole" / "data.json").read_text())["train"][0]["hands"]
    assert hands == whole.data["train"][0]["hands"] > 0
    assert (tmp_path / "whole" / "samples" / "epoch-0002.jpg").is_file()
    loop = recipe.training
    halted = recipe.model_copy(update={"training": loop.model_copy(update={"patience": None})})

    class Stop(Exception):
        pass

    def stop_after_first(text: str) -> None:
        if text.startswith("epoch 1/"):
            raise Stop

    with pytest.raises(Stop):
        train(halted, out=tmp_path / "halted", say=stop_after_first)
    train(halted, out=tmp_path / "halted", say=lambda text: None)
    one, other = (
        checkpoint.load(tmp_path / name / "checkpoint.safetensors")[0] for name in ("whole", "halted")
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)

    trained = load_network(tmp_path / "whole" / "last.safetensors", load_open_hand())
    seed_step(recipe.training.seed, 0, 0)
    fresh = Reconstructor(recipe.network, load_open_hand())
    still = [
        name
        for (name, before), (_, after) in zip(
            fresh.named_parameters(), trained.named_parameters(), strict=True
        )
        if torch.equal(before, after)
    ]
    assert still == []
    first = one["model.discriminator.joint_weight"]
    assert not torch.equal(first, Contest(fresh, Objective(recipe.loss)).discriminator.joint_weight)
    assert any(name.startswith("ema.discriminator.") for name in one)


def test_blocks_computed_again_give_the_same_weights(
    recipe: TrainReconstructorConfig, tmp_path: Path
) -> None:
    loop = recipe.training.model_copy(update={"epochs": 1})
    short = recipe.model_copy(update={"training": loop})
    computed = []
    for again in (False, True):
        folder = tmp_path / str(again)
        with mock.patch("whim.reconstructor.vit.checkpoint", wraps=torch_checkpoint) as calls:
            train(short.model_copy(update={"checkpointing": again}), out=folder, say=lambda text: None)
        assert bool(calls.call_count) == again
        computed.append(load_network(folder / "last.safetensors", load_open_hand()).state_dict())
    for name, value in computed[0].items():
        torch.testing.assert_close(computed[1][name], value, msg=name)
    # The recipe is the same: a run goes on either way.
    assert train(short, out=tmp_path / "True", say=lambda text: None).fit.ended == "epochs"


def test_a_training_begins_with_another_one(recipe: TrainReconstructorConfig, tmp_path: Path) -> None:
    loop = recipe.training.model_copy(update={"epochs": 1})
    coarse = recipe.network.model_copy(update={"refinement": None})
    train(
        recipe.model_copy(update={"network": coarse, "training": loop}),
        out=tmp_path / "coarse",
        say=lambda text: None,
    )
    start = tmp_path / "coarse" / "last.safetensors"
    said: list[str] = []
    still = loop.model_copy(update={"optimiser": loop.optimiser.model_copy(update={"lr": 1e-12})})
    train(
        recipe.model_copy(update={"begin_with": start, "training": still}),
        out=tmp_path / "whole",
        say=said.append,
    )
    assert f"begins with {start}, but for refinement" in said
    whole = load_network(tmp_path / "whole" / "last.safetensors", load_open_hand()).state_dict()
    for name, value in load_network(start, load_open_hand()).state_dict().items():
        if "running" not in name and "num_batches" not in name:  # of the stem's batch norms
            torch.testing.assert_close(whole[name], value, msg=name)
    # Other weights to begin with are another recipe, wherever they lie.
    moved = tmp_path / "moved.safetensors"
    for suffix in (".safetensors", ".json"):
        shutil.copy(start.with_suffix(suffix), moved.with_suffix(suffix))
    again = recipe.model_copy(update={"begin_with": moved, "training": still})
    assert train(again, out=tmp_path / "whole", say=said.append).fit.epoch == 1
    text = moved.with_suffix(".json").read_text().replace('"sha256": "', '"sha256": "0')
    moved.with_suffix(".json").write_text(text)
    with pytest.raises(UsageError, match="begins_with"):
        train(again, out=tmp_path / "whole", say=said.append)


def test_other_hands_are_another_recipe(recipe: TrainReconstructorConfig, tmp_path: Path) -> None:
    def with_shards(change: Callable[[dict[str, Any]], None]) -> TrainReconstructorConfig:
        rows = list(iter_rows(recipe.data.train[0].path or tmp_path))
        for row in rows:
            change(row)
        folder = tmp_path / "hands"
        shutil.rmtree(folder, ignore_errors=True)
        write_pictures(folder / "train-00000.parquet", [(row.pop("image")["bytes"], row) for row in rows], {})
        data = recipe.data.model_copy(update={"train": (HandSetConfig(path=folder),)})
        loop = recipe.training.model_copy(update={"epochs": 1})
        return recipe.model_copy(update={"data": data, "training": loop})

    def move(row: dict[str, Any]) -> None:
        for hand in row["hands"]:
            hand["box"] = [value + 1 for value in hand["box"]]

    train(with_shards(lambda row: None), out=tmp_path / "run", say=lambda text: None)
    with pytest.raises(UsageError, match=r"data_found\.train\.0\.digest"):
        train(with_shards(move), out=tmp_path / "run", say=lambda text: None)


def test_broken_pictures_are_said_and_counted(recipe: TrainReconstructorConfig, tmp_path: Path) -> None:
    rows = list(iter_rows(recipe.data.train[0].path or tmp_path))
    pictures = [(row.pop("image")["bytes"], row) for row in rows]
    pictures[0] = (b"\xff\xd8 torn", pictures[0][1])
    write_pictures(tmp_path / "hands" / "train-00000.parquet", pictures, {})
    data = recipe.data.model_copy(update={"train": (HandSetConfig(path=tmp_path / "hands"),)})
    loop = recipe.training.model_copy(update={"epochs": 1})
    said: list[str] = []
    config = recipe.model_copy(update={"data": data, "training": loop})
    train(config, out=tmp_path / "run", say=said.append)
    assert len([line for line in said if line.startswith("picture left out: ")]) == 1
    with (tmp_path / "run" / "epochs.csv").open() as stream:
        assert next(csv.DictReader(stream))["broken"] == "1"
    assert len((tmp_path / "run" / "broken.txt").read_text().splitlines()) == 1


def test_validation_needs_hands_in_space(recipe: TrainReconstructorConfig, tmp_path: Path) -> None:
    strict = recipe.data.model_copy(update={"rules": LabelRules(largest_beta=1e-6)})
    flat = tmp_path / "flat"
    rows = list(iter_rows(recipe.data.train[0].path or tmp_path))
    for row in rows:
        for hand in row["hands"]:
            hand["joints_3d"] = None
    write_pictures(flat / "train-00000.parquet", [(row.pop("image")["bytes"], row) for row in rows], {})
    data = strict.model_copy(update={"validate_on": (HandSetConfig(path=flat),)})
    with pytest.raises(UsageError, match="no hand in space"):
        train(recipe.model_copy(update={"data": data}), out=tmp_path / "run", say=lambda text: None)
