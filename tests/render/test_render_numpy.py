"""The numpy renderer, against geometry done by hand and against rays cast one by one."""

from __future__ import annotations

import numpy as np
import pytest
from render.shapes import at_pixels, camera, rectangle, soup

from whim.render import coverage
from whim.render.scene import assemble
from whim.render.shading import shade
from whim.render.software import NumpyRenderer
from whim.render.types import Camera, Light, Mesh

FLAT = Light(towards=(), strengths=(), sky=(1, 1, 1), ground=(1, 1, 1), specular=0.0)
"""Shows colours as they are."""


def cast(meshes: list[Mesh], view: Camera, light: Light) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour, depth and label of every pixel, the plain way: its ray with every triangle (Moller, Trumbore)."""
    scene = assemble(meshes)
    colour = np.zeros((view.height, view.width, 3), dtype=np.float32)
    depth = np.full((view.height, view.width), np.inf)
    label = np.zeros((view.height, view.width), dtype=int)
    for v in range(view.height):
        for u in range(view.width):
            ray = np.array([(u - view.cx) / view.fx, (v - view.cy) / view.fy, 1.0])
            for index, face in enumerate(scene.faces):
                p0, p1, p2 = scene.positions[face]
                normal = np.cross(p1 - p0, p2 - p0)
                away = normal @ ray > 0
                if away and not scene.two_sided[index]:
                    continue
                across = np.cross(ray, p2 - p0)
                share = (p1 - p0) @ across
                b1 = -p0 @ across / share
                around = np.cross(-p0, p1 - p0)
                b2 = ray @ around / share
                z = (p2 - p0) @ around / share
                if min(b1, b2, 1 - b1 - b2) < 0 or z < view.near or z >= depth[v, u]:
                    continue
                depth[v, u], label[v, u] = z, scene.labels[index]
                mixed = np.float32([1 - b1 - b2, b1, b2]) @ scene.attributes[face]
                n = mixed[None, :3] * np.float32(-1 if away else 1)
                colour[v, u] = shade(n, np.float32(ray * z)[None], mixed[None, 3:], light)[0]
    return colour, depth, label


@pytest.mark.parametrize("nearest", [0.3, -0.6])
def test_it_sees_what_rays_see(nearest: float) -> None:
    """Perspective-correct attributes, occlusion, both sides, shading; with ``nearest`` behind the camera also
    cuts at the near plane, with one corner in front and with two."""
    meshes, view, light = soup(np.random.default_rng(3), nearest=nearest), camera(near=0.3), Light()
    corners = np.concatenate([mesh.vertices[mesh.faces] for mesh in meshes])
    front = set((corners[..., 2] >= view.near).sum(axis=1).tolist())
    assert front == ({3} if nearest > 0 else {0, 1, 2, 3})
    colour, depth, label = cast(meshes, view, light)
    assert (label > 0).mean() > 0.3
    drawn = NumpyRenderer().render(meshes, view, light)
    assert (drawn.labels == label).all()
    np.testing.assert_allclose(drawn.depth, depth, rtol=1e-6)
    np.testing.assert_allclose(drawn.colour, colour, atol=2e-4)
    assert (drawn.alpha == (label > 0)).all()


@pytest.mark.parametrize(
    ("left", "right", "columns"),
    [
        (3.0, 5.5, (3, 4, 5)),
        (2.99, 5.01, (3, 4, 5)),
        (3.01, 4.99, (4,)),
        (3.0, 5.0, (3, 4)),
        (-9, 0.2, (0,)),
    ],
)
def test_pixel_centres_are_whole_numbers(left: float, right: float, columns: tuple[int, ...]) -> None:
    """Powers of two keep the corners exact: a centre on the left edge is inside, one on the right is not."""
    view = camera(fx=32.0, fy=32.0, cx=11.5, cy=8.25)
    drawn = NumpyRenderer().render([rectangle(view, left, 4.2, right, 6.7)], view)
    rows, found = np.nonzero(drawn.labels)
    assert set(rows) == {5, 6}
    assert tuple(sorted(set(found))) == columns


def test_projection_takes_corners_to_the_pixels_they_were_made_for() -> None:
    view = camera()
    pixels = np.array([(3.25, 2.5), (14.125, 9.75), (0.0, 0.0)])
    np.testing.assert_allclose(view.project(at_pixels(view, pixels, (0.4, 1.7, 3.0))), pixels, atol=1e-12)


def test_cameras_of_label_rows_count_from_the_corner_of_the_picture() -> None:
    """Half the width is the middle of the picture there, that is between its two middle pixels."""
    view = Camera.from_label((100.0, 100.0), (4.0, 3.0), 8, 6)
    assert (view.cx, view.cy) == (3.5, 2.5)
    # The corner of the picture stays where it is, at any scale.
    twice = view.scaled(2)
    np.testing.assert_allclose(
        twice.project([0.1, 0.2, 3.0]) + 0.5, 2 * (view.project([0.1, 0.2, 3.0]) + 0.5)
    )


def test_supersampling_measures_coverage() -> None:
    view = camera(fx=32.0, fy=32.0, cx=11.5, cy=8.25)
    drawn = NumpyRenderer().render([rectangle(view, 2.5, 3.5, 4.75, 5.5)], view, supersample=4)
    expected = np.zeros((18, 24))
    expected[4:6, 3:5], expected[4:6, 5] = 1.0, 0.25
    np.testing.assert_allclose(drawn.alpha, expected)
    white = rectangle(view, 2.5, 3.5, 4.75, 5.5, colours=(1, 1, 1))
    drawn = NumpyRenderer().render([white], view, FLAT, supersample=4)
    np.testing.assert_allclose(drawn.colour, np.repeat(expected[..., None], 3, axis=2), atol=1e-6)
    # Depth and label are those of the pixel's centre alone.
    assert (np.flatnonzero(drawn.labels[4]) == [3, 4]).all()


def test_the_depth_of_a_plane_is_exact() -> None:
    """z = 1 / (a X + b Y + c) for the ray (X, Y, 1)."""
    view = camera()
    v, u = np.mgrid[: view.height, : view.width]
    inverse = 0.9 + 0.5 * (u - view.cx) / view.fx - 0.3 * (v - view.cy) / view.fy
    corners = np.array([(-2.0, -3.0), (27.0, -3.0), (27.0, 22.0), (-2.0, 22.0)])
    at = 0.9 + 0.5 * (corners[:, 0] - view.cx) / view.fx - 0.3 * (corners[:, 1] - view.cy) / view.fy
    plane = rectangle(view, -2, -3, 27, 22, 1 / at)
    np.testing.assert_allclose(NumpyRenderer().render([plane], view).depth, 1 / inverse, rtol=2e-7)


def test_the_nearer_mesh_is_seen_in_any_order_and_of_equals_the_first() -> None:
    view = camera()
    near, far = rectangle(view, 2, 2, 9, 9, 0.5, label=7), rectangle(view, 5, 5, 15, 15, 0.6, label=8)
    one, other = (NumpyRenderer().render(list(pair), view).labels for pair in ((near, far), (far, near)))
    assert (one == other).all()
    assert (one[2:9, 2:9] == 7).all()
    assert one[12, 12] == 8
    twin = rectangle(view, 2, 2, 9, 9, 0.5, label=9)
    assert NumpyRenderer().render([twin, near], view).labels[4, 4] == 9
    assert NumpyRenderer().render([near, twin], view).labels[4, 4] == 7


def test_nothing_is_seen_of_what_is_behind_edge_on_inside_out_or_empty() -> None:
    view = camera()
    front = rectangle(view, 2, 2, 9, 9)
    behind = Mesh(vertices=-front.vertices, faces=front.faces, two_sided=True)
    edge_on = Mesh(
        vertices=np.array([(0, 0, 1.0), (0, 0, 2.0), (0.0, 0.0, 3.0)]), faces=np.array([(0, 1, 2)])
    )
    inside_out = Mesh(vertices=front.vertices, faces=front.faces[:, ::-1])
    empty = Mesh(vertices=np.empty((0, 3)), faces=np.empty((0, 3), dtype=int))
    for meshes in ([], [empty], [behind], [edge_on], [inside_out], [behind, edge_on, inside_out, empty]):
        for supersample in (1, 2):
            drawn = NumpyRenderer().render(meshes, view, supersample=supersample)
            assert not drawn.labels.any()
            assert not drawn.colour.any()
            assert not drawn.alpha.any()
            assert np.isinf(drawn.depth).all()
    assert NumpyRenderer().render([empty, front], view).labels.any()


def test_a_surface_has_neither_gaps_nor_overlaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crooked net with many corners exactly on pixel centres; worked on in tiny pieces as well as at once."""
    view = camera(40, 30)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-2:32, -2:42].astype(float)
    crooked = rng.uniform(-0.4, 0.4, (2, *x.shape)) * (rng.random(x.shape) < 0.6)
    index = np.arange(x.size).reshape(x.shape)
    a, b, c, d = (
        part.reshape(-1) for part in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1])
    )
    pixels = np.stack([(x + crooked[0]).reshape(-1), (y + crooked[1]).reshape(-1)], axis=1)
    net = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    planes = np.zeros((len(net), 3))
    for at_once in (1 << 19, 50):
        monkeypatch.setattr(coverage, "_AT_ONCE", at_once)
        pieces = list(coverage._fragments(pixels[net], np.arange(len(net)), planes, view))
        assert (len(pieces) == 1) == (at_once > 50)
        pixel = np.concatenate([piece[0] for piece in pieces])
        assert (np.bincount(pixel, minlength=40 * 30) == 1).all()


