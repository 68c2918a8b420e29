"""Crops per second, and milliseconds of a training step, of the reconstructor beside a plain version of it.

    python benchmarks/reconstructor_speed.py --configs tiny small --batch 8 [--compile] [--threads 2] [--rounds 7]
    python benchmarks/reconstructor_speed.py --configs small full --batch 32 --device cuda --compile

Needs the extra ``train``. The plain version has the same weights in float32, not compiled, attention written out with
its N x N matrix, and the hand as two calls of ``HandLayer``, for mesh and for keypoints. Its results are compared with
ours first. All take turns within each round; medians, and the ratio of medians. Inference counts bytes in to final
hands out. A training step is crops to losses (both stages, adversarial), gradients, AdamW for both networks.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from whim.benchmark.machine import device_name
from whim.config import load_config
from whim.hands.layer import HandLayer
from whim.hands.model import HandModel
from whim.hands.open_hand import load_open_hand
from whim.reconstructor.config import LossConfig
from whim.reconstructor.inference import Inference
from whim.reconstructor.losses import Discriminator, Objective, Truth
from whim.reconstructor.network import Reconstructor, normalise
from whim.reconstructor.training.recipe import TrainReconstructorConfig
from whim.reconstructor.vit import Attention
from whim.training.precision import choose_precision

CONFIGS = Path(__file__).resolve().parents[1] / "configs/reconstructor"


class PlainAttention(Attention):
    """Likenesses, softmax, mixture, one after the other."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        batch, count, width = x.shape
        size = width // self.heads
        qkv = self.qkv(x).reshape(batch, count, 3, self.heads, size).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]
        likeness = ((query * size**-0.5) @ key.transpose(-2, -1)).softmax(dim=-1)
        return self.proj((likeness @ value).transpose(1, 2).reshape(batch, count, width))


