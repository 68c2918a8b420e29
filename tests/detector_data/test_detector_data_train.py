"""`train`: from labels to weights without a flag, resumed exactly, with a network small enough for a test."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from detector_data.tiny_detector import build_tiny
from shards.factories import label_video

from whim.config import load_config
from whim.detector.checkpoint import load_detector
from whim.detector.data.config import AugmentConfig, SetConfig
from whim.detector.train import train
from whim.detector.training.measure import Judged, Predicted, measure
from whim.detector.training.recipe import DataConfig, TrainDetectorConfig
from whim.detector.training.smoke import write_smoke_set
from whim.errors import UsageError
from whim.training import checkpoint
from whim.training.config import EmaConfig, OptimiserConfig, ScheduleConfig, TrainingConfig
from whim.training.run import CHECKPOINT
from whim.training.summary import TrainSummary

MakeVideo = Callable[..., Path]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smoke")
    write_smoke_set(folder, count=40, size=128)
    return folder


def settings(path: Path, **changes: Any) -> TrainDetectorConfig:
    loop: dict[str, Any] = {
        "epochs": 2,
        "batch": 8,
        "workers": 0,
        "device": "cpu",
        "precision": "fp32",
        "tensorboard": False,
        "optimiser": OptimiserConfig(lr=4e-3),
        "schedule": ScheduleConfig(warmup_epochs=0.5),
        "ema": EmaConfig(decay=0.9, ramp=5),
    }
    augment = changes.pop("augment", AugmentConfig(plain_epochs=1, mosaic_pool=16))
    data = DataConfig(train=(SetConfig(path=path),), held_out=0.2)
    return TrainDetectorConfig(
        size=96, data=data, augment=augment, training=TrainingConfig(**{**loop, **changes})
    )


def run(config: TrainDetectorConfig, out: Path, **options: Any) -> TrainSummary:
    torch.set_num_threads(1)
    return train(config, out=out, build=build_tiny, say=options.pop("say", lambda text: None), **options)


def test_a_run_leaves_weights_logs_and_pictures(pictures: Path, tmp_path: Path) -> None:
    said: list[str] = []
    summary = run(settings(pictures), tmp_path, say=said.append)
    assert summary.exit_code == 0
    assert summary.to_json()["ended"] == "epochs"
    assert any("32 pictures, 8 recordings" in line for line in said)
    assert any("8 pictures, 2 recordings" in line for line in said)
    for name in ("best.safetensors", "last.safetensors", "best.json", CHECKPOINT, "config.json", "data.json"):
        assert (tmp_path / name).is_file()
    sheet = cv2.imread(str(tmp_path / "samples" / "epoch-0002.jpg"))
    assert sheet.shape == (2 * 96, 4 * 96, 3)
    with (tmp_path / "epochs.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"train_loss", "ap", "ap50", "ap_side", "side", "keypoints", "val_loss", "broken"} <= rows[
        0
    ].keys()
    held = json.loads((tmp_path / "data.json").read_text())["validation_recordings"][0]["recordings"]
    assert len(held) == 2


def test_it_learns_and_a_run_goes_on_exactly(pictures: Path, tmp_path: Path) -> None:
    """Also with loader processes, and stopped between two epochs by hand."""
    fast = OptimiserConfig(lr=0.01, weight_decay=0.0)
    whole = settings(pictures, epochs=24, validate_every=4, augment=AugmentConfig.off(), optimiser=fast)
    result = run(whole, tmp_path / "whole")
    with (tmp_path / "whole" / "epochs.csv").open() as stream:
        ap50 = [float(row["ap50"]) for row in csv.DictReader(stream) if row["ap50"]]
    assert len(ap50) == 6
    assert max(ap50) > 0.5 > 0.2 > ap50[0]
    assert result.fit.best_value > 0.2

    class StopError(Exception):
        pass

    def stop(text: str) -> None:
        if text.startswith("epoch 9/"):
            raise StopError

    with pytest.raises(StopError):
        run(whole, tmp_path / "parts", say=stop)
    workers = whole.model_copy(update={"training": whole.training.model_copy(update={"workers": 2})})
    run(workers, tmp_path / "parts")
    one, state = checkpoint.load(tmp_path / "whole" / CHECKPOINT)
    other, other_state = checkpoint.load(tmp_path / "parts" / CHECKPOINT)
    assert state == other_state
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_labels_and_videos_are_enough(tmp_path: Path, make_video: MakeVideo) -> None:
    labels = tmp_path / "labels"
    for name in "abcd":
        label_video(labels, make_video(f"videos/{name}.mp4", frames=32), split="train", step=2, count=12)
    said: list[str] = []
    run(settings(labels, epochs=1), tmp_path / "run", say=said.append)
    assert "no pixel shards yet; packing" in said[0]
    assert (tmp_path / "shards" / "train-00000.parquet").is_file()
    assert json.loads((tmp_path / "run" / "data.json").read_text())["train"][0]["pictures"] == 36


def test_other_data_is_another_recipe(pictures: Path, tmp_path: Path) -> None:
    run(settings(pictures), tmp_path / "run")
    write_smoke_set(tmp_path / "other", count=40, size=128, seed=1)
    with pytest.raises(UsageError, match=r"data_found\.train\.0\.digest"):
        run(settings(tmp_path / "other"), tmp_path / "run")


def test_broken_pictures_are_said_and_counted(pictures: Path, tmp_path: Path) -> None:
    write_smoke_set(tmp_path / "pictures", count=40, size=128)
    for number in range(0, 40, 8):
        (tmp_path / "pictures" / "images" / f"{number:04d}.jpg").write_bytes(b"\xff\xd8 torn")
    said: list[str] = []
    run(settings(tmp_path / "pictures", epochs=1), tmp_path / "run", say=said.append)
    named = [line for line in said if line.startswith("picture left out: ")]
    assert len(named) == 5
    assert all("cut short" in line for line in named)
    with (tmp_path / "run" / "epochs.csv").open() as stream:
        assert next(csv.DictReader(stream))["broken"] == "5"
    assert len((tmp_path / "run" / "broken.txt").read_text().splitlines()) == 5


def test_a_single_recording_needs_something_to_validate_on(pictures: Path, tmp_path: Path) -> None:
    tree = json.loads((pictures / "annotations.json").read_text())
    for image in tree["images"]:
        image["recording"] = "the only one"
    lonely = tmp_path / "lonely"
    lonely.mkdir()
    (lonely / "annotations.json").write_text(json.dumps(tree))
    (lonely / "images").symlink_to(pictures / "images")
    with pytest.raises(UsageError, match="a single recording cannot be split"):
        run(settings(lonely), tmp_path / "run")
    config = settings(lonely, epochs=1)
    data = DataConfig(train=config.data.train, validate_on=(SetConfig(path=pictures, limit=6),))
    assert run(config.model_copy(update={"data": data}), tmp_path / "run").exit_code == 0


def test_smoke(tmp_path: Path) -> None:
    summary = run(TrainDetectorConfig(training=TrainingConfig(tensorboard=False)), tmp_path, smoke=True)
    assert summary.fit.ended == "epochs"
    assert summary.fit.best_value > 0.2
    assert (tmp_path / "best.safetensors").is_file()


@pytest.mark.slow
def test_smoke_of_the_real_detector(tmp_path: Path) -> None:
    """A minute on a CPU: the hands of held-out pictures are found, and their sides known."""
    summary = train(TrainDetectorConfig(), out=tmp_path, smoke=True, say=lambda text: None)
    assert summary.fit.best_value > 0.3
    facts = load_detector(tmp_path / "best.safetensors")[2]
    assert facts["metrics"]["ap50"] > 0.8
    assert facts["metrics"]["side"] > 0.7


def test_settings_come_from_yaml_and_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("size: 320\ndata: {train: [{path: a, weight: 0.5}, {path: b}]}\n")
    config = load_config(
        TrainDetectorConfig, path, ["training.optimiser.lr=0.002", "augment.scale=[0.4,1.2]"]
    )
    assert (config.size, config.training.optimiser.lr, config.augment.scale) == (320, 0.002, (0.4, 1.2))
    with pytest.raises(UsageError, match="not a multiple of 32"):
        load_config(TrainDetectorConfig, None, ["size=100"])


def test_the_papers_recipe() -> None:
    """Section 7.1, number by number."""
    configs = Path(__file__).parents[2] / "configs" / "detector"
    paper = load_config(TrainDetectorConfig, configs / "paper-m.yaml")
    loop, optimiser, schedule = paper.training, paper.training.optimiser, paper.training.schedule
    assert (loop.epochs, loop.batch, loop.patience, paper.monitor) == (200, 256, 30, "val_loss")
    assert (optimiser.name, optimiser.lr, optimiser.lr * schedule.final) == (
        "adam",
        0.01,
        pytest.approx(1e-6),
    )
    assert (schedule.shape, schedule.decay_epochs) == ("linear", 30)
    loss = paper.detector.loss
    assert (loss.side, loss.dfl, loss.box, loss.keypoints, loss.keypoint_form) == (0.5, 1.5, 15, 10, "l2")
    augment = paper.augment
    assert (augment.mosaic, augment.rotation, augment.translation, augment.scale) == (
        0.7,
        60,
        0.1,
        (0.5, 1.0),
    )
    assert augment.flip == 0
    small = load_config(TrainDetectorConfig, configs / "paper-s.yaml")
    assert (paper.detector.network.scale, small.detector.network.scale) == ("m", "n")
    assert load_config(TrainDetectorConfig, configs / "default.yaml") == TrainDetectorConfig()


def predicted(boxes: list[list[float]], score: list[float], side: list[int]) -> Predicted:
    return Predicted(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        score=np.array(score, np.float32),
        side=np.array(side, np.int64),
        keypoints=np.zeros((len(boxes), 21, 2), np.float32),
    )


def test_figures_of_a_hand_made_case() -> None:
    truth = Judged(
        predicted=predicted([[0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60]], [0.9, 0.8, 0.7], [0, 0, 1]),
        boxes=np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32),
        side=np.array([0, 1]),
        keypoints=np.full((2, 21, 2), 3.0, np.float32),
        visibility=np.array([[2] * 21, [0] * 21]),
    )
    figures = measure([truth])
    assert figures["ap"] == figures["ap50"] == 1.0  # the false one comes last
    assert figures["side"] == 0.5
    assert figures["keypoints"] == pytest.approx(np.hypot(3, 3) / 10)
    # Left: one truth, found first, so 1. Right: one truth, and only a false prediction, so 0.
    assert figures["ap_side"] == 0.5
    unknown = replace(truth, side=np.array([0, -1]))
    assert np.isnan(measure([unknown])["ap_side"])
    assert measure([unknown])["side"] == 1.0
