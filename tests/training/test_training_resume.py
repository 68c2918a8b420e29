"""Killing a run at any moment changes nothing in its result."""

from __future__ import annotations

import csv
import os
import signal
import time
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training.tiny_task import train, train_in_child

from whim.errors import BadFileError, UsageError, WhimError
from whim.training import checkpoint
from whim.training.config import OptimiserConfig
from whim.training.run import CHECKPOINT

MICRO_BATCHES = 4 * 6 * 2
"""Of an undisturbed run: epochs x steps x parts."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert train(folder).ended == "epochs"
    return folder


def start(context: ForkServerContext, folder: Path, **options: Any) -> tuple[BaseProcess, Any]:
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=train_in_child, args=(folder, {"beat": theirs, **options}))
    child.start()
    theirs.close()
    return child, ours


def count(pipe: Any, limit: int) -> int:
    """Wait for ``limit`` micro-batches, or for the end of the child; returns how many came."""
    for number in range(limit):
        try:
            pipe.recv()
        except EOFError:
            return number
    return limit


def assert_same_run(folder: Path, wanted: Path) -> None:
    tensors, state = checkpoint.load(folder / CHECKPOINT)
    others, other_state = checkpoint.load(wanted / CHECKPOINT)
    assert tensors.keys() == others.keys()
    assert any(name.startswith("ema.") for name in tensors)
    assert any(name.endswith("exp_avg") for name in tensors)
    for name, value in tensors.items():
        assert torch.equal(value, others[name]), name
    assert state == other_state
    assert (folder / "best.txt").read_text() == (wanted / "best.txt").read_text()
    for log in ("steps.csv", "epochs.csv"):
        assert rows(folder / log) == rows(wanted / log)


def rows(path: Path) -> list[dict[str, str]]:
    """Rows of a log without what is measured in seconds, or depends on where a mean over steps began."""
    timed = ("seconds", "pictures_per_s", "loss", "square", "norm")
    with path.open(newline="") as stream:
        return [{key: row[key] for key in row if key not in timed} for row in csv.DictReader(stream)]


def test_five_kills_at_random_steps(children: ForkServerContext, undisturbed: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(20)
    folder = tmp_path / "run"
    done = 0
    for kill in range(5):
        # Sometimes a checkpoint after each step, sometimes only at the end of an epoch; with and without workers.
        minutes, workers = (0.0, 10.0)[kill % 2], (0, 2)[kill in (1, 2)]
        child, pipe = start(children, folder, slow=0.004, workers=workers, checkpoint_minutes=minutes)
        done += count(pipe, int(rng.integers(4, 12)))
        time.sleep(float(rng.uniform(0, 0.02)))  # any place in a step: forward, update, half a checkpoint
        os.kill(child.pid, signal.SIGKILL)  # type: ignore[arg-type]
        child.join()
        assert child.exitcode == -signal.SIGKILL
    said: list[str] = []
    result = train(folder, say=said.append)
    assert result.ended == "epochs"
    assert "going on after step" in said[0]
    assert done < MICRO_BATCHES
    assert_same_run(folder, undisturbed)
    assert not list(folder.glob(".*.tmp.*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_after_the_step_with_a_checkpoint(
    children: ForkServerContext, undisturbed: Path, tmp_path: Path, number: int
) -> None:
    child, pipe = start(children, tmp_path, slow=0.01, workers=1, checkpoint_minutes=10.0)
    count(pipe, 15)
    os.killpg(child.pid, number)  # type: ignore[arg-type] # as a terminal and a scheduler do: the workers get it too
    count(pipe, MICRO_BATCHES)
    child.join()
    assert child.exitcode == 128 + number
    step = checkpoint.load(tmp_path / CHECKPOINT)[1]["standing"]["step"]
    assert 7 <= step < 24
    assert train(tmp_path).ended == "epochs"
    assert_same_run(tmp_path, undisturbed)


def test_a_second_run_in_the_same_folder_is_refused(children: ForkServerContext, tmp_path: Path) -> None:
    child, pipe = start(children, tmp_path, slow=0.05)
    count(pipe, 1)
    with pytest.raises(WhimError, match="another process trains here"):
        train(tmp_path)
    child.kill()
    child.join()


def test_a_finished_run_stays_as_it_is(undisturbed: Path) -> None:
    before = (undisturbed / CHECKPOINT).read_bytes()
    said: list[str] = []
    assert train(undisturbed, say=said.append).ended == "epochs"
    assert "finished" in said[0]
    assert (undisturbed / CHECKPOINT).read_bytes() == before


def test_another_recipe_is_refused_by_name(undisturbed: Path) -> None:
    with pytest.raises(UsageError, match=r"dropout: 0.2 then, 0.3 now"):
        train(undisturbed, dropout=0.3)


def test_a_damaged_checkpoint_is_named(undisturbed: Path, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes((undisturbed / CHECKPOINT).read_bytes()[:-40])
    with pytest.raises(BadFileError, match=CHECKPOINT):
        train(tmp_path)


def test_a_loss_that_is_no_number_stops_the_run_before_it_is_saved(tmp_path: Path) -> None:
    with pytest.raises(WhimError, match="no longer a finite number") as caught:
        train(tmp_path, optimiser=OptimiserConfig(name="sgd", lr=1e30), clip_norm=None)
    assert caught.value.code == "diverged"
    tensors = checkpoint.load(tmp_path / CHECKPOINT)[0] if (tmp_path / CHECKPOINT).exists() else {}
    assert all(torch.isfinite(value).all() for value in tensors.values())


def test_early_stopping_and_the_best_epoch(tmp_path: Path) -> None:
    result = train(tmp_path, epochs=40, patience=1, optimiser=OptimiserConfig(lr=0.2))
    assert result.ended == "patience"
    assert result.epoch == result.best_epoch + 1
    epochs = rows(tmp_path / "epochs.csv")
    errors = [float(row["error"]) for row in epochs]
    assert result.best_epoch == 1 + errors.index(min(errors))
