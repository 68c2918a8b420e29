"""Rendered samples per second of one process, and where the time goes.

python benchmarks/synth_rate.py [--samples 60] [--renderer numpy] [--set width=640 ...]
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from whim.config import load_config
from whim.synth.backgrounds import background
from whim.synth.compose import random_light, random_scene
from whim.synth.config import SynthConfig
from whim.synth.dataset import SynthDataset, shared_renderer
from whim.synth.degrade import degrade
from whim.synth.draw import draw, truths


def main() -> None:
    """Print milliseconds per stage and samples per second."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    config = load_config(SynthConfig, None, options.set)
    renderer = shared_renderer(config.renderer)
    dataset = SynthDataset(config, seed=0)
    dataset[0]
    stages: dict[str, list[float]] = {
        name: [] for name in ("scene", "render", "background", "degrade", "truth", "sample")
    }

    def timed(name: str, function, *arguments):  # type: ignore[no-untyped-def]
        started = time.perf_counter()
        result = function(*arguments)
        stages[name].append(time.perf_counter() - started)
        return result

    for index in range(1, options.samples + 1):
        timed("sample", dataset.__getitem__, index)
        rng = np.random.default_rng((0, index))
        scene = timed("scene", random_scene, rng, config)
        rendered = timed("render", draw, renderer, scene, random_light(rng), config.supersample)
        behind = timed("background", background, rng, scene.view.width, scene.view.height)
        timed("degrade", degrade, rng, rendered.over(behind), config.degrade)
        timed("truth", truths, scene, rendered)
    print(
        f"{config.width}x{config.height}, renderer {renderer.device}, {options.samples} samples, one process"
    )
    for name, seconds in stages.items():
        print(
            f"{name:12} {1e3 * statistics.median(seconds):6.1f} ms median, {1e3 * statistics.mean(seconds):6.1f} mean"
        )
    print(f"{1 / statistics.mean(stages['sample']):.1f} samples/s")


if __name__ == "__main__":
    main()