class PlainHand(nn.Module):
    """The hand layer, asked twice."""

    def __init__(self, model: HandModel, device: str) -> None:
        super().__init__()
        self.model = model
        self.layer = HandLayer(model, device=device)

    def forward(self, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
        """As ``RightHand``."""
        given = betas, rotations[:, 1:], rotations[:, 0], torch.zeros_like(betas[:, :3])
        return self.layer.vertices(*given), self.layer.keypoints(*given)


def plain_version(network: Reconstructor, device: str) -> Reconstructor:
    """The same network with plain parts."""
    plain = copy.deepcopy(network)
    for layer in plain.modules():
        if isinstance(layer, Attention):
            layer.__class__ = PlainAttention
    plain.hand = PlainHand(network.hand.model, device)
    return plain.to(device)


def take_turns(tasks: dict[str, Callable[[], Any]], rounds: int, device: str) -> dict[str, float]:
    """Median seconds of each, after two unmeasured calls."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(-2, rounds):
        for name, task in tasks.items():
            _wait(device)
            began = time.perf_counter()
            task()
            _wait(device)
            if number >= 0:
                times[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def inference(network: Reconstructor, options: argparse.Namespace) -> None:
    """Table of crops per second."""
    side, batch, device = network.config.crop, options.batch, options.device
    crops = torch.randint(0, 256, (batch, side, side, 3), dtype=torch.uint8)
    plain = plain_version(network, device).eval()

    def plain_run() -> Any:
        with torch.no_grad():
            return plain(normalise(crops.to(device))).final

    variants: dict[str, Any] = {}
    for precision in dict.fromkeys(("fp32", options.precision)):
        for compiled in (False, True) if options.compile else (False,):
            name = f"{precision}{', compiled' if compiled else ''}"
            variants[name] = Inference(
                copy.deepcopy(network), device=device, precision=precision, batch=batch, compiled=compiled
            )
    expected = plain_run().vertices
    errors = {}
    for name, run in variants.items():
        errors[name] = 1000 * float((run(crops).vertices - expected).norm(dim=-1).mean())
    tasks = {"plain": plain_run, **{name: lambda run=run: run(crops) for name, run in variants.items()}}
    medians = take_turns(tasks, options.rounds, device)
    for name, seconds in medians.items():
        error = f"{errors[name]:.4f}" if name in errors else "-"
        print(
            f"| inference | {name} | {batch / seconds:.1f} crops/s | {1000 * seconds:.1f} ms "
            f"| {medians['plain'] / seconds:.2f} | {error} |"
        )


def training_step(
    network: Reconstructor, options: argparse.Namespace, *, precision: str, compiled: bool, fused: bool
) -> Callable[[], None]:
    """One step of both optimisers on random crops and labels."""
    device, batch, side = options.device, options.batch, network.config.crop
    network = network.to(device).train()
    discriminator, objective = Discriminator().to(device), Objective(LossConfig())
    truth = _random_truth(network, batch).to(device)
    pictures = torch.randn(batch, 3, side, side, device=device)
    first, second = (
        torch.optim.AdamW(m.parameters(), lr=1e-5, weight_decay=1e-4, fused=fused)
        for m in (network, discriminator)
    )
    run = torch.compile(network, fullgraph=True, dynamic=False) if compiled else network

    def step() -> None:
        first.zero_grad()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16"):
            result = run(pictures)
            loss = objective(result, truth)[0] + objective.adversarial(discriminator, result.final)
        loss.backward()
        first.step()
        second.zero_grad()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16"):
            fake = objective.discriminator(discriminator, result.final, truth.rotations[:, 1:], truth.betas)
        fake.backward()
        second.step()

    return step


def training(network: Reconstructor, options: argparse.Namespace) -> None:
    """Table of training steps."""
    tasks = {
        "plain": training_step(
            plain_version(network, options.device), options, precision="fp32", compiled=False, fused=False
        )
    }
    for precision in dict.fromkeys(("fp32", options.precision)):
        for compiled in (False, True) if options.compile else (False,):
            tasks[f"{precision}{', compiled' if compiled else ''}"] = training_step(
                copy.deepcopy(network), options, precision=precision, compiled=compiled, fused=True
            )
    medians = take_turns(tasks, options.rounds, options.device)
    for name, seconds in medians.items():
        print(
            f"| training step | {name} | {options.batch / seconds:.1f} crops/s | {1000 * seconds:.1f} ms "
            f"| {medians['plain'] / seconds:.2f} | - |"
        )


def _random_truth(network: Reconstructor, batch: int) -> Truth:
    """Labels of random hands, all known."""
    rotations, _ = torch.linalg.qr(torch.randn(batch, 16, 3, 3))
    betas = torch.randn(batch, 10)
    layer = HandLayer(network.hand.model)
    given = betas, rotations[:, 1:], rotations[:, 0], torch.zeros(batch, 3)
    ones = torch.ones(batch)
    return Truth(
        keypoints_2d=0.2 * torch.randn(batch, 21, 2),
        keypoints_2d_valid=torch.ones(batch, 21),
        keypoints_3d=layer.keypoints(*given),
        keypoints_3d_valid=torch.ones(batch, 21),
        vertices=layer.vertices(*given),
        vertices_valid=ones,
        rotations=rotations,
        global_orient_valid=ones,
        hand_pose_valid=ones,
        betas=betas,
        betas_valid=ones,
    )


def network_of(name: str) -> Reconstructor:
    """The network of ``configs/reconstructor/NAME.yaml`` with random weights."""
    torch.manual_seed(0)
    config = load_config(TrainReconstructorConfig, CONFIGS / f"{name}.yaml")
    return Reconstructor(config.network, load_open_hand()).eval()


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--configs", nargs="+", default=["tiny", "small"], metavar="NAME")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--only", choices=["inference", "training"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.precision = choose_precision(options.precision, torch.device(options.device))
    print(
        f"torch {torch.__version__}, {device_name(torch.device(options.device))}; {options.threads} threads, "
        f"batch {options.batch}, {options.rounds} rounds\n"
    )
    for config in options.configs:
        print(f"### {config}\n")
        print("| what | how | speed | time | times plain | mesh differs by mm (untrained) |")
        print("|---|---|---|---|---|---|")
        if options.only != "training":
            inference(network_of(config), options)
        if options.only != "inference":
            training(network_of(config), options)
        print()


if __name__ == "__main__":
    main()
