"""Hands as meshes, colours, meshes over pictures, turntables."""

from __future__ import annotations

import numpy as np
import pytest
from render.shapes import camera, rectangle

from whim.conventions import Side
from whim.hands.mirror import mirror_pose, mirror_translation
from whim.hands.open_hand import load_open_hand
from whim.hands.pose_prior import pose_from_angles, sample_angles
from whim.render.colour import decode, encode, to_srgb
from whim.render.compose import overlay, turntable
from whim.render.hand import hand_mesh
from whim.render.software import NumpyRenderer
from whim.render.types import Camera, Light, Mesh

NUMPY = NumpyRenderer()


def hand(side: Side = Side.RIGHT) -> Mesh:
    """A hand, or its mirror image about x = 0."""
    model, rng = load_open_hand(), np.random.default_rng(1)
    pose = pose_from_angles(model, sample_angles(rng, 1))[0]
    orient, place = np.array([1.3, 0.5, 0.2]), np.array([0.06, 0.03, 0.6])
    if side == Side.LEFT:
        pose, orient, place = mirror_pose(pose), mirror_pose(orient), mirror_translation(place)
    return hand_mesh(model, np.zeros(10), pose, orient, place, side)


def volume(mesh: Mesh) -> float:
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    return float((a * np.cross(b, c)).sum() / 6.0)


def test_either_hand_is_closed_and_faces_outwards() -> None:
    for side in (Side.LEFT, Side.RIGHT):
        assert 1e-4 < volume(hand(side)) < 1e-3  # 0.1 to 1 litre


def test_the_left_hand_looks_like_the_right_one_in_a_mirror() -> None:
    """Also from inside out: with the winding of a right hand, the far side of the left one would be seen."""
    view = Camera(fx=150.0, fy=150.0, cx=49.5, cy=37.0, width=100, height=76)
    right, left = Light(towards=((0.5, -0.6, -0.6),)), Light(towards=((-0.5, -0.6, -0.6),))
    one = NUMPY.render([hand(Side.RIGHT)], view, right)
    other = NUMPY.render([hand(Side.LEFT)], view, left)
    assert one.alpha.mean() > 0.05
    np.testing.assert_allclose(one.depth, other.depth[:, ::-1], rtol=1e-6)
    np.testing.assert_allclose(one.colour, other.colour[:, ::-1], atol=1e-5)


def test_the_cap_on_the_wrist_has_its_own_normals() -> None:
    model, mesh = load_open_hand(), hand()
    cap = mesh.faces[len(model.faces) :]
    assert cap.min() >= len(model.v_template)
    assert not np.intersect1d(cap, mesh.faces[: len(model.faces)]).size


def test_an_unknown_side_is_refused() -> None:
    with pytest.raises(ValueError, match="side"):
        hand_mesh(load_open_hand(), np.zeros(10), np.zeros((15, 3)), np.zeros(3), np.zeros(3), Side.UNKNOWN)


def test_colours_survive_the_way_to_light_and_back() -> None:
    levels = np.arange(256, dtype=np.uint8)
    assert (encode(decode(levels)) == levels).all()
    light = np.linspace(-0.2, 1.3, 5001, dtype=np.float32)
    assert np.abs(encode(light) - to_srgb(light) * 255.0).max() < 0.7
    assert decode(np.array([188], dtype=np.uint8))[0] == pytest.approx(0.5029, abs=1e-4)  # by hand


def test_an_overlay_covers_what_the_mesh_covers_and_nothing_else() -> None:
    view = camera()
    picture = np.random.default_rng(0).integers(0, 256, (18, 24, 3), dtype=np.uint8)
    before = picture.copy()
    near, far = rectangle(view, 2, 2, 9, 9, 0.5, colours=(1, 0, 0)), rectangle(view, 5, 5, 15, 15, 0.6)
    one = overlay(picture, [near], view, opacity=0.6, supersample=1, renderer=NUMPY)
    both = overlay(picture, [far, near], view, opacity=0.6, supersample=1, renderer=NUMPY)
    covered = NUMPY.render([near], view).labels > 0
    assert (one[~covered] == picture[~covered]).all()
    assert (one[covered] != picture[covered]).any(axis=1).all()
    assert (both[covered] == one[covered]).all(), "the far one does not shine through the near one"
    assert (both[12, 12] != picture[12, 12]).any()
    assert (picture == before).all()
    clear = overlay(picture, [near], view, opacity=0.0, renderer=NUMPY)
    assert (clear == picture).all()
    # Solid, the picture below makes no difference.
    solid = [overlay(p, [near], view, opacity=1.0, renderer=NUMPY)[4, 4] for p in (picture, 255 - picture)]
    assert (solid[0] == solid[1]).all()


def test_half_of_white_over_black_is_half_the_light() -> None:
    view = camera()
    flat = Light(towards=(), strengths=(), sky=(1, 1, 1), ground=(1, 1, 1), specular=0.0)
    white = rectangle(view, 2, 2, 9, 9, colours=(1, 1, 1))
    picture = np.zeros((18, 24, 3), dtype=np.uint8)
    mixed = overlay(picture, [white], view, opacity=0.5, light=flat, supersample=1, renderer=NUMPY)
    assert mixed[5, 5].tolist() == [188, 188, 188]


@pytest.mark.parametrize("shape", [(18, 23, 3), (24, 18, 3), (18, 24)])
def test_an_overlay_wants_the_cameras_picture(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="24 x 18"):
        overlay(np.zeros(shape, dtype=np.uint8), [], camera(), renderer=NUMPY)


def test_a_turntable_shows_all_sides_inside_the_picture() -> None:
    mesh = hand()
    pictures = turntable([mesh], views=4, size=64, background=(0, 0, 255), supersample=1, renderer=NUMPY)
    assert [picture.shape for picture in pictures] == [(64, 64, 3)] * 4
    blank = [(picture == (0, 0, 255)).all(axis=2) for picture in pictures]
    for free in blank:
        assert free[[0, -1]].all()
        assert free[:, [0, -1]].all()
        assert 0.05 < (~free).mean() < 0.6
    # From behind, the outline is nearly mirrored: there is little perspective.
    assert (blank[0] != blank[2][:, ::-1]).mean() < 0.05
    assert (blank[0] != blank[1]).mean() > 0.1
    with pytest.raises(ValueError, match="vertex"):
        turntable([], renderer=NUMPY)
