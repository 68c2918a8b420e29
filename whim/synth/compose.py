"""Random scenes: who is there, what they do, where the camera is, what stands in the way, and the light."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from whim.conventions import Side
from whim.hands.model import Floats
from whim.render.types import Light
from whim.synth.body import JOINTS
from whim.synth.config import SynthConfig
from whim.synth.looks import ball, box, cloth, cylinder
from whim.synth.people import SIDES, Character, Figure, add_figure, figure, random_character
from whim.synth.poses import PersonPose, hand_angles, person_pose
from whim.synth.scene import Part, Scene
from whim.synth.truth import View

# From the body's axes (x to its left, y up, z forward) to those of a camera that it faces.
FACING = np.diag([1.0, -1.0, -1.0])

LEAST_GAP_M = 0.012
"""Joints of two hands are no nearer than this: a finger is about so thick, hands do not run through each other."""
_TRIES = 12


def random_scene(rng: np.random.Generator, config: SynthConfig) -> Scene:
    """One scene of a kind drawn by the weights of ``config``."""
    kinds = {
        _people: config.people,
        _arms: config.arms,
        _first_person: config.first_person,
        _interacting: config.interacting,
    }
    shares = np.array(list(kinds.values()))
    if rng.random() < config.empty or shares.sum() == 0:
        return Scene(view=random_view(rng, config))
    scene = list(kinds)[rng.choice(len(kinds), p=shares / shares.sum())](rng, config)
    if rng.random() < config.occluders and scene.hands:
        add_occluders(rng, scene)
    return scene


def random_view(
    rng: np.random.Generator, config: SynthConfig, *, fov: tuple[float, float] = (35.0, 80.0)
) -> View:
    """A camera whose longer side sees between ``fov`` degrees; a quarter of them stand upright."""
    width, height = config.width, config.height
    if rng.random() < 0.25:
        width, height = height, width
    focal = 0.5 * max(width, height) / np.tan(np.radians(rng.uniform(*fov)) / 2)
    return View(focal=float(focal), center=(width / 2, height / 2), width=width, height=height)


def random_light(rng: np.random.Generator) -> Light:
    """One to three lights of a common tint, soft or hard, and light from above and below."""
    tint = np.clip(rng.normal(1.0, 0.08, 3), 0.7, 1.3)
    count = int(rng.integers(1, 4))
    towards = rng.normal(size=(count, 3)) * (1.0, 0.7, 0.6) + (0.0, -0.6, -0.7)
    strengths = rng.dirichlet(np.ones(count)) * rng.uniform(0.5, 1.1)
    sky = rng.uniform(0.2, 0.6) * tint
    return Light(
        towards=[tuple(v) for v in towards.tolist()],
        strengths=[tuple((s * tint).tolist()) for s in strengths],
        sky=tuple(sky.tolist()),
        ground=tuple((sky * rng.uniform(0.4, 0.95)).tolist()),
        wrap=float(rng.uniform(0.1, 0.5)),
        specular=float(rng.uniform(0.0, 0.2)),
        shininess=float(rng.uniform(8, 40)),
    )


def apart(a: Figure) -> bool:
    """Whether the two hands of a figure do not run through each other, nor through its head."""
    left, right = a.joints
    if np.linalg.norm(left[:, None] - right[None], axis=2).min() < LEAST_GAP_M:
        return False
    head = a.body.joints[JOINTS.index("head")] + np.array([0.0, 0.06, 0.04])
    return bool(np.linalg.norm(a.joints.reshape(-1, 3) - head, axis=1).min() > 0.1)


def sample_figure(
    rng: np.random.Generator, character: Character, pose: PersonPose | None = None, *, seated: bool = False
) -> Figure:
    """A figure whose hands are apart; the last of some tries when none is."""
    placed = figure(character, pose or person_pose(rng, seated=seated))
    for _ in range(_TRIES):
        if apart(placed):
            break
        placed = figure(character, person_pose(rng, seated=seated))
    return placed


def look(target: Floats, yaw: float, pitch: float, roll: float, distance: float) -> tuple[Floats, Floats]:
    """Rotation (3, 3) and translation (3,) from the body to a camera that sees ``target`` ``distance`` away.

    Angles in degrees: 0, 0, 0 is from the front, upright.
    """
    turn = (Rotation.from_euler("zxy", [roll, pitch, yaw], degrees=True)).as_matrix()
    rotation = turn @ FACING
    return rotation, np.array([0.0, 0.0, distance]) - rotation @ target


def _people(rng: np.random.Generator, config: SynthConfig) -> Scene:
    """One to three whole persons."""
    scene = Scene(view=random_view(rng, config))
    view = scene.view
    height = rng.choice([0.8, 1.2, 1.6, 2.3], p=[0.3, 0.3, 0.2, 0.2]) * rng.uniform(
        0.9, 1.15
    )  # metres in the picture
    distance = float(np.clip(height * view.focal / view.height, 0.6, 7.0))
    count = int(rng.choice([1, 2, 3], p=[0.6, 0.28, 0.12]))
    yaw = rng.normal(0.0, 30.0) if rng.random() < 0.85 else rng.uniform(-180, 180)
    pitch, roll = rng.normal(0.0, 10.0), rng.normal(0.0, 4.0)
    for number in range(count):
        character = random_character(rng)
        placed = sample_figure(rng, character, seated=bool(rng.random() < 0.25))
        middle = placed.body.joints[JOINTS.index("chest" if height < 1.8 else "pelvis")] + (0.0, 0.1, 0.0)
        rotation, translation = look(middle, yaw + rng.normal(0, 25) * (number > 0), pitch, roll, distance)
        side = 0.0 if number == 0 else (1 if number % 2 else -1) * rng.uniform(0.55, 0.9)
        offset = np.array(
            [side + rng.normal(0, 0.08), rng.normal(0, 0.08), rng.uniform(-0.2, 0.6) * (number > 0)]
        )
        add_figure(scene, character, placed.moved(rotation, translation + offset))
    return scene


def _arms(rng: np.random.Generator, config: SynthConfig) -> Scene:
    """One or two arms of one person, from any direction, at the wanted size."""
    sides = SIDES if rng.random() < 0.35 else (SIDES[rng.integers(2)],)
    return _around_hands(rng, config, sides, person_pose(rng, seated=False), whole=bool(rng.random() < 0.3))


def _interacting(rng: np.random.Generator, config: SynthConfig) -> Scene:
    """Two hands close together; often with their person."""
    pose = person_pose(rng, seated=False)
    middle = rng.uniform((-0.37, -0.5, 0.45), (-0.3, 0.1, 0.7))
    wrists = middle + rng.normal(0.0, (0.05, 0.05, 0.04), (2, 3))
    return _around_hands(
        rng, config, SIDES, replace(pose, wrists=wrists), whole=bool(rng.random() < 0.4), front=True
    )


def _around_hands(
    rng: np.random.Generator,
    config: SynthConfig,
    sides: tuple[Side, ...],
    pose: PersonPose,
    *,
    whole: bool = False,
    front: bool = False,
) -> Scene:
    scene = Scene(view=random_view(rng, config))
    view = scene.view
    character = random_character(rng)
    placed = figure(character, pose)
    for _ in range(_TRIES):
        if len(sides) == 1 or apart(placed):
            break
        pose = replace(
            pose,
            wrists=pose.wrists + rng.normal(0.0, 0.02, (2, 3)) + np.array([[0.012, 0, 0]] * 2),
            hands=np.stack([hand_angles(rng), hand_angles(rng)]),
        )
        placed = figure(character, pose)
    joints = placed.joints[list(sides)].reshape(-1, 3)
    target = 0.5 * (joints.min(axis=0) + joints.max(axis=0))
    low, high = np.log(config.hand_pixels)
    pixels = np.exp(rng.uniform(low, high)) * min(view.width, view.height)
    distance = float(np.clip(view.focal * 0.18 / pixels, 0.18, 4.0))
    if front:
        yaw, pitch, roll = rng.normal(0, 45), rng.normal(0, 25), rng.normal(0, 12)
    else:
        # Any direction, and mostly upright: pictures are.
        yaw, pitch = rng.uniform(-180, 180), np.degrees(np.arcsin(rng.uniform(-0.9, 0.9)))
        roll = rng.normal(0, 15) if rng.random() < 0.7 else rng.uniform(-180, 180)
    rotation, translation = look(target, yaw, pitch, roll, distance)
    room = 0.5 * np.array([view.width, view.height]) - 0.45 * pixels
    shift = rng.uniform(-1, 1, 2) * np.maximum(room, 0.05 * view.width) * distance / view.focal
    translation = translation + np.append(shift, 0.0)
    add_figure(scene, character, placed.moved(rotation, translation), sides=sides, arms_only=not whole)
    return scene


def _first_person(rng: np.random.Generator, config: SynthConfig) -> Scene:
    """What the person sees of its own arms."""
    scene = Scene(view=random_view(rng, config, fov=(60.0, 100.0)))
    character = random_character(rng)
    pose = person_pose(rng, seated=False)
    wrists = rng.uniform((-0.25, -0.5, 0.45), (0.25, 0.0, 0.85), (2, 3))
    placed = sample_figure(rng, character, replace(pose, wrists=wrists))
    eye = placed.body.joints[JOINTS.index("head")] + np.array([0.0, 0.08, 0.13])
    sides = SIDES if rng.random() < 0.7 else (SIDES[rng.integers(2)],)
    goal = placed.joints[list(sides)].reshape(-1, 3).mean(axis=0) + rng.normal(0, 0.06, 3)
    z = goal - eye
    z /= np.linalg.norm(z)
    x = np.cross(z, np.array([0.0, 1.0, 0.0]) + rng.normal(0, 0.08, 3))
    x /= np.linalg.norm(x)
    rotation = np.stack([x, np.cross(z, x), z])
    add_figure(scene, character, placed.moved(rotation, -rotation @ eye), sides=sides, arms_only=True)
    return scene


def add_occluders(rng: np.random.Generator, scene: Scene) -> None:
    """Up to three things in front of hands, or in them."""
    for _ in range(rng.integers(1, 4)):
        hand = scene.hands[rng.integers(len(scene.hands))]
        held = rng.random() < 0.4
        vertices, faces = (box, cylinder, ball)[rng.integers(3)]()
        size = np.exp(rng.uniform(np.log(0.015), np.log(0.07), 3)) * (1.0, 1.0, rng.uniform(1.0, 3.0))
        if held:
            # Across the palm, its surface about where the skin is.
            across = hand.joints[5] - hand.joints[17]
            normal = np.cross(hand.joints[9] - hand.joints[0], across)
            normal *= (1 if hand.side == Side.LEFT else -1) / np.linalg.norm(normal)
            size[:2] = rng.uniform(0.02, 0.05)
            centre = 0.5 * (hand.joints[9] + hand.joints[0]) + normal * (0.015 + 0.5 * size[0])
            turn, _ = Rotation.align_vectors(across[None], [[0.0, 0.0, 1.0]])
        else:
            near = hand.joints[rng.integers(21)]
            share = rng.uniform(0.55, 0.93)
            centre = near * share + rng.normal(0.0, 0.02, 3)
            turn = Rotation.random(random_state=rng)
        placed = turn.apply(vertices * size) + centre
        if placed[:, 2].min() > 0.05:
            scene.parts.append(
                Part(
                    vertices=placed,
                    faces=faces,
                    colours=np.tile(cloth(rng), (len(vertices), 1)),
                    label=scene.new_label(),
                )
            )