def test_bounded_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    meshes, view = soup(np.random.default_rng(5)), camera()
    whole = NumpyRenderer().render(meshes, view)
    monkeypatch.setattr(coverage, "_AT_ONCE", 7)
    monkeypatch.setattr("whim.render.software._AT_ONCE", 11)
    pieces = NumpyRenderer().render(meshes, view)
    assert (whole.labels == pieces.labels).all()
    assert (whole.depth == pieces.depth).all()
    np.testing.assert_allclose(whole.colour, pieces.colour, atol=1e-6)


def test_light_falls_from_its_side() -> None:
    """On a sphere, the brightest point of plain Lambert light is where the normal points to the light."""
    view = camera(96, 96, fx=200.0, fy=200.0, cx=47.5, cy=47.5)
    polar, around = np.meshgrid(np.linspace(0, np.pi, 60), np.linspace(0, 2 * np.pi, 120), indexing="ij")
    normal = np.stack(
        [np.sin(polar) * np.cos(around), np.cos(polar), np.sin(polar) * np.sin(around)], axis=-1
    ).reshape(-1, 3)
    index = np.arange(60 * 120).reshape(60, 120)
    a, b, c, d = (
        part.reshape(-1) for part in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1])
    )
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    ball = Mesh(vertices=0.3 * normal + (0, 0, 2.0), faces=faces, colours=(1, 1, 1), normals=normal)
    towards = np.array([0.5, -0.4, -0.8])
    towards /= np.linalg.norm(towards)
    dark = {"sky": (0, 0, 0), "ground": (0, 0, 0), "specular": 0.0, "wrap": 0.0}
    light = Light(towards=(tuple(towards),), strengths=((1, 1, 1),), **dark)
    drawn = NumpyRenderer().render([ball], view, light)
    assert drawn.alpha[48, 48] == 1.0
    brightest = np.unravel_index(drawn.colour[..., 1].argmax(), drawn.alpha.shape)[::-1]
    np.testing.assert_allclose(brightest, view.project(0.3 * towards + (0, 0, 2.0)), atol=1.0)
    assert drawn.colour.max() == pytest.approx(1.0, abs=2e-3)


