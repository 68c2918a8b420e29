"""The parts of the loop, each against a plain calculation."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from whim.training import checkpoint
from whim.training.config import EmaConfig, OptimiserConfig, ScheduleConfig, TrainingConfig
from whim.training.distributed import from_environment
from whim.training.ema import Ema
from whim.training.logs import CsvLog
from whim.training.optimiser import build_optimiser, split_by_decay
from whim.training.precision import Precision
from whim.training.sampler import epoch_order, share_of_step, shares_of_whole, stream
from whim.training.schedule import learning_rate_share
from whim.training.seeding import derive, seed_step
from whim.training.stopping import Best


def shares(config: ScheduleConfig, epochs: int = 10, steps: int = 10) -> np.ndarray:
    return np.array(
        [
            learning_rate_share(step, steps_per_epoch=steps, epochs=epochs, config=config)
            for step in range(epochs * steps)
        ]
    )


def test_linear_and_cosine_schedules() -> None:
    linear = shares(ScheduleConfig(shape="linear", warmup_epochs=2, final=0.1))
    np.testing.assert_allclose(linear[:20], np.arange(1, 21) / 21)
    np.testing.assert_allclose(np.diff(linear[20:]), -0.9 / 79)
    assert (linear[20], linear[-1]) == (1.0, pytest.approx(0.1))
    cosine = shares(ScheduleConfig(shape="cosine", warmup_epochs=0, final=0.0))
    np.testing.assert_allclose(cosine, (1 + np.cos(np.pi * np.arange(100) / 99)) / 2, atol=1e-12)
    assert (shares(ScheduleConfig(shape="constant", warmup_epochs=0)) == 1).all()


def test_the_papers_schedule_is_flat_and_falls_to_1e_6_in_the_last_30_epochs() -> None:
    paper = ScheduleConfig(shape="linear", warmup_epochs=0, decay_epochs=30, final=1e-4)
    rate = 0.01 * shares(paper, epochs=200)
    assert (rate[:1700] == 0.01).all()
    assert rate[1850] == pytest.approx(0.005, rel=0.01)
    assert rate[-1] == pytest.approx(1e-6)


def test_one_step_of_a_single_epoch_has_a_rate() -> None:
    assert shares(ScheduleConfig(warmup_epochs=5), epochs=1, steps=1).tolist() == pytest.approx([0.01])


def test_only_weights_are_decayed() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2), nn.LayerNorm((2, 2)))
    model[2].weight.requires_grad_(False)
    decayed, free = split_by_decay(model)
    assert [tuple(p.shape) for p in decayed] == [(4, 3, 3, 3)]
    assert len(free) == 6
    for name in ("adam", "adamw", "sgd"):
        optimiser = build_optimiser(model, OptimiserConfig(name=name, weight_decay=0.5, lr=1e-5))  # type: ignore[arg-type]
        assert [group["weight_decay"] for group in optimiser.param_groups] == [0.5, 0.0]
        before = model[1].weight.detach().clone()
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
        weight = model[0].weight.detach().clone()
        optimiser.step()
        assert torch.equal(model[1].weight, before)
        assert (model[0].weight.abs() < weight.abs()).all()


def test_running_mean_of_weights_and_buffers() -> None:
    model = nn.BatchNorm1d(2)
    ema = Ema(model, EmaConfig(decay=0.9, ramp=5))
    mean, statistic = 1.0, 0.0
    for step in range(1, 8):
        with torch.no_grad():
            model.weight.fill_(step * 2.0)
            model.running_mean.fill_(float(step))  # type: ignore[union-attr]
            model.num_batches_tracked.fill_(step)  # type: ignore[union-attr]
        ema.update(model, step)
        decay = 0.9 * (1 - math.exp(-step / 5))
        mean = decay * mean + (1 - decay) * step * 2.0
        statistic = decay * statistic + (1 - decay) * step
    assert ema.model.weight.tolist() == pytest.approx([mean, mean])
    assert ema.model.running_mean.tolist() == pytest.approx([statistic, statistic])
    assert ema.model.num_batches_tracked.item() == 7
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())


def test_an_endless_stream_brings_every_picture_equally_often() -> None:
    parts = [stream(7, start, start + 3, key=(1,)) for start in range(0, 42, 3)]
    joined = np.concatenate(parts)
    assert set(Counter(joined.tolist()).values()) == {6}
    for cycle in range(6):
        assert sorted(joined[7 * cycle : 7 * cycle + 7]) == list(range(7))
    np.testing.assert_array_equal(joined, stream(7, 0, 42, key=(1,)))


def test_weights_of_sets() -> None:
    orders = [epoch_order([100, 40], [0.25, 2.0], seed=0, epoch=epoch) for epoch in range(4)]
    assert [len(order) for order in orders] == [105] * 4
    first = [order[order < 100] for order in orders]
    assert sorted(np.concatenate(first)) == list(range(100))  # a quarter in each of four epochs
    assert all(Counter(order[order >= 100].tolist()) == dict.fromkeys(range(100, 140), 2) for order in orders)
    assert orders[0].tolist() != orders[1].tolist()
    np.testing.assert_array_equal(orders[2], epoch_order([100, 40], [0.25, 2.0], seed=0, epoch=2))


@pytest.mark.parametrize(("world", "parts"), [(1, 1), (1, 4), (2, 2), (4, 1)])
def test_a_step_covers_the_same_positions_however_it_is_divided(world: int, parts: int) -> None:
    covered = [
        position
        for rank in range(world)
        for part in range(parts)
        for position in share_of_step(3, 16, rank=rank, world=world, part=part, parts=parts)
    ]
    assert covered == list(range(48, 64))


def test_seeds_depend_on_everything() -> None:
    seeds = {derive((seed, rank, step)) for seed in range(4) for rank in range(4) for step in range(4)}
    assert len(seeds) == 64
    assert all(0 <= seed < 2**63 for seed in seeds)
    seed_step(1, 0, 5)
    first = torch.rand(3)
    torch.rand(100)
    seed_step(1, 0, 5)
    assert torch.equal(torch.rand(3), first)


def test_logs_drop_what_comes_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    log = CsvLog(path, resume=0)
    for step in (1, 2, 3):
        log.write({"step": step, "loss": step / 3})
    with path.open("a") as stream:
        stream.write("4,0.")  # torn by a kill, and no line break
    again = CsvLog(path, resume=2)
    again.write({"step": 3, "loss": 9.0, "ap": 0.5})
    assert path.read_text().splitlines() == ["step,loss,ap", "1,0.333333,", "2,0.666667,", "3,9,0.5"]


def test_optimiser_state_survives_as_tensors_and_json(tmp_path: Path) -> None:
    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 1)).to(
            memory_format=torch.channels_last
        )

    def step(model: nn.Module, optimiser: torch.optim.Optimizer, seed: int) -> None:
        torch.manual_seed(seed)
        model(torch.randn(4, 3, 3, 3)).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()

    for name in ("adam", "adamw", "sgd"):
        config = OptimiserConfig(name=name)  # type: ignore[arg-type]
        model = network()
        optimiser = build_optimiser(model, config)
        step(model, optimiser, 1)
        tensors, rest = checkpoint.optimiser_state(optimiser)
        checkpoint.save(
            tmp_path / "one", {**tensors, **checkpoint.with_prefix("m", model.state_dict())}, {"o": rest}
        )
        step(model, optimiser, 2)
        loaded, state = checkpoint.load(tmp_path / "one")
        other = network()
        other.load_state_dict(checkpoint.part("m", loaded))
        other_optimiser = build_optimiser(other, config)
        kept = {key: value for key, value in loaded.items() if not key.startswith("m.")}
        checkpoint.load_optimiser(other_optimiser, kept, state["o"])
        step(other, other_optimiser, 2)
        for a, b in zip(model.parameters(), other.parameters(), strict=True):
            assert torch.equal(a, b)


def test_best_and_patience() -> None:
    best = Best(larger_is_better=False)
    offers = [best.offer(value, epoch) for epoch, value in enumerate([3.0, 2.0, math.nan, 2.0, 1.0])]
    assert offers == [True, True, False, False, True]
    assert not best.is_over(6, 3)
    assert best.is_over(7, 3)
    assert not best.is_over(100, None)


def test_half_precision_scales_its_gradients() -> None:
    assert Precision("fp16", torch.device("cpu")).scaler.is_enabled()
    for name in ("fp32", "bf16"):
        precision = Precision(name, torch.device("cpu"))
        assert not precision.scaler.is_enabled()
        with precision.autocast():
            product = torch.ones(2, 2) @ torch.ones(2, 2)
        assert product.dtype == (torch.bfloat16 if name == "bf16" else torch.float32)


def test_a_batch_divides_into_its_parts() -> None:
    with pytest.raises(ValueError, match="batch 10 does not divide into 4 parts"):
        TrainingConfig(batch=10, accumulate=4)


def test_the_environment_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    assert from_environment().is_main
    for name, value in (("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    group = from_environment()
    assert (group.rank, group.size, group.local_rank, group.is_main) == (3, 4, 1, False)


@pytest.mark.parametrize(("size", "batch", "world"), [(10, 4, 1), (10, 3, 3), (2, 8, 4), (0, 8, 2)])
def test_processes_measure_each_position_once(size: int, batch: int, world: int) -> None:
    shares = [
        share for rank in range(world) for share in shares_of_whole(size, batch, rank=rank, world=world)
    ]
    assert [position for share in shares for position in share] == list(range(size))
    assert all(0 < len(share) <= batch for share in shares)
