"""Scenes that move: one person, smooth poses, a camera held by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from whim.hands.model import Floats
from whim.render.types import Light, Rendered, Renderer
from whim.synth.body import JOINTS
from whim.synth.compose import apart, look, random_light, random_view
from whim.synth.config import SynthConfig
from whim.synth.draw import draw
from whim.synth.people import Character, add_figure, figure, random_character
from whim.synth.poses import PersonPose, person_pose, smooth
from whim.synth.scene import Scene
from whim.synth.truth import View

KEY_S = 1.3
"""Seconds from one key pose to the next."""
SHUTTER = 0.5
"""Share of the time between frames in which light falls on the film."""
_TRIES = 8
_CHECKS_PER_S = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Sequence:
    """A shot: everything is a function of time."""

    view: View
    character: Character
    light: Light
    times: Floats
    """(K,) seconds of the keys."""
    poses: Floats
    """(K, D) ``PersonPose.vector`` of the keys."""
    cameras: Floats
    """(K, 7) yaw, pitch, roll in degrees, distance, and the place looked at."""

    def scene(self, time: float) -> Scene:
        """The scene at one time."""
        at = np.array([time])
        pose = PersonPose.from_vector(smooth(self.poses, self.times, at)[0])
        yaw, pitch, roll, distance, *target = smooth(self.cameras, self.times, at)[0]
        rotation, translation = look(np.array(target), yaw, pitch, roll, distance)
        scene = Scene(view=self.view)
        placed = figure(self.character, pose).moved(rotation, translation)
        add_figure(scene, self.character, placed)
        return scene

    def render(
        self, renderer: Renderer, time: float, interval: float, samples: int
    ) -> tuple[Scene, Rendered]:
        """The scene at ``time`` and its picture, smeared over the open shutter.

        Truth, depth and labels are those of the middle of the exposure.
        """
        middle = self.scene(time)
        sharp = draw(renderer, middle, self.light, 1)
        if samples < 2:
            return middle, sharp
        offsets = (np.arange(samples) / (samples - 1) - 0.5) * SHUTTER * interval
        parts = [
            sharp if offset == 0.0 else draw(renderer, self.scene(time + offset), self.light, 1)
            for offset in offsets
        ]
        return middle, replace(
            sharp,
            colour=np.mean([part.colour for part in parts], axis=0, dtype=np.float32),
            alpha=np.mean([part.alpha for part in parts], axis=0, dtype=np.float32),
        )


def random_sequence(rng: np.random.Generator, config: SynthConfig, seconds: float) -> Sequence:
    """A shot of ``seconds``, mostly of a person from the front, in which hands do not run through each other."""
    view = random_view(rng, config, fov=(35.0, 65.0))
    character = random_character(rng)
    seated = bool(rng.random() < 0.25)
    keys = max(2, int(np.ceil(seconds / KEY_S)) + 1)
    times = np.linspace(0.0, seconds, keys)
    best: tuple[int, Floats] | None = None
    for _ in range(_TRIES):
        first = person_pose(rng, seated=seated)
        poses = np.stack(
            [replace(person_pose(rng, seated=seated), legs=first.legs).vector() for _ in range(keys)]
        )
        checks = np.linspace(0.0, seconds, max(2, int(seconds * _CHECKS_PER_S)))
        clashes = sum(
            not apart(figure(character, PersonPose.from_vector(vector)))
            for vector in smooth(poses, times, checks)
        )
        if best is None or clashes < best[0]:
            best = clashes, poses
        if clashes == 0:
            break
    assert best is not None
    height = rng.uniform(0.75, 1.3)
    still = figure(character, PersonPose.from_vector(best[1][0]))
    target = still.body.joints[JOINTS.index("chest")] + np.array([0.0, 0.12, 0.1])
    centre = np.array([rng.normal(0, 20), rng.normal(0, 6), 0.0, height * view.focal / view.height, *target])
    shake = rng.normal(size=(keys, 7)) * (4.0, 2.0, 1.5, 0.04, 0.02, 0.02, 0.0)
    return Sequence(
        view=view,
        character=character,
        light=random_light(rng),
        times=times,
        poses=best[1],
        cameras=centre + shake,
    )


def frame_times(seconds: float, fps: float) -> Iterator[float]:
    """Times of the frames of a shot."""
    for number in range(round(seconds * fps)):
        yield number / fps