def test_light_as_computed_by_hand() -> None:
    """One point straight ahead whose normal leans by 60 degrees from the view, towards the ground."""
    normal, position = np.float32([[0.0, np.sqrt(0.75), -0.5]]), np.float32([[0.0, 0.0, 2.0]])
    light = Light(
        towards=((0.0, 0.0, -3.0),),
        strengths=((0.8, 0.4, 0.2),),
        sky=(0.4, 0.4, 0.4),
        ground=(0.2, 0.1, 0.0),
        wrap=0.5,
        specular=0.1,
        shininess=3.0,
    )
    up = 0.5 - 0.5 * np.sqrt(0.75)
    around = np.array([0.2, 0.1, 0.0]) * (1 - up) + 0.4 * up
    key = np.array([0.8, 0.4, 0.2])
    expected = 0.5 * (around + key * (0.5 + 0.5) / 1.5) + 0.1 * 0.5**3 * 0.5 * key
    np.testing.assert_allclose(
        shade(normal, position, np.float32([[0.5, 0.5, 0.5]]), light)[0], expected, rtol=1e-5
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"faces": np.array([(0, 1, 4)])},
        {"faces": np.array([(0, 1, -1)])},
        {"vertices": np.full((4, 3), np.nan)},
        {"colours": np.zeros((2, 3))},
        {"label": 0},
        {"label": [1, 2, 3]},
    ],
)
def test_meshes_that_make_no_sense_are_refused(wrong: dict) -> None:
    good = {"vertices": np.zeros((4, 3)), "faces": np.array([(0, 1, 2), (0, 2, 3)])}
    Mesh(**good)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Mesh(**{**good, **wrong})
