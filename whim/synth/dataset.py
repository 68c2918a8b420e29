"""Rendered samples on the fly: each is a pure function of seed and number."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from whim.render.choose import Backend, open_renderer
from whim.render.types import Renderer
from whim.shards.rows import Row
from whim.sources.video.hashing import difference_hash
from whim.synth.backgrounds import Image, background, find_pictures
from whim.synth.compose import random_light, random_scene
from whim.synth.config import SynthConfig
from whim.synth.degrade import degrade
from whim.synth.draw import draw, truths
from whim.synth.truth import scene_row

GROUP = 1000
"""So many samples share a ``video_id``; splits never cut through one."""


class SynthDataset:
    """A map from numbers to samples, endless, for training without files.

    Sample ``i`` is the same in every process and on every machine with the same renderer. Nothing is kept
    between samples, so a loader's workers may take them in any order.
    """

    def __init__(self, config: SynthConfig, *, seed: int, split: str = "train") -> None:
        """Raises: UsageError: the folder of backgrounds holds no pictures."""
        self.config = config
        self.seed = seed
        self.split = split
        self.backgrounds = find_pictures(Path(config.backgrounds)) if config.backgrounds else ()

    def __getitem__(self, index: int) -> tuple[Image, Row]:
        """Picture (H, W, 3) RGB and its label row."""
        rng = np.random.default_rng((self.seed, index))
        scene = random_scene(rng, self.config)
        rendered = draw(
            shared_renderer(self.config.renderer), scene, random_light(rng), self.config.supersample
        )
        behind = background(rng, scene.view.width, scene.view.height, self.backgrounds)
        picture = degrade(rng, rendered.over(behind), self.config.degrade)
        hands, people = truths(scene, rendered)
        return picture, scene_row(
            video_id=f"synth-{self.seed}-{index // GROUP:05d}",
            split=self.split,
            frame_index=index % GROUP,
            time_s=float(index % GROUP),
            picture_hash=difference_hash(picture),
            view=scene.view,
            hands=hands,
            people=people,
        )

    def __iter__(self) -> Iterator[tuple[Image, Row]]:
        """Samples 0, 1, 2 and so on, without end."""
        index = 0
        while True:
            yield self[index]
            index += 1


@lru_cache(maxsize=3)
def shared_renderer(name: Backend) -> Renderer:
    """One renderer per process."""
    return open_renderer(name)
