"""Sizes of the detector, and milliseconds per picture and per training step on this machine's CPU or GPU.

    python benchmarks/detector_latency.py [--scales n s m] [--size 640] [--rounds 20] [--skip onnx openvino training]

All ways of running one network take turns within each round; medians and the ratio to plain eager float32. Beside them
stand the figures that were measured for this family of networks on a machine of two cores (AVX-512, AMX-bf16), when it
was idle: they compare only with a machine like it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from whim.benchmark.machine import device_name
from whim.detector.checkpoint import save_detector
from whim.detector.config import DetectorConfig, NetworkConfig
from whim.detector.export import export_onnx, export_openvino
from whim.detector.losses.loss import detector_loss
from whim.detector.network.detector import Detector
from whim.detector.targets import HandTargets

PARAMETERS = {"n": 3_385_269, "s": 11_764_421, "m": 26_630_677}
KNOWN_MS = {  # medians
    "eager": {"n": 87, "s": 192, "m": 484},
    "channels last": {"n": 69, "s": 155, "m": 402},
    "channels last, bf16": {"n": 35, "s": 62, "m": 135},
    "ONNX Runtime": {"n": 51, "s": 134, "m": 326},
    "OpenVINO": {"n": 43, "s": 116, "m": 298},
    "training step, batch 4": {"n": 1010, "s": 2350, "m": 5400},
}


def main() -> None:
    """Print a table per scale."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scales", nargs="+", default=["n", "s", "m"], choices=["n", "s", "m"])
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--skip", nargs="*", default=["openvino"], choices=["onnx", "openvino", "training"])
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(
        f"{device_name(device)}; {torch.get_num_threads()} threads; {options.size} x {options.size}, batch 1; "
        f"torch {torch.__version__}"
    )
    for scale in options.scales:
        with tempfile.TemporaryDirectory() as folder:
            ways = (
                on_gpu(scale, options.size)
                if torch.cuda.is_available()
                else on_cpu(scale, options, Path(folder))
            )
            measure(scale, ways, options.rounds)


def measure(scale: str, ways: dict[str, Callable[[], object]], rounds: int) -> None:
    """Alternate the ways and print medians."""
    model = Detector(NetworkConfig(scale=scale))  # type: ignore[arg-type]
    count = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"\n{scale}: {count:,} parameters (known: {PARAMETERS[scale]:,}), {2 * count / 1e6:.1f} MB in half precision"
    )
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 2):
        for name, run in ways.items():
            if name.startswith("training") and number > max(3, rounds // 5):
                continue
            started = time.perf_counter()
            run()
            if number >= 2:
                times[name].append(1e3 * (time.perf_counter() - started))
    base = statistics.median(times["eager"])
    for name, values in times.items():
        median = statistics.median(values)
        known = KNOWN_MS.get(name, {}).get(scale)
        print(
            f"  {name:24} {median:8.1f} ms median, {min(values):8.1f} least, {base / median:5.2f} x eager"
            + (f"; known {known} ms" if known else "")
        )


def on_cpu(scale: str, options: argparse.Namespace, folder: Path) -> dict[str, Callable[[], object]]:
    """Ways of running it on the CPU."""
    config = DetectorConfig(network=NetworkConfig(scale=scale))  # type: ignore[arg-type]
    model = Detector(config.network).eval()
    last = Detector(config.network).eval().to(memory_format=torch.channels_last)
    picture = torch.rand(1, 3, options.size, options.size)
    picture_last = picture.contiguous(memory_format=torch.channels_last)

    def half() -> object:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            return last(picture_last)

    def plain(network: Detector, x: torch.Tensor) -> Callable[[], object]:
        def run() -> object:
            with torch.inference_mode():
                return network(x)

        return run

    ways: dict[str, Callable[[], object]] = {
        "eager": plain(model, picture),
        "channels last": plain(last, picture_last),
        "channels last, bf16": half,
    }
    if "onnx" not in options.skip:
        import onnxruntime

        save_detector(folder / "w.safetensors", model, config, {})
        export_onnx(folder / "w.safetensors", folder / "w.onnx", height=options.size, width=options.size)
        session = onnxruntime.InferenceSession(str(folder / "w.onnx"), providers=["CPUExecutionProvider"])
        array = picture.numpy()
        ways["ONNX Runtime"] = lambda: session.run(None, {"pictures": array})
        if "openvino" not in options.skip:
            import openvino

            export_openvino(folder / "w.onnx", folder / "w.xml")
            compiled = openvino.compile_model(str(folder / "w.xml"), "CPU")
            ways["OpenVINO"] = lambda: compiled([array])
    if "training" not in options.skip:
        ways["training step, batch 4"] = training_step(config, options.size, "cpu")
    return ways


def on_gpu(scale: str, size: int) -> dict[str, Callable[[], object]]:
    """Ways of running it on the GPU; each waits for the device."""
    config = DetectorConfig(network=NetworkConfig(scale=scale))  # type: ignore[arg-type]
    model = Detector(config.network).eval().cuda()
    last = Detector(config.network).eval().cuda().to(memory_format=torch.channels_last)
    compiled = torch.compile(last, mode="reduce-overhead")
    picture = torch.rand(1, 3, size, size, device="cuda")
    picture_last = picture.contiguous(memory_format=torch.channels_last)

    def run(network: torch.nn.Module, x: torch.Tensor, half: bool) -> Callable[[], object]:
        def call() -> object:
            with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16, enabled=half):
                result = network(x)
            torch.cuda.synchronize()
            return result

        return call

    return {
        "eager": run(model, picture, half=False),
        "channels last": run(last, picture_last, half=False),
        "channels last, bf16": run(last, picture_last, half=True),
        "compiled, CUDA graphs": run(compiled, picture_last, half=True),
        "training step, batch 4": training_step(config, size, "cuda"),
    }


def training_step(config: DetectorConfig, size: int, device: str) -> Callable[[], object]:
    """Forward, loss, backward, step on four pictures with three hands each."""
    rng = np.random.default_rng(0)
    model = Detector(config.network).to(device)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    pictures = torch.rand(4, 3, size, size, device=device)
    low = torch.tensor(rng.uniform(0, 0.7 * size, (12, 2)), dtype=torch.float32)
    extent = torch.tensor(rng.uniform(20, 0.25 * size, (12, 2)), dtype=torch.float32)
    targets = HandTargets(
        boxes=torch.cat([low, low + extent], 1),
        side=torch.arange(12) % 2,
        keypoints=low[:, None] + torch.rand(12, 21, 2) * extent[:, None],
        visibility=torch.full((12, 21), 2),
        image_index=torch.arange(12) // 3,
    ).to(torch.device(device))

    def step() -> object:
        loss, _ = detector_loss(model(pictures), targets, config)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if device == "cuda":
            torch.cuda.synchronize()
        return loss

    return step


if __name__ == "__main__":
    main()
