"""Two processes train what one would."""

from __future__ import annotations

import socket
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import torch
from training.tiny_task import TinyTask, tiny_config, train, train_as_rank

from whim.errors import UsageError
from whim.training import checkpoint
from whim.training.config import OptimiserConfig
from whim.training.distributed import Group
from whim.training.loop import fit
from whim.training.run import CHECKPOINT


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_two_processes_with_gloo(children: ForkServerContext, tmp_path: Path) -> None:
    # Two processes with one part each see the micro-batches that one process sees as two parts. Statistics of batch
    # norm come from the main process's half alone, so weights agree but for them: SGD keeps that small.
    options = {"epochs": 1, "dropout": 0.0, "optimiser": OptimiserConfig(name="sgd", lr=0.01)}
    port = free_port()
    ranks = [
        children.Process(
            target=train_as_rank, args=(rank, 2, port, tmp_path / "two", {**options, "accumulate": 1})
        )
        for rank in range(2)
    ]
    for child in ranks:
        child.start()
    for child in ranks:
        child.join(60)
        assert child.exitcode == 0
    assert train(tmp_path / "one", **options).ended == "epochs"  # type: ignore[arg-type]
    two, state = checkpoint.load(tmp_path / "two" / CHECKPOINT)
    one, other = checkpoint.load(tmp_path / "one" / CHECKPOINT)
    assert state["standing"]["step"] == other["standing"]["step"] == 6
    weights = [name for name in one if name.startswith("model.") and name.endswith(("weight", "bias"))]
    assert len(weights) >= 6
    for name in weights:
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-6)


def test_a_batch_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="batch 8 does not divide by 3 processes x 2 parts"):
        fit(TinyTask(), tiny_config(), tmp_path, group=Group(size=3), device=torch.device("cpu"))
